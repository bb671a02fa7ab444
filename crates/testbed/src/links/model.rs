//! How drivers differ, as data.

use std::collections::BTreeSet;

use netlink::{Errno, Guid, VfChange, VfConfig, VlanProto};

/// Something about a VF that a driver may not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attribute {
    /// The admin MAC.
    Mac,
    /// VLAN and priority.
    Vlan,
    /// The protocol 802.1ad.
    Dot1ad,
    /// The highest rate.
    MaxRate,
    /// The guaranteed rate.
    MinRate,
    /// The check of source addresses.
    SpoofCheck,
    /// Trust.
    Trust,
    /// The link state shown to the VF.
    LinkState,
}

/// When an admin MAC becomes the address of the VF's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminMac {
    /// As soon as it's set (iavf, once its admin queue has caught up).
    AtOnce,
    /// When the VF's driver resets its device: the interface is set down after it was up, or gets another MTU, or
    /// the driver is bound (igbvf, measured; setting it up changes nothing).
    OnReset,
    /// Not before the driver is bound again (mlx5).
    OnBind,
}

/// What a PF's driver and its VFs' driver do with what they're asked for.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a way of some driver's, and they go in any combination"
)]
pub struct DriverModel {
    /// The VFs' network driver.
    pub vf_driver: String,
    /// What's refused as unsupported.
    pub unsupported: BTreeSet<Attribute>,
    /// What's accepted but not told when VFs are read (among spoof check, trust and link state).
    pub untold: BTreeSet<Attribute>,
    /// When an admin MAC takes effect.
    pub admin_mac: AdminMac,
    /// Whether an untrusted VF can't change a MAC that was set through the PF.
    pub guards_mac: bool,
    /// Whether the PF shows a VF's own address where none is set through the PF, once the VF has told it.
    pub tells_own_mac: bool,
    /// Whether an admin MAC of zero is refused, so that one can't be removed.
    pub refuses_zero_mac: bool,
    /// Whether its links are InfiniBand: it has GUIDs, and of the rest the link state alone.
    pub infiniband: bool,
    /// The highest rate that's taken, in Mbit/s.
    pub max_rate: u32,
    /// The largest MTU of a VF, in bytes.
    pub max_mtu: u32,
}

impl DriverModel {
    /// igb and igbvf, as measured on an emulated 82576.
    pub fn igb() -> Self {
        Self {
            vf_driver: "igbvf".to_owned(),
            unsupported: [Attribute::Dot1ad, Attribute::MinRate, Attribute::LinkState].into(),
            untold: BTreeSet::new(),
            admin_mac: AdminMac::OnReset,
            guards_mac: true,
            tells_own_mac: true,
            refuses_zero_mac: false,
            infiniband: false,
            max_rate: 1000,
            max_mtu: 9216,
        }
    }

    /// A driver with every attribute, whose VFs take an admin MAC at once: i40e or ice with iavf.
    pub fn iavf() -> Self {
        Self {
            vf_driver: "iavf".to_owned(),
            unsupported: BTreeSet::new(),
            untold: BTreeSet::new(),
            admin_mac: AdminMac::AtOnce,
            guards_mac: true,
            tells_own_mac: false,
            refuses_zero_mac: true,
            infiniband: false,
            max_rate: 25_000,
            max_mtu: 9702,
        }
    }

    /// A driver that leaves an existing interface's address alone: mlx5.
    pub fn mlx5() -> Self {
        Self {
            vf_driver: "mlx5_core".to_owned(),
            unsupported: BTreeSet::new(),
            untold: BTreeSet::new(),
            admin_mac: AdminMac::OnBind,
            guards_mac: false,
            tells_own_mac: false,
            refuses_zero_mac: false,
            infiniband: false,
            max_rate: 100_000,
            max_mtu: 9978,
        }
    }

    /// The same on InfiniBand: a VF takes a GUID when its driver is bound.
    pub fn mlx5_infiniband() -> Self {
        let ethernets =
            [Attribute::Mac, Attribute::Vlan, Attribute::MaxRate, Attribute::SpoofCheck, Attribute::Trust];
        let untold = [Attribute::SpoofCheck, Attribute::Trust];
        Self { infiniband: true, max_mtu: 4092, ..Self::mlx5() }.without(ethernets).untelling(untold)
    }

    /// The same without support for `attributes`.
    #[must_use]
    pub fn without(mut self, attributes: impl IntoIterator<Item = Attribute>) -> Self {
        self.unsupported.extend(attributes);
        self
    }

    /// The same with `attributes` not told when VFs are read.
    #[must_use]
    pub fn untelling(mut self, attributes: impl IntoIterator<Item = Attribute>) -> Self {
        self.untold.extend(attributes);
        self
    }

    /// What the PF shows of a VF that's set like `vf`.
    pub(super) fn shown(&self, vf: &VfConfig) -> VfConfig {
        let mut shown = vf.clone();
        if self.untold.contains(&Attribute::SpoofCheck) {
            shown.spoofchk = None;
        }
        if self.untold.contains(&Attribute::Trust) {
            shown.trust = None;
        }
        if self.untold.contains(&Attribute::LinkState) {
            shown.link_state = None;
        }
        shown
    }

    /// The VF's settings after a change, or why the driver refuses it.
    pub(super) fn changed(&self, vf: &VfConfig, change: &VfChange) -> Result<VfConfig, Errno> {
        let supported = |attribute| {
            if self.unsupported.contains(&attribute) { Err(Errno::EOPNOTSUPP) } else { Ok(()) }
        };
        let mut vf = vf.clone();
        match *change {
            VfChange::Mac(mac) => {
                supported(Attribute::Mac)?;
                if !(mac.is_unicast() || (mac.is_zero() && !self.refuses_zero_mac)) {
                    return Err(Errno::EINVAL);
                }
                vf.mac = Some(mac);
            }
            VfChange::Vlan { id, qos, proto } => {
                supported(Attribute::Vlan)?;
                if id > 4094 || qos > 7 {
                    return Err(Errno::EINVAL);
                }
                if proto == VlanProto::Dot1ad && self.unsupported.contains(&Attribute::Dot1ad) {
                    return Err(Errno::EPROTONOSUPPORT);
                }
                (vf.vlan, vf.qos, vf.proto) = (id, qos, proto);
            }
            VfChange::Rate { min, max } => {
                supported(Attribute::MaxRate)?;
                let guaranteed = min == 0 || !self.unsupported.contains(&Attribute::MinRate);
                if !guaranteed || max > self.max_rate || (max != 0 && min > max) {
                    return Err(Errno::EINVAL);
                }
                (vf.min_tx_rate, vf.max_tx_rate) = (min, max);
            }
            VfChange::SpoofCheck(on) => {
                supported(Attribute::SpoofCheck)?;
                vf.spoofchk = Some(on);
            }
            VfChange::Trust(on) => {
                supported(Attribute::Trust)?;
                vf.trust = Some(on);
            }
            VfChange::LinkState(state) => {
                supported(Attribute::LinkState)?;
                vf.link_state = Some(state);
            }
            VfChange::NodeGuid(_) | VfChange::PortGuid(_) if !self.infiniband => {
                return Err(Errno::EOPNOTSUPP);
            }
            VfChange::NodeGuid(guid) | VfChange::PortGuid(guid) if guid == Guid::default() => {
                return Err(Errno::EINVAL);
            }
            VfChange::NodeGuid(guid) => vf.node_guid = Some(guid),
            VfChange::PortGuid(guid) => vf.port_guid = Some(guid),
        }
        Ok(vf)
    }
}
