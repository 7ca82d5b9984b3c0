// SPDX-License-Identifier: Apache-2.0
//! What counts as a secret once its place is known, and the marker that takes its place.
//! Never looks at names or commands.

use std::ops::Range;

/// Where one secret stands: the number of the argument and its byte range in it.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) arg: usize,
    pub(crate) at: Range<usize>,
}

const OPEN: &[u8] = b"[redacted:";

/// Digits a length can have.
const DIGIT_LIMIT: usize = 20;

/// Words that stand where a secret could stand and say only yes, no or nothing.
const PLAIN_WORDS: &[&[u8]] = &[
    b"true", b"false", b"yes", b"no", b"on", b"off", b"null", b"none", b"nil", b"0", b"1", b".*", b".+",
    b"...",
];

/// Whether `value` is worth hiding. `expands` says that a shell still replaces `$NAME` in it.
pub(crate) fn is_secret(value: &[u8], expands: bool) -> bool {
    !(value.is_empty()
        || is_marker(value)
        || value.iter().all(|byte| *byte == b'*')
        || PLAIN_WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
        || is_placeholder(value)
        || (expands && is_expansion(value)))
}

/// Whether `value` is exactly one marker, as [`replace`] writes it.
pub(crate) fn is_marker(value: &[u8]) -> bool {
    marker_len(value) == Some(value.len())
}

/// The length of the marker at the start of `text`.
pub(crate) fn marker_len(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(OPEN)?;
    let digits = rest.iter().take(DIGIT_LIMIT).take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0 && rest.get(digits) == Some(&b']')).then_some(OPEN.len() + digits + 1)
}

/// Whether the range lies inside one marker, so that nothing is left there to hide.
pub(crate) fn inside_marker(text: &[u8], at: &Range<usize>) -> bool {
    let from = at.start.saturating_sub(OPEN.len() + DIGIT_LIMIT);
    let before = text.get(from..at.start).unwrap_or_default();
    before.iter().rposition(|byte| *byte == b'[').is_some_and(|open| {
        let open = from + open;
        let length = text.get(open..).and_then(marker_len);
        length.is_some_and(|length| open + length >= at.end)
    })
}

/// `<password>` and `{{ password }}`: a hole somebody or something fills later.
fn is_placeholder(value: &[u8]) -> bool {
    const LIMIT: usize = 64;
    let inner = match value {
        [b'{', b'{', inner @ .., b'}', b'}'] | [b'<', inner @ .., b'>'] => inner,
        _ => return false,
    };
    inner.len() <= LIMIT && inner.iter().all(|byte| byte.is_ascii_alphabetic() || b" _-.".contains(byte))
}

/// `$NAME`, `${NAME}`, `$1`, `$(command)`, backquotes: the shell has not put the secret in yet.
/// `${NAME:-default}` may hold the secret itself and does not count.
fn is_expansion(value: &[u8]) -> bool {
    let is_name = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    match value {
        [b'`', ..] | [b'$', b'(', ..] | [b'$'] => true,
        [b'$', b'{', name @ .., b'}'] => is_name(name),
        [b'$', b'@' | b'*' | b'#' | b'?' | b'!'] => true,
        [b'$', name @ ..] => is_name(name),
        _ => false,
    }
}

/// Replaces the spans of one argument by markers; spans that touch the same bytes become one.
/// Returns how many markers were written.
pub(crate) fn replace(arg: &mut Vec<u8>, spans: &mut [Span]) -> u32 {
    spans.sort_by_key(|span| (span.at.start, span.at.end));
    let mut out = Vec::with_capacity(arg.len());
    let (mut copied, mut count) = (0, 0);
    let mut rest = spans.iter().peekable();
    while let Some(span) = rest.next() {
        let (start, mut end) = (span.at.start, span.at.end);
        while let Some(next) = rest.next_if(|next| next.at.start < end) {
            end = end.max(next.at.end);
        }
        out.extend_from_slice(arg.get(copied..start).unwrap_or_default());
        out.extend_from_slice(format!("[redacted:{}]", end - start).as_bytes());
        copied = end;
        count += 1;
    }
    out.extend_from_slice(arg.get(copied..).unwrap_or_default());
    *arg = out;
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansions_are_secrets_only_where_no_shell_follows() {
        for value in [&b"$PASS"[..], b"${PASS}", b"$(cat f)", b"`cat f`", b"$1", b"$"] {
            assert!(!is_secret(value, true), "{}", value.escape_ascii());
            assert!(is_secret(value, false), "{}", value.escape_ascii());
        }
        assert!(is_secret(b"${PASS:-hunter2}", true));
        assert!(is_secret(b"$PASS-and-more", true));
    }

    #[test]
    fn a_forged_marker_with_a_tail_is_still_a_secret() {
        assert!(!is_secret(b"[redacted:7]", false));
        assert!(is_secret(b"[redacted:7]hunter2", false));
        assert!(is_secret(b"[redacted:]", false));
    }

    #[test]
    fn touching_spans_become_one_marker() {
        let mut arg = b"a secret here".to_vec();
        let mut spans = [Span { arg: 0, at: 2..8 }, Span { arg: 0, at: 4..6 }, Span { arg: 0, at: 9..13 }];
        assert_eq!(replace(&mut arg, &mut spans), 2);
        assert_eq!(arg, b"a [redacted:6] [redacted:4]");
    }
}
