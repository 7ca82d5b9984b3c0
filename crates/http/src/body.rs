// SPDX-License-Identifier: Apache-2.0
//! The body of an answer.

use crate::HttpError;

/// Longest line before a chunk or behind the last one.
const LINE_LIMIT: usize = 4 << 10;
/// Most lines behind the last chunk.
const TRAILERS_LIMIT: usize = 64;

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// So many bytes of the body.
    Known(u64),
    UntilClose,
    ChunkSize,
    /// So many bytes of a chunk, and the end of a line behind it.
    Chunk(u64),
    ChunkEnd,
    /// So many lines behind the last chunk may still come.
    Trailer(usize),
    Whole,
}

/// A body of which more may come.
#[derive(Debug)]
pub struct Body {
    part: Part,
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    keeps: bool,
}

impl Body {
    pub(crate) fn of(length: u64, keeps: bool) -> Body {
        let part = if length == 0 { Part::Whole } else { Part::Known(length) };
        Body { part, begun: Vec::new(), keeps }
    }

    pub(crate) fn in_chunks(keeps: bool) -> Body {
        Body { part: Part::ChunkSize, begun: Vec::new(), keeps }
    }

    pub(crate) fn until_close() -> Body {
        Body { part: Part::UntilClose, begun: Vec::new(), keeps: false }
    }

    /// The next bytes of the body that are in `input`, and how many bytes of `input` are used up. When there are none,
    /// it is whole, or all of `input` is used up and more is needed.
    ///
    /// # Errors
    /// When chunks are not what they should be.
    pub fn take<'a>(&mut self, input: &'a [u8]) -> Result<(&'a [u8], usize), HttpError> {
        let mut used = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let (left, more, then): (u64, fn(u64) -> Part, Part) = match self.part {
                Part::Whole => break,
                Part::UntilClose => return Ok((rest, input.len())),
                Part::Known(left) => (left, Part::Known, Part::Whole),
                Part::Chunk(left) => (left, Part::Chunk, Part::ChunkEnd),
                Part::ChunkSize | Part::ChunkEnd | Part::Trailer(_) => {
                    used += self.line(rest)?;
                    continue;
                }
            };
            let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - count as u64;
            self.part = if left > 0 { more(left) } else { then };
            return Ok((rest.get(..count).unwrap_or_default(), used + count));
        }
        Ok((&[], used))
    }

    /// Whether all of it was taken.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.part == Part::Whole
    }

    /// Whether it is whole when the other side closes the connection now.
    #[must_use]
    pub fn may_end(&self) -> bool {
        matches!(self.part, Part::UntilClose | Part::Whole)
    }

    /// Whether the connection can be used again when it is whole.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.keeps
    }

    /// How many bytes are still to come, as far as that is known before.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self.part {
            Part::Known(length) => Some(length),
            Part::Whole => Some(0),
            _ => None,
        }
    }

    /// Takes one line, or the part of it that is there.
    fn line(&mut self, input: &[u8]) -> Result<usize, HttpError> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let part = end.map_or(input, |end| input.get(..end).unwrap_or_default());
        if self.begun.len() + part.len() > LINE_LIMIT {
            return Err(HttpError::LongLine);
        }
        match end {
            // Most lines come in one piece.
            Some(_) if self.begun.is_empty() => self.part = self.behind(part)?,
            Some(_) => {
                self.begun.extend_from_slice(part);
                self.part = self.behind(&self.begun)?;
                self.begun.clear();
            }
            None => {
                self.begun.extend_from_slice(part);
                if self.part == Part::ChunkEnd && self.begun != b"\r" {
                    return Err(HttpError::LongChunk);
                }
            }
        }
        Ok(part.len() + usize::from(end.is_some()))
    }

    /// What comes behind a line.
    fn behind(&self, line: &[u8]) -> Result<Part, HttpError> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.part {
            Part::ChunkSize => match size(line).ok_or(HttpError::ChunkSize)? {
                0 => Ok(Part::Trailer(TRAILERS_LIMIT)),
                size => Ok(Part::Chunk(size)),
            },
            Part::Trailer(_) if line.is_empty() => Ok(Part::Whole),
            Part::Trailer(0) => Err(HttpError::LongLine),
            Part::Trailer(left) => Ok(Part::Trailer(left - 1)),
            _ if line.is_empty() => Ok(Part::ChunkSize),
            _ => Err(HttpError::LongChunk),
        }
    }
}

/// The length in the line before a chunk; what stands behind a semicolon means nothing to us.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u64::from_str_radix(text, 16).ok()
}
