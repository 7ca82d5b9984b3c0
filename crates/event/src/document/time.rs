// SPDX-License-Identifier: Apache-2.0
//! Timestamps in documents: RFC 3339 in UTC with nanoseconds. No time zones, no parsing.

use super::short::Short;

/// Nanoseconds since the Unix epoch as `2026-01-31T07:02:11.532000001Z`.
pub fn rfc3339(time_ns: u64) -> String {
    short_rfc3339(time_ns).as_str().to_string()
}

pub(super) fn short_rfc3339(time_ns: u64) -> Short {
    let (seconds, nanos) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let date = Short::new().decimal(year, 4).byte(b'-').decimal(month, 2).byte(b'-').decimal(day, 2);
    let time = date.byte(b'T').decimal(hour, 2).byte(b':').decimal(minute, 2).byte(b':').decimal(second, 2);
    time.byte(b'.').decimal(nanos, 9).byte(b'Z')
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. Counts in
/// years that begin in March, so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn knows_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(951_782_400_000_000_000), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(rfc3339(1_767_225_599_000_000_001), "2025-12-31T23:59:59.000000001Z");
        assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33.709551615Z");
    }
}
