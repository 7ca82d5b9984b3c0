// SPDX-License-Identifier: Apache-2.0
//! Moments as people type them: `10m`, `today`, `2026-01-31 07:02`, RFC 3339.

use jiff::civil::{DateTime, Time};
use jiff::{SignedDuration, Timestamp, Zoned};

/// Reads a moment. Words and local times are those of `now`'s time zone.
///
/// # Errors
/// A sentence saying what can be written instead.
///
/// Moments before and behind what an event can carry become the first and the last of those.
pub(crate) fn parse(text: &str, now: &Zoned) -> Result<u64, String> {
    let text = text.trim();
    let Some(moment) = moment(text, now) else {
        // Further than the calendar reaches, as in "until for ever".
        if is_last_year(text) {
            return Ok(u64::MAX);
        }
        return Err(format!(
            "{text:?} is no time; write 10m, 2h, 3d, today, 07:02, \"2026-01-31 07:02\" or 2026-01-31T07:02:11Z"
        ));
    };
    // Events have times from 1970 to 2554; what lies outside is before or behind all of them.
    let nanos = moment.as_nanosecond();
    Ok(u64::try_from(nanos).unwrap_or(if nanos < 0 { 0 } else { u64::MAX }))
}

/// Whether `text` is a moment of the year 9999, the last ones of which no time zone may have.
fn is_last_year(text: &str) -> bool {
    let local = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    let local = local.rsplit_once('+').map_or(local, |(local, _)| local);
    local.parse::<DateTime>().is_ok_and(|moment| moment.year() == 9_999)
}

fn moment(text: &str, now: &Zoned) -> Option<Timestamp> {
    match text {
        "now" => return Some(now.timestamp()),
        "today" => return Some(now.start_of_day().ok()?.timestamp()),
        "yesterday" => return Some(now.yesterday().ok()?.start_of_day().ok()?.timestamp()),
        _ => {}
    }
    if let Some(ago) = ago(text) {
        return now.timestamp().checked_sub(ago).ok();
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let zone = now.time_zone().clone();
    if let Ok(time) = text.parse::<Time>()
        && text.contains(':')
        && !text.contains('-')
    {
        return Some(now.date().to_datetime(time).to_zoned(zone).ok()?.timestamp());
    }
    Some(text.parse::<DateTime>().ok()?.to_zoned(zone).ok()?.timestamp())
}

/// `90s`, `10m`, `1h30m`, `3d`, `2w`.
pub(crate) fn ago(text: &str) -> Option<SignedDuration> {
    let mut total = SignedDuration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|character: char| !character.is_ascii_digit())?;
        let count: i64 = rest.get(..end)?.parse().ok()?;
        let unit = rest.get(end..)?.chars().next()?;
        let secs = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(SignedDuration::from_secs(count.checked_mul(secs)?))?;
        rest = rest.get(end + unit.len_utf8()..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::parse;
    use jiff::{Zoned, civil::date, tz::TimeZone};

    fn now() -> Zoned {
        date(2026, 1, 31).at(7, 2, 11, 0).to_zoned(TimeZone::fixed(jiff::tz::offset(2))).unwrap()
    }

    fn secs(text: &str) -> u64 {
        parse(text, &now()).unwrap() / 1_000_000_000
    }

    #[test]
    fn everything_that_is_promised() {
        let now = 1_769_835_731;
        assert_eq!(secs("now"), now);
        assert_eq!(secs("90s"), now - 90);
        assert_eq!(secs("10m"), now - 600);
        assert_eq!(secs("2h"), now - 7_200);
        assert_eq!(secs("1h30m"), now - 5_400);
        assert_eq!(secs("3d"), now - 259_200);
        assert_eq!(secs("2w"), now - 1_209_600);
        assert_eq!(secs("today"), 1_769_810_400);
        assert_eq!(secs("yesterday"), 1_769_724_000);
        assert_eq!(secs("06:00"), 1_769_832_000);
        assert_eq!(secs("2026-01-31 07:02"), 1_769_835_720);
        assert_eq!(secs("2026-01-31 07:02:11"), now);
        assert_eq!(secs("2026-01-31"), 1_769_810_400);
        assert_eq!(secs("2026-01-31T07:02:11Z"), 1_769_842_931);
        assert_eq!(secs("2026-01-31T07:02:11+02:00"), now);
    }

    #[test]
    fn far_moments_are_the_first_and_the_last() {
        for early in ["1960-01-01T00:00:00Z", "1960-01-01", "30000d"] {
            assert_eq!(parse(early, &now()).unwrap(), 0, "{early}");
        }
        for late in [
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59+02:00",
            "9999-12-31",
            "9999-12-31 23:59",
            "2600-01-01",
        ] {
            assert_eq!(parse(late, &now()).unwrap(), u64::MAX, "{late}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_hint() {
        for text in
            ["", "10", "m", "ten minutes", "-5m", "10y", "2026-13-01", "25:00", "99999999999999999999d", "5é"]
        {
            let error = parse(text, &now()).unwrap_err();
            assert!(error.contains("write 10m"), "{text}: {error}");
        }
    }
}
