//! The Network Plumbing Working Group's multi-network specification.
//!
//! | module | |
//! |---|---|
//! | [`selection`] | the annotation by which a pod chooses its networks, in both forms |
//! | [`nad`] | a `NetworkAttachmentDefinition` and the CNI configuration in it |
//! | [`status`] | the annotation that tells the pod what it got |
//! | [`deviceinfo`] | the files in which device plugin and CNI plugin describe a device |
//!
//! Version 1.3 of the specification is followed; where clusters rely on what Multus does beyond it or
//! against it, that is done, and said.

pub mod deviceinfo;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod nad;
pub mod selection;
pub mod status;

pub use deviceinfo::DeviceInfo;
pub use nad::{DelegateConfig, Nad};
pub use selection::{Selection, parse_default_network, parse_networks};
pub use status::NetworkStatus;

/// On a pod: the networks that it wants besides the default one.
pub const NETWORKS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/networks";
/// On a pod: the one network that it wants in place of the default one.
pub const DEFAULT_NETWORK_ANNOTATION: &str = "v1.multus-cni.io/default-network";
/// On a pod: what it got.
pub const STATUS_ANNOTATION: &str = "k8s.v1.cni.cncf.io/network-status";
/// On a `NetworkAttachmentDefinition`: the resource whose devices its attachments use.
pub const RESOURCE_NAME_ANNOTATION: &str = "k8s.v1.cni.cncf.io/resourceName";
