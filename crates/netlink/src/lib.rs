//! Links, the attributes of virtual functions, RDMA devices, and moves between network namespaces.
//!
//! [`Links`] has the verbs, in the field's own words; [`Kernel`] does them. Nothing of netlink's wire format shows.

mod announce;
mod attributes;
mod client;
mod error;
mod events;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod guid;
mod ifname;
mod kernel;
mod links;
mod mac;
mod namespace;
mod rdma;
mod refusal;
mod view;
mod wire;

pub use attributes::{Link, LinkState, NamespaceId, Route, VfChange, VfConfig, VlanProto};
pub use error::{Error, Verb};
pub use events::KernelEvents;
pub use guid::{Guid, InvalidGuid};
pub use ifname::{IF_NAME_MAX, IfName, InvalidIfName};
pub use kernel::Kernel;
pub use links::{LinkEvents, Links};
pub use mac::{InvalidMac, MacAddr};
pub use namespace::Namespace;
pub use nix::errno::Errno;
pub use rdma::{RdmaDevice, RdmaMode};
