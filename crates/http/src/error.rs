// SPDX-License-Identifier: Apache-2.0
//! What can be wrong with an answer.

/// Why the bytes are no answer that can be used. Said of the other side, which is "it".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub enum HttpError {
    /// There is no status line.
    NotHttp,
    /// A line that is no header.
    Header,
    /// More bytes or lines than any head needs.
    LongHead,
    /// One answer after the other that is not the answer.
    Interim,
    /// No number, or several, as the length of the body.
    Length,
    /// A body that would have to be decoded.
    Coding,
    /// No number before a chunk.
    ChunkSize,
    /// More bytes in a chunk than its number says.
    LongChunk,
    /// A line before a chunk or behind the last one, or their count, without end.
    LongLine,
}

impl HttpError {
    /// The same as its [`Display`](std::fmt::Display), for errors that carry fixed words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            HttpError::NotHttp => "it does not speak HTTP/1.1",
            HttpError::Header => "it sends a header that is none",
            HttpError::LongHead => "it sends headers without end",
            HttpError::Interim => "it sends interim answers without end",
            HttpError::Length => "it announces an answer without telling its length in one number",
            HttpError::Coding => "it sends its answer in a coding that nobody asked for",
            HttpError::ChunkSize => "it sends a chunk without a length",
            HttpError::LongChunk => "it sends a chunk that is longer than it says",
            HttpError::LongLine => "it sends lines without end",
        }
    }
}
