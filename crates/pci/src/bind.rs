//! Binding a function to a driver.
//!
//! [`plan`] decides which files are written, [`Sysfs::bind`] writes them, reads back what the kernel made of it, and
//! puts the function back under its former driver when that isn't what was asked for.

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use sysfs_class::{PciDevice, SysClass};

use crate::address::PciAddress;
use crate::function::{USERSPACE_DRIVERS, VFIO_PCI};
use crate::sysfs::{DriverExt, Error, SriovExt, Sysfs, object};

/// How long a driver has for a probe that goes on after `drivers_probe` was written: some probe asynchronously.
const PROBE_TIME: Duration = Duration::from_secs(3);

/// How often the driver is looked for meanwhile.
const PROBE_STEP: Duration = Duration::from_millis(5);

/// Which driver a function should have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Driver {
    /// This one, whether it lists the device's ids or not.
    Named(String),
    /// The one that the kernel chooses for it: its own network driver.
    Kernel,
}

/// Why a function doesn't get the driver it should.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Sysfs can't be read.
    #[error("can't see which driver {address} has")]
    Look {
        /// The function.
        address: PciAddress,
        /// What couldn't be read.
        source: Error,
    },
    /// No driver can have that name.
    #[error("{name:?} can't be the name of a driver")]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The driver isn't there.
    #[error("there's no driver {driver} for {address}: load its module first (modprobe {driver})")]
    NoDriver {
        /// The function.
        address: PciAddress,
        /// The driver.
        driver: String,
    },
    /// vfio-pci needs an IOMMU.
    #[error(
        "{address} has no IOMMU group, so {VFIO_PCI} can't take it: switch the IOMMU on in the firmware and on the kernel's command line (intel_iommu=on)"
    )]
    NoIommu {
        /// The function.
        address: PciAddress,
    },
    /// The PF forbids that its VFs get drivers.
    #[error(
        "{address} can't get a driver while sriov_drivers_autoprobe of its PF {pf} is 0, which stops binding by hand too: write 1 to it"
    )]
    AutoprobeOff {
        /// The VF.
        address: PciAddress,
        /// Its PF.
        pf: PciAddress,
    },
    /// A file doesn't take what's written.
    #[error("can't write {text:?} to {} for {address}", path.display())]
    Write {
        /// The function.
        address: PciAddress,
        /// The file.
        path: PathBuf,
        /// What was written.
        text: String,
        /// Why it wasn't taken: a driver's own error comes out here.
        source: io::Error,
    },
    /// Everything was written, and still another driver has it, or none.
    #[error("{address} should have got {}, but {} has it: see the kernel's log", name_of(wanted), found.as_deref().unwrap_or("no driver"))]
    NotTaken {
        /// The function.
        address: PciAddress,
        /// The driver it should have.
        wanted: Driver,
        /// The driver it has.
        found: Option<String>,
    },
}

fn name_of(driver: &Driver) -> &str {
    match driver {
        Driver::Named(name) => name,
        Driver::Kernel => "its own driver",
    }
}

/// What the decision stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Observed {
    driver: Option<String>,
    driver_override: Option<String>,
    has_iommu_group: bool,
    /// Whether the wanted driver is registered; always so for [`Driver::Kernel`].
    has_wanted: bool,
    /// The PF, when it keeps drivers from its VFs.
    autoprobe_off: Option<PciAddress>,
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    /// `driver_override` of the device: this name, or nothing.
    Override(Option<String>),
    /// `unbind` of the driver that has it.
    Unbind(String),
    /// `drivers_probe` of the bus.
    Probe,
}

fn is_userspace(driver: &str) -> bool {
    USERSPACE_DRIVERS.contains(&driver)
}

/// Whether a function has what's wanted.
fn is_satisfied(found: Option<&str>, wanted: &Driver) -> bool {
    match wanted {
        Driver::Named(name) => found == Some(name.as_str()),
        Driver::Kernel => found.is_some_and(|driver| !is_userspace(driver)),
    }
}

fn plan(address: PciAddress, observed: &Observed, wanted: &Driver) -> Result<Vec<Write>, BindError> {
    let driver_override = match wanted {
        Driver::Named(name) => Some(name.clone()),
        Driver::Kernel => None,
    };
    if is_satisfied(observed.driver.as_deref(), wanted) {
        // An override left behind would decide the next probe.
        let stale = driver_override.is_none() && observed.driver_override.is_some();
        return Ok(if stale { vec![Write::Override(None)] } else { Vec::new() });
    }
    if let Driver::Named(name) = wanted {
        if name.is_empty() || name.contains(['/', '\n']) || name.starts_with('.') {
            return Err(BindError::InvalidName { name: name.clone() });
        }
        if !observed.has_wanted {
            return Err(BindError::NoDriver { address, driver: name.clone() });
        }
        if name == VFIO_PCI && !observed.has_iommu_group {
            return Err(BindError::NoIommu { address });
        }
    }
    if let Some(pf) = observed.autoprobe_off {
        return Err(BindError::AutoprobeOff { address, pf });
    }
    let mut writes = Vec::new();
    if driver_override != observed.driver_override {
        writes.push(Write::Override(driver_override));
    }
    writes.extend(observed.driver.clone().map(Write::Unbind));
    writes.push(Write::Probe);
    Ok(writes)
}

/// How the former state comes back when a probe failed: best effort, the probe's error is what counts.
fn undo(observed: &Observed) -> Vec<Write> {
    let mut writes = vec![Write::Override(observed.driver_override.clone())];
    if observed.driver.is_some() {
        writes.push(Write::Probe);
    }
    writes
}

impl Sysfs {
    /// Gives a function the driver it should have, and verifies it. Does nothing when it has it already.
    ///
    /// Blocks while the kernel unbinds and probes, and can't be interrupted: a device that's in use or a driver
    /// that hangs keeps the calling thread. Who needs a deadline calls from a thread that can be given up.
    ///
    /// On an error the function has its former driver again, as far as the kernel lets it.
    pub fn bind(&self, address: &PciAddress, wanted: &Driver) -> Result<(), BindError> {
        let observed = self.observe(*address, wanted)?;
        let writes = plan(*address, &observed, wanted)?;
        let changed = writes.contains(&Write::Probe);
        let outcome = self
            .write_all(*address, &writes)
            .and_then(|()| if changed { self.await_driver(*address, wanted) } else { Ok(()) });
        if outcome.is_err() && changed {
            for write in undo(&observed) {
                // What's told is why the bind failed; where this fails too, the former error says why.
                drop(self.write(*address, &write));
            }
        }
        outcome
    }

    /// Lets the driver of a function go and take it anew, as for what it only reads then. The function's interface is
    /// another one afterwards, in the host's namespace. Otherwise as [`Sysfs::bind`].
    pub fn rebind(&self, address: &PciAddress) -> Result<(), BindError> {
        let look = |source| BindError::Look { address: *address, source };
        let device = self.device(*address);
        let Some(driver) = device.driver_name().map_err(look)? else {
            return self.bind(address, &Driver::Kernel);
        };
        if let Some(pf) = self.observe(*address, &Driver::Kernel)?.autoprobe_off {
            return Err(BindError::AutoprobeOff { address: *address, pf });
        }
        self.write(*address, &Write::Unbind(driver.clone()))?;
        let deadline = Instant::now() + PROBE_TIME;
        while device.driver_name().map_err(look)?.is_some() && Instant::now() < deadline {
            thread::sleep(PROBE_STEP);
        }
        self.write(*address, &Write::Probe)?;
        self.await_driver(*address, &Driver::Named(driver))
    }

    fn observe(&self, address: PciAddress, wanted: &Driver) -> Result<Observed, BindError> {
        let look = |source| BindError::Look { address, source };
        let device = self.device(address);
        if !device.path().exists() {
            return Err(look(Error::Absent { address, devices: self.devices() }));
        }
        let autoprobe_off = match device.linked("physfn").map_err(look)?.and_then(|pf| pf.parse().ok()) {
            Some(pf) => {
                let autoprobe = self.device(pf).attribute("sriov_drivers_autoprobe").map_err(look)?;
                (autoprobe.as_deref() == Some("0")).then_some(pf)
            }
            None => None,
        };
        Ok(Observed {
            driver: device.driver_name().map_err(look)?,
            driver_override: driver_override(&device).map_err(look)?,
            has_iommu_group: device.iommu_group().map_err(look)?.is_some(),
            has_wanted: match wanted {
                Driver::Named(name) => self.drivers().join(name).exists(),
                Driver::Kernel => true,
            },
            autoprobe_off,
        })
    }

    fn write_all(&self, address: PciAddress, writes: &[Write]) -> Result<(), BindError> {
        writes.iter().try_for_each(|write| self.write(address, write))
    }

    fn write(&self, address: PciAddress, write: &Write) -> Result<(), BindError> {
        let (directory, file, text) = match write {
            Write::Override(name) => {
                (self.device(address).path().to_owned(), "driver_override", name.clone().unwrap_or_default())
            }
            Write::Unbind(driver) => (self.drivers().join(driver), "unbind", address.to_string()),
            Write::Probe => (self.root().join("bus/pci"), "drivers_probe", address.to_string()),
        };
        let path = directory.join(file);
        object::<PciDevice>(directory)
            .write_file(file, format!("{text}\n"))
            .map_err(|source| BindError::Write { address, path, text, source })
    }

    fn await_driver(&self, address: PciAddress, wanted: &Driver) -> Result<(), BindError> {
        let deadline = Instant::now() + PROBE_TIME;
        let device = self.device(address);
        loop {
            let found = device.driver_name().map_err(|source| BindError::Look { address, source })?;
            if is_satisfied(found.as_deref(), wanted) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(BindError::NotTaken { address, wanted: wanted.clone(), found });
            }
            thread::sleep(PROBE_STEP);
        }
    }
}

/// The name in `driver_override`, if any. The kernel prints "(null)" for none, and the first line counts.
fn driver_override(device: &PciDevice) -> Result<Option<String>, Error> {
    let text = match device.read_file("driver_override") {
        Ok(text) => text,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Read { path: device.path().join("driver_override"), source }),
    };
    Ok(text
        .lines()
        .next()
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "(null)")
        .map(str::to_owned))
}

#[cfg(test)]
mod tests;
