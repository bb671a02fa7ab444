//! `RTM_NEWLINK`.

use std::ffi::OsString;

use netlink_packet_route::link::{LinkFlags, LinkHeader};

use crate::attributes::Link;
use crate::guid::Guid;
use crate::mac::MacAddr;
use crate::wire::{Attributes, os_text_of, text_of, u32_of};

/// The fixed part before the attributes.
pub(super) const HEADER: usize = 16;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_PARENT_DEV_NAME: u16 = 56;

/// The link that a message is about.
pub(crate) fn link(payload: &[u8]) -> Result<Link, String> {
    let header = LinkHeader::parse(payload).map_err(|error| error.to_string())?;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        altnames: Vec::new(),
        mac: None,
        guid: None,
        mtu: 0,
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        promisc: header.flags.contains(LinkFlags::Promisc),
        allmulti: header.flags.contains(LinkFlags::Allmulti),
        device: None,
        master: None,
        lower: None,
        hardware: header.link_layer_type.into(),
    };
    let mut lower_is_elsewhere = false;
    for attribute in Attributes::new(payload.get(HEADER..).unwrap_or_default()) {
        let attribute = attribute.map_err(|it| format!("attribute {} of a link is too long", it.kind))?;
        let value = attribute.value;
        match attribute.kind {
            IFLA_ADDRESS => {
                link.mac = <[u8; 6]>::try_from(value).ok().map(MacAddr);
                let infiniband = value.len() == 20 && link.hardware == Link::INFINIBAND;
                link.guid = value.last_chunk().filter(|_| infiniband).copied().map(Guid);
            }
            IFLA_IFNAME => link.name = text_of(value),
            IFLA_MTU => link.mtu = u32_of(value).unwrap_or_default(),
            IFLA_LINK => link.lower = u32_of(value).filter(|&index| index != 0),
            IFLA_LINK_NETNSID => lower_is_elsewhere = true,
            IFLA_MASTER => link.master = u32_of(value).filter(|&index| index != 0),
            IFLA_PROP_LIST => link.altnames = altnames(value),
            IFLA_PARENT_DEV_NAME => link.device = Some(text_of(value)),
            _ => {}
        }
    }
    if lower_is_elsewhere {
        link.lower = None;
    }
    if link.name.is_empty() {
        return Err(format!("link {} has no name", link.index));
    }
    Ok(link)
}

fn altnames(list: &[u8]) -> Vec<OsString> {
    let properties = Attributes::new(list).map_while(Result::ok);
    let mut names: Vec<OsString> = properties
        .filter(|property| property.kind == IFLA_ALT_IFNAME)
        .map(|name| os_text_of(name.value))
        .collect();
    names.sort_unstable();
    names
}
