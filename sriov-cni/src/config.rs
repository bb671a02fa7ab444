//! What a network's configuration says.
//!
//! | key | value |
//! |---|---|
//! | `deviceID`, `pciBusID`, `runtimeConfig.deviceID` | the VF's PCI address; required |
//! | `mac` | its MAC; `MAC` of `CNI_ARGS` and `runtimeConfig.mac` go before it, in this order |
//! | `vlan` | 0 to 4094; missing: left as it is |
//! | `vlanQoS` | 0 to 7, with `vlan` |
//! | `vlanProto` | `802.1q` or `802.1ad`, with `vlan` |
//! | `min_tx_rate`, `max_tx_rate` | Mbit/s, 0 for none; where one is given, the other is 0 unless given |
//! | `spoofchk`, `trust` | `on` or `off` |
//! | `link_state` | `auto`, `enable` or `disable` |
//! | `mtu` | bytes, at most the PF's |
//! | `vlanTrunk` | VLANs that the VF may tag itself: `"100,200-210"`, or `[{"id":100},{"minID":200,"maxID":210}]` |
//! | `guid` | the GUID of an InfiniBand VF; `args.cni.guid` and `runtimeConfig.infinibandGUID` go before it, in this order |
//! | `pkey` | the partition that an InfiniBand VF has to be in, as `0x0006` |
//! | `ibKubernetesEnabled` | `true`: not before ib-kubernetes has given a GUID |
//! | `promisc`, `allmulti` | `on`, `off`, `true` or `false` |
//! | `rdmaIsolation` | `true`: the VF's RDMA device goes into the pod, too |
//! | `ipam`, `dns` | as the CNI specification has them |
//! | `logLevel`, `logFile` | see [`crate::log`] |
//!
//! Keys are read regardless of case, and those that aren't known are passed over. `null` and an empty text count as
//! missing.

mod error;
mod infiniband;
mod trunk;

use cni::{Args, NetConf, Object};
use netlink::{LinkState, MacAddr, VlanProto};
use pci::PciAddress;
use serde::Deserialize;
use vf::{Rate, Vlan, Wanted};

pub use error::InvalidConfig;

/// The highest VLAN id; 4095 is reserved.
const MAX_VLAN: u16 = 4094;

/// The highest priority in a VLAN tag.
const MAX_QOS: u8 = 7;

/// The smallest MTU of an Ethernet interface, in bytes.
const MIN_MTU: u32 = 68;

/// A network's configuration for one attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The VF.
    pub device: PciAddress,
    /// What is asked of it.
    pub wanted: Wanted,
    /// Name servers, for where IPAM gives none.
    pub dns: cni::result::Dns,
}

impl Config {
    /// Reads and validates a configuration.
    pub fn new(conf: &NetConf, args: &Args) -> Result<Self, InvalidConfig> {
        refuse_unknown_args(args)?;
        let object = conf.object();
        Ok(Self {
            device: device(object)?.ok_or(InvalidConfig::NoDevice)?,
            wanted: Wanted {
                mac: mac(object, args)?,
                vlan: vlan(object)?,
                rate: rate(object)?,
                spoofchk: switch(object, "spoofchk")?,
                trust: switch(object, "trust")?,
                link_state: link_state(object)?,
                trunk: trunk::trunk(object)?,
                guid: infiniband::guid(object)?,
                pkey: infiniband::pkey(object)?,
                mtu: number(object, "mtu", MIN_MTU, u16::MAX.into())?,
                promisc: boolean(object, "promisc")?,
                allmulti: boolean(object, "allmulti")?,
                rdma: object.read("rdmaIsolation")?.unwrap_or_default(),
            },
            dns: dns(object)?,
        })
    }
}

/// The VF that a configuration names, if it names one.
pub fn device(object: &Object) -> Result<Option<PciAddress>, InvalidConfig> {
    let runtime = object.read::<Object>("runtimeConfig")?.unwrap_or_default();
    let mut found: Option<(&'static str, PciAddress)> = None;
    for (key, text) in [
        ("runtimeConfig.deviceID", text(&runtime, "deviceID")?),
        ("deviceID", text(object, "deviceID")?),
        ("pciBusID", text(object, "pciBusID")?),
    ] {
        let Some(text) = text else { continue };
        let address: PciAddress = text
            .trim()
            .to_ascii_lowercase()
            .parse()
            .map_err(|source| InvalidConfig::Device { key, source })?;
        match found {
            None => found = Some((key, address)),
            Some((_, former)) if former == address => {}
            Some((first, first_value)) => {
                return Err(InvalidConfig::Devices {
                    first,
                    first_value,
                    second: key,
                    second_value: address,
                });
            }
        }
    }
    Ok(found.map(|(_key, address)| address))
}

fn mac(object: &Object, args: &Args) -> Result<Option<MacAddr>, InvalidConfig> {
    let runtime = object.read::<Object>("runtimeConfig")?.unwrap_or_default();
    let candidates = [
        ("runtimeConfig.mac", text(&runtime, "mac")?),
        ("CNI_ARGS", args.arg("MAC").map(str::to_owned).filter(|text| !text.is_empty())),
        ("mac", text(object, "mac")?),
    ];
    let first = candidates.into_iter().find_map(|(origin, text)| Some((origin, text?)));
    let Some((origin, text)) = first else { return Ok(None) };
    let mac: MacAddr =
        with_colons(text.trim()).parse().map_err(|source| InvalidConfig::Mac { origin, source })?;
    if mac.is_unicast() { Ok(Some(mac)) } else { Err(InvalidConfig::NotUnicast { origin, mac }) }
}

/// A MAC as it's written with colons. The existing plugin takes dashes, and pairs of bytes with dots, as well.
fn with_colons(text: &str) -> String {
    let groups: Vec<&str> = text.split('.').collect();
    if !matches!(groups.as_slice(), [a, b, c] if [a, b, c].iter().all(|group| group.len() == 4)) {
        return text.replace('-', ":");
    }
    let digits: Vec<char> = groups.concat().chars().collect();
    let bytes: Vec<String> = digits.chunks(2).map(|byte| byte.iter().collect()).collect();
    bytes.join(":")
}

fn vlan(object: &Object) -> Result<Option<Vlan>, InvalidConfig> {
    let id = number(object, "vlan", 0, MAX_VLAN)?;
    let qos = number(object, "vlanQoS", 0, MAX_QOS)?;
    let proto = match text(object, "vlanProto")? {
        None => None,
        Some(text) => Some(match text.to_ascii_lowercase().as_str() {
            "802.1q" => VlanProto::Dot1q,
            "802.1ad" => VlanProto::Dot1ad,
            _ => return Err(choice("vlanProto", text, "802.1q or 802.1ad")),
        }),
    };
    let refused = |key, nonzero| Err(InvalidConfig::NeedsVlan { key, nonzero });
    match (id, qos, proto) {
        (None, Some(_), _) => refused("vlanQoS", false),
        (None, _, Some(_)) => refused("vlanProto", false),
        (None, None, None) => Ok(None),
        (Some(0), Some(1..), _) => refused("vlanQoS", true),
        (Some(0), _, Some(VlanProto::Dot1ad)) => refused("vlanProto", true),
        (Some(id), qos, proto) => {
            Ok(Some(Vlan { id, qos: qos.unwrap_or_default(), proto: proto.unwrap_or_default() }))
        }
    }
}

fn rate(object: &Object) -> Result<Option<Rate>, InvalidConfig> {
    let min = number(object, "min_tx_rate", 0, u32::MAX)?;
    let max = number(object, "max_tx_rate", 0, u32::MAX)?;
    if min.is_none() && max.is_none() {
        return Ok(None);
    }
    let rate = Rate { min: min.unwrap_or_default(), max: max.unwrap_or_default() };
    if rate.max != 0 && rate.min > rate.max {
        return Err(InvalidConfig::Rates { min: rate.min, max: rate.max });
    }
    Ok(Some(rate))
}

fn switch(object: &Object, key: &'static str) -> Result<Option<bool>, InvalidConfig> {
    text(object, key)?.map(|text| on_or_off(key, text)).transpose()
}

fn on_or_off(key: &'static str, text: String) -> Result<bool, InvalidConfig> {
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(choice(key, text, "on or off")),
    }
}

/// Keys that the existing plugin doesn't have take what each of its kin would.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected on, off, true or false")]
enum Boolean {
    Of(bool),
    Text(String),
}

fn boolean(object: &Object, key: &'static str) -> Result<Option<bool>, InvalidConfig> {
    match object.read(key)? {
        None => Ok(None),
        Some(Boolean::Of(on)) => Ok(Some(on)),
        Some(Boolean::Text(text)) if text.is_empty() => Ok(None),
        Some(Boolean::Text(text)) => on_or_off(key, text).map(Some),
    }
}

fn link_state(object: &Object) -> Result<Option<LinkState>, InvalidConfig> {
    let Some(text) = text(object, "link_state")? else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(Some(LinkState::Auto)),
        "enable" => Ok(Some(LinkState::Enable)),
        "disable" => Ok(Some(LinkState::Disable)),
        _ => Err(choice("link_state", text, "auto, enable or disable")),
    }
}

fn dns(object: &Object) -> Result<cni::result::Dns, InvalidConfig> {
    let dns = object.read::<Object>("dns")?.unwrap_or_default();
    Ok(cni::result::Dns {
        nameservers: dns.read("nameservers")?.unwrap_or_default(),
        domain: dns.read("domain")?.unwrap_or_default(),
        search: dns.read("search")?.unwrap_or_default(),
        options: dns.read("options")?.unwrap_or_default(),
        other: Object::default(),
    })
}

fn number<N: TryFrom<i64> + Into<i64> + Copy>(
    object: &Object,
    key: &'static str,
    least: N,
    most: N,
) -> Result<Option<N>, InvalidConfig> {
    let Some(value) = object.read::<i64>(key)? else { return Ok(None) };
    let (least, most) = (least.into(), most.into());
    let number = N::try_from(value).ok().filter(|_| (least..=most).contains(&value));
    number.map(Some).ok_or(InvalidConfig::Range { key, value, least, most })
}

fn text(object: &Object, key: &str) -> Result<Option<String>, InvalidConfig> {
    Ok(object.read::<String>(key)?.filter(|text| !text.is_empty()))
}

fn choice(key: &'static str, value: String, allowed: &'static str) -> InvalidConfig {
    InvalidConfig::Choice { key, value, allowed }
}

/// The keys that runtimes and Kubernetes put into `CNI_ARGS`, and ours.
const KNOWN_ARGS: [&str; 6] = [
    "IgnoreUnknown",
    "MAC",
    "K8S_POD_NAMESPACE",
    "K8S_POD_NAME",
    "K8S_POD_UID",
    "K8S_POD_INFRA_CONTAINER_ID",
];

fn refuse_unknown_args(args: &Args) -> Result<(), InvalidConfig> {
    let ignored = args
        .arg("IgnoreUnknown")
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "t" | "true"));
    match args.args.iter().find(|(key, _)| !ignored && !KNOWN_ARGS.contains(&key.as_str())) {
        Some((key, _)) => Err(InvalidConfig::UnknownArg(key.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
