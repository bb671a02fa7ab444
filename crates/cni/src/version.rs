//! Versions of the CNI specification.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A released version of the CNI specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// 0.1.0; also what a configuration without a version means.
    #[serde(rename = "0.1.0")]
    V0_1_0,
    /// 0.2.0: the VERSION command.
    #[serde(rename = "0.2.0")]
    V0_2_0,
    /// 0.3.0: lists of plugins, results with interfaces.
    #[serde(rename = "0.3.0")]
    V0_3_0,
    /// 0.3.1.
    #[serde(rename = "0.3.1")]
    V0_3_1,
    /// 0.4.0: CHECK, and `prevResult` on DEL.
    #[serde(rename = "0.4.0")]
    V0_4_0,
    /// 1.0.0: addresses without an IP version.
    #[serde(rename = "1.0.0")]
    V1_0_0,
    /// 1.1.0: GC and STATUS; MTU, PCI address and socket of an interface.
    #[serde(rename = "1.1.0")]
    V1_1_0,
}

/// Every version that is read and written, oldest first.
pub const SUPPORTED: [Version; 7] = [
    Version::V0_1_0,
    Version::V0_2_0,
    Version::V0_3_0,
    Version::V0_3_1,
    Version::V0_4_0,
    Version::V1_0_0,
    Version::V1_1_0,
];

/// A `cniVersion` that isn't one of [`SUPPORTED`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cniVersion {0:?} is not supported; use one of 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0")]
pub struct UnknownVersion(pub String);

impl Version {
    /// The newest.
    pub const LATEST: Version = Version::V1_1_0;

    /// As it is written in `cniVersion`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// CHECK exists, and DEL gets `prevResult`.
    pub fn has_check(self) -> bool {
        self >= Version::V0_4_0
    }

    /// GC and STATUS exist.
    pub fn has_gc_and_status(self) -> bool {
        self >= Version::V1_1_0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = UnknownVersion;

    /// The empty string is 0.1.0, as the specification has it for configurations without a version.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Version::V0_1_0);
        }
        SUPPORTED
            .into_iter()
            .find(|version| version.as_str() == text)
            .ok_or_else(|| UnknownVersion(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn versions_sort_by_age_and_round_trip() {
        assert!(SUPPORTED.is_sorted());
        for version in SUPPORTED {
            assert_eq!(version.to_string().parse(), Ok(version));
            let json = serde_json::to_string(&version).unwrap();
            assert_eq!(json, format!("\"{version}\""));
            assert_eq!(serde_json::from_str::<Version>(&json).unwrap(), version);
        }
        assert_eq!(SUPPORTED.last(), Some(&Version::LATEST));
    }

    #[rstest]
    #[case("1.2.0")]
    #[case("0.1")]
    #[case(" 1.0.0")]
    #[case("banana")]
    fn unknown_versions_are_named(#[case] text: &str) {
        let error = text.parse::<Version>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }

    #[test]
    fn no_version_is_the_oldest() {
        assert_eq!("".parse(), Ok(Version::V0_1_0));
    }
}
