// SPDX-License-Identifier: Apache-2.0
//! This host and this boot, as far as commands print them.

/// The host's name, empty when it has none.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The id of this boot; zeroes when /proc cannot be read, which no event carries.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    parse_boot_id(&text).unwrap_or_default()
}

fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|&digit| digit != '-').collect();
    let mut id = [0u8; 16];
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    for (byte, place) in id.iter_mut().zip(0..) {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(id)
}

#[cfg(test)]
mod tests {
    #[test]
    fn boot_ids() {
        let id = super::parse_boot_id("00010203-0405-0607-0809-0a0b0c0d0eff\n").unwrap();
        assert_eq!(id, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(super::parse_boot_id("nonsense"), None);
        assert_eq!(super::parse_boot_id(&"é".repeat(16)), None);
        assert_ne!(super::boot_id(), [0; 16]);
    }
}
