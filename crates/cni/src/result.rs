//! What ADD answers, read from and written in every version of the specification.
//!
//! The model is that of 1.1.0. Keys that it doesn't know are kept and written again, also inside
//! interfaces, addresses and routes. Reading goes by the keys that are there rather than by the version
//! that is claimed: plugins in use claim wrong ones.

mod read;
mod write;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::object::Object;
use crate::version::Version;

/// The result of an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddResult {
    /// Interfaces created, in the container and on the host.
    pub interfaces: Vec<Interface>,
    /// Addresses assigned.
    pub ips: Vec<Ip>,
    /// Routes set.
    pub routes: Vec<Route>,
    /// Name servers.
    pub dns: Dns,
    /// Keys beyond the specification.
    pub other: Object,
}

/// An interface that a plugin made or moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address; empty when there is none.
    pub mac: String,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The network namespace's path, or a hypervisor's identifier; empty for an interface of the host.
    pub sandbox: String,
    /// A socket to it, for interfaces outside the kernel.
    pub socket_path: String,
    /// The PCI address of the device behind it.
    pub pci_id: String,
    /// Keys beyond the specification.
    pub other: Object,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ip {
    /// With its prefix length; the host's bits are kept.
    pub address: IpNet,
    /// The subnet's gateway.
    pub gateway: Option<IpAddr>,
    /// The place of its interface in [`AddResult::interfaces`], from 0.
    pub interface: Option<usize>,
    /// Keys beyond the specification.
    pub other: Object,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// The next hop.
    pub gw: Option<IpAddr>,
    /// MTU in bytes along the path.
    pub mtu: Option<u32>,
    /// The maximal segment size to advertise, in bytes.
    pub advmss: Option<u32>,
    /// Priority; lower comes first.
    pub priority: Option<u32>,
    /// The routing table; the main one when missing.
    pub table: Option<u32>,
    /// The scope, as the kernel counts it: 0 global, 253 link, 254 host.
    pub scope: Option<u32>,
    /// Keys beyond the specification.
    pub other: Object,
}

/// Name servers and their options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses of name servers, most important first.
    pub nameservers: Vec<String>,
    /// The local domain; empty when there is none.
    pub domain: String,
    /// Domains to search.
    pub search: Vec<String>,
    /// Options for the resolver.
    pub options: Vec<String>,
    /// Keys beyond the specification.
    pub other: Object,
}

/// Why a result can't be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidResult {
    /// Not an object, or a value of the wrong kind.
    #[error("the result can't be read")]
    Read(#[from] crate::object::Error),
    /// An address has no prefix length or isn't an address.
    #[error("the result's {key} {text:?} is not an address with a prefix length, such as 10.1.0.5/16")]
    Network {
        /// The key that holds it.
        key: &'static str,
        /// What it holds.
        text: String,
    },
    /// A gateway isn't an address.
    #[error("the result's {key} {text:?} is not an IP address")]
    Address {
        /// The key that holds it.
        key: &'static str,
        /// What it holds.
        text: String,
    },
}

impl From<InvalidResult> for crate::Error {
    fn from(error: InvalidResult) -> Self {
        crate::Error::decode(crate::error::with_sources(&error))
    }
}

impl AddResult {
    /// Reads a result of any version.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidResult> {
        read::result(Object::parse(bytes)?)
    }

    /// The result as that version has it. What a version has no place for is left out: before 1.0.0 an
    /// interface's MTU, PCI address and socket and a route's MTU, priority, table and scope; before 0.3.0
    /// interfaces, and all but the first IPv4 and the first IPv6 address.
    pub fn to_version(&self, version: Version) -> Object {
        write::result(self, version)
    }
}

impl Route {
    /// A route with nothing but a destination and perhaps a next hop.
    pub fn new(dst: IpNet, gw: Option<IpAddr>) -> Self {
        Route {
            dst,
            gw,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
            other: Object::default(),
        }
    }

    /// Whether it is the default route of its family.
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }
}

impl Dns {
    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

#[cfg(test)]
mod tests;
