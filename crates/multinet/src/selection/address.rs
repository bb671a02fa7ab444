//! Addresses as they are written in annotations.

use std::net::IpAddr;

/// Whether the text is a hardware address of 6, 8 or 20 bytes: `00:1b:…`, `00-1b-…` or `001b.…`.
pub fn is_hardware_address(text: &str) -> bool {
    let (separator, digits) = if text.contains(':') {
        (':', 2)
    } else if text.contains('-') {
        ('-', 2)
    } else {
        ('.', 4)
    };
    let mut bytes = 0;
    for group in text.split(separator) {
        if group.len() != digits || !group.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return false;
        }
        bytes += digits / 2;
    }
    matches!(bytes, 6 | 8 | 20)
}

/// Whether the text is an IP address, perhaps with a prefix length.
pub(super) fn is_address(text: &str) -> bool {
    match text.split_once('/') {
        None => text.parse::<IpAddr>().is_ok(),
        Some((address, length)) => {
            let canonical = length.parse::<u8>().ok().filter(|number| number.to_string() == length);
            match (address.parse::<IpAddr>(), canonical) {
                (Ok(IpAddr::V4(_)), Some(length)) => length <= 32,
                (Ok(IpAddr::V6(_)), Some(length)) => length <= 128,
                _ => false,
            }
        }
    }
}
