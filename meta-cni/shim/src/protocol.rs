//! What plugin and daemon say to each other, and where.
//!
//! The plugin sends `POST /cni` with a [`CallRequest`]. The daemon answers 200 with an empty body, or for ADD
//! with a [`CallReply`]; or another status with a CNI error object. Every answer has a `Content-Length`.
//! The protocol is the one that Multus' shim and daemon speak.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cni::Object;
use serde::{Deserialize, Serialize};

use crate::base64;

/// The daemon's socket, unless the configuration names another.
pub const DEFAULT_SOCKET: &str = "/run/patchbay/patchbayd.sock";
/// Where DEL intents are kept, unless the configuration names another directory.
pub const DEFAULT_INTENTS: &str = "/var/lib/patchbay/intents";
/// The path of the request.
pub const CNI_ENDPOINT: &str = "/cni";
/// The most that an answer's body may hold, in bytes.
pub const MAX_REPLY: usize = 4 << 20;
/// The most that a request's body can hold, in bytes: the configuration in base64, and the environment.
pub const MAX_REQUEST: usize = 4 << 20;

/// A CNI call on its way to the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRequest {
    /// The variables of the call: those that begin with `CNI_`, and `PATH`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What the runtime wrote to standard input, byte for byte; base64 on the wire.
    #[serde(default, serialize_with = "base64::serialize", deserialize_with = "base64::deserialize")]
    pub config: Vec<u8>,
}

impl CallRequest {
    /// The call's arguments, validated.
    pub fn args(&self) -> Result<cni::Args, cni::args::InvalidArgs> {
        cni::Args::from_env(|name| self.env.get(name).cloned())
    }
}

/// The daemon's answer to ADD.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallReply {
    /// The result of the default network, in any version.
    #[serde(rename = "Result")]
    pub result: Object,
}

/// A file beside the socket whose modification time says when the daemon last was alive. The daemon
/// touches it at least every 20 s; STATUS reads it when the daemon doesn't answer.
pub fn alive_path(socket: &Path) -> PathBuf {
    socket.with_file_name("alive")
}

#[cfg(test)]
mod tests;
