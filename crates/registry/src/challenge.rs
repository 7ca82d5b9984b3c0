// SPDX-License-Identifier: Apache-2.0
//! `WWW-Authenticate`: how a registry wants to be told who we are (RFC 9110, 11.6.1).

/// Longest header that is looked at.
const LIMIT: usize = 8 << 10;

/// One way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    /// A token from the server at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// All ways that are known, in the order in which they are named.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = header.get(..LIMIT).unwrap_or(header).trim_start();
    while !rest.is_empty() {
        let (scheme, after) = word(rest);
        if scheme.is_empty() {
            break;
        }
        let (parameters, after) = parameters(after);
        let find = |name: &str| {
            parameters.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = find("realm")
        {
            challenges.push(Challenge::Bearer { realm, service: find("service"), scope: find("scope") });
        }
        rest = after;
    }
    challenges
}

/// `name=value` or `name="value"` with commas between, up to the next scheme, which has no `=` behind it.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        let at = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = word(at);
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            return (found, at);
        };
        if name.is_empty() {
            return (found, "");
        }
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted_text(quoted),
            None => {
                let (value, after) = word(value);
                (value.to_string(), after)
            }
        };
        found.push((name.to_string(), value));
        rest = after;
    }
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find([' ', '\t', ',', '=', '"']).unwrap_or(text.len());
    text.split_at(end)
}

fn quoted_text(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::{Challenge, parse};
    use proptest::prelude::{any, proptest};

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_string(),
            service: service.map(str::to_string),
            scope: scope.map(str::to_string),
        };
        assert_eq!(
            parse("Bearer realm=\"https://a.example/token\",service=\"r\",scope=\"repository:x:pull,push\""),
            [bearer("https://a.example/token", Some("r"), Some("repository:x:pull,push"))]
        );
        assert_eq!(
            parse("Basic realm=\"a, b\", bearer realm=x , Digest nonce=\"\\\"\""),
            [Challenge::Basic, bearer("x", None, None)]
        );
        assert_eq!(parse("Basic"), [Challenge::Basic]);
        for nothing in ["", "Bearer service=x", ", ,", "=", "\"", "Negotiate abc=="] {
            assert_eq!(parse(nothing), [], "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_or_hangs(text in any::<String>(), other in "[a-zB =\",\\\\]{0,60}") {
            parse(&text);
            parse(&other);
        }
    }
}
