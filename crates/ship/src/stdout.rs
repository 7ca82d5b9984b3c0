// SPDX-License-Identifier: Apache-2.0
//! One line of JSON a document to a stream that is handed in. What the kernel has taken counts as
//! delivered: nobody acknowledges on a pipe.

use crate::batch::Batch;
use crate::sink::{SendError, Sent, Sink, Step};
use std::fmt;
use std::io::Write;

/// The sink.
pub struct Stdout {
    out: Box<dyn Write + Send>,
    /// Batch and bytes of it that were written.
    written: (u64, usize),
    lines: Vec<u8>,
}

impl Stdout {
    /// Writes to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Stdout {
        Stdout { out, written: (0, 0), lines: Vec::new() }
    }
}

impl fmt::Debug for Stdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stdout").field("written", &self.written).finish_non_exhaustive()
    }
}

impl Sink for Stdout {
    fn send(&mut self, batch: &Batch) -> Result<Sent, SendError> {
        if self.written.0 != batch.number() {
            self.written = (batch.number(), 0);
            lines(batch, &mut self.lines);
        }
        while let Some(rest) = self.lines.get(self.written.1..).filter(|rest| !rest.is_empty()) {
            match self.out.write(rest) {
                Ok(0) => return Err(SendError::Transient("standard output takes nothing".to_string())),
                Ok(count) => self.written.1 += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(SendError::Transient(format!("writing to standard output: {error}")));
                }
            }
        }
        match self.out.flush() {
            Ok(()) => Ok(Sent::default()),
            Err(error) => Err(SendError::Transient(format!("writing to standard output: {error}"))),
        }
    }

    fn probe(&mut self, canary: &Batch, tell: &mut dyn FnMut(Step)) {
        let mut text = Vec::new();
        lines(canary, &mut text);
        let name = "write the canary";
        match self.out.write_all(&text).and_then(|()| self.out.flush()) {
            Ok(()) => tell(Step::done(name, "written")),
            Err(error) => tell(Step::failed(name, error.to_string())),
        }
    }
}

/// The documents of `batch` with line ends.
pub(crate) fn lines(batch: &Batch, out: &mut Vec<u8>) {
    out.clear();
    out.reserve(batch.bytes() + batch.len());
    for document in batch.documents() {
        out.extend_from_slice(document.json);
        out.push(b'\n');
    }
}
