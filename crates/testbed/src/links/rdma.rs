//! RDMA devices of the double, as Linux 6.12 has them.

use netlink::{Errno, Error, RdmaDevice, RdmaMode, Verb};

use super::world::World;
use super::{FakeLinks, FakeNamespace};
use crate::sysfs::SysfsTree;

/// A machine's RDMA devices.
#[derive(Debug, Default)]
pub(super) struct Rdma {
    mode: Option<RdmaMode>,
    devices: Vec<Device>,
    made: u32,
}

#[derive(Debug)]
struct Device {
    /// The function that it belongs to.
    pci: String,
    /// What's told of it.
    told: RdmaDevice,
    /// The name that its driver gives it.
    first_name: String,
    /// Where it is; `None` while its function has no driver.
    space: Option<u64>,
    /// Whether its driver lets it go.
    movable: bool,
}

impl Rdma {
    fn new_index(&mut self) -> u32 {
        self.made += 1;
        self.made
    }

    fn is_seen(&self, device: &Device, space: u64) -> bool {
        let shared = self.mode == Some(RdmaMode::Shared);
        device.space.is_some_and(|of| shared || of == space)
    }

    fn seen(&self, space: u64) -> Vec<RdmaDevice> {
        let seen = self.devices.iter().filter(|device| self.mode.is_some() && self.is_seen(device, space));
        let mut told: Vec<RdmaDevice> = seen.map(|device| device.told.clone()).collect();
        told.sort_unstable_by_key(|device| device.index);
        told
    }

    /// The place in `devices` of one that a namespace sees.
    fn find(&self, index: u32, space: u64) -> Option<usize> {
        self.devices.iter().position(|device| device.told.index == index && self.is_seen(device, space))
    }

    /// A function's driver goes.
    pub(super) fn unbind(&mut self, pci: &str) {
        for device in self.devices.iter_mut().filter(|device| device.pci == pci) {
            device.space = None;
        }
    }

    /// A function's driver comes, and makes the device anew.
    pub(super) fn bind(&mut self, pci: &str, host: u64) {
        let index = self.new_index();
        let unmade = |device: &&mut Device| device.pci == pci && device.space.is_none();
        if let Some(device) = self.devices.iter_mut().find(unmade) {
            device.space = Some(host);
            device.told.index = index;
            device.first_name.clone_into(&mut device.told.name);
        }
    }

    /// A namespace ends: its devices go to the first one.
    pub(super) fn end_space(&mut self, space: u64, host: u64) {
        for device in self.devices.iter_mut().filter(|device| device.space == Some(space)) {
            device.space = Some(host);
        }
    }

    /// Shows the devices' names below their functions in sysfs, as the host's namespace sees them.
    pub(super) fn show(&self, tree: &SysfsTree, host: u64) {
        for Device { pci, .. } in &self.devices {
            let of_function = self.devices.iter().filter(|device| device.pci == *pci);
            let seen = of_function.filter(|device| self.is_seen(device, host));
            let names: Vec<&str> = seen.map(|device| device.told.name.as_str()).collect();
            tree.set_rdma_names(pci, &names);
        }
    }
}

impl FakeLinks {
    /// Says what the kernel's mode is; none is a kernel without RDMA, which a new machine has.
    pub fn set_rdma_mode(&self, mode: Option<RdmaMode>) {
        let mut world = self.world();
        world.rdma.mode = mode;
        world.show_rdma();
    }

    /// Gives a function an RDMA device, in the host namespace, and returns its index. A kernel without RDMA gets it,
    /// in the mode that's the kernel's default.
    pub fn add_rdma(&self, pci: &str, name: &str) -> u32 {
        let mut world = self.world();
        let host = world.host;
        let rdma = &mut world.rdma;
        rdma.mode = rdma.mode.or(Some(RdmaMode::Shared));
        let index = rdma.new_index();
        let told =
            RdmaDevice { index, name: name.to_owned(), node_guid: 0x0200_00ff_fe00_0000 + u64::from(index) };
        let (pci, first_name) = (pci.to_owned(), name.to_owned());
        rdma.devices.push(Device { pci, told, first_name, space: Some(host), movable: true });
        world.show_rdma();
        index
    }

    /// Makes the driver of a function's RDMA devices one that doesn't let them go, as `rdma_rxe`.
    pub fn hold_rdma(&self, pci: &str) {
        let mut world = self.world();
        for device in world.rdma.devices.iter_mut().filter(|device| device.pci == pci) {
            device.movable = false;
        }
    }

    pub(super) fn rdma_mode_now(&self) -> Result<Option<RdmaMode>, Error> {
        Ok(self.enter(Verb::RdmaMode, "this machine")?.rdma.mode)
    }

    pub(super) fn rdma_devices_in(&self, namespace: &FakeNamespace) -> Result<Vec<RdmaDevice>, Error> {
        let world = self.enter(Verb::RdmaDevices, &namespace.path.display().to_string())?;
        Ok(world.rdma.seen(namespace.pin.space))
    }

    pub(super) fn move_rdma_device(
        &self,
        from: &FakeNamespace,
        index: u32,
        to: &FakeNamespace,
    ) -> Result<(), Error> {
        let what = format!("to {}", to.path.display());
        self.alter_rdma(Verb::MoveRdma, from, index, &what, |rdma, place| {
            let exclusive = rdma.mode == Some(RdmaMode::Exclusive);
            let device = rdma.devices.get_mut(place).filter(|device| exclusive && device.movable);
            device.ok_or(Errno::EOPNOTSUPP)?.space = Some(to.pin.space);
            Ok(())
        })
    }

    pub(super) fn rename_rdma_device(
        &self,
        namespace: &FakeNamespace,
        index: u32,
        name: &str,
    ) -> Result<(), Error> {
        self.alter_rdma(Verb::RenameRdma, namespace, index, &format!("to {name}"), |rdma, place| {
            let taken = |(other, device): (usize, &Device)| other != place && device.told.name == name;
            if rdma.devices.iter().enumerate().any(taken) {
                return Err(Errno::EEXIST);
            }
            let device = rdma.devices.get_mut(place).ok_or(Errno::ENODEV)?;
            name.clone_into(&mut device.told.name);
            Ok(())
        })
    }

    fn alter_rdma(
        &self,
        verb: Verb,
        namespace: &FakeNamespace,
        index: u32,
        what: &str,
        alter: impl FnOnce(&mut Rdma, usize) -> Result<(), Errno>,
    ) -> Result<(), Error> {
        let mut world = self.enter(verb, &format!("RDMA device {index} {what}"))?;
        let Some(place) = world.rdma.find(index, namespace.pin.space) else {
            return Err(Error::Absent { verb, target: format!("RDMA device {index}") });
        };
        let name = world.rdma.devices.get(place).map(|device| device.told.name.clone()).unwrap_or_default();
        let outcome = alter(&mut world.rdma, place);
        world.show_rdma();
        outcome.map_err(|errno| Error::refused(verb, format!("{name} {what}"), errno, None))
    }
}

impl World {
    pub(super) fn show_rdma(&self) {
        if let Some(tree) = &self.tree {
            self.rdma.show(tree, self.host);
        }
    }
}

#[cfg(test)]
mod tests;
