// SPDX-License-Identifier: Apache-2.0
//! Arguments as a shell would read them, made of printable characters only.
//!
//! A container decides what stands in its arguments. Escape sequences, line ends, invisible
//! and direction-changing characters are spelled out, so that no argument can move the cursor,
//! hide itself or look like another line.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether `character` shows as itself and changes nothing around it.
fn is_visible(character: char) -> bool {
    if character.is_control() {
        return false;
    }
    // Unicode's format characters, fillers that show as nothing, separators of lines, tags,
    // variation selectors and non-characters.
    !matches!(character,
        '\u{00a0}' | '\u{00ad}' | '\u{034f}' | '\u{0600}'..='\u{0605}' | '\u{061c}' | '\u{06dd}' | '\u{070f}'
        | '\u{08e2}' | '\u{115f}' | '\u{1160}' | '\u{1680}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric()
        || "_@%+=:,./-".contains(character)
        || (!character.is_ascii() && is_visible(character))
}

/// One argument, quoted when it needs to be.
pub(crate) fn argument(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok("") => Cow::Borrowed("''"),
        Ok(text) if text.chars().all(is_plain) => Cow::Borrowed(text),
        Ok(text) if text.chars().all(is_visible) => Cow::Owned(format!("'{}'", text.replace('\'', "'\\''"))),
        _ => Cow::Owned(format!("$'{}'", escaped(bytes, true))),
    }
}

/// All arguments with a space between, cut behind `limit` characters with a word on the rest.
pub(crate) fn command<'a>(args: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> String {
    let mut text = String::new();
    let mut length = 0;
    let mut left = 0;
    for argument_bytes in args {
        if length > limit {
            left += argument_bytes.len() + 1;
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        // Quoting makes nothing shorter, so more bytes than this are never shown.
        let mut most = (limit - length).saturating_add(1).saturating_mul(4);
        // Not inside a character.
        while argument_bytes.get(most).is_some_and(|byte| byte & 0xc0 == 0x80) && most > 0 {
            most -= 1;
        }
        let shown = argument_bytes.get(..most).unwrap_or(argument_bytes);
        left += argument_bytes.len() - shown.len();
        let quoted = argument(shown);
        length += quoted.chars().count() + 1;
        text.push_str(&quoted);
    }
    if let Some((cut, _)) = text.char_indices().nth(limit) {
        left += text.len() - cut;
        text.truncate(cut);
    }
    if left > 0 {
        write!(text, " …(+{left} bytes)").expect("a string takes any text");
    }
    text
}

/// A name or a sentence that is not ours: as it is, with everything invisible spelled out.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_visible) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(escaped(text.as_bytes(), false))
    }
}

fn escaped(bytes: &[u8], quoted: bool) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                '\\' | '\'' if quoted => out.extend(['\\', character]),
                character if is_visible(character) => out.push(character),
                character => code(&mut out, u32::from(character)),
            }
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a string takes any text");
        }
    }
    out
}

fn code(out: &mut String, code: u32) {
    let done = match code {
        0..=0x7f => write!(out, "\\x{code:02x}"),
        0x80..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
    done.expect("a string takes any text");
}

#[cfg(test)]
mod tests {
    use super::{argument, command, harmless, is_visible};

    fn quoted(text: &str) -> String {
        argument(text.as_bytes()).into_owned()
    }

    #[test]
    fn plain_words_stay_and_others_are_quoted() {
        assert_eq!(quoted("ls"), "ls");
        assert_eq!(quoted("--color=auto"), "--color=auto");
        assert_eq!(quoted("naïve"), "naïve");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("ls /etc | wc -l"), "'ls /etc | wc -l'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted("$HOME"), "'$HOME'");
        assert_eq!(quoted("~"), "'~'");
        assert_eq!(quoted("a\\b"), "'a\\b'");
    }

    #[test]
    fn hostile_text_is_spelled_out() {
        assert_eq!(quoted("a\nb\tc\r"), "$'a\\nb\\tc\\r'");
        assert_eq!(quoted("\u{1b}[2J\u{1b}]0;title\u{7}"), "$'\\x1b[2J\\x1b]0;title\\x07'");
        assert_eq!(quoted("\u{9b}31m"), "$'\\u009b31m'");
        assert_eq!(quoted("\u{202e}txt.exe"), "$'\\u202etxt.exe'");
        assert_eq!(quoted("a\u{200b}b"), "$'a\\u200bb'");
        assert_eq!(quoted("\u{e0041}"), "$'\\U000e0041'");
        assert_eq!(quoted("\u{7f}'\\"), "$'\\x7f\\'\\\\'");
        assert_eq!(argument(b"\xff\xfeok\n"), "$'\\xff\\xfeok\\n'");
        assert_eq!(argument(b"\x1b\xff"), "$'\\x1b\\xff'");
        assert_eq!(harmless("web\u{1b}[31m\n"), "web\\x1b[31m\\n");
    }

    #[test]
    fn nothing_that_acts_on_a_terminal_gets_through() {
        for code in (0..=0x10_ffff).filter_map(char::from_u32) {
            let mut text = String::from("a");
            text.push(code);
            let shown = quoted(&text) + &harmless(&text);
            assert!(shown.chars().all(is_visible), "U+{:04X}", u32::from(code));
        }
        for byte in 0..=255u8 {
            assert!(argument(&[byte]).chars().all(|c| is_visible(c) && c != '\u{1b}'));
        }
    }

    #[test]
    fn long_commands_are_cut_with_a_word_on_it() {
        let args: [&[u8]; 3] = [b"echo", b"0123456789", b"tail"];
        assert_eq!(command(args, 100), "echo 0123456789 tail");
        assert_eq!(command(args, 10), "echo 01234 …(+10 bytes)");
        let long = vec![b'x'; 2_000_000];
        let text = command([&b"echo"[..], &long], 50);
        assert!(text.starts_with("echo xxxx") && text.chars().count() < 80, "{text}");
    }
}
