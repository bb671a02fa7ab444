//! Whether a device can be given to a container.

use std::fmt;

use pci::{Function, VFIO_PCI};

/// What keeps a device from being given to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// It isn't there any more.
    Gone,
    /// It's there, and its pool no longer asks for it.
    LeftPool(String),
    /// No driver is bound to it.
    NoDriver,
    /// It's to be used through vfio, and has no IOMMU group.
    NoIommuGroup,
    /// It couldn't be brought back to its baseline.
    Quarantined(String),
    /// Nobody knows in what state it is.
    UnknownState(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => formatter.write_str("the device is gone"),
            Self::LeftPool(reason) => write!(formatter, "it no longer belongs to its pool: {reason}"),
            Self::NoDriver => formatter.write_str("no driver is bound to it"),
            Self::NoIommuGroup => {
                write!(formatter, "{VFIO_PCI} is bound to it, but it has no IOMMU group; turn on the IOMMU")
            }
            Self::Quarantined(reason) => write!(formatter, "it is quarantined: {reason}"),
            Self::UnknownState(error) => write!(formatter, "its state is unknown: {error}"),
        }
    }
}

/// What the ledger says of a device that concerns its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Free or in somebody's use.
    Good,
    /// Quarantined, with the reason.
    Quarantined(String),
    /// The ledger can't be read, or the existing plugin's files don't tell what it was like.
    Unknown(String),
}

impl Standing {
    /// What an entry says. One of an earlier boot says nothing: the device's settings didn't outlive it either.
    pub fn of(entry: &Result<vf::Entry, ledger::Error>, boot_id: &str) -> Self {
        match entry {
            Ok(entry) if entry.boot_id != boot_id => Self::Good,
            Ok(vf::Entry { state: vf::State::Quarantined { reason, .. }, .. }) => {
                Self::Quarantined(reason.clone())
            }
            Ok(_) => Self::Good,
            Err(error) => Self::Unknown(crate::report::chain(error)),
        }
    }
}

/// What keeps a device from being given away that is where it should be.
pub fn trouble(function: &Function, standing: &Standing) -> Option<Trouble> {
    match standing {
        Standing::Quarantined(reason) => return Some(Trouble::Quarantined(reason.clone())),
        Standing::Unknown(error) => return Some(Trouble::UnknownState(error.clone())),
        Standing::Good => {}
    }
    match function.driver.as_deref() {
        None => Some(Trouble::NoDriver),
        Some(VFIO_PCI) if function.iommu_group.is_none() => Some(Trouble::NoIommuGroup),
        Some(_) => None,
    }
}
