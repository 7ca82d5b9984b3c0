// SPDX-License-Identifier: Apache-2.0
//! Secrets that are known by their own shape: tokens with a prefix, key blocks, passwords in URLs.
//! Needs no name before them and no command around them.

use crate::rule::Builtin;
use crate::secret::marker_len;
use std::ops::Range;

/// A shape: the rule it belongs to, the texts one of which must be there (in any case), and the
/// expression. The group `secret`, else the first group, else the whole match is the secret.
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
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s)*(?P<secret>[\s\S]*?)(?:(?:\\n|\s)*-----END|\z)",
    ),
    shape(Builtin::Jwt, &["eyj"], r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}"),
    shape(
        Builtin::Aws,
        &["akia", "asia"],
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}[:,|/\s]{1,4}(?P<secret>[A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|\z)",
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
        r"\bxox[abceoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{20,}|hooks\.slack\.com/(?:services|workflows)/(?P<secret>[A-Za-z0-9/_-]{20,})",
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
        r"\bshpat_[a-f0-9]{32}|\blin_api_[A-Za-z0-9]{30,}|\bglsa_[A-Za-z0-9_]{30,}|\bNRAK-[A-Z0-9]{27}|\bATATT3[A-Za-z0-9_=-]{30,}|\b(?:bot)?[0-9]{8,10}:(?P<secret>AA[A-Za-z0-9_-]{33})",
    ),
    shape(Builtin::Vendor, &["/api/webhooks/"], r"/api/webhooks/[0-9]{10,}/(?P<secret>[A-Za-z0-9_-]{30,})"),
    shape(
        Builtin::Sql,
        &["identified", "password '", "password('", "password \\'"],
        r#"(?i)(?:identified\s+(?:with\s+[^\s;]+\s+)?(?:by|as)\s+(?:password\s+)?|\bpassword\s*\(?\s*)\\?'(?P<secret>[^'\\]+)"#,
    ),
    shape(
        Builtin::Piped,
        &["chpasswd"],
        r#"(?:echo|printf)\s+(?:-[neE]+\s+)?["']?[A-Za-z0-9_.-]+:(?P<secret>[^"'|\s\\]+)(?:\\n)?["']?\s*\|[^|;&\n]{0,64}?\bchpasswd\b"#,
    ),
    shape(
        Builtin::Piped,
        &["-stdin", "sudo -"],
        r#"(?:echo|printf)\s+(?:-[neE]+\s+)?(?:["']?%s(?:\\n)?["']?\s+)?["']?(?P<secret>[^"'|\s]+)["']?\s*\|\s*(?:sudo\s+-[A-Za-z]*S\b|[^|;&\n]{1,200}?(?:--password-stdin|--passphrase-fd|passwd\s+--stdin))"#,
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
