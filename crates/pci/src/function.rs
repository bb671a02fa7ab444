//! What sysfs says about a PCI function.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::address::PciAddress;
use crate::sysfs::Error;

/// The driver that gives a device to a program in user space, by way of an IOMMU group.
pub const VFIO_PCI: &str = "vfio-pci";

/// Drivers that give a device to a program in user space: with one of them a VF has no interface.
pub const USERSPACE_DRIVERS: [&str; 3] = [VFIO_PCI, "uio_pci_generic", "igb_uio"];

/// A PCI function: a PF, a VF, or any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its address, and its identity.
    pub address: PciAddress,
    /// The vendor's id.
    pub vendor: u16,
    /// The device's id.
    pub device: u16,
    /// Class, subclass and programming interface, 24 bits.
    pub class: u32,
    /// The driver that it's bound to.
    pub driver: Option<String>,
    /// The NUMA node that it's nearest to, when the firmware says.
    pub numa_node: Option<u16>,
    /// Its IOMMU group; none when the IOMMU is off.
    pub iommu_group: Option<IommuGroup>,
    /// The names of its interfaces that are in the namespace where sysfs was mounted, sorted.
    pub net_names: Vec<String>,
    /// What it says about VFs of its own, when it's a PF.
    pub sriov: Option<Sriov>,
    /// Which VF it is, when it's one and its PF is visible (in a virtual machine it isn't).
    pub vf: Option<VirtualFunction>,
}

impl Function {
    /// Whether it's a network controller.
    pub const fn is_network(&self) -> bool {
        self.class >> 16 == 0x02
    }

    /// Whether its driver gives it to programs in user space.
    pub fn is_userspace(&self) -> bool {
        self.driver.as_deref().is_some_and(|driver| USERSPACE_DRIVERS.contains(&driver))
    }
}

/// An IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IommuGroup {
    /// Its number: `/dev/vfio/<number>`.
    pub number: u32,
    /// Its name, when it has one: `vfio-noiommu` marks a group without an IOMMU.
    pub name: Option<String>,
}

/// A PF's VFs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sriov {
    /// How many VFs it can have.
    pub total_vfs: u16,
    /// How many it has.
    pub num_vfs: u16,
}

/// Which VF of which PF.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualFunction {
    /// The PF's address.
    pub pf: PciAddress,
    /// Its index below the PF, from 0: what the PF's driver calls it.
    pub index: u16,
}

/// All functions of a machine, at one moment.
#[derive(Debug, Default)]
pub struct Scan {
    /// Those that could be read, by address.
    pub functions: Vec<Function>,
    /// Those that couldn't, and why.
    pub broken: BTreeMap<PciAddress, Error>,
}
