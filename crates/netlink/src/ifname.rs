//! Names that an interface can be given.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest name the kernel takes, in bytes.
pub const IF_NAME_MAX: usize = 15;

/// An interface name the kernel takes as it is: 1 to 15 bytes, no `/`, `:`, `%` or white space, and neither
/// `.` nor `..`. (With a `%` the kernel would read it as a pattern and number it. The byte 0xa0 is white space to it.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IfName(String);

/// A text that the kernel doesn't take as an interface name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} can't be an interface name: use 1 to 15 bytes without '/', ':', '%' or white space, and neither \".\" nor \"..\""
)]
pub struct InvalidIfName(pub String);

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for IfName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for IfName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<String> for IfName {
    fn eq(&self, other: &String) -> bool {
        &self.0 == other
    }
}

impl FromStr for IfName {
    type Err = InvalidIfName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for IfName {
    type Error = InvalidIfName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = (1..=IF_NAME_MAX).contains(&text.len());
        // By bytes, as the kernel goes: to it 0xa0 is white space, also as a part of a letter such as `à`.
        let forbidden =
            |byte: u8| matches!(byte, b'/' | b':' | b'%' | 0 | 0x0b | 0xa0) || byte.is_ascii_whitespace();
        if !fits || text == "." || text == ".." || text.bytes().any(forbidden) {
            return Err(InvalidIfName(text));
        }
        Ok(Self(text))
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests;
