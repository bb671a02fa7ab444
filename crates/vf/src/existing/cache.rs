//! The existing plugin's record of one attachment: `<container ID>-<interface>`.
//!
//! It's JSON: the network's configuration, what the plugin found out about the VF, and what the VF was like before.
//! Over its releases this has had three forms. The first has the name and both MACs beside the configuration; later
//! ones have all that was saved in `OrigVfState`, at first without `Trust`, `VlanProto` and `MTU`. It's written in
//! place, so a full disk or a power cut leaves it empty or cut off.

use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use netlink::{InvalidMac, LinkState, MacAddr, VlanProto};
use pci::{InvalidAddress, PciAddress};
use serde::Deserialize;

use crate::settings::{Rate, Settings, Vlan};
use crate::wanted::Wanted;

/// Why a file of the existing plugin doesn't tell what a VF was like.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It can't be read.
    #[error("it can't be read")]
    Read(#[source] io::Error),
    /// It's empty, cut off, or something else.
    #[error("it's cut off, or isn't that plugin's")]
    Json(#[source] serde_json::Error),
    /// It names no VF.
    #[error("it names no VF")]
    Device(#[source] InvalidAddress),
    /// It doesn't say what the VF was like.
    #[error("it doesn't say what the VF was like")]
    NoState,
    /// A MAC in it isn't one.
    #[error("a MAC in it is none")]
    Mac(#[source] InvalidMac),
    /// Another number in it can't be.
    #[error("{key} {value} can't be")]
    Value {
        /// Its key.
        key: &'static str,
        /// Its value.
        value: u32,
    },
    /// The VF's driver has been changed, and nothing tells what it was.
    #[error("the VF had {} and is bound to {driver} now, with no other VF to tell which driver it had", if *kernel { "an interface" } else { "a driver for user space" })]
    Driver {
        /// Its driver now.
        driver: String,
        /// Whether it had a driver that gave it an interface.
        kernel: bool,
    },
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    /// The file.
    pub(super) path: PathBuf,
    /// When it was written.
    pub(super) modified: SystemTime,
    pub(super) pci: PciAddress,
    /// The name of the network's configuration.
    pub(super) network: String,
    /// What the configuration asked for, and so what has been changed.
    pub(super) wanted: Wanted,
    original: Original,
}

/// What the VF was like before. What wasn't saved is what a VF has that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Original {
    /// Its interface's name; `None` where a driver for user space had it.
    name: Option<String>,
    mac: Option<MacAddr>,
    mtu: Option<u32>,
    admin_mac: Option<MacAddr>,
    vlan: Vlan,
    rate: Rate,
    spoofchk: bool,
    trust: bool,
    link_state: LinkState,
}

impl Cache {
    pub(super) fn parse(path: PathBuf, modified: SystemTime, bytes: &[u8]) -> Result<Self, Unusable> {
        let conf: Conf = serde_json::from_slice(bytes).map_err(Unusable::Json)?;
        let pci = conf.device.parse().map_err(Unusable::Device)?;
        let saved = conf.saved()?;
        let wanted = conf.wanted()?;
        let original = saved.original()?;
        Ok(Self { path, modified, pci, network: conf.name, wanted, original })
    }

    /// Whether the VF had an interface.
    pub(super) fn had_interface(&self) -> bool {
        self.original.name.is_some()
    }

    /// Puts what the VF was like over what it is: the attributes that were configured, the admin MAC, and the
    /// interface.
    pub(super) fn lay_over(&self, settings: &mut Settings) {
        let Self { wanted, original, .. } = self;
        if let Some(admin) = &mut settings.admin {
            admin.mac = original.admin_mac.or(admin.mac);
            admin.vlan = wanted.vlan.map_or(admin.vlan, |_asked| original.vlan);
            admin.rate = wanted.rate.map_or(admin.rate, |_asked| original.rate);
            admin.spoofchk = wanted.spoofchk.map_or(admin.spoofchk, |_asked| Some(original.spoofchk));
            admin.trust = wanted.trust.map_or(admin.trust, |_asked| Some(original.trust));
            admin.link_state = wanted.link_state.map_or(admin.link_state, |_asked| Some(original.link_state));
        }
        if let (Some(netdev), Some(name)) = (&mut settings.netdev, &original.name) {
            netdev.name.clone_from(name);
            netdev.altnames.retain(|altname| altname != name.as_str());
            netdev.mac = original.mac.or(netdev.mac);
            netdev.mtu = original.mtu.unwrap_or(netdev.mtu);
        }
    }
}

/// The file's JSON, as far as it matters. An empty text is an absent one.
#[derive(Debug, Deserialize)]
struct Conf {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "deviceID")]
    device: String,
    #[serde(default, rename = "MAC")]
    mac: String,
    vlan: Option<u16>,
    #[serde(rename = "vlanQoS")]
    qos: Option<u8>,
    #[serde(rename = "vlanProto")]
    proto: Option<String>,
    min_tx_rate: Option<u32>,
    max_tx_rate: Option<u32>,
    #[serde(default)]
    spoofchk: String,
    #[serde(default)]
    trust: String,
    #[serde(default)]
    link_state: String,
    #[serde(rename = "OrigVfState")]
    saved: Option<Saved>,
    // The first form.
    #[serde(rename = "DPDKMode")]
    user_space: Option<bool>,
    #[serde(rename = "HostIFNames")]
    name_before: Option<String>,
    #[serde(default, rename = "adminMAC")]
    admin_mac: String,
    #[serde(default, rename = "effectiveMAC")]
    effective_mac: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    #[serde(default, rename = "HostIFName")]
    name: String,
    #[serde(default = "yes")]
    spoof_chk: bool,
    #[serde(default)]
    trust: bool,
    #[serde(default, rename = "AdminMAC")]
    admin_mac: String,
    #[serde(default, rename = "EffectiveMAC")]
    effective_mac: String,
    #[serde(default)]
    vlan: u16,
    #[serde(default, rename = "VlanQoS")]
    qos: u8,
    #[serde(default)]
    vlan_proto: u32,
    #[serde(default)]
    min_tx_rate: u32,
    #[serde(default)]
    max_tx_rate: u32,
    #[serde(default)]
    link_state: u32,
    #[serde(default, rename = "MTU")]
    mtu: u32,
}

fn yes() -> bool {
    true
}

impl Conf {
    fn saved(&self) -> Result<Saved, Unusable> {
        if let Some(saved) = &self.saved {
            return Ok(saved.clone());
        }
        let name = self.name_before.clone().unwrap_or_default();
        if name.is_empty() && self.user_space != Some(true) {
            return Err(Unusable::NoState);
        }
        Ok(Saved {
            name,
            spoof_chk: true,
            trust: false,
            admin_mac: self.admin_mac.clone(),
            effective_mac: self.effective_mac.clone(),
            vlan: 0,
            qos: 0,
            vlan_proto: 0,
            min_tx_rate: 0,
            max_tx_rate: 0,
            link_state: 0,
            mtu: 0,
        })
    }

    fn wanted(&self) -> Result<Wanted, Unusable> {
        let proto = match self.proto.as_deref() {
            Some(proto) if proto.eq_ignore_ascii_case("802.1ad") => VlanProto::Dot1ad,
            _ => VlanProto::Dot1q,
        };
        let vlan = self.vlan.map(|id| Vlan { id, qos: self.qos.unwrap_or_default(), proto });
        let rate = (self.min_tx_rate.is_some() || self.max_tx_rate.is_some()).then(|| Rate {
            min: self.min_tx_rate.unwrap_or_default(),
            max: self.max_tx_rate.unwrap_or_default(),
        });
        // Anything but "on" turns it off.
        let switch = |text: &str| (!text.is_empty()).then(|| text == "on");
        let link_state = match self.link_state.as_str() {
            "" => None,
            "enable" => Some(LinkState::Enable),
            "disable" => Some(LinkState::Disable),
            _ => Some(LinkState::Auto),
        };
        Ok(Wanted {
            mac: mac(&self.mac)?,
            vlan,
            rate,
            spoofchk: switch(&self.spoofchk),
            trust: switch(&self.trust),
            link_state,
            ..Wanted::default()
        })
    }
}

impl Saved {
    fn original(&self) -> Result<Original, Unusable> {
        let unusable = |key, value| Unusable::Value { key, value };
        let proto = match self.vlan_proto {
            // Absent at first. On a big-endian machine the bytes are swapped.
            0 | 0x8100 | 0x0081 => VlanProto::Dot1q,
            0x88a8 | 0xa888 => VlanProto::Dot1ad,
            value => return Err(unusable("VlanProto", value)),
        };
        if self.vlan > 4094 {
            return Err(unusable("Vlan", self.vlan.into()));
        }
        let link_state = match self.link_state {
            0 => LinkState::Auto,
            1 => LinkState::Enable,
            2 => LinkState::Disable,
            value => return Err(unusable("LinkState", value)),
        };
        Ok(Original {
            name: (!self.name.is_empty()).then(|| self.name.clone()),
            mac: mac(&self.effective_mac)?,
            mtu: (self.mtu != 0).then_some(self.mtu),
            admin_mac: mac(&self.admin_mac)?,
            vlan: Vlan { id: self.vlan, qos: self.qos, proto },
            rate: Rate { min: self.min_tx_rate, max: self.max_tx_rate },
            spoofchk: self.spoof_chk,
            trust: self.trust,
            link_state,
        })
    }
}

fn mac(text: &str) -> Result<Option<MacAddr>, Unusable> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(Unusable::Mac)
}

#[cfg(test)]
mod tests;
