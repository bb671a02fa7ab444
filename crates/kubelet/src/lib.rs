//! The node's sockets: device plugin, registration, pod resources; the checkpoint file.
//!
//! Everything starts at a [`Kubelet`], which is nothing but the path of kubelet's directory, so that a test (or a
//! distribution that keeps kubelet elsewhere) only names another one. The messages are generated from kubelet's own
//! protocol files; what is written here is how to reach a socket with a deadline ([`socket`]), what a pod was given
//! ([`podresources`] and, where that doesn't answer, [`checkpoint`]), and how to notice that kubelet came back
//! ([`watch`]).

pub mod checkpoint;
mod devices;
#[expect(
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::as_conversions,
    missing_docs,
    unused_qualifications,
    reason = "generated from kubelet's protocol files by hack/gen-protos"
)]
mod generated;
mod paths;
pub mod podresources;
pub mod socket;
pub mod watch;

pub use devices::{ContainerDevices, ResourceDevices, ids_by_resource};
pub use paths::Kubelet;
/// Encoding and decoding of the protocols' messages.
pub use prost::Message;

/// The device plugin protocol.
pub mod deviceplugin {
    pub use crate::generated::deviceplugin_v1beta1 as v1beta1;

    /// The protocol's version, as a plugin names it when it registers.
    pub const VERSION: &str = "v1beta1";
    /// A device that kubelet may give to a container.
    pub const HEALTHY: &str = "Healthy";
    /// A device that kubelet counts but doesn't give to a container.
    pub const UNHEALTHY: &str = "Unhealthy";
}

/// The plugin watcher's protocol: a plugin's socket in `plugins_registry`.
pub mod pluginregistration {
    pub use crate::generated::pluginregistration_v1 as v1;
}
