//! Resetting one function, and no other.

use std::io;
use std::path::PathBuf;

use sysfs_class::SysClass;

use crate::address::PciAddress;
use crate::sysfs::{Error, SriovExt, Sysfs};

/// The kernel's ways to reset a function that touch nothing but that function. The others (`bus`, `cxl_bus`, and
/// `acpi`, which runs what the firmware brings) may reset its neighbours, the PF among them.
const OWN_METHODS: [&str; 4] = ["flr", "af_flr", "device_specific", "pm"];

const EAGAIN: i32 = 11;
const EBUSY: i32 = 16;

/// What became of a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The function was reset.
    Done,
    /// The kernel offers none that touches this function alone, or is older than 5.15 and doesn't say.
    NotOffered,
}

/// Why a function isn't reset.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// Sysfs can't be read.
    #[error("can't see how {address} can be reset")]
    Look {
        /// The function.
        address: PciAddress,
        /// What couldn't be read.
        source: Error,
    },
    /// The kernel or the device refused. ENOTTY: the device didn't answer any more after it.
    #[error("can't reset {address} by {methods} (writing {})", path.display())]
    Refused {
        /// The function.
        address: PciAddress,
        /// The ways that it can be reset, as the kernel names them.
        methods: String,
        /// The file that was written.
        path: PathBuf,
        /// Why it wasn't taken.
        source: io::Error,
    },
}

impl ResetError {
    /// Whether the same may succeed later: something else is at work on the device.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Look { .. } => false,
            Self::Refused { source, .. } => matches!(source.raw_os_error(), Some(EAGAIN | EBUSY)),
        }
    }
}

/// The methods of a `reset_method` file that reset this function alone, and whether there are others.
fn own_methods(listed: &str) -> (String, bool) {
    let is_own = |method: &&str| OWN_METHODS.contains(method);
    let own: Vec<&str> = listed.split_whitespace().filter(is_own).collect();
    (own.join(" "), own.len() < listed.split_whitespace().count())
}

impl Sysfs {
    /// Resets a function, so that nothing of what a program did to the device itself is left: its registers, its
    /// queues, and what it had told the PF. The kernel saves the function's configuration space before, and
    /// restores it after.
    ///
    /// Its driver, if it has one, has to be one that outlives this: one for user space, or one that takes part.
    /// Whoever is using the device loses it. Blocks for as long as the device needs: the kernel waits 0.1 s in any
    /// case, and at most 60 s more for it to answer. Measured with an emulated 82576 under vfio-pci: 0.12 s to 0.25 s.
    ///
    /// When a method doesn't work the kernel goes on to the next one that `reset_method` lists, and for a VF in a
    /// hotplug slot that ends with resetting the slot, PF and all. So for that time only the methods that are
    /// about this function are listed.
    pub fn reset(&self, address: &PciAddress) -> Result<Reset, ResetError> {
        let address = *address;
        let look = |source| ResetError::Look { address, source };
        let device = self.device(address);
        if !device.path().exists() {
            return Err(look(Error::Absent { address, devices: self.devices() }));
        }
        let Some(listed) = device.attribute("reset_method").map_err(look)? else {
            return Ok(Reset::NotOffered);
        };
        let (methods, has_others) = own_methods(&listed);
        if methods.is_empty() || !device.path().join("reset").exists() {
            return Ok(Reset::NotOffered);
        }
        let write = |file: &str, text: &str| {
            let refused = |source| ResetError::Refused {
                address,
                methods: methods.clone(),
                path: device.path().join(file),
                source,
            };
            device.write_file(file, format!("{text}\n")).map_err(refused)
        };
        if has_others {
            write("reset_method", &methods)?;
        }
        let outcome = write("reset", "1");
        // A process that dies before this leaves the methods that are about this function: nobody who resets a VF
        // wants another.
        let relisted = if has_others { write("reset_method", &listed) } else { Ok(()) };
        outcome.and(relisted)?;
        Ok(Reset::Done)
    }
}

#[cfg(test)]
mod tests;
