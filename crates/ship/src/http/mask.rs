// SPDX-License-Identifier: Apache-2.0
//! Takes our secrets out of what a receiver says: a receiver that echoes its request, in a body or in
//! the place of a redirect, must not bring them into logs or the store.

use ::tls::Secret;
use std::sync::Arc;

/// What stands in place of a secret.
const MASK: &str = "***";
/// Longest text that is told, in characters.
const TEXT_LIMIT: usize = 500;
/// Bytes of a secret at the very end of a text that are taken for it: the rest may have been cut off.
const CUT_FROM: usize = 4;

/// The secrets of a sink, in each form in which it sends them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mask(Arc<[Secret]>);

impl Mask {
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Mask {
        let mut all: Vec<Secret> = secrets.into_iter().filter(|secret| !secret.expose().is_empty()).collect();
        // The longest first: a header's whole value before the token in it.
        all.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Mask(all.into())
    }

    /// The beginning of `text` on one line, without the secrets.
    pub(crate) fn tell(&self, text: &[u8]) -> String {
        let (mut told, mut count, mut rest) = (String::new(), 0, text);
        while !rest.is_empty() && count < TEXT_LIMIT {
            if let Some(length) = self.secret_at(rest) {
                told.push_str(MASK);
                count += MASK.len();
                rest = rest.get(length..).unwrap_or_default();
                continue;
            }
            let (c, length) = first_char(rest);
            told.push(if c.is_control() { ' ' } else { c });
            count += 1;
            rest = rest.get(length..).unwrap_or_default();
        }
        told.trim().to_string()
    }

    /// How many bytes of `text` are a secret with which it begins.
    fn secret_at(&self, text: &[u8]) -> Option<usize> {
        self.0.iter().find_map(|secret| {
            length_in(secret.expose(), text, false).or_else(|| length_in(secret.expose(), text, true))
        })
    }
}

/// How many bytes at the start of `text` are `secret`, as it is or `encoded` for a URL, JSON or HTML.
fn length_in(secret: &[u8], text: &[u8], encoded: bool) -> Option<usize> {
    let (mut left, mut at) = (secret, 0);
    while !left.is_empty() {
        let rest = text.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return (secret.len() - left.len() >= CUT_FROM).then_some(at);
        }
        let decoded = if encoded { decode(rest) } else { None };
        let step = decoded.and_then(|(c, length)| {
            let mut bytes = [0; 4];
            let bytes: &[u8] = match c {
                Decoded::Byte(byte) => {
                    bytes[0] = byte;
                    &bytes[..1]
                }
                Decoded::Char(c) => c.encode_utf8(&mut bytes).as_bytes(),
            };
            Some((left.strip_prefix(bytes)?, length))
        });
        let (after, length) = step.or_else(|| Some((left.strip_prefix(rest.get(..1)?)?, 1)))?;
        (left, at) = (after, at + length);
    }
    Some(at)
}

enum Decoded {
    Byte(u8),
    Char(char),
}

/// What the escape at the start of `text` stands for, and how long it is.
fn decode(text: &[u8]) -> Option<(Decoded, usize)> {
    let number = |from: usize, to: usize, radix: u32| {
        let digits = std::str::from_utf8(text.get(from..to)?).ok()?;
        u32::from_str_radix(digits, radix).ok()
    };
    let char_of = |number: u32, length: usize| Some((Decoded::Char(char::from_u32(number)?), length));
    match text {
        [b'%', ..] => Some((Decoded::Byte(u8::try_from(number(1, 3, 16)?).ok()?), 3)),
        [b'+', ..] => Some((Decoded::Byte(b' '), 1)),
        [b'\\', b'u', ..] => char_of(number(2, 6, 16)?, 6),
        [b'\\', other @ (b'"' | b'\\' | b'/' | b'\''), ..] => Some((Decoded::Byte(*other), 2)),
        [b'&', b'#', rest @ ..] => {
            let end = rest.iter().take(8).position(|byte| *byte == b';')? + 2;
            let number = match rest {
                [b'x' | b'X', ..] => number(3, end, 16)?,
                _ => number(2, end, 10)?,
            };
            char_of(number, end + 1)
        }
        [b'&', ..] => {
            let names = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&apos;", '\'')];
            let (name, c) = names.into_iter().find(|(name, _)| text.starts_with(name.as_bytes()))?;
            Some((Decoded::Char(c), name.len()))
        }
        _ => None,
    }
}

/// The character at the start of `text`, and its length; what is no UTF-8 is shown as such.
fn first_char(text: &[u8]) -> (char, usize) {
    let window = text.get(..4).unwrap_or(text);
    let good = match std::str::from_utf8(window) {
        Ok(good) => good,
        Err(error) => {
            std::str::from_utf8(window.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
    };
    good.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}

#[cfg(test)]
mod tests {
    use super::Mask;
    use ::tls::Secret;

    fn told(secrets: &[&str], text: &str) -> String {
        Mask::new(secrets.iter().map(|secret| Secret::new(secret.as_bytes().to_vec()))).tell(text.as_bytes())
    }

    #[test]
    fn a_secret_is_found_in_each_form_it_is_sent_back_in() {
        let secret = r#"p"ä/\+ &w"#;
        for text in [
            r#"p"ä/\+ &w"#,
            "p%22%C3%a4%2F%5c%2b%20%26w",
            "p%22%C3%A4/%5C%2B+&w",
            r#"p\"\u00e4\/\\+ \u0026w"#,
            "p&quot;&#228;/\\&#x2b; &amp;w",
        ] {
            assert_eq!(told(&[secret], &format!("a {text} b{text}")), "a *** b***");
        }
        assert_eq!(told(&["Bearer abc", "abc"], "auth: Bearer abc, abc"), "auth: ***, ***");
        assert_eq!(told(&[r"a\\b"], r#""a\\b" "a\\\\b""#), r#""***" "***""#);
        assert_eq!(told(&["", "x"], "nothing, 100 % of it\\"), "nothing, 100 % of it\\");
    }

    #[test]
    fn what_was_cut_off_within_a_secret_shows_no_part_of_it() {
        assert_eq!(told(&["opensesame"], "it was opense"), "it was ***");
        assert_eq!(told(&["opensesame"], "it was op"), "it was op");
        let long = format!("{}opensesame", "x".repeat(495));
        assert_eq!(told(&["opensesame"], &long), format!("{}***", "x".repeat(495)));
    }

    #[test]
    fn what_is_told_is_one_short_line() {
        assert_eq!(told(&[], " a\r\nb\u{1b}[1m ä "), "a  b [1m ä");
        assert_eq!(Mask::default().tell(b"\xff\xc3"), "\u{fffd}\u{fffd}");
        assert_eq!(told(&[], &"ä".repeat(2_000)).chars().count(), 500);
    }
}
