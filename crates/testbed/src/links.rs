//! A double of the kernel's links, and the contract that it shares with the kernel.
//!
//! [`FakeLinks`] is one machine: a host namespace, others at paths, PFs with VFs whose drivers behave as
//! [`DriverModel`] says. [`contract`] has the checks that it and [`netlink::Kernel`] both pass.

#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test double stops the test that uses it wrongly, everywhere"
)]

mod bench;
pub mod contract;
mod events;
mod fault;
mod model;
pub mod netns;
mod rdma;
mod space;
mod verbs;
mod world;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use netlink::{Errno, Guid, LinkState, MacAddr, NamespaceId, Verb, VfConfig, VlanProto};

use crate::sysfs::SysfsTree;

pub use events::FakeEvents;
pub use fault::Call;
pub use model::{AdminMac, Attribute, DriverModel};

use space::Pin;
use world::{Cable, Pf, Vf, World};

/// An in-memory machine's links. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct FakeLinks {
    world: Arc<Mutex<World>>,
    changed: Arc<Condvar>,
    host: FakeNamespace,
}

/// An open namespace of a [`FakeLinks`].
#[derive(Clone, Debug)]
pub struct FakeNamespace {
    pin: Arc<Pin>,
    path: PathBuf,
}

impl FakeNamespace {
    /// Which it is.
    pub fn id(&self) -> NamespaceId {
        self.pin.id()
    }
}

impl Default for FakeLinks {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeLinks {
    /// A machine with a host namespace at `/proc/1/ns/net` and no links.
    pub fn new() -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let (space, ino, changed) = {
            let mut world = world.lock().expect("nobody else has it");
            let (space, ino) = world.add_space();
            world.host = space;
            (space, ino, Arc::clone(&world.changed))
        };
        let path = PathBuf::from("/proc/1/ns/net");
        // The host's namespace is never dropped: its pin knows no world.
        let pin = Arc::new(Pin { space, ino, world: std::sync::Weak::new() });
        world.lock().expect("nobody else has it").paths.insert(path.clone(), Some(Arc::clone(&pin)));
        Self { world, changed, host: FakeNamespace { pin, path } }
    }

    /// Keeps the interface names below each device of `tree` as this machine's host namespace shows them.
    pub fn mirror(&self, tree: &SysfsTree) {
        let mut world = self.world();
        world.tree = Some(tree.clone());
        for &id in world.ports.keys() {
            world.show(id);
        }
        world.show_rdma();
    }

    /// Adds a PF with its VFs, each with an interface `<pf>v<index>`, all in the host namespace, and returns the PF's
    /// interface index. PF and VFs are named by their PCI addresses.
    pub fn add_pf(&self, pci: &str, name: &str, vfs: &[String], model: DriverModel) -> u32 {
        let mut world = self.world();
        let host = world.host;
        let (id, port) = world.add_port(name, host);
        (port.device, port.up, port.max_mtu) = (Some(pci.to_owned()), true, model.max_mtu);
        port.guid = model.infiniband.then_some(Guid([2, 0, 0, 0, 0, 0, 0, 0xff]));
        let index = port.index;
        let vfs: Vec<Vf> = (0..)
            .zip(vfs)
            .map(|(index, pci)| Vf {
                device: pci.clone(),
                config: fresh_vf(index, model.infiniband),
                has_admin_mac: false,
            })
            .collect();
        let indexes = 0..u16::try_from(vfs.len()).expect("a PF has fewer than 65536 VFs");
        world.pfs.insert(id, Pf { model, vfs });
        world.show(id);
        for index in indexes {
            world.add_vf_port(id, index);
        }
        World::tell(world);
        index
    }

    /// Makes a namespace and a path to it.
    pub fn add_namespace(&self, path: impl Into<PathBuf>) -> NamespaceId {
        let mut world = self.world();
        let (space, ino) = world.add_space();
        let pin = Arc::new(Pin { space, ino, world: Arc::downgrade(&self.world) });
        let id = pin.id();
        let replaced = world.paths.insert(path.into(), Some(pin));
        // A pin's end locks the world.
        drop(world);
        drop(replaced);
        id
    }

    /// Puts a file at a path that is no namespace, as a runtime does that unmounts but doesn't remove.
    pub fn add_plain_file(&self, path: impl Into<PathBuf>) {
        let replaced = self.world().paths.insert(path.into(), None);
        drop(replaced);
    }

    /// Removes a path. Its namespace ends when nobody has it open any more: VFs return to the host under the names
    /// they have by then, or `dev<index>` where such a name is taken.
    pub fn remove_namespace(&self, path: &Path) {
        let removed = self.world().paths.remove(path);
        drop(removed);
    }

    /// Adds a veth pair, both ends in the namespace at `path`.
    pub fn add_veth(&self, path: &Path, name: &str, peer: &str) {
        let mut world = self.world();
        let space = world.paths.get(path).and_then(Option::as_ref).expect("a namespace is there").space;
        let (one, _) = world.add_port(name, space);
        let (two, port) = world.add_port(peer, space);
        port.cable = Cable::Peer(one);
        world.ports.get_mut(&one).expect("it was just added").cable = Cable::Peer(two);
        World::tell(world);
    }

    /// Gives the link of a device another name, as someone in a pod may do.
    pub fn rename_behind(&self, pci: &str, name: &str) {
        self.edit(pci, |port| name.clone_into(&mut port.name));
    }

    /// Gives the link of a device an alternative name, as udev does.
    pub fn add_altname(&self, pci: &str, altname: &str) {
        self.edit(pci, |port| port.altnames.push(altname.into()));
    }

    /// Gives the link of a device another address, as a trusted VF's pod may do.
    pub fn change_mac_behind(&self, pci: &str, mac: MacAddr) {
        self.edit(pci, |port| port.mac = mac);
    }

    /// Adds a macvlan on the link of a device, in that one's namespace, as someone in a pod may do.
    pub fn add_macvlan_behind(&self, pci: &str, name: &str) {
        let mut world = self.world();
        let found = world.ports.iter().find(|(_, port)| port.device.as_deref() == Some(pci));
        let (lower, space) = found.map(|(&id, port)| (id, port.space)).expect("the device has a link");
        world.add_port(name, space).1.lower = Some(lower);
    }

    /// Plugs the cable of a device in or out.
    pub fn plug(&self, pci: &str, plugged: bool) {
        self.edit(pci, |port| port.cable = Cable::Plugged(plugged));
    }

    /// Changes a VF's settings behind everyone's back, as an administrator does with `ip link`.
    pub fn change_vf_behind(&self, pci: &str, change: impl FnOnce(&mut VfConfig)) {
        let mut world = self.world();
        let vf = world.pfs.values_mut().flat_map(|pf| &mut pf.vfs).find(|vf| vf.device == pci);
        let vf = vf.expect("the device is a VF of a PF here");
        let mac = vf.config.mac;
        change(&mut vf.config);
        if vf.config.mac != mac {
            vf.has_admin_mac = vf.config.mac.is_some_and(|mac| !mac.is_zero());
        }
        world.count_change_of_vf();
        World::tell(world);
    }

    /// Takes the interface of a VF away, as unbinding its driver does.
    pub fn unbind(&self, pci: &str) {
        let mut world = self.world();
        let port =
            world.ports.iter().find(|(_, port)| port.device.as_deref() == Some(pci)).map(|(&id, _)| id);
        if let Some(id) = port {
            world.remove_port(id);
        }
        world.rdma.unbind(pci);
        world.show_rdma();
        World::tell(world);
    }

    /// Gives a VF a new interface in the host namespace, as binding its network driver does. Nothing happens when
    /// it has one, or is no VF.
    pub fn bind(&self, pci: &str) {
        let mut world = self.world();
        if world.ports.values().any(|port| port.device.as_deref() == Some(pci)) {
            return;
        }
        let vf = world.pfs.iter().find_map(|(&id, pf)| {
            (0..).zip(&pf.vfs).find(|(_, vf)| vf.device == pci).map(|(index, _)| (id, index))
        });
        if let Some((pf, index)) = vf
            && let Some(id) = world.add_vf_port(pf, index)
        {
            world.reset(id);
            let host = world.host;
            world.rdma.bind(pci, host);
            world.show_rdma();
        }
        World::tell(world);
    }

    /// Makes the `nth` call of a verb from now (1 is the next) fail before it does anything.
    pub fn fail_on(&self, verb: Verb, nth: usize, errno: Errno) {
        self.world().faults.refuse(verb, nth, errno);
    }

    /// Makes the `nth` call of a verb from now hang, as a driver may, until [`FakeLinks::release_stalled`].
    pub fn stall_on(&self, verb: Verb, nth: usize) {
        self.world().faults.stall(verb, nth);
    }

    /// Lets stalled calls go on.
    pub fn release_stalled(&self) {
        self.world().faults.stalled = false;
        self.changed.notify_all();
    }

    /// Lets `changes` more changing calls through, then fails every call, reads too, as if the process had been
    /// killed there: nothing is undone. [`FakeLinks::revive`] starts the next process.
    pub fn die_after(&self, changes: usize) {
        self.world().faults.die_after(changes);
    }

    /// Ends what [`FakeLinks::die_after`] began.
    pub fn revive(&self) {
        self.world().faults.revive();
    }

    /// The calls that were let through, in order.
    pub fn journal(&self) -> Vec<Call> {
        self.world().faults.journal.clone()
    }

    /// Those of the calls that change something, in order.
    pub fn changes(&self) -> Vec<Call> {
        self.journal().into_iter().filter(|call| call.verb.changes()).collect()
    }

    /// Forgets the calls so far.
    pub fn clear_journal(&self) {
        self.world().faults.journal.clear();
    }

    fn edit(&self, pci: &str, edit: impl FnOnce(&mut world::Port)) {
        let mut world = self.world();
        let id = world.ports.iter().find(|(_, port)| port.device.as_deref() == Some(pci)).map(|(&id, _)| id);
        let id = id.expect("the device has a link");
        edit(world.ports.get_mut(&id).expect("it was just found"));
        world.show(id);
        World::tell(world);
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics with the world locked")
    }
}

/// A VF as it is when it was just made.
fn fresh_vf(index: u16, infiniband: bool) -> VfConfig {
    VfConfig {
        index,
        mac: Some(MacAddr::default()),
        vlan: 0,
        qos: 0,
        proto: VlanProto::Dot1q,
        min_tx_rate: 0,
        max_tx_rate: 0,
        spoofchk: Some(true),
        trust: Some(false),
        link_state: Some(LinkState::Auto),
        node_guid: infiniband.then(Guid::default),
        port_guid: infiniband.then(Guid::default),
    }
}

#[cfg(test)]
mod tests;
