// SPDX-License-Identifier: Apache-2.0
//! Reading the arguments of a command: options with and without a value, plain words, and what
//! follows `--`. What nobody asked for is an error, never ignored.

use anyhow::{Context, Result, bail};

/// Arguments that are still to be asked for.
#[derive(Debug)]
pub(crate) struct Options {
    words: Vec<String>,
    rest: Vec<String>,
}

impl Options {
    /// Splits at the first `--`.
    pub(crate) fn new(args: &[String]) -> Options {
        let split = args.iter().position(|word| word == "--").unwrap_or(args.len());
        Options {
            words: args.iter().take(split).cloned().collect(),
            rest: args.iter().skip(split + 1).cloned().collect(),
        }
    }

    /// Takes every `name VALUE`, in order.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<String>> {
        let mut values = Vec::new();
        while let Some(at) = self.words.iter().position(|word| word == name) {
            if at + 1 == self.words.len() {
                bail!("{name} needs a value");
            }
            values.push(self.words.remove(at + 1));
            self.words.remove(at);
        }
        Ok(values)
    }

    /// Takes `name NUMBER`; the last one counts.
    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>> {
        let Some(value) = self.values(name)?.pop() else { return Ok(None) };
        value.parse().map(Some).with_context(|| format!("{name} needs a whole number, not {value:?}"))
    }

    /// Takes `name`; says whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() < before
    }

    /// Ends the reading: the plain words and what followed `--`.
    ///
    /// # Errors
    /// An option that was not taken.
    pub(crate) fn finish(self) -> Result<(Vec<String>, Vec<String>)> {
        if let Some(unknown) = self.words.iter().find(|word| word.starts_with('-')) {
            bail!("unknown option {unknown}");
        }
        Ok((self.words, self.rest))
    }

    /// Ends the reading of a command that takes neither plain words nor anything after `--`.
    pub(crate) fn finish_empty(self) -> Result<()> {
        let (words, rest) = self.finish()?;
        if let Some(word) = words.iter().chain(&rest).next() {
            bail!("unexpected argument {word:?}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Options {
        Options::new(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn takes_values_flags_and_the_rest() {
        let mut options = options("a --file x:y --seconds 7 --file p:q b --all -- --file z");
        assert_eq!(options.values("--file").unwrap(), ["x:y", "p:q"]);
        assert_eq!(options.number("--seconds").unwrap(), Some(7));
        assert!(options.flag("--all"));
        assert!(!options.flag("--all"));
        let (words, rest) = options.finish().unwrap();
        assert_eq!(words, ["a", "b"]);
        assert_eq!(rest, ["--file", "z"]);
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        assert!(options("--seconds").number("--seconds").is_err());
        assert!(options("--seconds soon").number("--seconds").is_err());
        assert!(options("--unknown").finish().is_err());
        assert!(options("word").finish_empty().is_err());
        assert!(options("-- word").finish_empty().is_err());
    }
}
