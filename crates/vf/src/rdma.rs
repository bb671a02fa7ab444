//! A VF's RDMA device.
//!
//! sysfs names it below the VF, and only while it's at home; in a pod nothing says whose it is but its index, which
//! is the machine's. So that is in the claim before the device is moved. It's looked for only where a network has
//! asked for it: asking the kernel loads its RDMA modules.

use ledger::Locked;
use netlink::{Links, RdmaDevice, RdmaMode};
use pci::PciAddress;

use crate::error::Error;
use crate::host::Host;
use crate::record::{Claim, State};
use crate::settings::{Place, Rdma, Situation};

/// Why a VF's RDMA device can't go into a pod.
#[derive(Debug, thiserror::Error)]
pub enum Unmovable {
    /// The VF has no RDMA device to move.
    #[error(
        "VF {pci} (driver {driver}) has no RDMA device in the host's network namespace: load its driver's RDMA module, or leave rdmaIsolation out of the network's configuration"
    )]
    Absent {
        /// The VF.
        pci: PciAddress,
        /// Its driver.
        driver: String,
    },
    /// The VF has more RDMA devices than one.
    #[error("VF {pci} has the RDMA devices {}, and rdmaIsolation moves one only: leave it out of the network's configuration", names.join(", "))]
    Several {
        /// The VF.
        pci: PciAddress,
        /// Their names.
        names: Vec<String>,
    },
    /// The machine's RDMA devices are seen by every namespace.
    #[error(
        "the RDMA device {name} of VF {pci} can't be moved while RDMA's mode is shared: run \"rdma system set netns exclusive\" on the node before any network namespace is made, or load ib_core with netns_mode=0; or leave rdmaIsolation out of the network's configuration"
    )]
    Shared {
        /// The VF.
        pci: PciAddress,
        /// The device.
        name: String,
    },
}

impl Rdma {
    fn new(device: RdmaDevice, place: Place) -> Self {
        Self { index: device.index, name: device.name, place }
    }
}

impl<L: Links> Host<L> {
    /// The RDMA device of a VF that's at home. Refuses a VF that hasn't one alone, and a machine that moves none.
    pub(crate) fn movable_rdma(&self, pci: PciAddress, driver: Option<&str>) -> Result<Rdma, Error> {
        let links = |source| Error::Links { pci, source };
        let none = || Unmovable::Absent { pci, driver: driver.unwrap_or("none").to_owned() };
        let names = self.rdma_names(pci)?;
        let name = match names.as_slice() {
            [] => return Err(none().into()),
            [name] => name,
            _ => return Err(Unmovable::Several { pci, names }.into()),
        };
        if self.links.rdma_mode().map_err(links)? != Some(RdmaMode::Exclusive) {
            return Err(Unmovable::Shared { pci, name: name.clone() }.into());
        }
        let devices = self.links.rdma_devices(self.links.host()).map_err(links)?;
        let device = devices.into_iter().find(|device| device.name == *name);
        device.map(|device| Rdma::new(device, Place::Home)).ok_or_else(|| none().into())
    }

    /// Finds a VF's RDMA device again, at home or in the pod's namespace. One that was made anew with the VF's driver
    /// has another index, and is at home.
    pub(crate) fn find_rdma(
        &self,
        pci: PciAddress,
        pod: Option<&L::Namespace>,
        known: &Rdma,
    ) -> Result<Option<Rdma>, Error> {
        let links = |source| Error::Links { pci, source };
        let is_known = |device: &RdmaDevice| device.index == known.index;
        let home = self.links.rdma_devices(self.links.host()).map_err(links)?;
        if let Some(device) = home.iter().find(|device| is_known(device)) {
            return Ok(Some(Rdma::new(device.clone(), Place::Home)));
        }
        if let Some(pod) = pod {
            let there = self.links.rdma_devices(pod).map_err(links)?;
            if let Some(device) = there.into_iter().find(is_known) {
                return Ok(Some(Rdma::new(device, Place::Pod)));
            }
        }
        let names = self.rdma_names(pci)?;
        let anew = home.into_iter().find(|device| names.contains(&device.name));
        Ok(anew.map(|device| Rdma::new(device, Place::Home)))
    }

    /// Whether a namespace has a VF's RDMA device.
    pub(crate) fn has_rdma(&self, namespace: &L::Namespace, known: &Rdma) -> bool {
        let devices = self.links.rdma_devices(namespace).unwrap_or_default();
        devices.iter().any(|device| device.index == known.index)
    }

    /// Notes the RDMA device that a VF's driver has made anew, before it's moved: it's found by its index alone.
    pub(crate) fn note_rdma(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        claim: &mut Claim,
        goal: &mut Situation,
        made: Option<&Rdma>,
    ) -> Result<(), Error> {
        let noted = [&mut claim.wanted.baseline.settings.rdma, &mut goal.settings.rdma];
        let Some(made) = made else { return Ok(()) };
        for noted in noted.into_iter().flatten() {
            noted.index = made.index;
        }
        self.write_state(locked, pci, State::Claimed { claim: claim.clone() })
    }

    fn rdma_names(&self, pci: PciAddress) -> Result<Vec<String>, Error> {
        self.sysfs.rdma_names(&pci).map_err(|source| Error::Device { pci, source })
    }
}
