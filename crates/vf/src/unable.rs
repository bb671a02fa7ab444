//! What can't be had of a VF, known beforehand or told by its driver.

use netlink::{Guid, MacAddr, VfChange, VlanProto};
use pci::PciAddress;

use crate::driver;
use crate::error::Error;
use crate::observe::{PfLink, Seen};
use crate::settings::Settings;
use crate::wanted::{Attribute, Wanted};

/// Why what's asked for can't be had of a VF, however often it's tried: someone has to ask for something else.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// The MAC can't be an interface's.
    #[error("mac {mac} can't be an interface's address: it's a group address or zero")]
    NotUnicast {
        /// What was asked for.
        mac: MacAddr,
    },
    /// The GUID can't be a port's.
    #[error("guid {guid} can't be a port's: it's all zero or all ones")]
    UnusableGuid {
        /// What was asked for.
        guid: Guid,
    },
    /// An attribute of the other kind of link.
    #[error(
        "{attribute} of VF {pci} can't be set: its link is {}; leave {attribute} out of the network's configuration", if *infiniband { "InfiniBand" } else { "Ethernet" }
    )]
    LinkType {
        /// The VF.
        pci: PciAddress,
        /// What was asked for.
        attribute: Attribute,
        /// Whether the VF's link is InfiniBand; else it's Ethernet.
        infiniband: bool,
    },
    /// An attribute that a PF has to set, and no PF to set it.
    #[error(
        "{attribute} of VF {pci} is set through its PF, and no PF with an interface is in sight: leave {attribute} out of the network's configuration"
    )]
    NoPf {
        /// The VF.
        pci: PciAddress,
        /// What was asked for.
        attribute: Attribute,
    },
    /// The driver can't do what was asked.
    #[error(
        "the driver {driver} can't set {attribute} of VF {pci}: leave {attribute} out of the network's configuration"
    )]
    Unsupported {
        /// The VF.
        pci: PciAddress,
        /// The driver that was asked, mostly the PF's.
        driver: String,
        /// What was asked for.
        attribute: Attribute,
    },
    /// The driver has no rates as small as that.
    #[error(
        "the driver {driver} can't set max_tx_rate {rate} of VF {pci}: the least that it takes is {least} Mbit/s, or 0 for none"
    )]
    RateTooSmall {
        /// The VF.
        pci: PciAddress,
        /// The PF's driver.
        driver: String,
        /// What was asked for, in Mbit/s.
        rate: u32,
        /// The least that it takes, in Mbit/s.
        least: u32,
    },
    /// More VLANs than the driver can show at once.
    #[error(
        "vlanTrunk of VF {pci} has {vlans} VLANs, more than its PF's driver {driver} can show, so that nobody could tell whether they're set: ask for fewer"
    )]
    TrunkTooLong {
        /// The VF.
        pci: PciAddress,
        /// The PF's driver.
        driver: String,
        /// How many were asked for.
        vlans: usize,
    },
    /// An InfiniBand VF that has no GUID, and is given none.
    #[error(
        "VF {pci} has no GUID, and without one it reaches nobody: name one in the network's configuration (guid) or in the pod's annotation (infiniband-guid)"
    )]
    NoGuid {
        /// The VF.
        pci: PciAddress,
    },
    /// An attribute that only an interface has, and a VF without one.
    #[error(
        "{attribute} of VF {pci} can't be set: its driver {driver} gives it no interface; leave {attribute} out of the network's configuration, and set it in the program that uses the VF"
    )]
    NoInterface {
        /// The VF.
        pci: PciAddress,
        /// Its driver.
        driver: String,
        /// What was asked for.
        attribute: Attribute,
    },
    /// The MTU is larger than the PF's.
    #[error("mtu {mtu} of VF {pci} is larger than {pf_mtu}, the MTU of its PF {pf}")]
    MtuAbovePf {
        /// The VF.
        pci: PciAddress,
        /// What was asked for, in bytes.
        mtu: u32,
        /// The PF's interface.
        pf: String,
        /// Its MTU in bytes.
        pf_mtu: u32,
    },
}

/// Refuses what's known beforehand not to work.
pub(crate) fn refuse(pci: PciAddress, wanted: &Wanted, seen: &Seen) -> Result<(), Unable> {
    let settings = &seen.situation.settings;
    let infiniband = seen.infiniband;
    let asked = wanted.of_pf().into_iter().chain(wanted.pkey.map(|_| Attribute::Pkey));
    let of_another = |attribute: &Attribute| attribute.infiniband().is_some_and(|it| it != infiniband);
    if let Some(attribute) = asked.into_iter().find(of_another) {
        return Err(Unable::LinkType { pci, attribute, infiniband });
    }
    for attribute in wanted.of_pf() {
        match &seen.pf {
            // An interface takes its MAC without a PF as well.
            None if attribute == Attribute::Mac && settings.netdev.is_some() => {}
            None => return Err(Unable::NoPf { pci, attribute }),
            Some(PfLink { driver, .. })
                if driver::is_unsupported(driver, attribute)
                    || attribute == Attribute::VlanTrunk && !has_trunk(settings)
                    || attribute == Attribute::Guid && !has_guids(settings) =>
            {
                return Err(Unable::Unsupported { pci, driver: driver.clone(), attribute });
            }
            Some(_) => {}
        }
    }
    if let (Some(pf), Some(rate)) = (&seen.pf, wanted.rate.map(|rate| rate.max))
        && let Some(least) = driver::least_max_rate(&pf.driver).filter(|least| rate != 0 && rate < *least)
    {
        return Err(Unable::RateTooSmall { pci, driver: pf.driver.clone(), rate, least });
    }
    if let (Some(vlans), Some(pf)) = (&wanted.trunk, &seen.pf)
        && driver::trunk(&pf.driver).is_some_and(|dialect| !dialect.can_show(vlans))
    {
        return Err(Unable::TrunkTooLong { pci, driver: pf.driver.clone(), vlans: vlans.len() });
    }
    let own = settings.netdev.as_ref().and_then(|netdev| netdev.guid);
    if wanted.guid.is_none() && own.is_some_and(|own| !own.is_usable()) {
        return Err(Unable::NoGuid { pci });
    }
    if let (Some(&attribute), None) = (wanted.of_interface().first(), &settings.netdev) {
        let driver = settings.driver.clone().unwrap_or_default();
        return Err(Unable::NoInterface { pci, driver, attribute });
    }
    match (wanted.mtu, &seen.pf) {
        (Some(mtu), Some(pf)) if mtu > pf.mtu => {
            Err(Unable::MtuAbovePf { pci, mtu, pf: pf.name.clone(), pf_mtu: pf.mtu })
        }
        _ => Ok(()),
    }
}

fn has_guids(settings: &Settings) -> bool {
    settings.admin.as_ref().is_some_and(|admin| admin.guids.is_some())
}

fn has_trunk(settings: &Settings) -> bool {
    settings.admin.as_ref().is_some_and(|admin| admin.trunk.is_some())
}

/// What the kernel calls unsupported is the same error as what the table says beforehand.
pub(crate) fn unsupported(pci: PciAddress, attribute: Attribute, error: Error) -> Error {
    if let Error::Step { driver, source, .. } = &error
        && source.is_unsupported()
    {
        return Unable::Unsupported { pci, driver: driver.clone(), attribute }.into();
    }
    error
}

/// What a change is called where it's asked for.
pub(crate) fn attribute(change: &VfChange) -> Attribute {
    match change {
        VfChange::Mac(_) => Attribute::Mac,
        VfChange::Vlan { proto: VlanProto::Dot1ad, .. } => Attribute::VlanProto8021ad,
        VfChange::Vlan { proto: VlanProto::Dot1q, .. } => Attribute::Vlan,
        VfChange::Rate { min: 0, .. } => Attribute::MaxTxRate,
        VfChange::Rate { .. } => Attribute::MinTxRate,
        VfChange::SpoofCheck(_) => Attribute::SpoofCheck,
        VfChange::Trust(_) => Attribute::Trust,
        VfChange::LinkState(_) => Attribute::LinkState,
        VfChange::NodeGuid(_) | VfChange::PortGuid(_) => Attribute::Guid,
    }
}
