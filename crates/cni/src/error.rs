//! The error object of the CNI protocol.

use serde::{Deserialize, Serialize};

use crate::object::Object;
use crate::version::{UnknownVersion, Version};

/// The codes of the specification, and from 100 on ours.
pub mod code {
    /// The `cniVersion` isn't supported.
    pub const INCOMPATIBLE_VERSION: u32 = 1;
    /// A key of the configuration isn't supported.
    pub const UNSUPPORTED_FIELD: u32 = 2;
    /// The container doesn't exist; the caller need not DEL.
    pub const UNKNOWN_CONTAINER: u32 = 3;
    /// A necessary environment variable is missing or wrong.
    pub const INVALID_ENVIRONMENT: u32 = 4;
    /// Reading or writing failed.
    pub const IO: u32 = 5;
    /// What was read isn't what it should be: no JSON, or of the wrong shape.
    pub const DECODE: u32 = 6;
    /// The configuration is well-formed and wrong.
    pub const INVALID_CONFIG: u32 = 7;
    /// The same call may succeed later.
    pub const TRY_AGAIN: u32 = 11;
    /// STATUS: ADD can't be served.
    pub const NOT_AVAILABLE: u32 = 50;
    /// STATUS: ADD can't be served, and existing containers may be cut off.
    pub const LIMITED: u32 = 51;
    /// Ours: a plugin hadn't finished at its deadline and was killed.
    pub const PLUGIN_DEADLINE: u32 = 100;
    /// Ours: a plugin failed without an error object.
    pub const PLUGIN_FAILED: u32 = 101;
    /// Ours: a plugin can't be found or started.
    pub const PLUGIN_NOT_STARTED: u32 = 102;
    /// Ours: anything without a code of its own.
    pub const INTERNAL: u32 = 999;
}

/// What a failed call prints: a code, a sentence, and optionally more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{msg}{}{details}", if details.is_empty() { "" } else { ": " })]
pub struct Error {
    /// See [`code`].
    pub code: u32,
    /// What failed and what to do about it, one line.
    pub msg: String,
    /// More, for instance what a plugin printed; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> Self {
        Error { code, msg: msg.into(), details: String::new() }
    }

    /// Code 1.
    pub fn incompatible_version(msg: impl Into<String>) -> Self {
        Error::new(code::INCOMPATIBLE_VERSION, msg)
    }

    /// Code 2.
    pub fn unsupported_field(msg: impl Into<String>) -> Self {
        Error::new(code::UNSUPPORTED_FIELD, msg)
    }

    /// Code 3.
    pub fn unknown_container(msg: impl Into<String>) -> Self {
        Error::new(code::UNKNOWN_CONTAINER, msg)
    }

    /// Code 4.
    pub fn invalid_environment(msg: impl Into<String>) -> Self {
        Error::new(code::INVALID_ENVIRONMENT, msg)
    }

    /// Code 5.
    pub fn io(msg: impl Into<String>) -> Self {
        Error::new(code::IO, msg)
    }

    /// Code 6.
    pub fn decode(msg: impl Into<String>) -> Self {
        Error::new(code::DECODE, msg)
    }

    /// Code 7.
    pub fn invalid_config(msg: impl Into<String>) -> Self {
        Error::new(code::INVALID_CONFIG, msg)
    }

    /// Code 11: the runtime is expected to repeat the call.
    pub fn try_again(msg: impl Into<String>) -> Self {
        Error::new(code::TRY_AGAIN, msg)
    }

    /// Code 50, for STATUS.
    pub fn not_available(msg: impl Into<String>) -> Self {
        Error::new(code::NOT_AVAILABLE, msg)
    }

    /// Code 51, for STATUS.
    pub fn limited(msg: impl Into<String>) -> Self {
        Error::new(code::LIMITED, msg)
    }

    /// Code 999.
    pub fn internal(msg: impl Into<String>) -> Self {
        Error::new(code::INTERNAL, msg)
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same, with `what: ` in front of the message. The code stays.
    #[must_use]
    pub fn context(mut self, what: impl std::fmt::Display) -> Self {
        self.msg = format!("{what}: {}", self.msg);
        self
    }

    /// The object as it goes on standard output, with `cniVersion`.
    pub fn to_json(&self, version: Version) -> Vec<u8> {
        let mut object = Object::default();
        object.set("cniVersion", version.as_str());
        object.set("code", self.code);
        object.set("msg", self.msg.as_str());
        if !self.details.is_empty() {
            object.set("details", self.details.as_str());
        }
        object.to_string().into_bytes()
    }

    /// Reads an error object; `None` when `bytes` aren't one (no object, or neither code nor message).
    pub fn parse(bytes: &[u8]) -> Option<Error> {
        let object = Object::parse(bytes).ok()?;
        let code = object.read::<u32>("code").ok()?.unwrap_or_default();
        let msg = object.read::<String>("msg").ok()?.unwrap_or_default();
        let details = object.read::<String>("details").ok()?.unwrap_or_default();
        (code != 0 || !msg.is_empty()).then_some(Error { code, msg, details })
    }
}

impl From<UnknownVersion> for Error {
    fn from(error: UnknownVersion) -> Self {
        Error::incompatible_version(error.to_string())
    }
}

/// An error and everything that caused it, in one line: the wire knows no chain.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The example of section 2 of the specification.
    const EXAMPLE: &str = r#"{
  "cniVersion": "1.1.0",
  "code": 7,
  "msg": "Invalid Configuration",
  "details": "Network 192.168.0.0/31 too small to allocate from."
}"#;

    #[test]
    fn the_example_is_read_and_written() {
        let error = Error::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(error.code, code::INVALID_CONFIG);
        assert_eq!(
            error.to_string(),
            "Invalid Configuration: Network 192.168.0.0/31 too small to allocate from."
        );
        let written: serde_json::Value = serde_json::from_slice(&error.to_json(Version::V1_1_0)).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(EXAMPLE).unwrap());
    }

    #[test]
    fn no_details_are_left_out() {
        let json = Error::try_again("later").to_json(Version::V0_3_1);
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"cniVersion":"0.3.1","code":11,"msg":"later"}"#);
        assert_eq!(Error::try_again("later").context("network a/b").to_string(), "network a/b: later");
    }

    #[rstest]
    #[case("")]
    #[case("not json")]
    #[case("{}")]
    #[case(r#"{"code":"7"}"#)]
    #[case(r#"{"code":-1,"msg":"x"}"#)]
    #[case(r#"["code",7]"#)]
    #[case(r#"{"cniVersion":"1.0.0","ips":[]}"#)]
    fn what_is_no_error_object_is_none(#[case] text: &str) {
        assert_eq!(Error::parse(text.as_bytes()), None);
    }
}
