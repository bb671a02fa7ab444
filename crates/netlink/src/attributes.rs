//! What the kernel says about links, virtual functions and routes, and what can be changed.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::guid::Guid;
use crate::mac::MacAddr;

/// One network interface, as its namespace shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the kernel's, and they go in any combination"
)]
pub struct Link {
    /// Its index; unique in its namespace, and it may change when the link moves.
    pub index: u32,
    /// Its name. Bytes that aren't UTF-8 (someone in a pod may choose any) are shown as U+FFFD: use the index to
    /// act on a link.
    pub name: String,
    /// Its alternative names, sorted. Each of them blocks a move into a namespace where that name is taken.
    pub altnames: Vec<OsString>,
    /// Its hardware address, when it has one of six bytes.
    pub mac: Option<MacAddr>,
    /// Its port's identifier, when it's InfiniBand: the end of its hardware address.
    pub guid: Option<Guid>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it's administratively up.
    pub up: bool,
    /// Whether it's up and has a carrier.
    pub carrier: bool,
    /// Whether it was set to take every frame (`ip link set … promisc on`). That it does so for a bridge or a capture
    /// doesn't show here.
    pub promisc: bool,
    /// Whether it was set to take every multicast frame.
    pub allmulti: bool,
    /// The device it belongs to, as its bus names it: the PCI address of a VF or PF. Linux says it since 5.14
    /// (`IFLA_PARENT_DEV_NAME`), in whatever namespace the link is. A virtio interface names its virtio device.
    pub device: Option<String>,
    /// The index of the bridge, bond or VRF that it's a member of.
    pub master: Option<u32>,
    /// The index of the link in the same namespace that it's on, as a VLAN interface or a macvlan is; of a veth, the
    /// other end. A link that moves leaves what's on it behind, and that goes on to send and receive through it.
    pub lower: Option<u32>,
    /// Its ARP hardware type: 1 is Ethernet, 32 is InfiniBand.
    pub hardware: u16,
}

impl Link {
    /// The ARP hardware type of InfiniBand.
    pub const INFINIBAND: u16 = 32;
}

/// The protocol of a VLAN tag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum VlanProto {
    /// IEEE 802.1Q, a customer's tag.
    #[default]
    #[serde(rename = "802.1q")]
    Dot1q,
    /// IEEE 802.1ad, a provider's tag.
    #[serde(rename = "802.1ad")]
    Dot1ad,
}

impl fmt::Display for VlanProto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dot1q => "802.1q",
            Self::Dot1ad => "802.1ad",
        })
    }
}

/// What a PF shows its VF as the state of the physical link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// The state of the PF's own link.
    #[default]
    Auto,
    /// Always up, so that VFs of one PF reach each other without a cable.
    Enable,
    /// Always down.
    Disable,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Enable => "enable",
            Self::Disable => "disable",
        })
    }
}

/// A virtual function as its PF shows it. `None`: the PF's driver doesn't say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VfConfig {
    /// Its index below the PF.
    pub index: u16,
    /// The admin MAC; all zero when none is set. `None` when it isn't an Ethernet address.
    pub mac: Option<MacAddr>,
    /// The VLAN that its frames are put into, 0 for none.
    pub vlan: u16,
    /// The priority in that VLAN tag, 0 to 7.
    pub qos: u8,
    /// The protocol of that VLAN tag.
    pub proto: VlanProto,
    /// The guaranteed rate in Mbit/s, 0 for none.
    pub min_tx_rate: u32,
    /// The highest rate in Mbit/s, 0 for no limit.
    pub max_tx_rate: u32,
    /// Whether frames with another source address than its own are dropped.
    pub spoofchk: Option<bool>,
    /// Whether it may change its own MAC and use promiscuous modes.
    pub trust: Option<bool>,
    /// The link state it's shown.
    pub link_state: Option<LinkState>,
    /// Its InfiniBand node's identifier as it was set through the PF, all zero when it never was. `None` for a VF
    /// that isn't InfiniBand.
    #[serde(default)]
    pub node_guid: Option<Guid>,
    /// The same of its port.
    #[serde(default)]
    pub port_guid: Option<Guid>,
}

/// One change to a virtual function through its PF.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VfChange {
    /// Set the admin MAC; all zero removes it.
    Mac(MacAddr),
    /// Set VLAN, priority and protocol together; id 0 removes the VLAN.
    Vlan {
        /// The VLAN, 0 to 4094.
        id: u16,
        /// The priority, 0 to 7.
        qos: u8,
        /// The tag's protocol.
        proto: VlanProto,
    },
    /// Set both rates together.
    Rate {
        /// The guaranteed rate in Mbit/s, 0 for none.
        min: u32,
        /// The highest rate in Mbit/s, 0 for no limit.
        max: u32,
    },
    /// Turn the check of source addresses on or off.
    SpoofCheck(bool),
    /// Trust it or not.
    Trust(bool),
    /// Set the link state it's shown.
    LinkState(LinkState),
    /// Set its InfiniBand node's identifier.
    NodeGuid(Guid),
    /// Set its InfiniBand port's identifier.
    PortGuid(Guid),
}

impl fmt::Display for VfChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on_off = |on: bool| if on { "on" } else { "off" };
        match self {
            Self::Mac(mac) => write!(f, "mac {mac}"),
            Self::Vlan { id, qos, proto } => write!(f, "vlan {id} qos {qos} proto {proto}"),
            Self::Rate { min, max } => write!(f, "min_tx_rate {min} max_tx_rate {max}"),
            Self::SpoofCheck(on) => write!(f, "spoofchk {}", on_off(*on)),
            Self::Trust(on) => write!(f, "trust {}", on_off(*on)),
            Self::LinkState(state) => write!(f, "state {state}"),
            Self::NodeGuid(guid) => write!(f, "node guid {guid}"),
            Self::PortGuid(guid) => write!(f, "port guid {guid}"),
        }
    }
}

/// One unicast route. A route with several next hops is shown as one per hop, and can't be removed by one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; a prefix of length 0 is a default route.
    pub dst: IpNet,
    /// The next hop's address, when it's not on the link.
    pub gateway: Option<IpAddr>,
    /// The link it leaves by; 0 when it has none (as `blackhole`).
    pub ifindex: u32,
    /// Its metric: lower wins. `None` leaves it to the kernel (0 for IPv4, 1024 for IPv6).
    pub priority: Option<u32>,
    /// Its table. `None` is the main table; reading always says which.
    pub table: Option<u32>,
    /// Its scope as the kernel numbers it: 0 global, 253 link. `None` when adding: link without a gateway, else global.
    pub scope: Option<u8>,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The TCP segment size advertised on it, in bytes.
    pub advmss: Option<u32>,
}

impl Route {
    /// The main routing table's number.
    pub const MAIN_TABLE: u32 = 254;

    /// A route to `dst` by a link, everything else as the kernel chooses.
    pub const fn new(dst: IpNet, gateway: Option<IpAddr>, ifindex: u32) -> Self {
        Self { dst, gateway, ifindex, priority: None, table: None, scope: None, mtu: None, advmss: None }
    }

    /// Whether it's a default route.
    pub fn is_default(&self) -> bool {
        self.dst.prefix_len() == 0
    }
}

/// Which network namespace.
///
/// The next one to be made usually gets the inode of the one that ended last, so an inode tells namespaces apart only
/// while both are there. The cookie tells them apart for as long as the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId {
    /// The device number of the kernel's namespace file system.
    pub dev: u64,
    /// The inode number in it.
    pub ino: u64,
    /// The kernel's number for it, which none after it gets. Linux has it since 5.14 (`SO_NETNS_COOKIE`,
    /// net/core/sock.c).
    pub cookie: Option<u64>,
}

impl NamespaceId {
    /// Whether both may be of one namespace. Where a cookie isn't known, the inode has to do.
    pub fn is(self, other: Self) -> bool {
        let known = self.cookie.zip(other.cookie);
        (self.dev, self.ino) == (other.dev, other.ino) && known.is_none_or(|(one, other)| one == other)
    }
}

#[cfg(test)]
mod tests;
