// SPDX-License-Identifier: Apache-2.0
//! Sizes and ages as people write them: `10GiB`, `30d`, and `none` for no limit.

use serde::{Deserialize, Serialize};
use std::fmt;

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// In the order in which they are tried for printing: days say more than weeks.
const AGE_UNITS: [(&str, u64); 5] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1), ("w", 7 * 86_400)];

/// A number of bytes, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(Option<u64>);

/// A number of seconds, or no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Age(Option<u64>);

impl Size {
    /// This many bytes.
    pub const fn of_bytes(bytes: u64) -> Size {
        Size(Some(bytes))
    }

    /// Bytes; `None` when there is no limit.
    pub fn bytes(self) -> Option<u64> {
        self.0
    }
}

impl Age {
    /// No limit.
    pub const fn none() -> Age {
        Age(None)
    }

    /// This many seconds.
    pub const fn of_secs(secs: u64) -> Age {
        Age(Some(secs))
    }

    /// Seconds; `None` when there is no limit.
    pub fn secs(self) -> Option<u64> {
        self.0
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Size, String> {
        read(&text, &SIZE_UNITS).map(Size).ok_or_else(|| {
            format!("{text:?} is no size; write a number and a unit, such as \"10GiB\", or \"none\"")
        })
    }
}

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Age, String> {
        read(&text, &AGE_UNITS).map(Age).ok_or_else(|| {
            format!("{text:?} is no length of time; write a number and s, m, h, d or w, such as \"30d\", or \"none\"")
        })
    }
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<Option<u64>> {
    if text == "none" {
        return Some(None);
    }
    let (suffix, factor) = units.iter().find(|(unit, _)| text.ends_with(unit))?;
    let digits = text.strip_suffix(suffix)?.trim_end();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(*factor).map(Some)
}

fn write(f: &mut fmt::Formatter<'_>, value: Option<u64>, units: &[(&str, u64)]) -> fmt::Result {
    let Some(value) = value else { return f.write_str("none") };
    let fits = |factor: u64| factor == 1 || (value != 0 && value.is_multiple_of(factor));
    match units.iter().find(|(_, factor)| fits(*factor)) {
        Some((unit, factor)) => write!(f, "{}{unit}", value / factor),
        None => write!(f, "{value}"),
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &SIZE_UNITS)
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, &AGE_UNITS)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> String {
        size.to_string()
    }
}

impl From<Age> for String {
    fn from(age: Age) -> String {
        age.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::{Age, Size};

    #[test]
    fn sizes() {
        let bytes = |text: &str| Size::try_from(text.to_string()).map(Size::bytes);
        assert_eq!(bytes("10GiB"), Ok(Some(10_737_418_240)));
        assert_eq!(bytes("64 MiB"), Ok(Some(67_108_864)));
        assert_eq!(bytes("5GB"), Ok(Some(5_000_000_000)));
        assert_eq!(bytes("100B"), Ok(Some(100)));
        assert_eq!(bytes("none"), Ok(None));
        for wrong in ["", "10", "GiB", "-1GiB", "1.5GiB", "10 gib", "99999999999TiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Size::of_bytes(10 << 30).to_string(), "10GiB");
        assert_eq!(Size::of_bytes(1_500).to_string(), "1500B");
        assert_eq!(Size::of_bytes(0).to_string(), "0B");
    }

    #[test]
    fn ages() {
        let secs = |text: &str| Age::try_from(text.to_string()).map(Age::secs);
        assert_eq!(secs("30d"), Ok(Some(2_592_000)));
        assert_eq!(secs("90m"), Ok(Some(5_400)));
        assert_eq!(secs("none"), Ok(None));
        for wrong in ["", "30", "d", "1y", "-3d", "3 days"] {
            assert!(secs(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Age::of_secs(2_592_000).to_string(), "30d");
        assert_eq!(Age::of_secs(604_800).to_string(), "7d");
        assert_eq!(Age::of_secs(90).to_string(), "90s");
        assert_eq!(Age::of_secs(0).to_string(), "0s");
        assert_eq!(secs("2w"), Ok(Some(1_209_600)));
    }
}
