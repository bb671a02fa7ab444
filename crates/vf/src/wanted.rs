//! What a network asks of a VF.

use std::fmt;

use netlink::{Guid, IfName, LinkState, MacAddr};
use pci::{Pkey, Vlans};
use serde::{Deserialize, Serialize};

use crate::settings::{Guids, Place, Rate, Rdma, Settings, Situation, Vlan};

/// What is asked of a VF. What is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Wanted {
    /// Its MAC, from the PF's side and on the interface.
    pub mac: Option<MacAddr>,
    /// Its VLAN; id 0 takes it out of any.
    pub vlan: Option<Vlan>,
    /// Its rates.
    pub rate: Option<Rate>,
    /// Whether frames with another source address than its own are dropped.
    pub spoofchk: Option<bool>,
    /// Whether it may change its own MAC and use promiscuous modes.
    pub trust: Option<bool>,
    /// The link state it's shown.
    pub link_state: Option<LinkState>,
    /// The VLANs that it may tag itself, none for any.
    pub trunk: Option<Vlans>,
    /// Its GUID, of node and port alike.
    pub guid: Option<Guid>,
    /// The partition that it has to be in.
    pub pkey: Option<Pkey>,
    /// The MTU of its interface in bytes.
    pub mtu: Option<u32>,
    /// Whether its interface takes every frame.
    pub promisc: Option<bool>,
    /// Whether its interface takes every multicast frame.
    pub allmulti: Option<bool>,
    /// Whether its RDMA device goes into the pod, too.
    pub rdma: bool,
}

/// An attribute by the name that a network's configuration has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// `mac`.
    Mac,
    /// `vlan`.
    Vlan,
    /// `vlanQoS`, other than 0.
    VlanQos,
    /// `vlanProto` 802.1ad.
    VlanProto8021ad,
    /// `min_tx_rate`, other than 0.
    MinTxRate,
    /// `max_tx_rate`.
    MaxTxRate,
    /// `spoofchk`.
    SpoofCheck,
    /// `trust`.
    Trust,
    /// `link_state`.
    LinkState,
    /// `vlanTrunk`.
    VlanTrunk,
    /// `guid`.
    Guid,
    /// `pkey`.
    Pkey,
    /// `mtu`.
    Mtu,
    /// `promisc`.
    Promisc,
    /// `allmulti`.
    Allmulti,
    /// `rdmaIsolation`.
    Rdma,
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mac => "mac",
            Self::Vlan => "vlan",
            Self::VlanQos => "vlanQoS",
            Self::VlanProto8021ad => "vlanProto 802.1ad",
            Self::MinTxRate => "min_tx_rate",
            Self::MaxTxRate => "max_tx_rate",
            Self::SpoofCheck => "spoofchk",
            Self::Trust => "trust",
            Self::LinkState => "link_state",
            Self::VlanTrunk => "vlanTrunk",
            Self::Guid => "guid",
            Self::Pkey => "pkey",
            Self::Mtu => "mtu",
            Self::Promisc => "promisc",
            Self::Allmulti => "allmulti",
            Self::Rdma => "rdmaIsolation",
        })
    }
}

impl Attribute {
    /// Whether a VF of an InfiniBand or of an Ethernet link has it; `None` when any has.
    pub const fn infiniband(self) -> Option<bool> {
        match self {
            Self::Guid | Self::Pkey => Some(true),
            Self::LinkState | Self::Mtu | Self::Promisc | Self::Allmulti | Self::Rdma => None,
            Self::Mac
            | Self::Vlan
            | Self::VlanQos
            | Self::VlanProto8021ad
            | Self::MinTxRate
            | Self::MaxTxRate
            | Self::SpoofCheck
            | Self::Trust
            | Self::VlanTrunk => Some(false),
        }
    }
}

impl Wanted {
    /// The attributes that a PF has to set, in the order of the fields. A rate of 0 asks nothing of a driver that
    /// has no rates.
    pub fn of_pf(&self) -> Vec<Attribute> {
        let ad = self.vlan.is_some_and(|vlan| vlan.proto == netlink::VlanProto::Dot1ad);
        [
            (self.mac.is_some(), Attribute::Mac),
            (self.vlan.is_some(), Attribute::Vlan),
            (self.vlan.is_some_and(|vlan| vlan.qos != 0), Attribute::VlanQos),
            (ad, Attribute::VlanProto8021ad),
            (self.rate.is_some_and(|rate| rate.min != 0), Attribute::MinTxRate),
            (self.rate.is_some_and(|rate| rate.max != 0), Attribute::MaxTxRate),
            (self.spoofchk.is_some(), Attribute::SpoofCheck),
            (self.trust.is_some(), Attribute::Trust),
            (self.link_state.is_some(), Attribute::LinkState),
            (self.trunk.is_some(), Attribute::VlanTrunk),
            (self.guid.is_some(), Attribute::Guid),
        ]
        .into_iter()
        .filter_map(|(asked, attribute)| asked.then_some(attribute))
        .collect()
    }

    /// The attributes that only an interface has, in the order of the fields.
    pub fn of_interface(&self) -> Vec<Attribute> {
        [
            (self.mtu.is_some(), Attribute::Mtu),
            (self.promisc.is_some(), Attribute::Promisc),
            (self.allmulti.is_some(), Attribute::Allmulti),
        ]
        .into_iter()
        .filter_map(|(asked, attribute)| asked.then_some(attribute))
        .collect()
    }

    /// What a VF of these settings is to become: as before but for what is asked, its interface up in the pod.
    pub fn goal(&self, before: &Settings, ifname: &IfName) -> Situation {
        let mut settings = before.clone();
        if let Some(admin) = &mut settings.admin {
            admin.mac = self.mac.or(admin.mac);
            admin.vlan = self.vlan.unwrap_or(admin.vlan);
            admin.rate = self.rate.unwrap_or(admin.rate);
            admin.spoofchk = self.spoofchk.or(admin.spoofchk);
            admin.trust = self.trust.or(admin.trust);
            admin.link_state = self.link_state.or(admin.link_state);
            admin.guids = admin.guids.map(|guids| self.guid.map_or(guids, Guids::both));
            // A VF in a VLAN of its own tags nothing itself: no driver has both.
            if admin.vlan.tags() {
                admin.trunk = admin.trunk.as_ref().map(|_| Vlans::default());
            }
            if let (Some(trunk), Some(_)) = (&self.trunk, &admin.trunk) {
                admin.trunk = Some(trunk.clone());
                admin.vlan = self.vlan.unwrap_or_default();
            }
        }
        let place = match &mut settings.netdev {
            Some(netdev) => {
                netdev.name = ifname.to_string();
                netdev.mac = self.mac.or(netdev.mac);
                netdev.guid = netdev.guid.map(|guid| self.guid.unwrap_or(guid));
                netdev.mtu = self.mtu.unwrap_or(netdev.mtu);
                netdev.promisc = self.promisc.unwrap_or(netdev.promisc);
                netdev.allmulti = self.allmulti.unwrap_or(netdev.allmulti);
                netdev.up = true;
                // The kernel refuses a name that the interface has as an alternative name already.
                netdev.altnames.retain(|altname| altname != ifname.as_str());
                Place::Pod
            }
            None => Place::Home,
        };
        settings.rdma = settings.rdma.filter(|_| self.rdma).map(|rdma| Rdma { place: Place::Pod, ..rdma });
        Situation { settings, place }
    }
}
