// SPDX-License-Identifier: Apache-2.0
//! Cuts a Rust file into code, comments and text, line by line, so that a rule about code is not
//! fooled by a comment. It knows the lexical shape of Rust and nothing of its grammar.

use std::iter::Peekable;
use std::mem::take;
use std::str::Chars;

/// One line, each part with the characters of the others left out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// What the compiler sees, string and character literals emptied.
    pub(super) code: String,
    pub(super) comment: String,
    /// The contents of literals.
    pub(super) text: String,
}

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Code,
    LineComment,
    /// Block comments nest; how deep.
    Block(usize),
    /// A literal and what ends it.
    Quoted(char),
    /// A raw string and its number of `#`.
    Raw(usize),
}

/// The lines of a Rust file.
pub(super) fn lines(source: &str) -> Vec<Line> {
    let mut reader = Reader {
        rest: source.chars().peekable(),
        place: Place::Code,
        current: Line::default(),
        lines: Vec::new(),
    };
    while let Some(c) = reader.rest.next() {
        reader.take(c);
    }
    reader.lines.push(reader.current);
    reader.lines
}

#[derive(Debug)]
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    place: Place,
    current: Line,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn take(&mut self, c: char) {
        if c == '\n' {
            if self.place == Place::LineComment {
                self.place = Place::Code;
            }
            self.lines.push(take(&mut self.current));
            return;
        }
        match self.place {
            Place::Code => self.code(c),
            Place::LineComment => self.current.comment.push(c),
            Place::Block(depth) => self.block(c, depth),
            Place::Quoted(end) => self.quoted(c, end),
            Place::Raw(hashes) => self.raw(c, hashes),
        }
    }

    fn code(&mut self, c: char) {
        match (c, self.rest.peek().copied()) {
            ('/', Some('/')) => {
                self.place = Place::LineComment;
                self.current.comment.push(c);
            }
            ('/', Some('*')) => {
                self.rest.next();
                self.place = Place::Block(1);
            }
            ('"', _) => self.open(Place::Quoted('"'), c),
            ('\'', _) if self.is_character() => self.open(Place::Quoted('\''), c),
            ('r', Some('"' | '#')) if !self.in_word() => self.raw_or_word(),
            _ => self.current.code.push(c),
        }
    }

    fn open(&mut self, place: Place, quote: char) {
        self.place = place;
        self.current.code.push(quote);
    }

    /// After `'`: a character literal, not a lifetime.
    fn is_character(&self) -> bool {
        let mut ahead = self.rest.clone();
        match ahead.next() {
            Some('\\') => true,
            Some(_) => ahead.next() == Some('\''),
            None => false,
        }
    }

    /// Whether the code so far ends within a word, of which an `r` would be a part. `br"` and `cr"` are not words.
    fn in_word(&self) -> bool {
        let code = &self.current.code;
        let word: String = code.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        !matches!(word.as_str(), "" | "b" | "c")
    }

    /// After `r`: a raw string, or a raw identifier such as `r#type`.
    fn raw_or_word(&mut self) {
        let mut ahead = self.rest.clone();
        let mut hashes = 0;
        while ahead.peek() == Some(&'#') {
            ahead.next();
            hashes += 1;
        }
        if ahead.next() != Some('"') {
            return self.current.code.push('r');
        }
        self.rest = ahead;
        self.open(Place::Raw(hashes), '"');
    }

    fn block(&mut self, c: char, depth: usize) {
        match (c, self.rest.peek()) {
            ('*', Some('/')) => {
                self.rest.next();
                self.place = if depth > 1 { Place::Block(depth - 1) } else { Place::Code };
            }
            ('/', Some('*')) => {
                self.rest.next();
                self.place = Place::Block(depth + 1);
            }
            _ => self.current.comment.push(c),
        }
    }

    fn quoted(&mut self, c: char, end: char) {
        if c == '\\' {
            // The escaped character, a quote most of all, ends nothing; a newline is left to `take`.
            if let Some(escaped) = self.rest.next_if(|next| *next != '\n') {
                self.current.text.push(escaped);
            }
        } else if c == end {
            self.open(Place::Code, c);
        } else {
            self.current.text.push(c);
        }
    }

    fn raw(&mut self, c: char, hashes: usize) {
        let mut ahead = self.rest.clone();
        if c == '"' && (0..hashes).all(|_| ahead.next() == Some('#')) {
            self.rest = ahead;
            self.open(Place::Code, c);
        } else {
            self.current.text.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    fn code(source: &str) -> String {
        lines(source).into_iter().map(|line| line.code).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn comments_are_not_code() {
        assert_eq!(code("a // b\nc /* d /* e */ f\n g */ h"), "a \nc \n h");
        assert_eq!(lines("a // b")[0].comment, "// b");
    }

    #[test]
    fn literals_are_emptied() {
        assert_eq!(code(r#"f("a // \" b", 'x', '\'', b"y")"#), r#"f("", '', '', b"")"#);
        assert_eq!(code("r#\"a \" b\"# + r\"c\" + br##\"d\"# e\"##"), "\"\" + \"\" + b\"\"");
        assert_eq!(lines("let s = \"one\ntwo\";")[1].text, "two");
        assert_eq!(code("\"a\\\n  b\" c"), "\"\n\" c");
    }

    #[test]
    fn lifetimes_and_raw_words_stay() {
        assert_eq!(
            code("fn f<'a>(x: &'a str, r#type: u8) -> char { 'a' }"),
            "fn f<'a>(x: &'a str, r#type: u8) -> char { '' }"
        );
        assert_eq!(code("for r in bar\"x\""), "for r in bar\"\"");
    }
}
