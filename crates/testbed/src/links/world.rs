//! What a [`FakeLinks`](super::FakeLinks) is made of.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, MutexGuard};

use ipnet::IpNet;
use netlink::{Errno, Guid, Link, LinkState, MacAddr, VfConfig};

use super::fault::Faults;
use super::model::{AdminMac, DriverModel};
use super::rdma::Rdma;
use super::space::{Pin, Space};
use crate::sysfs::SysfsTree;

/// A port's identity, which no move or rename changes.
pub(super) type PortId = u32;

#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) spaces: BTreeMap<u64, Space>,
    /// What's at paths: a namespace kept alive by its path, or some other file.
    pub(super) paths: BTreeMap<PathBuf, Option<Arc<Pin>>>,
    pub(super) ports: BTreeMap<PortId, Port>,
    pub(super) pfs: BTreeMap<PortId, Pf>,
    pub(super) rdma: Rdma,
    pub(super) faults: Faults,
    pub(super) tree: Option<SysfsTree>,
    pub(super) host: u64,
    /// Wakes who waits for a change, or for a stalled call.
    pub(super) changed: Arc<Condvar>,
    pub(super) made: u32,
}

/// Where a port's carrier comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cable {
    /// A cable that's plugged in, or not.
    Plugged(bool),
    /// The other end of a veth pair.
    Peer(PortId),
}

#[derive(Clone, Debug)]
pub(super) struct Port {
    pub(super) space: u64,
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) altnames: Vec<OsString>,
    pub(super) mac: MacAddr,
    /// Of an InfiniBand link, in place of the MAC.
    pub(super) guid: Option<Guid>,
    pub(super) mtu: u32,
    pub(super) max_mtu: u32,
    pub(super) up: bool,
    pub(super) promisc: bool,
    pub(super) allmulti: bool,
    pub(super) cable: Cable,
    pub(super) device: Option<String>,
    pub(super) addresses: Vec<IpNet>,
    /// The port that it's on.
    pub(super) lower: Option<PortId>,
    /// The PF and the index below it.
    pub(super) vf: Option<(PortId, u16)>,
}

#[derive(Debug)]
pub(super) struct Pf {
    pub(super) model: DriverModel,
    pub(super) vfs: Vec<Vf>,
}

#[derive(Debug)]
pub(super) struct Vf {
    pub(super) device: String,
    pub(super) config: VfConfig,
    /// Whether the address in `config` was set through the PF; else it's what the VF has told, or zero.
    pub(super) has_admin_mac: bool,
}

impl World {
    /// Tells who waits of what has changed.
    pub(super) fn tell(mut world: MutexGuard<'_, Self>) {
        let spaces: Vec<u64> = world.spaces.keys().copied().collect();
        for space in spaces {
            let links: Vec<Link> = world.ports_of(space).map(|(_, port)| world.link(port)).collect();
            if let Some(space) = world.spaces.get_mut(&space)
                && space.counted != links
            {
                space.changes += 1;
                space.counted = links;
            }
        }
        world.changed.notify_all();
    }

    /// The kernel tells of a change to a VF as of one to its PF.
    pub(super) fn count_change_of_vf(&mut self) {
        let host = self.host;
        if let Some(space) = self.spaces.get_mut(&host) {
            space.changes += 1;
        }
    }

    pub(super) fn add_port(&mut self, name: &str, space: u64) -> (PortId, &mut Port) {
        self.made += 1;
        let id = self.made;
        let index = self.free_index(space);
        let [_, a, b, c] = id.to_be_bytes();
        let port = Port {
            space,
            index,
            name: name.to_owned(),
            altnames: Vec::new(),
            mac: MacAddr([0x02, 0xfa, 0x4e, a, b, c]),
            guid: None,
            mtu: 1500,
            max_mtu: 65_535,
            up: false,
            promisc: false,
            allmulti: false,
            cable: Cable::Plugged(true),
            device: None,
            addresses: Vec::new(),
            lower: None,
            vf: None,
        };
        (id, self.ports.entry(id).or_insert(port))
    }

    pub(super) fn find(&self, space: u64, index: u32) -> Option<PortId> {
        self.ports_of(space).find(|(_, port)| port.index == index).map(|(id, _)| id)
    }

    pub(super) fn ports_of(&self, space: u64) -> impl Iterator<Item = (PortId, &Port)> {
        self.ports.iter().filter(move |(_, port)| port.space == space).map(|(&id, port)| (id, port))
    }

    /// The port that has a name, or an alternative one, in a namespace.
    pub(super) fn named(&self, space: u64, name: &str) -> Option<PortId> {
        self.ports_of(space)
            .find(|(_, port)| port.name == name || port.altnames.iter().any(|alt| alt.as_os_str() == name))
            .map(|(id, _)| id)
    }

    /// An index above those in use: the kernel counts on, too.
    fn free_index(&self, space: u64) -> u32 {
        self.ports_of(space).map(|(_, port)| port.index + 1).max().unwrap_or(2)
    }

    pub(super) fn has_carrier(&self, port: &Port) -> bool {
        let allowed = self.vf_of(port).is_none_or(|vf| vf.config.link_state != Some(LinkState::Disable));
        let plugged = match port.cable {
            Cable::Plugged(plugged) => plugged,
            Cable::Peer(peer) => self.ports.get(&peer).is_some_and(|peer| peer.up),
        };
        port.up && plugged && allowed
    }

    pub(super) fn vf_of(&self, port: &Port) -> Option<&Vf> {
        let (pf, index) = port.vf?;
        self.pfs.get(&pf)?.vfs.get(usize::from(index))
    }

    pub(super) fn link(&self, port: &Port) -> Link {
        let mut altnames = port.altnames.clone();
        altnames.sort_unstable();
        let other = match port.cable {
            Cable::Plugged(_) => port.lower,
            Cable::Peer(peer) => Some(peer),
        };
        let lower = other.and_then(|id| self.ports.get(&id));
        Link {
            index: port.index,
            name: port.name.clone(),
            altnames,
            mac: Some(port.mac).filter(|_| port.guid.is_none()),
            guid: port.guid,
            mtu: port.mtu,
            up: port.up,
            carrier: self.has_carrier(port),
            promisc: port.promisc,
            allmulti: port.allmulti,
            device: port.device.clone(),
            master: None,
            lower: lower.filter(|lower| lower.space == port.space).map(|lower| lower.index),
            hardware: if port.guid.is_some() { Link::INFINIBAND } else { 1 },
        }
    }

    /// A VF's driver resets its device: the VF takes the admin MAC, or tells its own.
    pub(super) fn reset(&mut self, id: PortId) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        let Some((pf, index)) = port.vf else { return };
        let Some(pf) = self.pfs.get_mut(&pf) else { return };
        let Some(vf) = pf.vfs.get_mut(usize::from(index)) else { return };
        match vf.config.mac {
            Some(admin) if vf.has_admin_mac => {
                if pf.model.admin_mac == AdminMac::OnReset {
                    port.mac = admin;
                }
            }
            Some(_) | None => {
                if pf.model.tells_own_mac {
                    vf.config.mac = Some(port.mac);
                }
            }
        }
    }

    /// The interface of a VF takes an address of its own, if the PF lets it.
    pub(super) fn set_own_mac(&mut self, id: PortId, mac: MacAddr) -> Result<(), Errno> {
        let port = self.ports.get_mut(&id).ok_or(Errno::ENODEV)?;
        if !mac.is_unicast() {
            return Err(Errno::EADDRNOTAVAIL);
        }
        if let Some((pf, index)) = port.vf
            && let Some(pf) = self.pfs.get_mut(&pf)
            && let Some(vf) = pf.vfs.get_mut(usize::from(index))
        {
            let trusted = vf.config.trust == Some(true);
            if pf.model.guards_mac && vf.has_admin_mac && !trusted {
                // Even the one that was set is refused before the VF has it.
                return if port.mac == mac { Ok(()) } else { Err(Errno::EADDRNOTAVAIL) };
            }
            if pf.model.tells_own_mac {
                vf.config.mac = Some(mac);
            }
        }
        port.mac = mac;
        Ok(())
    }

    /// Sets a port down: the kernel forgets its routes and its IPv6 addresses.
    pub(super) fn take_down(&mut self, id: PortId) {
        if self.ports.get(&id).is_some_and(|port| port.up) {
            self.reset(id);
        }
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.up = false;
        port.addresses.retain(|address| address.addr().is_ipv4());
        let (space, index) = (port.space, port.index);
        if let Some(space) = self.spaces.get_mut(&space) {
            space.routes.retain(|route| route.ifindex != index);
        }
    }

    /// Moves a port, as it is, with what the kernel does to any link that moves.
    pub(super) fn relocate(&mut self, id: PortId, to: u64, name: &str) {
        self.take_down(id);
        let Some(port) = self.ports.get(&id) else { return };
        let index = if port.space == to || self.find(to, port.index).is_none() {
            port.index
        } else {
            self.free_index(to)
        };
        if let Some(port) = self.ports.get_mut(&id) {
            (port.space, port.index) = (to, index);
            name.clone_into(&mut port.name);
            port.addresses.clear();
        }
        self.show(id);
    }

    /// Removes a port, the other end of it if it has one, and what's on it.
    pub(super) fn remove_port(&mut self, id: PortId) {
        self.take_down(id);
        let Some(port) = self.ports.remove(&id) else { return };
        if let Cable::Peer(peer) = port.cable {
            self.take_down(peer);
            self.ports.remove(&peer);
        }
        let uppers: Vec<PortId> =
            self.ports.iter().filter(|(_, port)| port.lower == Some(id)).map(|(&id, _)| id).collect();
        for upper in uppers {
            self.remove_port(upper);
        }
        if let (Some(tree), Some(device)) = (&self.tree, &port.device) {
            tree.set_net_names(device, &[]);
        }
    }

    /// Gives a VF an interface, as its network driver does when it's bound.
    pub(super) fn add_vf_port(&mut self, pf: PortId, index: u16) -> Option<PortId> {
        let host = self.host;
        let pf_name = self.ports.get(&pf)?.name.clone();
        let driver = self.pfs.get(&pf)?;
        let max_mtu = driver.model.max_mtu;
        let vf = driver.vfs.get(usize::from(index))?;
        let (device, admin) = (vf.device.clone(), vf.config.mac.filter(|_| vf.has_admin_mac));
        let guid = vf.config.port_guid;
        let wanted = format!("{pf_name}v{index}");
        let (id, port) = self.add_port(&wanted, host);
        port.device = Some(device);
        port.vf = Some((pf, index));
        port.max_mtu = max_mtu;
        port.mac = admin.unwrap_or(port.mac);
        port.guid = guid;
        self.show(id);
        Some(id)
    }

    /// Lets PF drivers take what was written to their files for VLANs.
    pub(super) fn settle_trunks(&self) {
        let Some(tree) = &self.tree else { return };
        tree.settle_trunks(|pf, index| {
            let pf = pf.to_string();
            let is_it =
                |id: &PortId| self.ports.get(id).is_some_and(|port| port.device.as_ref() == Some(&pf));
            let found = self.pfs.iter().find(|(id, _)| is_it(id));
            found.and_then(|(_, pf)| pf.vfs.get(usize::from(index))).map_or(0, |vf| vf.config.vlan)
        });
    }

    /// Whether a VF's trunk keeps it out of a VLAN.
    pub(super) fn excludes_vlan(&self, pf: PortId, index: u16) -> bool {
        let device = self.ports.get(&pf).and_then(|port| port.device.as_deref());
        device.zip(self.tree.as_ref()).is_some_and(|(pf, tree)| tree.excludes_vlan(pf, index))
    }

    /// Shows a port's name below its device in sysfs, where only the host's are seen.
    pub(super) fn show(&self, id: PortId) {
        let Some(tree) = &self.tree else { return };
        let Some(port) = self.ports.get(&id) else { return };
        if let Some(device) = &port.device {
            let seen = if port.space == self.host { vec![port.name.as_str()] } else { Vec::new() };
            tree.set_net_names(device, &seen);
        }
    }
}
