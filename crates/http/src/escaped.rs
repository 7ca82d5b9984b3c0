// SPDX-License-Identifier: Apache-2.0
//! Text in paths and queries.

/// As one part of a path or a query, whatever is in it.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn anything_is_one_part() {
        assert_eq!(escaped("web-1_x.y"), "web-1_x.y");
        assert_eq!(escaped("../a b?\r\n%"), "..%2Fa%20b%3F%0D%0A%25");
        assert_eq!(escaped("a:b/c d,é"), "a%3Ab%2Fc%20d%2C%C3%A9");
    }
}
