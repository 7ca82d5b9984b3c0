// SPDX-License-Identifier: Apache-2.0
//! Messages between client, keeper and warden, over sockets that keep their bounds. A message is a byte that
//! says its kind, a payload, and perhaps descriptors.

use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_send_buffer_size, socket_send_buffer_size};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest payload.
pub(crate) const PAYLOAD_LIMIT: usize = 32 << 10;
/// The most descriptors in a message.
pub(crate) const DESCRIPTORS_LIMIT: usize = 8;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To the keeper: this session. Descriptors: specification, target, input, output, errors, and what a target that only stands in hangs on.
    Start,
    /// To the keeper: give me the terminal. Payload: its size; descriptor: the client's terminal.
    Attach,
    /// To the keeper: I leave and the session stays.
    Detach,
    /// To the keeper and the warden: end the session.
    End,
    /// To the keeper: what session is this?
    Describe,
    /// To the keeper: typed bytes.
    Input,
    /// To the keeper: the terminal's size.
    Resize,
    /// To the keeper: the terminal's size, and what is on it is to be drawn anew.
    Redraw,
    /// To the keeper and the warden: a signal for the program.
    Signal,
    /// From the warden: the terminal's other end.
    Master,
    /// From both: the program runs.
    Started,
    /// From both: there is no program, and why.
    Failed,
    /// From both: the program's exit code.
    Exited,
    /// From the keeper: bytes for the screen.
    Output,
    /// From the keeper: a description.
    Described,
    /// From the keeper: somebody else has the terminal now.
    Replaced,
}

const KINDS: [(u8, Kind); 16] = [
    (b'S', Kind::Start),
    (b'A', Kind::Attach),
    (b'D', Kind::Detach),
    (b'E', Kind::End),
    (b'?', Kind::Describe),
    (b'I', Kind::Input),
    (b'W', Kind::Resize),
    (b'L', Kind::Redraw),
    (b'G', Kind::Signal),
    (b'M', Kind::Master),
    (b'R', Kind::Started),
    (b'F', Kind::Failed),
    (b'X', Kind::Exited),
    (b'O', Kind::Output),
    (b'N', Kind::Described),
    (b'B', Kind::Replaced),
];

impl Kind {
    fn byte(self) -> u8 {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or(0, |(byte, _)| *byte)
    }
}

/// What came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// One end of a socket.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    fn from(socket: OwnedFd) -> Link {
        Link(socket)
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> OwnedFd {
        link.0
    }
}

/// The answer of an attempt that does not wait.
#[derive(Debug)]
pub(crate) enum Received {
    Message(Message),
    /// Nothing now.
    Nothing,
    /// Nothing ever again: the other end is closed, or sends what is no message.
    Closed,
}

impl Link {
    /// Two ends.
    pub(crate) fn pair() -> io::Result<(Link, Link)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Link(one), Link(other)))
    }

    /// Sends, and waits for room.
    pub(crate) fn send(&self, kind: Kind, payload: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(kind, payload, descriptors, SendFlags::NOSIGNAL).map(drop)
    }

    /// Sends if there is room; false when there is none.
    pub(crate) fn offer(&self, kind: Kind, payload: &[u8]) -> io::Result<bool> {
        self.send_with(kind, payload, &[], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// Sends a last word, with room of its own: whoever does not listen now hears it later.
    pub(crate) fn offer_last(&self, kind: Kind, payload: &[u8]) -> io::Result<bool> {
        // What is there already, once more; the kernel keeps to its own limit.
        let room = socket_send_buffer_size(&self.0)?;
        set_socket_send_buffer_size(&self.0, room)?;
        self.offer(kind, payload)
    }

    fn send_with(
        &self,
        kind: Kind,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<bool> {
        if payload.len() > PAYLOAD_LIMIT || descriptors.len() > DESCRIPTORS_LIMIT {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let head = [kind.byte()];
        let parts = [IoSlice::new(&head), IoSlice::new(payload)];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_LIMIT))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            return match sendmsg(&self.0, &parts, &mut ancillary, flags) {
                Ok(_) => Ok(true),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Ok(false),
                Err(errno) => Err(errno.into()),
            };
        }
    }

    /// Waits for a message; `None` when the other end is closed.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        match self.receive_with(RecvFlags::CMSG_CLOEXEC)? {
            Received::Message(message) => Ok(Some(message)),
            Received::Nothing | Received::Closed => Ok(None),
        }
    }

    /// Takes a message if there is one. Errors are the end of the other side for whoever polls.
    pub(crate) fn take(&self) -> Received {
        self.receive_with(RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT).unwrap_or(Received::Closed)
    }

    fn receive_with(&self, flags: RecvFlags) -> io::Result<Received> {
        let mut buffer = vec![0; PAYLOAD_LIMIT + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_LIMIT))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut reset = false;
        let length = loop {
            match recvmsg(&self.0, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, flags) {
                Ok(received) => break received.bytes,
                Err(Errno::INTR) => {}
                // The other end was closed and had something unread. That is told once, before its last words.
                Err(Errno::CONNRESET) if !reset => reset = true,
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(errno) => return Err(errno.into()),
            }
        };
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        buffer.truncate(length);
        let kind = buffer.first().and_then(|byte| KINDS.iter().find(|(known, _)| known == byte));
        let Some((_, kind)) = kind else { return Ok(Received::Closed) };
        let payload = buffer.split_off(1);
        Ok(Received::Message(Message { kind: *kind, payload, descriptors }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Link, PAYLOAD_LIMIT, Received};
    use std::os::fd::AsFd;

    #[test]
    fn messages_and_descriptors() {
        let (one, other) = Link::pair().unwrap();
        one.send(Kind::Input, b"abc", &[one.as_fd(), other.as_fd()]).unwrap();
        one.send(Kind::End, b"", &[]).unwrap();
        let first = other.receive().unwrap().unwrap();
        assert_eq!((first.kind, first.payload.as_slice()), (Kind::Input, b"abc".as_slice()));
        assert_eq!(first.descriptors.len(), 2);
        assert_eq!(other.receive().unwrap().unwrap().kind, Kind::End);
        assert!(matches!(other.take(), Received::Nothing));
        drop((one, first));
        assert!(other.receive().unwrap().is_none());
        assert!(matches!(other.take(), Received::Closed));
    }

    #[test]
    fn what_is_no_message() {
        let (one, other) = Link::pair().unwrap();
        assert!(one.send(Kind::Input, &vec![0; PAYLOAD_LIMIT + 1], &[]).is_err());
        rustix::net::send(&one, b"\0odd", rustix::net::SendFlags::empty()).unwrap();
        assert!(matches!(other.take(), Received::Closed));
    }

    #[test]
    fn last_words_are_heard_though_ours_were_not() {
        let (one, other) = Link::pair().unwrap();
        one.send(Kind::Resize, b"abcd", &[]).unwrap();
        other.send(Kind::Exited, &[7], &[]).unwrap();
        drop(other);
        let Received::Message(last) = one.take() else { panic!("its last words are lost") };
        assert_eq!((last.kind, last.payload.as_slice()), (Kind::Exited, [7].as_slice()));
        assert!(matches!(one.take(), Received::Closed));
    }

    #[test]
    fn a_full_socket_is_told() {
        let (one, _other) = Link::pair().unwrap();
        let full = (0..1000).find(|_| !one.offer(Kind::Output, &[0; 4096]).unwrap());
        assert!(full.is_some());
        assert!(one.offer_last(Kind::Replaced, b"").unwrap());
    }
}
