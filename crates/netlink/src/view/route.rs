//! `RTM_NEWADDR` and `RTM_NEWROUTE`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::AddressHeader;
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteType};

use crate::attributes::Route;
use crate::wire::{Attributes, ip_of, u16_of, u32_of};

const ADDRESS_HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

const ROUTE_HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTAX_MTU: u16 = 2;
const RTAX_ADVMSS: u16 = 8;

/// The kernel's own table of local addresses.
const LOCAL_TABLE: u32 = 255;

/// The fixed part of a next hop: length (16 bits), flags, weight, interface (32 bits).
const HOP_HEADER: usize = 8;

/// The address that a message is about, and its link.
pub(crate) fn address(payload: &[u8]) -> Result<(u32, IpNet), String> {
    let header = AddressHeader::parse(payload).map_err(|error| error.to_string())?;
    let (mut own, mut peer) = (None, None);
    for attribute in Attributes::new(payload.get(ADDRESS_HEADER..).unwrap_or_default()).map_while(Result::ok)
    {
        match attribute.kind {
            IFA_LOCAL => own = ip_of(attribute.value),
            IFA_ADDRESS => peer = ip_of(attribute.value),
            _ => {}
        }
    }
    // On a point-to-point link the one is the peer's; everywhere else both are the same, or IPv6 has just one.
    let address = own.or(peer).ok_or("an address message without an address")?;
    let net = IpNet::new(address, header.prefix_len).map_err(|error| error.to_string())?;
    Ok((header.index, net))
}

/// Whether the address that a message is about is free to be used without reserve: not being checked for duplicates,
/// nor found to be one.
pub(crate) fn is_settled(payload: &[u8]) -> bool {
    let attributes = Attributes::new(payload.get(ADDRESS_HEADER..).unwrap_or_default()).map_while(Result::ok);
    let long = attributes.filter(|it| it.kind == IFA_FLAGS).find_map(|it| u32_of(it.value));
    // The header has room for the lowest eight only, which are all that count here.
    let flags = long.or(payload.get(2).copied().map(u32::from)).unwrap_or_default();
    flags & (IFA_F_OPTIMISTIC | IFA_F_DADFAILED | IFA_F_TENTATIVE) == 0
}

/// The unicast routes that a message is about: one per next hop, none when it's about something else.
pub(crate) fn routes(payload: &[u8]) -> Result<Vec<Route>, String> {
    let header = RouteHeader::parse(payload).map_err(|error| error.to_string())?;
    let unspecified = if header.address_family == AddressFamily::Inet6 {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED)
    } else {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    };
    // An unasked-for list of all families has multicast routing, MPLS and more.
    if !matches!(header.address_family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(Vec::new());
    }
    if header.kind != RouteType::Unicast || header.flags.contains(RouteFlags::Cloned) {
        return Ok(Vec::new());
    }
    let mut dst = unspecified;
    let mut route = Route::new(IpNet::from(unspecified), None, 0);
    route.table = Some(header.table.into());
    route.scope = Some(header.scope.into());
    let mut hops = Vec::new();
    for attribute in Attributes::new(payload.get(ROUTE_HEADER..).unwrap_or_default()).map_while(Result::ok) {
        let value = attribute.value;
        match attribute.kind {
            RTA_DST => dst = ip_of(value).ok_or("a route's destination isn't an address")?,
            RTA_OIF => route.ifindex = u32_of(value).unwrap_or_default(),
            RTA_GATEWAY | RTA_VIA => route.gateway = gateway(attribute.kind, value),
            RTA_PRIORITY => route.priority = u32_of(value),
            RTA_TABLE => route.table = u32_of(value),
            RTA_METRICS => {
                for metric in Attributes::new(value).map_while(Result::ok) {
                    match metric.kind {
                        RTAX_MTU => route.mtu = u32_of(metric.value),
                        RTAX_ADVMSS => route.advmss = u32_of(metric.value),
                        _ => {}
                    }
                }
            }
            RTA_MULTIPATH => hops = next_hops(value),
            _ => {}
        }
    }
    if route.table == Some(LOCAL_TABLE) {
        return Ok(Vec::new());
    }
    route.dst = IpNet::new(dst, header.destination_prefix_length).map_err(|error| error.to_string())?;
    if hops.is_empty() {
        return Ok(vec![route]);
    }
    let hop = |(ifindex, gateway)| Route { gateway, ifindex, ..route.clone() };
    Ok(hops.into_iter().map(hop).collect())
}

/// A gateway of the route's own family, or behind its family number.
fn gateway(kind: u16, value: &[u8]) -> Option<IpAddr> {
    if kind == RTA_VIA { value.get(2..).and_then(ip_of) } else { ip_of(value) }
}

fn next_hops(mut bytes: &[u8]) -> Vec<(u32, Option<IpAddr>)> {
    let mut hops = Vec::new();
    while let Some(length) = u16_of(bytes).map(usize::from)
        && let Some(hop) = bytes.get(HOP_HEADER..length)
        && let Some(ifindex) = bytes.get(4..).and_then(u32_of)
    {
        let mut attributes = Attributes::new(hop).map_while(Result::ok);
        let via = attributes.find(|attribute| matches!(attribute.kind, RTA_GATEWAY | RTA_VIA));
        hops.push((ifindex, via.and_then(|via| gateway(via.kind, via.value))));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}
