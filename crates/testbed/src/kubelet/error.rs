use std::io;
use std::path::PathBuf;
use std::time::Duration;

use kubelet::socket;

/// What the fake can't do, or what a plugin didn't do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of kubelet's couldn't be made or emptied.
    #[error("cannot set up {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A socket couldn't be opened.
    #[error("cannot serve one of kubelet's sockets")]
    Serve(#[source] socket::Error),
    /// No plugin offers the resource at the moment.
    #[error("no device plugin has registered {resource}")]
    NotRegistered {
        /// The resource.
        resource: String,
    },
    /// The resource hasn't that many free and healthy devices.
    #[error("{wanted} devices of {resource} are wanted, {free} are free and healthy")]
    TooFew {
        /// The resource.
        resource: String,
        /// How many are wanted.
        wanted: usize,
        /// How many are free and healthy.
        free: usize,
    },
    /// The plugin refused a call, or didn't answer it.
    #[error("the device plugin of {resource} failed {method} for {ids:?}")]
    Call {
        /// The resource.
        resource: String,
        /// The method.
        method: &'static str,
        /// The devices that were asked for.
        ids: Vec<String>,
        /// What it answered.
        #[source]
        status: Box<tonic::Status>,
    },
    /// The checkpoint couldn't be written.
    #[error("cannot write the checkpoint {}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What was waited for didn't happen.
    #[error("not within {after:?}: {what}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long was waited.
        after: Duration,
    },
}
