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
//! | `ipam`, `dns` | as the CNI specification has them |
//! | `logLevel`, `logFile` | accepted: everything that's worth telling is in the error |
//!
//! Keys are read regardless of case, and those that aren't known are passed over. `null` and an empty text count as
//! missing.

use cni::{Args, NetConf, Object, object};
use netlink::{InvalidMac, LinkState, MacAddr, VlanProto};
use pci::{InvalidAddress, PciAddress};
use vf::{Rate, Vlan, Wanted};

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

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// A value has the wrong JSON type.
    #[error("the configuration of the network can't be used")]
    Read(#[from] object::Error),
    /// No VF is named.
    #[error(
        "\"deviceID\" is missing: it's the PCI address of the VF, which comes from the pod's allocation of the network's resource (k8s.v1.cni.cncf.io/resourceName)"
    )]
    NoDevice,
    /// The VF's name isn't a PCI address.
    #[error("\"{key}\" can't be used")]
    Device {
        /// The key.
        key: &'static str,
        /// Why.
        source: InvalidAddress,
    },
    /// Two keys name different VFs.
    #[error("\"{first}\" is {first_value} and \"{second}\" is {second_value}: they have to name one VF")]
    Devices {
        /// A key.
        first: &'static str,
        /// Its value.
        first_value: PciAddress,
        /// Another key.
        second: &'static str,
        /// Its value.
        second_value: PciAddress,
    },
    /// The MAC isn't one.
    #[error("\"mac\" (from {origin}) can't be used")]
    Mac {
        /// Where it was given.
        origin: &'static str,
        /// Why.
        source: InvalidMac,
    },
    /// The MAC is a group's, or zero.
    #[error("\"mac\" {mac} (from {origin}) can't be an interface's address: it's a group address or zero")]
    NotUnicast {
        /// Where it was given.
        origin: &'static str,
        /// The MAC.
        mac: MacAddr,
    },
    /// A number is out of its range.
    #[error("\"{key}\" is {value}: it has to be {least} to {most}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        value: i64,
        /// The lowest value.
        least: i64,
        /// The highest value.
        most: i64,
    },
    /// A text is none of those allowed.
    #[error("\"{key}\" is {value:?}: it has to be {allowed}")]
    Choice {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A key says more about a VLAN, and there's no VLAN.
    #[error("\"{key}\" needs \"vlan\"{}", if *nonzero { " to be other than 0" } else { "" })]
    NeedsVlan {
        /// The key.
        key: &'static str,
        /// Whether there is a `vlan`, and it's 0.
        nonzero: bool,
    },
    /// The guaranteed rate is higher than the highest.
    #[error("\"min_tx_rate\" {min} is higher than \"max_tx_rate\" {max}")]
    Rates {
        /// The guaranteed rate in Mbit/s.
        min: u32,
        /// The highest rate in Mbit/s.
        max: u32,
    },
    /// `CNI_ARGS` has a key that nobody knows.
    #[error("CNI_ARGS has the key {0:?}, which isn't known here: leave it out or add IgnoreUnknown=1")]
    UnknownArg(String),
}

impl From<InvalidConfig> for cni::Error {
    fn from(error: InvalidConfig) -> Self {
        let text = crate::error::chain(&error);
        match error {
            InvalidConfig::Read(_) => cni::Error::decode(text),
            InvalidConfig::UnknownArg(_) => cni::Error::invalid_environment(text),
            InvalidConfig::NoDevice
            | InvalidConfig::Device { .. }
            | InvalidConfig::Devices { .. }
            | InvalidConfig::Mac { .. }
            | InvalidConfig::NotUnicast { .. }
            | InvalidConfig::Range { .. }
            | InvalidConfig::Choice { .. }
            | InvalidConfig::NeedsVlan { .. }
            | InvalidConfig::Rates { .. } => cni::Error::invalid_config(text),
        }
    }
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
                mtu: number(object, "mtu", MIN_MTU, u16::MAX.into())?,
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
    // Dashes are as common as colons, and the existing plugin takes both.
    let mac: MacAddr =
        text.trim().replace('-', ":").parse().map_err(|source| InvalidConfig::Mac { origin, source })?;
    if mac.is_unicast() { Ok(Some(mac)) } else { Err(InvalidConfig::NotUnicast { origin, mac }) }
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
    let Some(text) = text(object, key)? else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        _ => Err(choice(key, text, "on or off")),
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
