//! Why a VF doesn't get where it should.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ledger::Owner;
use netlink::Guid;
use pci::{PciAddress, Pkey};

use crate::existing::ExistingError;
use crate::rdma::Unmovable;
use crate::unable::Unable;

/// Why a VF couldn't be prepared, attached, detached or restored.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine's boot ID can't be read.
    #[error("can't read the boot ID from {}", path.display())]
    BootId {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Sysfs doesn't show the device.
    #[error("can't look at VF {pci}")]
    Device {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: pci::Error,
    },
    /// The device is a PF, or no NIC at all.
    #[error("{pci} is not a VF: name one of the VFs of a NIC")]
    NoVf {
        /// The device.
        pci: PciAddress,
    },
    /// The host itself stands on the device.
    #[error(
        "{pci} is the host's own way to the network: its interface {link} has a default route, or is a member of a bridge, bond or VRF; name another device"
    )]
    Uplink {
        /// The device.
        pci: PciAddress,
        /// Its interface.
        link: String,
    },
    /// The device's directory in sysfs can't be read.
    #[error("can't look at VF {pci}")]
    Incarnation {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: io::Error,
    },
    /// The ledger can't be used.
    #[error("can't use the ledger for VF {pci}")]
    Ledger {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: ledger::Error,
    },
    /// The ledger can't be listed.
    #[error("can't list the ledger")]
    List(#[source] ledger::Error),
    /// The kernel doesn't show the VF's links.
    #[error("can't look at the links of VF {pci}")]
    Links {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: netlink::Error,
    },
    /// The pod's network namespace can't be opened.
    #[error("can't open the pod's network namespace {}", path.display())]
    Namespace {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: netlink::Error,
    },
    /// The pod's namespace is the host's.
    #[error("{} is the host's own network namespace: a pod with host networking can't have VF {pci} as an interface", path.display())]
    HostNamespace {
        /// The VF.
        pci: PciAddress,
        /// The path given for the pod's namespace.
        path: PathBuf,
    },
    /// The interface's name in the pod isn't one.
    #[error("VF {pci} can't have that name in the pod")]
    Name {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: netlink::InvalidIfName,
    },
    /// The VF belongs to a living owner.
    #[error("VF {pci} still belongs to {} of sandbox {} in network {} ({waited:?} waited): try again once that is deleted", owner.ifname, owner.container_id, owner.network)]
    Busy {
        /// The VF.
        pci: PciAddress,
        /// Whose it is.
        owner: Box<Owner>,
        /// How long was waited for it.
        waited: Duration,
    },
    /// The VF couldn't be restored and is out of service.
    #[error("VF {pci} is quarantined: {reason}")]
    Quarantined {
        /// The VF.
        pci: PciAddress,
        /// What is wrong with it.
        reason: String,
    },
    /// The VF wasn't handed over, and couldn't be restored after that either.
    #[error(
        "VF {pci} couldn't be handed over, and is quarantined since it can't be restored either: {reason}"
    )]
    NotUndone {
        /// The VF.
        pci: PciAddress,
        /// What is wrong with it now.
        reason: String,
        /// Why it wasn't handed over.
        source: Box<Error>,
    },
    /// A pod of the existing SR-IOV plugin has the VF.
    #[error("the existing SR-IOV plugin gave VF {pci} to a pod ({} says so): delete that pod first", record.display())]
    OfExistingPlugin {
        /// The VF.
        pci: PciAddress,
        /// The existing plugin's record.
        record: PathBuf,
    },
    /// The existing SR-IOV plugin left the VF in an unknown state.
    #[error("the existing SR-IOV plugin has left VF {pci} in a state that nobody knows: compare it with its neighbours (ip link show), then remove {}", record.display())]
    LeftByExistingPlugin {
        /// The VF.
        pci: PciAddress,
        /// The existing plugin's record.
        record: PathBuf,
    },
    /// The existing SR-IOV plugin's files or its lock are in the way.
    #[error(transparent)]
    Existing(#[from] ExistingError),
    /// The VF has no driver.
    #[error("VF {pci} has no driver: bind one (its kernel driver or vfio-pci)")]
    NoDriver {
        /// The VF.
        pci: PciAddress,
    },
    /// The VF has a kernel driver, and no interface in the host's namespace.
    #[error(
        "VF {pci} has driver {driver} but no interface in the host's network namespace: something else has moved it away"
    )]
    NotAtHome {
        /// The VF.
        pci: PciAddress,
        /// Its driver.
        driver: String,
    },
    /// The subnet manager hasn't put the VF into its partition.
    #[error(
        "VF {pci} isn't in the partition {pkey}: the subnet manager has to grant that to its GUID {}, which ib-kubernetes asks of it, or else its administrator", guid.map_or_else(|| "(none)".to_owned(), |guid| guid.to_string())
    )]
    NotInPartition {
        /// The VF.
        pci: PciAddress,
        /// The partition.
        pkey: Pkey,
        /// The VF's effective GUID.
        guid: Option<Guid>,
    },
    /// The VLANs that the VF may tag itself can't be read or changed.
    #[error("can't use vlanTrunk of VF {pci}")]
    Trunk {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: pci::TrunkError,
    },
    /// What's asked for can't be had of the VF.
    #[error(transparent)]
    Unable(#[from] Unable),
    /// The VF's RDMA device can't go into a pod.
    #[error(transparent)]
    Rdma(#[from] Unmovable),
    /// The kernel refused a step.
    #[error("VF {pci} (driver {driver}): can't {step}")]
    Step {
        /// The VF.
        pci: PciAddress,
        /// The driver that was asked.
        driver: String,
        /// What was to be done.
        step: String,
        /// Why it wasn't.
        source: netlink::Error,
    },
    /// A driver couldn't be bound.
    #[error("VF {pci} can't get its driver back")]
    Bind {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: pci::BindError,
    },
    /// The device couldn't be reset.
    #[error("VF {pci} may still be as its last user left it")]
    Reset {
        /// The VF.
        pci: PciAddress,
        /// Why.
        source: pci::ResetError,
    },
    /// Everything was set, and the VF isn't as asked for.
    #[error("VF {pci} (driver {driver}) isn't as asked for: {differences}")]
    ReadBack {
        /// The VF.
        pci: PciAddress,
        /// Its driver.
        driver: String,
        /// In what it differs.
        differences: String,
    },
    /// The VF isn't the caller's.
    #[error("VF {pci} doesn't belong to {} of sandbox {} in network {}", owner.ifname, owner.container_id, owner.network)]
    NotOwned {
        /// The VF.
        pci: PciAddress,
        /// Who asked.
        owner: Box<Owner>,
    },
}

impl Error {
    /// Whether the same may succeed if it's tried again later, because the VF is another's or being restored.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Busy { .. }
            | Self::Quarantined { .. }
            | Self::NotUndone { .. }
            | Self::NotInPartition { .. }
            | Self::OfExistingPlugin { .. }
            | Self::NotAtHome { .. } => true,
            Self::Ledger { source, .. } | Self::List(source) => source.is_newer() || source.is_locked(),
            Self::Links { source, .. } | Self::Step { source, .. } | Self::Namespace { source, .. } => {
                source.is_transient()
            }
            Self::Reset { source, .. } => source.is_transient(),
            Self::Existing(error) => error.is_locked(),
            Self::Device { source, .. } => matches!(source, pci::Error::Unlisted { .. }),
            Self::BootId { .. }
            | Self::Incarnation { .. }
            | Self::HostNamespace { .. }
            | Self::Name { .. }
            | Self::LeftByExistingPlugin { .. }
            | Self::NoVf { .. }
            | Self::Uplink { .. }
            | Self::NoDriver { .. }
            | Self::Trunk { .. }
            | Self::Unable(_)
            | Self::Rdma(_)
            | Self::Bind { .. }
            | Self::ReadBack { .. }
            | Self::NotOwned { .. } => false,
        }
    }

    /// Whether someone else is at work on the VF.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self, Self::Existing(error) if error.is_locked())
            || matches!(self, Self::Ledger { source, .. } if source.is_locked())
    }

    /// The error and its causes in one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }
}
