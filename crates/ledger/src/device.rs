//! The key of a device in the ledger.

use std::fmt;
use std::str::FromStr;

/// The longest key, in bytes. Kubelet documents 63 for a device ID.
const MAX_LEN: usize = 63;

/// A device's key, which is also the first part of its files' names: for a virtual function its PCI address.
///
/// It holds 1 to 63 ASCII letters, digits, `:`, `.`, `_` and `-`, and begins with a letter or a digit, so that
/// it can't leave the ledger's directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device(String);

/// A string that can't be a device's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} can't name a device: use 1 to {MAX_LEN} letters, digits, ':', '.', '_' and '-', a letter or digit first"
)]
pub struct InvalidDevice(String);

impl Device {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Device {
    type Err = InvalidDevice;

    fn from_str(text: &str) -> Result<Self, InvalidDevice> {
        let well_begun = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let well_formed = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":._-".contains(&byte));
        if well_begun && well_formed && text.len() <= MAX_LEN {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidDevice(text.to_owned()))
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0000:01:10.0")]
    #[case("mlx5_core.sf.4")]
    #[case("a")]
    fn accepts(#[case] text: &str) {
        assert_eq!(text.parse::<Device>().unwrap().as_str(), text);
    }

    #[rstest]
    #[case("")]
    #[case(".")]
    #[case("..")]
    #[case("../etc/passwd")]
    #[case(".hidden")]
    #[case("a/b")]
    #[case("a\0b")]
    #[case("a b")]
    #[case("ä")]
    #[case(&"a".repeat(64))]
    fn refuses(#[case] text: &str) {
        assert!(text.parse::<Device>().is_err());
    }
}
