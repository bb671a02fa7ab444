//! Links, the attributes of virtual functions, and moves between network namespaces.
//!
//! [`Links`] has the verbs, in the field's own words. Nothing of netlink's wire format shows in it.

mod attributes;
mod error;
mod ifname;
mod links;
mod mac;

pub use attributes::{Link, LinkState, NamespaceId, Route, VfChange, VfConfig, VlanProto};
pub use error::{Error, Verb};
pub use ifname::{IF_NAME_MAX, IfName, InvalidIfName};
pub use links::Links;
pub use mac::{InvalidMac, MacAddr};
pub use nix::errno::Errno;
