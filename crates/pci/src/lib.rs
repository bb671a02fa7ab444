//! PCI functions as sysfs shows them: physical and virtual functions, drivers, IOMMU groups.
//!
//! [`Sysfs`] is a tree at some root: `/sys`, or one that a test built. A function's identity is its
//! [`PciAddress`]; names and positions come and go.

mod address;
mod bind;
mod function;
mod partition;
mod reset;
mod sysfs;
mod trunk;
mod vlans;

pub use address::{InvalidAddress, PciAddress};
pub use bind::{BindError, Driver};
pub use function::{Function, IommuGroup, Scan, Sriov, USERSPACE_DRIVERS, VFIO_PCI, VirtualFunction};
pub use partition::{InvalidPkey, Pkey};
pub use reset::{Reset, ResetError};
pub use sysfs::{Error, Sysfs};
pub use trunk::{TrunkDialect, TrunkError};
pub use vlans::{InvalidVlans, Vlans};
