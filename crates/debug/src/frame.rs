// SPDX-License-Identifier: Apache-2.0
//! What a client and its outpost on another host say to each other, over any stream of bytes: a byte that says the
//! kind, the length of what follows in four bytes, and that.

use crate::spec::Window;

/// The longest payload.
pub const PAYLOAD_LIMIT: usize = 64 << 10;
/// How many bytes of input may be on their way and not yet taken: the outpost tells of each that it has passed on, so
/// that a program which reads nothing holds up nothing else.
pub const INPUT_WINDOW: usize = 256 << 10;
const HEAD: usize = 5;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To the outpost: a part of what is to begin.
    Part,
    /// To the outpost: that was all of it; begin.
    Begin,
    /// To the outpost: bytes for the program.
    Input,
    /// To the outpost: there is no more input.
    InputEnd,
    /// To the outpost: the terminal's size.
    Resize,
    /// To the outpost: a signal for the program.
    Signal,
    /// To the outpost: nobody reads its output (1) or its errors (2) any more.
    Unread,
    /// To the outpost: end the session.
    End,
    /// From both: I am still here.
    Alive,
    /// From the outpost: the session's client runs.
    Started,
    /// From the outpost: what the program wrote.
    Output,
    /// From the outpost: what it wrote to standard error.
    Errors,
    /// From the outpost: this many bytes of input, in four bytes, are passed on.
    Taken,
    /// From the outpost: the exit code.
    Exited,
    /// From the outpost: there is no session, and why.
    Failed,
}

const KINDS: [(u8, Kind); 15] = [
    (b'P', Kind::Part),
    (b'B', Kind::Begin),
    (b'I', Kind::Input),
    (b'Z', Kind::InputEnd),
    (b'W', Kind::Resize),
    (b'G', Kind::Signal),
    (b'U', Kind::Unread),
    (b'E', Kind::End),
    (b'A', Kind::Alive),
    (b'S', Kind::Started),
    (b'O', Kind::Output),
    (b'R', Kind::Errors),
    (b'T', Kind::Taken),
    (b'X', Kind::Exited),
    (b'F', Kind::Failed),
];

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The size in a [`Kind::Resize`].
    pub fn window(&self) -> Option<Window> {
        Window::from_bytes(&self.payload)
    }

    /// The number in a [`Kind::Taken`].
    pub fn number(&self) -> Option<u32> {
        Some(u32::from_be_bytes(self.payload.as_slice().try_into().ok()?))
    }
}

/// Puts a frame behind `out`; a payload that is too long becomes several.
pub fn put(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    let byte = KINDS.iter().find(|(_, known)| *known == kind).map_or(0, |(byte, _)| *byte);
    let mut one = |part: &[u8]| {
        out.push(byte);
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(part);
    };
    if payload.is_empty() {
        one(&[]);
    }
    payload.chunks(PAYLOAD_LIMIT).for_each(one);
}

/// The bytes for a [`Kind::Resize`].
pub fn size(window: Window) -> [u8; 4] {
    window.bytes()
}

/// Bytes that are no frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what comes is not what purser says; is it another version?")]
pub struct NoFrame;

/// Bytes that came, as frames.
#[derive(Debug, Default)]
pub struct Frames {
    held: Vec<u8>,
}

impl Frames {
    /// Takes bytes in. Whoever takes all frames out before has never more than one here.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// For what is no frame.
    pub fn take(&mut self) -> Result<Option<Frame>, NoFrame> {
        let Some(&[byte, a, b, c, d]) = self.held.get(..HEAD) else { return Ok(None) };
        let (_, kind) = KINDS.iter().find(|(known, _)| *known == byte).ok_or(NoFrame)?;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| NoFrame)?;
        if length > PAYLOAD_LIMIT {
            return Err(NoFrame);
        }
        let Some(payload) = self.held.get(HEAD..HEAD + length) else { return Ok(None) };
        let frame = Frame { kind: *kind, payload: payload.to_vec() };
        self.held.drain(..HEAD + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, Frames, KINDS, Kind, NoFrame, PAYLOAD_LIMIT, put};

    #[test]
    fn frames_come_back_however_they_are_cut() {
        let mut bytes = Vec::new();
        for (_, kind) in KINDS {
            put(&mut bytes, kind, b"abc");
        }
        put(&mut bytes, Kind::Begin, b"");
        put(&mut bytes, Kind::Input, &vec![7; PAYLOAD_LIMIT + 1]);
        for step in [1, 7, bytes.len()] {
            let (mut frames, mut found) = (Frames::default(), Vec::new());
            for part in bytes.chunks(step) {
                frames.push(part);
                while let Some(frame) = frames.take().unwrap() {
                    found.push(frame);
                }
            }
            assert_eq!(found.len(), KINDS.len() + 3);
            assert_eq!(found[KINDS.len()], Frame { kind: Kind::Begin, payload: vec![] });
            assert_eq!(found.last().unwrap().payload, [7]);
        }
    }

    #[test]
    fn what_is_no_frame() {
        for wrong in [b"?\0\0\0\0".as_slice(), b"I\xff\0\0\0", b"hello"] {
            let mut frames = Frames::default();
            frames.push(wrong);
            assert_eq!(frames.take(), Err(NoFrame));
        }
        let mut frames = Frames::default();
        frames.push(b"I\0\0\0");
        assert_eq!(frames.take(), Ok(None));
    }
}
