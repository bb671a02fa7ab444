//! The VFs in an `RTM_NEWLINK` of their PF.

use crate::attributes::{LinkState, VfConfig, VlanProto};
use crate::guid::Guid;
use crate::mac::MacAddr;
use crate::wire::{Attributes, u32_of, word};

use super::link::HEADER;

const IFLA_NUM_VF: u16 = 21;
const IFLA_VFINFO_LIST: u16 = 22;
const IFLA_VF_INFO: u16 = 1;

const IFLA_VF_MAC: u16 = 1;
const IFLA_VF_VLAN: u16 = 2;
const IFLA_VF_SPOOFCHK: u16 = 4;
const IFLA_VF_LINK_STATE: u16 = 5;
const IFLA_VF_RATE: u16 = 6;
const IFLA_VF_TRUST: u16 = 9;
const IFLA_VF_IB_NODE_GUID: u16 = 10;
const IFLA_VF_IB_PORT_GUID: u16 = 11;
const IFLA_VF_VLAN_LIST: u16 = 12;
const IFLA_VF_VLAN_INFO: u16 = 1;

const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;

/// What's preset where a driver says nothing.
const UNKNOWN: u32 = u32::MAX;

/// A PF's VFs, by index.
///
/// An attribute's length has 16 bits, and a VF takes some 260 bytes: beyond about 240 VFs the length of the list has
/// overflowed. The list itself is complete, so the VFs are counted off instead of trusting it.
pub(crate) fn vfs(payload: &[u8]) -> Result<Vec<VfConfig>, String> {
    let mut count = 0;
    for attribute in Attributes::new(payload.get(HEADER..).unwrap_or_default()) {
        let (kind, value, rest) = match attribute {
            Ok(it) => (it.kind, it.value, it.rest),
            Err(it) => (it.kind, it.rest, it.rest),
        };
        match (kind, attribute) {
            (IFLA_NUM_VF, _) => count = u32_of(value).unwrap_or_default(),
            (IFLA_VFINFO_LIST, _) => return listed(rest, count),
            (_, Ok(_)) => {}
            (_, Err(_)) => return Err(format!("attribute {kind} of a link is too long")),
        }
    }
    if count == 0 { Ok(Vec::new()) } else { Err(format!("{count} VFs are told of, but not listed")) }
}

fn listed(list: &[u8], count: u32) -> Result<Vec<VfConfig>, String> {
    let mut entries = Attributes::new(list);
    let mut vfs = Vec::new();
    for place in 0..count {
        let entry = entries.next().and_then(Result::ok).filter(|entry| entry.kind == IFLA_VF_INFO);
        let entry = entry.ok_or_else(|| format!("only {place} of {count} VFs are listed"))?;
        vfs.push(vf(entry.value)?);
    }
    vfs.sort_unstable_by_key(|vf| vf.index);
    Ok(vfs)
}

/// Every attribute of a VF begins with its index.
fn vf(entry: &[u8]) -> Result<VfConfig, String> {
    let mut index = None;
    let mut vf = VfConfig {
        index: 0,
        mac: None,
        vlan: 0,
        qos: 0,
        proto: VlanProto::Dot1q,
        min_tx_rate: 0,
        max_tx_rate: 0,
        spoofchk: None,
        trust: None,
        link_state: None,
        node_guid: None,
        port_guid: None,
    };
    for attribute in Attributes::new(entry) {
        let attribute = attribute.map_err(|it| format!("attribute {} of a VF is too long", it.kind))?;
        let value = attribute.value;
        let number = |place| {
            word(value, place).ok_or_else(|| format!("attribute {} of a VF is too short", attribute.kind))
        };
        match attribute.kind {
            IFLA_VF_MAC => {
                index = u16::try_from(number(0)?).ok();
                vf.mac = mac(value);
            }
            IFLA_VF_VLAN => (vf.vlan, vf.qos) = (narrow(number(1)?)?, narrow(number(2)?)?),
            IFLA_VF_RATE => (vf.min_tx_rate, vf.max_tx_rate) = (number(1)?, number(2)?),
            IFLA_VF_SPOOFCHK => vf.spoofchk = switch(number(1)?),
            IFLA_VF_TRUST => vf.trust = switch(number(1)?),
            IFLA_VF_LINK_STATE => vf.link_state = link_state(number(1)?),
            IFLA_VF_IB_NODE_GUID => vf.node_guid = guid(value),
            IFLA_VF_IB_PORT_GUID => vf.port_guid = guid(value),
            IFLA_VF_VLAN_LIST => {
                let info =
                    Attributes::new(value).map_while(Result::ok).find(|it| it.kind == IFLA_VF_VLAN_INFO);
                if let Some(info) = info {
                    vf.proto = protocol(info.value)?;
                }
            }
            _ => {}
        }
    }
    vf.index = index.ok_or("a VF is listed without its index")?;
    Ok(vf)
}

fn narrow<T: TryFrom<u32>>(number: u32) -> Result<T, String> {
    T::try_from(number).map_err(|_too_big| format!("a VF's VLAN or priority is {number}"))
}

/// The address takes 32 bytes, of which an Ethernet address fills 6 and an InfiniBand one 20.
fn mac(value: &[u8]) -> Option<MacAddr> {
    let (_, address) = value.split_at_checked(4)?;
    let (mac, padding) = address.split_first_chunk()?;
    padding.iter().all(|&byte| byte == 0).then_some(MacAddr(*mac))
}

/// A number behind the VF's index, which machines of 64 bits align to eight bytes.
fn guid(value: &[u8]) -> Option<Guid> {
    value.last_chunk().copied().map(|bytes| Guid(u64::from_ne_bytes(bytes).to_be_bytes()))
}

const fn switch(setting: u32) -> Option<bool> {
    match setting {
        UNKNOWN => None,
        setting => Some(setting != 0),
    }
}

const fn link_state(state: u32) -> Option<LinkState> {
    match state {
        0 => Some(LinkState::Auto),
        1 => Some(LinkState::Enable),
        2 => Some(LinkState::Disable),
        _ => None,
    }
}

/// The protocol stands behind index, VLAN and priority, in network byte order.
fn protocol(info: &[u8]) -> Result<VlanProto, String> {
    let number = info.get(12..).and_then(|tail| tail.first_chunk().copied()).map(u16::from_be_bytes);
    match number {
        // Drivers without VLANs leave it zero.
        Some(0 | ETH_P_8021Q) => Ok(VlanProto::Dot1q),
        Some(ETH_P_8021AD) => Ok(VlanProto::Dot1ad),
        Some(other) => Err(format!("a VF's VLAN has the protocol {other:#06x}")),
        None => Err("a VF's VLAN has no protocol".to_owned()),
    }
}
