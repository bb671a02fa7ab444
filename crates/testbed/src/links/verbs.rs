//! The verbs on the double.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, MutexGuard};

use ipnet::IpNet;
use netlink::{
    Errno, Error, IfName, Link, Links, MacAddr, NamespaceId, RdmaDevice, RdmaMode, Route, Verb, VfChange,
    VfConfig,
};

use super::model::AdminMac;
use super::world::{PortId, World};
use super::{FakeEvents, FakeLinks, FakeNamespace};

type Result<T, E = Error> = std::result::Result<T, E>;

impl FakeLinks {
    /// Lets a call through to the world, unless it's to fail.
    pub(super) fn enter(&self, verb: Verb, target: &str) -> Result<MutexGuard<'_, World>> {
        let mut world = self.world();
        world.faults.admit(verb, target)?;
        world.settle_trunks();
        while world.faults.stalled {
            world = self.changed.wait(world).expect("no test panics with the world locked");
        }
        Ok(world)
    }

    /// Carries out a change to one link.
    fn alter(
        &self,
        verb: Verb,
        namespace: &FakeNamespace,
        ifindex: u32,
        what: &str,
        alter: impl FnOnce(&mut World, PortId) -> Result<(), Errno>,
    ) -> Result<()> {
        let target = target(ifindex, what);
        let mut world = self.enter(verb, &target)?;
        let id = world.find(namespace.pin.space, ifindex);
        let outcome = id.ok_or(Errno::ENODEV).and_then(|id| {
            alter(&mut world, id)?;
            world.show(id);
            Ok(())
        });
        World::tell(world);
        outcome.map_err(|errno| Error::refused(verb, target, errno, None))
    }
}

fn target(ifindex: u32, what: &str) -> String {
    if what.is_empty() { format!("link {ifindex}") } else { format!("link {ifindex}: {what}") }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn set_mtu(world: &mut World, id: PortId, mtu: u32) -> Result<(), Errno> {
    let port = world.ports.get_mut(&id).ok_or(Errno::ENODEV)?;
    if !(68..=port.max_mtu).contains(&mtu) {
        return Err(Errno::EINVAL);
    }
    if port.mtu != mtu {
        port.mtu = mtu;
        world.reset(id);
    }
    Ok(())
}

fn rename(world: &mut World, id: PortId, name: &IfName) -> Result<(), Errno> {
    let port = world.ports.get(&id).ok_or(Errno::ENODEV)?;
    if port.name == name.as_str() {
        return Ok(());
    }
    if world.named(port.space, name.as_str()).is_some() {
        return Err(Errno::EEXIST);
    }
    name.as_str().clone_into(&mut world.ports.get_mut(&id).ok_or(Errno::ENODEV)?.name);
    Ok(())
}

impl World {
    /// The routes that the kernel makes for the addresses of links that are up.
    fn connected(&self, space: u64) -> impl Iterator<Item = Route> {
        self.ports_of(space).filter(|(_, port)| port.up).flat_map(|(_, port)| {
            port.addresses.iter().map(|address| Route {
                scope: Some(if address.addr().is_ipv4() { 253 } else { 0 }),
                priority: address.addr().is_ipv6().then_some(256),
                table: Some(Route::MAIN_TABLE),
                ..Route::new(address.trunc(), None, port.index)
            })
        })
    }

    fn add_route(&mut self, space: u64, route: &Route) -> Result<(), Errno> {
        let port = self.find(space, route.ifindex).ok_or(Errno::ENODEV)?;
        let port = self.ports.get(&port).ok_or(Errno::ENODEV)?;
        if !port.up {
            return Err(Errno::ENETDOWN);
        }
        if let Some(gateway) = route.gateway {
            let link_local = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
            if !link_local && !self.connected(space).any(|on_link| on_link.dst.contains(&gateway)) {
                return Err(if gateway.is_ipv4() { Errno::ENETUNREACH } else { Errno::EHOSTUNREACH });
            }
        }
        let ipv4 = route.dst.addr().is_ipv4();
        let scope = if ipv4 && route.gateway.is_none() { 253 } else { 0 };
        let added = Route {
            dst: route.dst.trunc(),
            table: route.table.or(Some(Route::MAIN_TABLE)),
            priority: route.priority.or((!ipv4).then_some(1024)),
            scope: route.scope.or(Some(scope)),
            ..route.clone()
        };
        let rival = |other: &Route| {
            other.dst == added.dst && other.priority == added.priority && other.table == added.table
        };
        if self.connected(space).any(|other| rival(&other)) {
            return Err(Errno::EEXIST);
        }
        let routes = &mut self.spaces.get_mut(&space).ok_or(Errno::ENODEV)?.routes;
        if routes.iter().any(rival) {
            return Err(Errno::EEXIST);
        }
        routes.push(added);
        Ok(())
    }
}

impl Links for FakeLinks {
    type Namespace = FakeNamespace;
    type Events = FakeEvents;

    fn host(&self) -> &FakeNamespace {
        &self.host
    }

    fn open(&self, path: &Path) -> Result<FakeNamespace> {
        let world = self.enter(Verb::Open, &path.display().to_string())?;
        let pin = world.paths.get(path).and_then(Option::as_ref).map(Arc::clone);
        drop(world);
        pin.map(|pin| FakeNamespace { pin, path: path.to_owned() })
            .ok_or_else(|| Error::NamespaceGone { path: path.to_owned() })
    }

    fn id(&self, namespace: &FakeNamespace) -> NamespaceId {
        namespace.id()
    }

    fn links(&self, namespace: &FakeNamespace) -> Result<Vec<Link>> {
        let world = self.enter(Verb::Links, &namespace.path.display().to_string())?;
        let mut links: Vec<Link> =
            world.ports_of(namespace.pin.space).map(|(_, port)| world.link(port)).collect();
        links.sort_unstable_by_key(|link| link.index);
        Ok(links)
    }

    fn link(&self, namespace: &FakeNamespace, ifindex: u32) -> Result<Option<Link>> {
        let world = self.enter(Verb::Links, &target(ifindex, ""))?;
        let id = world.find(namespace.pin.space, ifindex);
        Ok(id.and_then(|id| world.ports.get(&id)).map(|port| world.link(port)))
    }

    fn link_named(&self, namespace: &FakeNamespace, name: &str) -> Result<Option<Link>> {
        let world = self.enter(Verb::Links, name)?;
        let id = world.named(namespace.pin.space, name);
        Ok(id.and_then(|id| world.ports.get(&id)).map(|port| world.link(port)))
    }

    fn vfs(&self, pf_ifindex: u32) -> Result<Vec<VfConfig>> {
        let world = self.enter(Verb::Vfs, &target(pf_ifindex, ""))?;
        let id = world
            .find(world.host, pf_ifindex)
            .ok_or_else(|| Error::Absent { verb: Verb::Vfs, target: target(pf_ifindex, "") })?;
        let pf = world.pfs.get(&id);
        Ok(pf.map(|pf| pf.vfs.iter().map(|vf| pf.model.shown(&vf.config)).collect()).unwrap_or_default())
    }

    fn vf(&self, pf_ifindex: u32, vf_index: u16) -> Result<VfConfig> {
        let vfs = self.vfs(pf_ifindex)?;
        vfs.into_iter().find(|vf| vf.index == vf_index).ok_or_else(|| Error::Absent {
            verb: Verb::Vfs,
            target: format!("VF {vf_index} of link {pf_ifindex}"),
        })
    }

    fn set_vf(&self, pf_ifindex: u32, vf_index: u16, change: &VfChange) -> Result<()> {
        let target = format!("VF {vf_index} of link {pf_ifindex}: {change}");
        let refused = |errno| Error::refused(Verb::SetVf, target.clone(), errno, None);
        let mut world = self.enter(Verb::SetVf, &target)?;
        let id = world.find(world.host, pf_ifindex).ok_or_else(|| refused(Errno::ENODEV))?;
        if matches!(change, VfChange::Vlan { .. }) && world.excludes_vlan(id, vf_index) {
            return Err(refused(Errno::EPERM));
        }
        let pf = world.pfs.get_mut(&id).ok_or_else(|| refused(Errno::EOPNOTSUPP))?;
        let admin_mac = pf.model.admin_mac;
        let vf = pf.vfs.get_mut(usize::from(vf_index)).ok_or_else(|| refused(Errno::EINVAL))?;
        vf.config = pf.model.changed(&vf.config, change).map_err(refused)?;
        if let VfChange::Mac(mac) = change {
            vf.has_admin_mac = !mac.is_zero();
        }
        if let (&VfChange::Mac(mac), AdminMac::AtOnce) = (change, admin_mac)
            && !mac.is_zero()
            && let Some(port) = world.ports.values_mut().find(|port| port.vf == Some((id, vf_index)))
        {
            port.mac = mac;
        }
        world.count_change_of_vf();
        World::tell(world);
        Ok(())
    }

    fn move_link(
        &self,
        from: &FakeNamespace,
        ifindex: u32,
        to: &FakeNamespace,
        new_name: &IfName,
        mtu: Option<u32>,
    ) -> Result<Link> {
        let what = format!("to {} as {new_name}, mtu {mtu:?}", to.path.display());
        let mut moved = None;
        self.alter(Verb::Move, from, ifindex, &what, |world, id| {
            let port = world.ports.get(&id).ok_or(Errno::ENODEV)?;
            let own = |other: PortId| other == id;
            let space = to.pin.space;
            let taken = |name: &str| world.named(space, name).is_some_and(|other| !own(other));
            if taken(new_name.as_str()) || port.altnames.iter().filter_map(|alt| alt.to_str()).any(taken) {
                return Err(Errno::EEXIST);
            }
            if let Some(mtu) = mtu {
                set_mtu(world, id, mtu)?;
            }
            world.relocate(id, space, new_name.as_str());
            moved = world.ports.get(&id).map(|port| world.link(port));
            Ok(())
        })?;
        moved.ok_or_else(|| Error::refused(Verb::Move, target(ifindex, &what), Errno::ENODEV, None))
    }

    fn rename(&self, namespace: &FakeNamespace, ifindex: u32, name: &IfName) -> Result<()> {
        self.alter(Verb::Rename, namespace, ifindex, name.as_str(), |world, id| rename(world, id, name))
    }

    fn remove_altname(&self, namespace: &FakeNamespace, ifindex: u32, altname: &OsStr) -> Result<()> {
        let what = altname.to_string_lossy();
        self.alter(Verb::RemoveAltname, namespace, ifindex, &what, |world, id| {
            let port = world.ports.get_mut(&id).ok_or(Errno::ENODEV)?;
            let place = port.altnames.iter().position(|other| other == altname).ok_or(Errno::ENOENT)?;
            port.altnames.remove(place);
            Ok(())
        })
    }

    fn remove_link(&self, namespace: &FakeNamespace, ifindex: u32) -> Result<()> {
        self.alter(Verb::RemoveLink, namespace, ifindex, "", |world, id| {
            if world.ports.get(&id).is_some_and(|port| port.device.is_some()) {
                return Err(Errno::EOPNOTSUPP);
            }
            world.remove_port(id);
            Ok(())
        })
    }

    fn set_mac(&self, namespace: &FakeNamespace, ifindex: u32, mac: MacAddr) -> Result<()> {
        self.alter(Verb::SetMac, namespace, ifindex, &mac.to_string(), |world, id| world.set_own_mac(id, mac))
    }

    fn set_mtu(&self, namespace: &FakeNamespace, ifindex: u32, mtu: u32) -> Result<()> {
        self.alter(Verb::SetMtu, namespace, ifindex, &mtu.to_string(), |world, id| set_mtu(world, id, mtu))
    }

    fn set_up(&self, namespace: &FakeNamespace, ifindex: u32, up: bool) -> Result<()> {
        let what = if up { "up" } else { "down" };
        self.alter(Verb::SetUp, namespace, ifindex, what, |world, id| {
            if !up {
                world.take_down(id);
                return Ok(());
            }
            world.ports.get_mut(&id).ok_or(Errno::ENODEV)?.up = true;
            Ok(())
        })
    }

    fn set_promisc(&self, namespace: &FakeNamespace, ifindex: u32, on: bool) -> Result<()> {
        self.alter(Verb::SetPromisc, namespace, ifindex, on_off(on), |world, id| {
            world.ports.get_mut(&id).ok_or(Errno::ENODEV)?.promisc = on;
            Ok(())
        })
    }

    fn set_allmulti(&self, namespace: &FakeNamespace, ifindex: u32, on: bool) -> Result<()> {
        self.alter(Verb::SetAllmulti, namespace, ifindex, on_off(on), |world, id| {
            world.ports.get_mut(&id).ok_or(Errno::ENODEV)?.allmulti = on;
            Ok(())
        })
    }

    fn add_address(&self, namespace: &FakeNamespace, ifindex: u32, address: IpNet) -> Result<()> {
        self.alter(Verb::AddAddress, namespace, ifindex, &address.to_string(), |world, id| {
            let addresses = &mut world.ports.get_mut(&id).ok_or(Errno::ENODEV)?.addresses;
            if addresses.contains(&address) {
                return Err(Errno::EEXIST);
            }
            addresses.push(address);
            Ok(())
        })
    }

    fn addresses(&self, namespace: &FakeNamespace, ifindex: u32) -> Result<Vec<IpNet>> {
        let world = self.enter(Verb::Addresses, &target(ifindex, ""))?;
        let id = world.find(namespace.pin.space, ifindex);
        Ok(id.and_then(|id| world.ports.get(&id)).map(|port| port.addresses.clone()).unwrap_or_default())
    }

    fn add_route(&self, namespace: &FakeNamespace, route: &Route) -> Result<()> {
        let target = format!("{route:?}");
        let mut world = self.enter(Verb::AddRoute, &target)?;
        world
            .add_route(namespace.pin.space, route)
            .map_err(|errno| Error::refused(Verb::AddRoute, target, errno, None))
    }

    fn routes(&self, namespace: &FakeNamespace) -> Result<Vec<Route>> {
        let world = self.enter(Verb::Routes, &namespace.path.display().to_string())?;
        let space = namespace.pin.space;
        let added = world.spaces.get(&space).map(|space| space.routes.clone()).unwrap_or_default();
        Ok(world.connected(space).chain(added).collect())
    }

    fn remove_route(&self, namespace: &FakeNamespace, route: &Route) -> Result<()> {
        let target = format!("{route:?}");
        let mut world = self.enter(Verb::RemoveRoute, &target)?;
        let matches = |other: &Route| {
            let same = |wanted: Option<u32>, found: Option<u32>| wanted.is_none_or(|it| Some(it) == found);
            other.dst == route.dst.trunc()
                && (route.ifindex == 0 || other.ifindex == route.ifindex)
                && route.gateway.is_none_or(|gateway| other.gateway == Some(gateway))
                && same(route.priority, other.priority)
                && other.table == route.table.or(Some(Route::MAIN_TABLE))
        };
        let routes = world.spaces.get_mut(&namespace.pin.space).map(|space| &mut space.routes);
        let place = routes.as_ref().and_then(|routes| routes.iter().position(matches));
        match (routes, place) {
            (Some(routes), Some(place)) => {
                routes.remove(place);
                Ok(())
            }
            (_, _) => Err(Error::refused(Verb::RemoveRoute, target, Errno::ESRCH, None)),
        }
    }

    fn set_announce(&self, namespace: &FakeNamespace, ifindex: u32) -> Result<()> {
        self.alter(Verb::SetAnnounce, namespace, ifindex, "", |_world, _id| Ok(()))
    }

    fn announce(&self, namespace: &FakeNamespace, ifindex: u32, addresses: &[IpAddr]) -> Result<Vec<IpAddr>> {
        let target = target(ifindex, &format!("{addresses:?}"));
        let world = self.enter(Verb::Announce, &target)?;
        let id = world.find(namespace.pin.space, ifindex);
        let Some(port) = id.and_then(|id| world.ports.get(&id)) else {
            return Err(Error::Absent { verb: Verb::Announce, target });
        };
        if !port.up {
            return Err(Error::refused(Verb::Announce, target, Errno::ENETDOWN, None));
        }
        let has = |address: &&IpAddr| port.addresses.iter().any(|net| net.addr() == **address);
        Ok(addresses.iter().filter(has).copied().collect())
    }

    fn events(&self, namespaces: &[&FakeNamespace]) -> Result<FakeEvents> {
        let paths: Vec<String> = namespaces.iter().map(|it| it.path.display().to_string()).collect();
        let world = self.enter(Verb::Events, &paths.join(", "))?;
        Ok(FakeEvents::begin(self, &world, namespaces))
    }

    fn rdma_mode(&self) -> Result<Option<RdmaMode>> {
        self.rdma_mode_now()
    }

    fn rdma_devices(&self, namespace: &FakeNamespace) -> Result<Vec<RdmaDevice>> {
        self.rdma_devices_in(namespace)
    }

    fn move_rdma(&self, from: &FakeNamespace, index: u32, to: &FakeNamespace) -> Result<()> {
        self.move_rdma_device(from, index, to)
    }

    fn rename_rdma(&self, namespace: &FakeNamespace, index: u32, name: &str) -> Result<()> {
        self.rename_rdma_device(namespace, index, name)
    }
}
