// SPDX-License-Identifier: Apache-2.0
//! Words that a POSIX shell reads back as they were.

/// One word in single quotes, inside of which nothing has a meaning.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A whole command line.
pub(crate) fn line(words: &[&str]) -> String {
    words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::line;
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};
    use std::process::Command;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The judge is the shell itself.
        #[test]
        fn the_shell_reads_back_what_was_written(words in proptest::collection::vec(any::<String>(), 1..6)) {
            let words: Vec<String> = words.iter().map(|word| word.replace('\0', "")).collect();
            let quoted = line(&words.iter().map(String::as_str).collect::<Vec<_>>());
            let script = format!("printf '%s\\0' {quoted}");
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            let read: Vec<&[u8]> = output.stdout.strip_suffix(b"\0").unwrap().split(|&b| b == 0).collect();
            prop_assert_eq!(read, words.iter().map(String::as_bytes).collect::<Vec<_>>());
        }
    }
}
