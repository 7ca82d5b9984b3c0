// SPDX-License-Identifier: Apache-2.0
//! Secrets that are known by their own shape: tokens with a prefix, key blocks, passwords in URLs.
//! Needs no name before them and no command around them.

use crate::rule::Builtin;
use crate::secret::marker_len;
use std::ops::Range;

/// A shape: the rule it belongs to, the texts one of which must be there (in any case), and the
/// expression. The first group that took part, else the whole match is the secret.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) rule: Builtin,
    pub(crate) triggers: &'static [&'static str],
    pub(crate) pattern: &'static str,
}

const fn shape(rule: Builtin, triggers: &'static [&'static str], pattern: &'static str) -> Shape {
    Shape { rule, triggers, pattern }
}

/// Every shape; at most 64, one bit each.
pub(crate) const SHAPES: &[Shape] = &[
    shape(
        Builtin::PrivateKey,
        &["private key"],
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s)*([\s\S]*?)(?:(?:\\n|\s)*-----END|\z)",
    ),
    shape(Builtin::Jwt, &["eyj"], r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}"),
    shape(
        Builtin::Aws,
        &["akia", "asia"],
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}[:,|/\s]{1,4}([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|\z)",
    ),
    shape(
        Builtin::Github,
        &["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"],
        r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_[A-Za-z0-9_]{22,}",
    ),
    shape(
        Builtin::Gitlab,
        &["glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "glsoat-", "glagent-", "glft-", "glimt-", "gloas-"],
        r"\bgl(?:pat|dt|rt|ptt|cbt|soat|agent|ft|imt|oas)-[A-Za-z0-9_.=-]{20,}",
    ),
    shape(
        Builtin::Slack,
        &["xox", "xapp-", "hooks.slack.com"],
        r"\bxox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{20,}|hooks\.slack\.com/(?:services|workflows)/([A-Za-z0-9/_-]{20,})",
    ),
    shape(
        Builtin::Stripe,
        &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"],
        r"\b[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|\bwhsec_[A-Za-z0-9+/=]{16,}",
    ),
    shape(
        Builtin::Google,
        &["aiza", "ya29.", "gocspx-"],
        r"\bAIza[A-Za-z0-9_-]{35}|\bya29\.[A-Za-z0-9_-]{20,}|\bGOCSPX-[A-Za-z0-9_-]{20,}",
    ),
    shape(Builtin::Npm, &["npm_", "pypi-"], r"\bnpm_[A-Za-z0-9]{36,}|\bpypi-[A-Za-z0-9_-]{50,}"),
    shape(
        Builtin::Vendor,
        &["hf_", "sk-", "dop_v1_", "sg.", "hvs.", "hvb.", "hvr.", "age-secret-key-", "tskey-", "dckr_pat_"],
        r"\bhf_[A-Za-z0-9]{30,}|\bsk-[A-Za-z0-9]{32,}|\bsk-(?:proj|ant|svcacct|or-v1)-[A-Za-z0-9_-]{20,}|\bdop_v1_[a-f0-9]{64}|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|\bhv[sbr]\.[A-Za-z0-9_-]{20,}|\bAGE-SECRET-KEY-1[A-Z0-9]{50,}|\btskey-[a-z]+-[A-Za-z0-9-]{10,}|\bdckr_pat_[A-Za-z0-9_-]{20,}",
    ),
    shape(
        Builtin::Vendor,
        &["shpat_", "lin_api_", "glsa_", "nrak-", "atatt3", ":aa", "/api/webhooks/"],
        r"\bshpat_[a-f0-9]{32}|\blin_api_[A-Za-z0-9]{30,}|\bglsa_[A-Za-z0-9_]{30,}|\bNRAK-[A-Z0-9]{27}|\bATATT3[A-Za-z0-9_=-]{30,}|\b(?:bot)?[0-9]{8,10}:(AA[A-Za-z0-9_-]{33})",
    ),
    shape(Builtin::Vendor, &["/api/webhooks/"], r"/api/webhooks/[0-9]{10,}/([A-Za-z0-9_-]{30,})"),
    shape(
        Builtin::Sql,
        &[
            "identified",
            "set password for",
            "password('",
            "password '",
            "password \\'",
            "password e'",
            "password e\\'",
            "password $",
            "password \\$",
        ],
        r#"(?ix)
        (?: identified \s+ (?: with \s+ [^\s;]+ \s+ )? (?: by | as ) \s+ (?: (?: password | values ) \s+ )?
          | \b set \s+ password \s+ for \s+ [^=;]{1,128}? (?: = | \s to \s ) \s* (?: password \s* \( )? \s*
          | \b password (?: \s+ | \s* \( \s* ) )
        (?: '\\'' ([^'\\]+)
          | '"'"' ([^'"]+)
          | (?: [enbx] | u& | _[a-z0-9]+ )? ' ( (?: [^'\\] | '' | \\[\s\S] )+ )
          | [en]? \\' ( (?: [^'\\] | \\'\\' | \\\\\\' )+ ) | \\{2,9} ' ([^'\\]+)
          | \\?\$ \w* \\?\$ ([^$\\]+) \\?\$ )"#,
    ),
    shape(
        Builtin::Sql,
        &["identified", "set password for"],
        r#"(?ix)
        (?: identified \s+ (?: with \s+ [^\s;]+ \s+ )? (?: by | as ) \s+ (?: password \s+ )?
          | \b set \s+ password \s+ for \s+ [^=;]{1,128}? (?: = | \s to \s ) \s* (?: password \s* \( )? \s* )
        (?: " ( (?: [^"\\] | "" | \\[\s\S] )+ ) | \\" ( (?: [^"\\] | \\"\\" | \\\\\\" )+ ) | \\{2,9} " ([^"\\]+) )"#,
    ),
    shape(
        Builtin::Piped,
        &["send \"", "send \\\"", "send -"],
        r#"(?i)ass(?:word|phrase)[^"\n]{0,40}"?[^"]{0,60}?(?:[\s;{]|\\n)(?:exp_)?send\s+(?:-[a-z-]*\s+)?(?:"((?:[^"\\$\[]|\\[^rn])(?:[^"\\]|\\[^rn])*)|\\+"([^"\\$\[][^"\\]*))"#,
    ),
    shape(
        Builtin::Piped,
        &["chpasswd"],
        r#"(?:echo|printf)\s+(?:-[neE]+\s+)?["']?[A-Za-z0-9_.-]+:([^"'|\s\\]+)(?:\\n)?["']?\s*\|[^|;&\n]{0,64}?\bchpasswd\b"#,
    ),
    shape(
        Builtin::Piped,
        &["-stdin", "passphrase-fd", "sudo -"],
        r#"(?:echo|printf)\s+(?:-[neE]+\s+)?(?:["']?%s(?:\\n)?["']?\s+)?["']?([^"'|\s]+)["']?\s*\|\s*(?:sudo\s+-[A-Za-z]*S\b|[^|;&\n]{1,200}?(?:--password-stdin|--passphrase-fd|passwd\s[^|;&\n]{0,64}?--stdin))"#,
    ),
    shape(
        Builtin::Piped,
        &["<<<"],
        r#"\bchpasswd\b[^|;&\n<]{0,64}<<<\s*\$?(?:"[A-Za-z0-9_.-]+:([^"\\]+)|'[A-Za-z0-9_.-]+:([^'\\]+)|[A-Za-z0-9_.-]+:([^"'|;&\s\\]+))"#,
    ),
    shape(
        Builtin::Piped,
        &["<<<"],
        r#"(?:sudo\s+-[A-Za-z]*S\b|--password-stdin\b|--passphrase-fd\b|\bpasswd\s[^|;&\n<]{0,64}?--stdin\b)[^|;&\n<]{0,200}<<<\s*\$?(?:"([^"]+)|'([^']+)|([^"'|;&\s]+))"#,
    ),
];

/// Longest user and password looked at in a URL.
const USERINFO_LIMIT: usize = 8192;

/// The password in a URL whose `://` ends at `at`: between the first colon and the last `@` before
/// the path. A URL with a user only, and a port, are left alone.
pub(crate) fn url_password(text: &[u8], at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let stop = |byte: &u8| b"/?#\"'<>\\`".contains(byte) || byte.is_ascii_whitespace();
    let length = rest.iter().take(USERINFO_LIMIT).position(stop).unwrap_or(rest.len().min(USERINFO_LIMIT));
    let authority = rest.get(..length)?;
    let end = match authority.iter().rposition(|byte| *byte == b'@') {
        Some(end) => end,
        None if length == USERINFO_LIMIT => length,
        None => return None,
    };
    // The colon of a marker parts nothing.
    let marker = marker_len(authority).unwrap_or(0);
    let colon = marker + authority.get(marker..end)?.iter().position(|byte| *byte == b':')?;
    Some((at + colon + 1)..(at + end))
}

/// The password in a value that is the address of a proxy and nothing else, with or without a scheme:
/// between the first colon of the user and the last `@`, whatever stands between.
pub(crate) fn proxy_password(value: &[u8]) -> Option<Range<usize>> {
    let start = value.windows(3).position(|part| part == b"://").map_or(0, |at| at + 3);
    let end = value.iter().rposition(|byte| *byte == b'@').filter(|end| *end >= start)?;
    let host = value.get(end + 1..)?;
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]%/".contains(byte);
    if host.is_empty() || !host.iter().all(is_host) {
        return None;
    }
    // The colon of a marker parts nothing.
    let user = start + marker_len(value.get(start..end)?).unwrap_or(0);
    let colon = user + value.get(user..end)?.iter().position(|byte| *byte == b':')?;
    Some((colon + 1)..end)
}

/// The password of `user:password` and `user/password`.
pub(crate) fn account_password(value: &[u8]) -> Option<Range<usize>> {
    let is_user = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.@-".contains(byte);
    let user = value.iter().take_while(|byte| is_user(byte)).count();
    match value.get(user..)? {
        [b':' | b'/', first, ..] if user > 0 && *first != b'/' => Some((user + 1)..value.len()),
        _ => None,
    }
}
