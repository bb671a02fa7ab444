//! What the kernel is asked, as messages.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;

use ipnet::IpNet;
use netlink_packet_core::DefaultNla;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkMessage, LinkVfInfo, Prop, VfInfo, VfInfoGuid,
    VfInfoLinkState, VfInfoMac, VfInfoRate, VfInfoSpoofCheck, VfInfoTrust, VfLinkState, VfVlan, VfVlanInfo,
    VlanProtocol,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType, RouteVia,
};

use crate::attributes::{LinkState, Route, VfChange, VlanProto};
use crate::guid::Guid;
use crate::ifname::{IF_NAME_MAX, IfName};
use crate::mac::MacAddr;

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_SETLINK: u16 = 19;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_DELLINKPROP: u16 = 109;

const IFLA_ALT_IFNAME: u16 = 53;

/// All links, or the one of an index.
pub(super) fn links(ifindex: u32) -> LinkMessage {
    link(ifindex, vec![LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])])
}

/// A link with its VFs; without their counters, which double what has to fit into one attribute.
pub(super) fn link_with_vfs(ifindex: u32) -> LinkMessage {
    link(ifindex, vec![LinkAttribute::ExtMask(vec![LinkExtentMask::Vf, LinkExtentMask::SkipStats])])
}

/// A link by any of its names.
pub(super) fn link_named(name: &str) -> LinkMessage {
    let name = if name.len() <= IF_NAME_MAX {
        LinkAttribute::IfName(name.to_owned())
    } else {
        LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, terminated(name.as_bytes())))
    };
    link(0, vec![name, LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])])
}

pub(super) fn rename(ifindex: u32, name: &IfName) -> LinkMessage {
    link(ifindex, vec![LinkAttribute::IfName(name.to_string())])
}

pub(super) fn set_mac(ifindex: u32, mac: MacAddr) -> LinkMessage {
    link(ifindex, vec![LinkAttribute::Address(mac.0.to_vec())])
}

pub(super) fn set_mtu(ifindex: u32, mtu: u32) -> LinkMessage {
    link(ifindex, vec![LinkAttribute::Mtu(mtu)])
}

pub(super) fn set_up(ifindex: u32, up: bool) -> LinkMessage {
    set_flag(ifindex, LinkFlags::Up, up)
}

pub(super) fn set_promisc(ifindex: u32, on: bool) -> LinkMessage {
    set_flag(ifindex, LinkFlags::Promisc, on)
}

pub(super) fn set_allmulti(ifindex: u32, on: bool) -> LinkMessage {
    set_flag(ifindex, LinkFlags::Allmulti, on)
}

fn set_flag(ifindex: u32, flag: LinkFlags, on: bool) -> LinkMessage {
    let mut message = link(ifindex, Vec::new());
    message.header.flags = if on { flag } else { LinkFlags::empty() };
    message.header.change_mask = flag;
    message
}

pub(super) fn move_link(ifindex: u32, namespace: RawFd, name: &str, mtu: Option<u32>) -> LinkMessage {
    let mut attributes = vec![LinkAttribute::NetNsFd(namespace), LinkAttribute::IfName(name.to_owned())];
    attributes.extend(mtu.map(LinkAttribute::Mtu));
    link(ifindex, attributes)
}

pub(super) fn remove_altname(ifindex: u32, altname: &OsStr) -> LinkMessage {
    // As bytes: whoever gave the name wasn't bound to UTF-8.
    let name = Prop::Other(DefaultNla::new(IFLA_ALT_IFNAME, terminated(altname.as_bytes())));
    link(ifindex, vec![LinkAttribute::PropList(vec![name])])
}

pub(super) fn remove_link(ifindex: u32) -> LinkMessage {
    link(ifindex, Vec::new())
}

pub(super) fn set_vf(pf_ifindex: u32, vf_index: u16, change: &VfChange) -> LinkMessage {
    let vf = u32::from(vf_index);
    let info = match *change {
        VfChange::Mac(mac) => VfInfo::Mac(VfInfoMac::new(vf, &mac.0)),
        VfChange::Vlan { id, qos, proto } => {
            let proto = match proto {
                VlanProto::Dot1q => VlanProtocol::Ieee8021Q,
                VlanProto::Dot1ad => VlanProtocol::Ieee8021Ad,
            };
            VfInfo::VlanList(vec![VfVlan::Info(VfVlanInfo::new(vf, id.into(), qos.into(), proto))])
        }
        VfChange::Rate { min, max } => VfInfo::Rate(VfInfoRate::new(vf, min, max)),
        VfChange::SpoofCheck(on) => VfInfo::SpoofCheck(VfInfoSpoofCheck::new(vf, on)),
        VfChange::Trust(on) => VfInfo::Trust(VfInfoTrust::new(vf, on)),
        VfChange::LinkState(state) => {
            let state = match state {
                LinkState::Auto => VfLinkState::Auto,
                LinkState::Enable => VfLinkState::Enable,
                LinkState::Disable => VfLinkState::Disable,
            };
            VfInfo::LinkState(VfInfoLinkState::new(vf, state))
        }
        VfChange::NodeGuid(Guid(bytes)) => VfInfo::IbNodeGuid(VfInfoGuid::new(vf, u64::from_be_bytes(bytes))),
        VfChange::PortGuid(Guid(bytes)) => VfInfo::IbPortGuid(VfInfoGuid::new(vf, u64::from_be_bytes(bytes))),
    };
    link(pf_ifindex, vec![LinkAttribute::VfInfoList(vec![LinkVfInfo(vec![info])])])
}

pub(super) fn addresses(ifindex: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = ifindex;
    message
}

pub(crate) fn add_address(ifindex: u32, address: IpNet) -> AddressMessage {
    let mut message = addresses(ifindex);
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.attributes =
        vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
    if let IpNet::V4(net) = address
        && net.prefix_len() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
    }
    message
}

pub(super) fn routes() -> RouteMessage {
    RouteMessage::default()
}

pub(crate) fn add_route(route: &Route) -> RouteMessage {
    let mut message = route_message(route);
    // A route through a link has a narrower scope than one through a gateway that's reached by it.
    let on_link = route.gateway.is_none() && route.dst.addr().is_ipv4();
    let scope = if on_link { RouteScope::Link } else { RouteScope::Universe };
    message.header.scope = route.scope.map_or(scope, RouteScope::from);
    message.header.protocol = RouteProtocol::Boot;
    message.header.kind = RouteType::Unicast;
    let metrics = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<RouteMetric> = metrics.into_iter().flatten().collect();
    if !metrics.is_empty() {
        message.attributes.push(RouteAttribute::Metrics(metrics));
    }
    message
}

pub(super) fn remove_route(route: &Route) -> RouteMessage {
    let mut message = route_message(route);
    message.header.scope = RouteScope::NoWhere;
    message
}

fn route_message(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let dst = route.dst.trunc();
    let table = route.table.unwrap_or(Route::MAIN_TABLE);
    message.header.address_family = family(dst.addr());
    message.header.destination_prefix_length = dst.prefix_len();
    message.header.table = u8::try_from(table).unwrap_or_default();
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(table));
    if dst.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(dst.addr().into()));
    }
    if route.ifindex != 0 {
        attributes.push(RouteAttribute::Oif(route.ifindex));
    }
    attributes.extend(route.priority.map(RouteAttribute::Priority));
    attributes.extend(route.gateway.map(|gateway| match (dst.addr(), gateway) {
        (IpAddr::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (_, gateway) => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    }));
    message
}

fn link(ifindex: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes = attributes;
    message
}

const fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn terminated(text: &[u8]) -> Vec<u8> {
    [text, &[0]].concat()
}
