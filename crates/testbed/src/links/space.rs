//! The namespaces of a [`FakeLinks`](super::FakeLinks).

use std::sync::{Mutex, Weak};

use netlink::{Link, NamespaceId, Route};

use super::world::{PortId, World};

/// The namespaces' file system, as its device number looks on most machines.
const NSFS_DEV: u64 = 4;

/// The inode of the first namespace.
const FIRST_INO: u64 = 4_026_531_840;

/// A namespace.
#[derive(Debug, Default)]
pub(super) struct Space {
    ino: u64,
    pub(super) routes: Vec<Route>,
    /// How often its links have changed, as far as the kernel tells of it.
    pub(super) changes: u64,
    /// Its links when that was last counted.
    pub(super) counted: Vec<Link>,
}

/// What keeps a namespace alive: its path, or whoever has it open.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) space: u64,
    pub(super) ino: u64,
    pub(super) world: Weak<Mutex<World>>,
}

impl Pin {
    pub(super) const fn id(&self) -> NamespaceId {
        NamespaceId { dev: NSFS_DEV, ino: self.ino, cookie: Some(self.space) }
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(world) = self.world.upgrade() {
            let mut world = world.lock().expect("no test panics with the world locked");
            world.end_space(self.space);
            World::tell(world);
        }
    }
}

impl World {
    /// Adds a namespace with a number of its own, and the least inode that none has, as the kernel does. Returns both.
    pub(super) fn add_space(&mut self) -> (u64, u64) {
        self.made += 1;
        let space = u64::from(self.made);
        let is_free = |ino: &u64| self.spaces.values().all(|space| space.ino != *ino);
        let ino = (FIRST_INO..=u64::MAX).find(is_free).expect("there are more inodes than namespaces");
        self.spaces.insert(space, Space { ino, ..Space::default() });
        (space, ino)
    }

    /// A namespace ends: links of devices go back to the host, the others end with it.
    fn end_space(&mut self, space: u64) {
        self.rdma.end_space(space, self.host);
        self.show_rdma();
        let ids: Vec<PortId> = self.ports_of(space).map(|(id, _)| id).collect();
        for id in ids {
            let Some(port) = self.ports.get(&id) else { continue };
            if port.device.is_none() {
                self.remove_port(id);
                continue;
            }
            let taken = self.named(self.host, &port.name).is_some();
            let name = if taken { format!("dev{}", port.index) } else { port.name.clone() };
            let host = self.host;
            let clash: Vec<bool> = port
                .altnames
                .iter()
                .map(|alt| alt.to_str().is_some_and(|alt| self.named(host, alt).is_some()))
                .collect();
            if let Some(port) = self.ports.get_mut(&id) {
                let mut clash = clash.into_iter();
                port.altnames.retain(|_| !clash.next().unwrap_or(false));
            }
            self.relocate(id, host, &name);
        }
        self.spaces.remove(&space);
    }
}
