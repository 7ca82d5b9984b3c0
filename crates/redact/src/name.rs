// SPDX-License-Identifier: Apache-2.0
//! Names that announce a secret: how they end, where they begin, which look alike and are none.
//! Sees only the name, never its value.

use std::ops::Range;

/// The ending of a name, and what its values look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Name {
    /// Lower case; compared without regard to case.
    pub(crate) ending: &'static str,
    pub(crate) class: Class,
    /// The ending must be a word of its own (`db_pass`, not `compass`).
    own_word: bool,
}

/// What the value of a name looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The value is the secret.
    Plain,
    /// As `Plain`, but a path is no secret (`GOOGLE_APPLICATION_CREDENTIALS=/key.json`).
    OftenPath,
    /// An HTTP authorization: a scheme, then the secret.
    Authorization,
    /// The address of a proxy, with or without a scheme, whose password is the secret.
    Proxy,
    /// `user:password` or `user/password`; anything else is no secret.
    Account,
    /// HTTP cookies: the whole value is the secret, and only after a colon.
    Cookie,
}

const fn plain(ending: &'static str) -> Name {
    Name { ending, class: Class::Plain, own_word: false }
}

const fn path(ending: &'static str) -> Name {
    Name { ending, class: Class::OftenPath, own_word: false }
}

/// Every ending. AWS access key ids (`aws_access_key_id=AKIA…`) are left readable on purpose:
/// they name a key without opening anything, and an investigation needs them.
pub(crate) const NAMES: &[Name] = &[
    plain("password"),
    plain("passwd"),
    plain("passphrase"),
    plain("passcode"),
    plain("sshpass"),
    plain("requirepass"),
    plain("masterauth"),
    plain("rediscli_auth"),
    plain("storepass"),
    plain("keypass"),
    plain("bindpw"),
    plain("rootpw"),
    plain("secret"),
    plain("secret-string"),
    plain("secret_key_base"),
    plain("token"),
    plain("api_key"),
    plain("api-key"),
    plain("apikey"),
    plain("access_key"),
    plain("access-key"),
    plain("accesskey"),
    plain("secret_key"),
    plain("secret-key"),
    plain("secretkey"),
    plain("encryption_key"),
    plain("encryption-key"),
    plain("encryptionkey"),
    plain("master_key"),
    plain("master-key"),
    plain("fernet_key"),
    plain("fernet-key"),
    plain("unseal_key"),
    plain("unseal-key"),
    plain("signing_key"),
    plain("signing-key"),
    plain("auth_key"),
    plain("auth-key"),
    plain("authkey"),
    plain("account_key"),
    plain("account-key"),
    plain("accountkey"),
    plain("x-amz-signature"),
    plain(":_auth"),
    path("private_key"),
    path("private-key"),
    path("privatekey"),
    path("credential"),
    path("credentials"),
    Name { ending: "pass", class: Class::Plain, own_word: true },
    Name { ending: "pwd", class: Class::OftenPath, own_word: true },
    Name { ending: "psk", class: Class::Plain, own_word: true },
    Name { ending: "pw", class: Class::OftenPath, own_word: true },
    Name { ending: "app_key", class: Class::Plain, own_word: true },
    Name { ending: "_proxy", class: Class::Proxy, own_word: false },
    Name { ending: "http.proxy", class: Class::Proxy, own_word: false },
    Name { ending: "https.proxy", class: Class::Proxy, own_word: false },
    Name { ending: "_auth", class: Class::Account, own_word: false },
    Name { ending: "_creds", class: Class::Account, own_word: false },
    Name { ending: "authorization", class: Class::Authorization, own_word: false },
    Name { ending: "cookie", class: Class::Cookie, own_word: false },
];

/// Longest name looked at; bytes before that are taken as part of something else.
const NAME_LIMIT: usize = 128;

/// Names that end like a secret and hold a place in a list, a choice or a question.
const HARMLESS: &[&str] = &[
    "nexttoken",
    "pagetoken",
    "startingtoken",
    "continuationtoken",
    "idempotencytoken",
    "clientrequesttoken",
    "clienttoken",
    "padtoken",
    "eostoken",
    "bostoken",
    "maskedtoken",
    "stoptoken",
    "authuserpass",
];

/// First words of options that switch something instead of carrying a secret.
const SWITCHES: &[&[u8]] = &[
    b"no",
    b"ask",
    b"prompt",
    b"with",
    b"use",
    b"has",
    b"skip",
    b"show",
    b"print",
    b"require",
    b"allow",
    b"enable",
    b"disable",
    b"generate",
    b"change",
    b"reset",
    b"force",
    b"hide",
    b"without",
];

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

/// The range of the whole name whose ending was found at `hit`, or `None` when the name goes on
/// after the ending, begins inside another word, is a shell variable being read, or is harmless.
pub(crate) fn whole(text: &[u8], hit: Range<usize>, name: &Name) -> Option<Range<usize>> {
    let mut end = hit.end;
    // `password1`, `token2`: numbered fields.
    while end < hit.end + 2 && text.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    if text.get(end).is_some_and(|byte| is_name_byte(*byte)) {
        return None;
    }
    let head = text.get(..hit.start)?;
    let back = head.iter().rev().take(NAME_LIMIT).take_while(|byte| is_name_byte(**byte)).count();
    let start = hit.start - back;
    if name.own_word && back > 0 && !begins_word(text, hit.start) {
        return None;
    }
    // Two letters are too few to take a capital for a new word: `-ps3cretPW`.
    if name.ending.len() == 2 && head.last().is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    if matches!(text.get(..start)?, [.., b'$'] | [.., b'$', b'{']) {
        return None;
    }
    let whole = text.get(start..end)?;
    (!is_harmless(whole)).then_some(start..end)
}

/// Whether a new word starts at `at`: after `_`, `-`, `.`, or by a capital after a small letter.
fn begins_word(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|index| text.get(index));
    match (before, text.get(at)) {
        (Some(b'_' | b'-' | b'.'), _) => true,
        (Some(before), Some(first)) => before.is_ascii_lowercase() && first.is_ascii_uppercase(),
        _ => true,
    }
}

fn is_harmless(name: &[u8]) -> bool {
    let mut letters = [0_u8; NAME_LIMIT];
    let mut used = 0;
    for (slot, byte) in letters.iter_mut().zip(name.iter().filter(|byte| byte.is_ascii_alphanumeric())) {
        *slot = byte.to_ascii_lowercase();
        used += 1;
    }
    let letters = letters.get(..used).unwrap_or_default();
    HARMLESS.iter().any(|harmless| letters.ends_with(harmless.as_bytes()))
}

/// Whether `option` (with its dashes) is a switch such as `--no-password` or `--ask-pass`.
pub(crate) fn is_switch(option: &[u8]) -> bool {
    let bare = option.trim_ascii_start();
    let dashes = bare.iter().take_while(|byte| **byte == b'-').count();
    let bare = bare.get(dashes..).unwrap_or_default();
    SWITCHES.iter().any(|word| bare.strip_prefix(*word).is_some_and(|rest| rest.starts_with(b"-")))
}

/// Whether `value` of the option `name` chooses among kinds of tokens, as in `etcd --auth-token=simple`.
pub(crate) fn is_choice(name: &[u8], value: &[u8]) -> bool {
    name == b"--auth-token" && (value == b"simple" || value.starts_with(b"jwt,"))
}

/// Whether a value of an `OftenPath` name is a path and no secret.
pub(crate) fn is_path(value: &[u8]) -> bool {
    let value = value.strip_prefix(b"file:").unwrap_or(value);
    matches!(value, [b'/' | b'~', ..] | [b'.', b'/', ..] | [b'.', b'.', b'/', ..] | [b'@', ..])
        || [&b".pem"[..], b".json", b".key", b".yaml", b".yml"].iter().any(|end| value.ends_with(end))
}
