//! InfiniBand's identifiers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The globally unique identifier of an InfiniBand node or port: eight bytes, printed in lower case with colons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid(pub [u8; 8]);

/// A text that isn't a GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no GUID: write eight bytes in hexadecimal with colons, like 02:00:00:00:00:00:00:0a")]
pub struct InvalidGuid(pub String);

impl Guid {
    /// All bits set: what a VF is given in place of a GUID, so that it has none.
    pub const NONE: Self = Self([0xff; 8]);

    /// Whether a port can have it as its own: neither all zero, which a VF shows that was never given any, nor
    /// [`Guid::NONE`].
    pub fn is_usable(self) -> bool {
        self != Self::default() && self != Self::NONE
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl FromStr for Guid {
    type Err = InvalidGuid;

    /// Eight bytes with colons, or sixteen digits.
    fn from_str(text: &str) -> Result<Self, InvalidGuid> {
        let invalid = || InvalidGuid(text.to_owned());
        let has_colons = text.len() == 23 && text.bytes().skip(2).step_by(3).all(|byte| byte == b':');
        let digits = if has_colons { text.replace(':', "") } else { text.to_owned() };
        if digits.len() != 16 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(invalid());
        }
        u64::from_str_radix(&digits, 16).map(|number| Self(number.to_be_bytes())).map_err(|_parse| invalid())
    }
}

impl TryFrom<String> for Guid {
    type Error = InvalidGuid;

    fn try_from(text: String) -> Result<Self, InvalidGuid> {
        text.parse()
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> Self {
        guid.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("02:00:00:00:00:00:00:0a")]
    #[case("020000000000000a")]
    #[case("020000000000000A")]
    fn a_guid_is_read(#[case] text: &str) {
        assert_eq!(text.parse(), Ok(Guid([2, 0, 0, 0, 0, 0, 0, 10])));
    }

    #[rstest]
    #[case("")]
    #[case("02:00:00:00:00:00:00")]
    #[case("02:00:00:00:00:00:00:0a:")]
    #[case("02:00:00:00:00:00:00:+a")]
    #[case("02-00-00-00-00-00-00-0a")]
    #[case("0200:00:00:00:00:00:000a")]
    #[case("02:00:00:00:0000:00:000a")]
    #[case("02000000000000a")]
    #[case("0x0200000000000a")]
    #[case("02:00:00:00:00:00:00:ä")]
    fn what_is_no_guid_is_refused_with_an_example(#[case] text: &str) {
        let error = text.parse::<Guid>().unwrap_err().to_string();
        assert!(error.contains("like 02:00:00:00:00:00:00:0a"), "{error}");
    }

    #[rstest]
    #[case("00:00:00:00:00:00:00:00", false)]
    #[case("ff:ff:ff:ff:ff:ff:ff:ff", false)]
    #[case("ff:ff:ff:ff:ff:ff:ff:fe", true)]
    fn all_and_nothing_are_no_ports_own(#[case] text: &str, #[case] usable: bool) {
        assert_eq!(text.parse::<Guid>().unwrap().is_usable(), usable);
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bytes: [u8; 8]) {
            let text = Guid(bytes).to_string();
            prop_assert_eq!(text.parse::<Guid>(), Ok(Guid(bytes)));
            prop_assert_eq!(text.replace(':', "").parse::<Guid>(), Ok(Guid(bytes)));
        }
    }
}
