//! Walking through what the kernel says.
//!
//! Only what's needed is looked at, one attribute after the other: one that a newer kernel adds, or that somebody
//! else's link has, can't make an answer unreadable. And the packet crate's own types read "unknown" as "off".

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;

/// The flags in an attribute's type: nested, network byte order.
const TYPE_FLAGS: u16 = 0xc000;

/// An attribute's header.
const HEADER: usize = 4;

/// An attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attribute<'a> {
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
    /// All that follows the attribute's header, whatever its length says.
    pub(crate) rest: &'a [u8],
}

/// The attributes in some bytes. After an error there are no more.
#[derive(Clone, Debug)]
pub(crate) struct Attributes<'a> {
    bytes: &'a [u8],
}

/// An attribute that's longer than what holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overlong<'a> {
    pub(crate) kind: u16,
    /// All that follows the attribute's header.
    pub(crate) rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Overlong<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.bytes);
        let (header, rest) = bytes.split_at_checked(HEADER)?;
        let [a, b, c, d] = *header else { return None };
        let (length, kind) = (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]) & !TYPE_FLAGS);
        let length = usize::from(length);
        let Some(value) = bytes.get(HEADER..length) else { return Some(Err(Overlong { kind, rest })) };
        self.bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Attribute { kind, value, rest }))
    }
}

pub(crate) fn u16_of(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().copied().map(u16::from_ne_bytes)
}

pub(crate) fn u32_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().copied().map(u32::from_ne_bytes)
}

pub(crate) fn u64_of(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().copied().map(u64::from_ne_bytes)
}

pub(crate) fn i32_of(bytes: &[u8]) -> Option<i32> {
    bytes.first_chunk().copied().map(i32::from_ne_bytes)
}

/// The `place`th 32-bit number in a structure of such.
pub(crate) fn word(bytes: &[u8], place: usize) -> Option<u32> {
    bytes.get(4 * place..).and_then(u32_of)
}

/// Text up to its terminating zero, which may be missing.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(until_zero(bytes)).into_owned()
}

/// The same with its bytes kept.
pub(crate) fn os_text_of(bytes: &[u8]) -> OsString {
    OsString::from_vec(until_zero(bytes).to_vec())
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// An address of either family.
pub(crate) fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

#[cfg(test)]
pub(crate) mod tests;
