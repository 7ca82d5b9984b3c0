// SPDX-License-Identifier: Apache-2.0
//! Values as systemd reads them back: specifiers (`%`), words, and command lines.
//! See systemd.syntax(7) and systemd.service(5), "Command lines".

/// A value that is taken as it is, but for specifiers.
pub(super) fn specifiers(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word of a list, in double quotes where it needs them. For words without control characters.
pub(super) fn word(text: &str) -> String {
    quoted(text)
}

/// A command line. The colon has systemd take `$` as it is: there are no variables in it.
pub(super) fn command(words: &[&str]) -> String {
    prefixed(":", words)
}

/// A command line that may fail.
pub(super) fn optional(words: &[&str]) -> String {
    prefixed("-:", words)
}

fn prefixed(prefix: &str, words: &[&str]) -> String {
    let mut words = words.iter();
    let program = words.next().map(|program| quoted(program)).unwrap_or_default();
    let program = match program.strip_prefix('"') {
        // Prefixes stand within the quotes.
        Some(rest) => format!("\"{prefix}{rest}"),
        None => format!("{prefix}{program}"),
    };
    words.fold(program, |line, word| format!("{line} {}", quoted(word)))
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+$".contains(c) || !c.is_ascii();
    let text = specifiers(text);
    // A word of nothing but a semicolon would end the command; quotes make it a word.
    if !text.is_empty() && text.chars().all(|c| plain(c) || c == '%') {
        return text;
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{command, optional};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    /// What systemd.syntax(7) says about reading words back, written down a second time: quotes, the
    /// escapes of C, and then `%%`.
    fn read(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut chars = line.chars().peekable();
        while let Some(&first) = chars.peek() {
            if first == ' ' {
                chars.next();
                continue;
            }
            let mut word = Vec::new();
            let mut quote = None;
            while let Some(c) = chars.next() {
                let mut utf8 = [0; 4];
                match (c, quote) {
                    (' ', None) => break,
                    ('"' | '\'', None) => quote = Some(c),
                    (c, Some(open)) if c == open => quote = None,
                    ('\\', _) => word.push(match chars.next().unwrap() {
                        'n' => b'\n',
                        't' => b'\t',
                        'x' => {
                            let digits: String =
                                [chars.next().unwrap(), chars.next().unwrap()].iter().collect();
                            u8::from_str_radix(&digits, 16).unwrap()
                        }
                        c @ ('"' | '\'' | '\\') => u8::try_from(c).unwrap(),
                        other => panic!("unknown escape {other:?}"),
                    }),
                    (c, _) => word.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
                }
            }
            assert_eq!(quote, None, "an open quote");
            let word = String::from_utf8(word).unwrap();
            assert!(!word.replace("%%", "").contains('%'), "a specifier in {word:?}");
            words.push(word.replace("%%", "%"));
        }
        words
    }

    proptest! {
        #[test]
        fn systemd_reads_back_what_was_written(
            program in "/[^\\p{Cc}\"'\\\\]{1,20}",
            arguments in proptest::collection::vec(any::<String>(), 0..6),
        ) {
            let arguments: Vec<String> = arguments.iter().map(|word| word.replace('\0', "")).collect();
            let mut words = vec![program.as_str()];
            words.extend(arguments.iter().map(String::as_str));
            let line = command(&words);
            prop_assert!(!line.contains('\n') && !line.ends_with('\\'), "{line}");
            let mut back = read(&line);
            prop_assert_eq!(back[0].strip_prefix(':'), Some(program.as_str()));
            back[0].remove(0);
            prop_assert_eq!(back, words);
        }
    }

    #[test]
    fn what_it_looks_like() {
        assert_eq!(
            command(&["/bin/echo", "a b", "$HOME", "100%", ""]),
            ":/bin/echo \"a b\" $HOME 100%% \"\""
        );
        assert_eq!(
            command(&["/opt/a b/x", ";", "it's", "\u{7}"]),
            "\":/opt/a b/x\" \";\" \"it's\" \"\\x07\""
        );
        assert_eq!(optional(&["/opt/a b/x", "y"]), "\"-:/opt/a b/x\" y");
    }
}
