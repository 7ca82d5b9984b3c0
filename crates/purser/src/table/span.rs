// SPDX-License-Identifier: Apache-2.0
//! Lengths of time, sizes and large numbers for people.

/// Nanoseconds as `0.8ms`, `2.0s`, `3m05s`, `2h07m` or `4d03h`.
pub(crate) fn duration(ns: u64) -> String {
    let tenths_of_ms = ns / 100_000;
    let secs = ns / 1_000_000_000;
    match secs {
        0 => format!("{}.{}ms", tenths_of_ms / 10, tenths_of_ms % 10),
        1..60 => format!("{secs}.{}s", tenths_of_ms / 1_000 % 10),
        60..3_600 => format!("{}m{:02}s", secs / 60, secs % 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d{:02}h", secs / 86_400, secs / 3_600 % 24),
    }
}

/// A number with commas: `1,204,332`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as `512 B`, `1.5 KiB`, `3.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if count >> shift > 0 {
            let tenths = (u128::from(count) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{count} B")
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, grouped};

    #[test]
    fn lengths_of_time() {
        assert_eq!(duration(0), "0.0ms");
        assert_eq!(duration(812_000), "0.8ms");
        assert_eq!(duration(3_190_000), "3.1ms");
        assert_eq!(duration(999_999_999), "999.9ms");
        assert_eq!(duration(2_040_000_000), "2.0s");
        assert_eq!(duration(185_000_000_000), "3m05s");
        assert_eq!(duration(7_620_000_000_000), "2h07m");
        assert_eq!(duration(u64::MAX), "213503d23h");
    }

    #[test]
    fn large_numbers() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_204_332), "1,204,332");
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1_536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16777215.9 TiB");
    }
}
