//! What is in the way of taking a VF over.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use pci::PciAddress;

use super::cache::Unusable;

/// Why the existing SR-IOV plugin's files or its lock are in the way.
#[derive(Debug, thiserror::Error)]
pub enum ExistingError {
    /// The existing SR-IOV plugin is at work on the VF.
    #[error("the existing SR-IOV plugin is at work on VF {pci}: its lock {} wasn't free within {waited:?}; try again", lock.display())]
    Locked {
        /// The VF.
        pci: PciAddress,
        /// That plugin's lock.
        lock: PathBuf,
        /// How long was waited for it.
        waited: Duration,
    },
    /// The existing SR-IOV plugin's lock can't be taken.
    #[error("can't take the existing SR-IOV plugin's lock {} of VF {pci}", lock.display())]
    Lock {
        /// The VF.
        pci: PciAddress,
        /// That plugin's lock.
        lock: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the existing SR-IOV plugin can't be read or removed.
    #[error("can't read or remove {}, which is the existing SR-IOV plugin's", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file of the existing SR-IOV plugin doesn't tell what its VF was like.
    #[error("nobody knows what the VF was like that {} is about: compare it with its neighbours (ip link show), put it right, then remove that file", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Unusable,
    },
}

impl ExistingError {
    /// Whether the existing plugin is at work on the VF: the same may succeed a little later.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }
}
