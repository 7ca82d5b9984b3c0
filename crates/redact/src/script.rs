// SPDX-License-Identifier: Apache-2.0
//! Cuts the text of a script into simple commands and words, closely enough to find options and
//! their values. It is no shell: it expands nothing and takes any bytes.

use std::ops::Range;

/// One word of a command: which argument it stands in, where, and its bytes without outer quotes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word<'a> {
    pub(crate) arg: usize,
    pub(crate) at: usize,
    pub(crate) bytes: &'a [u8],
    /// It stood in single quotes, so `$` in it is only a dollar sign.
    pub(crate) literal: bool,
}

/// Bytes that end a word and a command in a script.
const BREAKS: &[u8] = b"\n\r;|&()`";

/// The end of the shell word that starts at `at`: quotes and backslashes hold it together.
pub(crate) fn word_end(text: &[u8], mut at: usize) -> usize {
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            quote @ (b'"' | b'\'') => {
                let rest = text.get(at + 1..).unwrap_or_default();
                // A quote that never closes is only a byte.
                at += closing(rest, *quote).map_or(0, |length| length + 1);
            }
            byte if byte.is_ascii_whitespace() || BREAKS.contains(byte) || b"<>".contains(byte) => break,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

/// The distance to the quote that closes `rest`.
fn closing(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 0;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 1,
            byte if *byte == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// The range without the quotes around it, when one pair holds all of it, and which quote it was.
pub(crate) fn unquote(text: &[u8], at: Range<usize>) -> (Range<usize>, Option<u8>) {
    match text.get(at.clone()).unwrap_or_default() {
        [quote @ (b'"' | b'\''), inner @ ..] if closing(inner, *quote) == inner.len().checked_sub(1) => {
            ((at.start + 1)..(at.end - 1), Some(*quote))
        }
        [b'$', b'\'', inner @ ..] if closing(inner, b'\'') == inner.len().checked_sub(1) => {
            ((at.start + 2)..(at.end - 1), Some(b'\''))
        }
        [b'\\', b'"', .., b'\\', b'"'] if at.len() >= 4 => ((at.start + 2)..(at.end - 2), Some(b'"')),
        _ => (at, None),
    }
}

/// The simple commands of a text, in order, each as its words.
#[derive(Debug)]
pub(crate) struct Commands<'a> {
    arg: usize,
    base: usize,
    text: &'a [u8],
    at: usize,
    words: Vec<Word<'a>>,
}

impl<'a> Commands<'a> {
    /// `text` begins at byte `base` of argument `arg`.
    pub(crate) fn new(arg: usize, base: usize, text: &'a [u8]) -> Self {
        Self { arg, base, text, at: 0, words: Vec::new() }
    }

    /// The words of the next command that has any.
    pub(crate) fn advance(&mut self) -> Option<&[Word<'a>]> {
        self.words.clear();
        while let Some(byte) = self.text.get(self.at) {
            if BREAKS.contains(byte) {
                self.at += 1;
                if !self.words.is_empty() {
                    break;
                }
            } else if byte.is_ascii_whitespace() || b"<>".contains(byte) {
                self.at += 1;
            } else if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\\n")) {
                self.at += 2;
            } else {
                self.take_word();
            }
        }
        (!self.words.is_empty()).then_some(self.words.as_slice())
    }

    fn take_word(&mut self) {
        let end = word_end(self.text, self.at).max(self.at + 1);
        let (inner, quote) = unquote(self.text, self.at..end);
        let bytes = self.text.get(inner.clone()).unwrap_or_default();
        let literal = quote == Some(b'\'');
        self.words.push(Word { arg: self.arg, at: self.base + inner.start, bytes, literal });
        self.at = end;
    }
}

/// Tells for ascending positions whether they stand inside quotes. Goes over the text once.
#[derive(Debug)]
pub(crate) struct Quotes<'a> {
    text: &'a [u8],
    at: usize,
    open: Option<u8>,
}

impl<'a> Quotes<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, open: None }
    }

    /// The quote that holds the byte at `position`.
    pub(crate) fn at(&mut self, position: usize) -> Option<u8> {
        while self.at < position {
            match (self.text.get(self.at), self.open) {
                (Some(b'\\'), None | Some(b'"')) => self.at += 1,
                (Some(quote @ (b'"' | b'\'')), None) => self.open = Some(*quote),
                (Some(byte), Some(open)) if *byte == open => self.open = None,
                _ => {}
            }
            self.at += 1;
        }
        self.open
    }
}
