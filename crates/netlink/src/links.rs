//! The verbs.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::Path;
use std::time::Instant;

use ipnet::IpNet;

use crate::attributes::{Link, NamespaceId, Route, VfChange, VfConfig};
use crate::error::{Error, Verb};
use crate::ifname::IfName;
use crate::mac::MacAddr;
use crate::rdma::{RdmaDevice, RdmaMode};

/// What can be asked of the kernel about links, VFs, addresses and routes.
///
/// Everything blocks. What changes something returns when the driver has done it: a driver that hangs can't be
/// interrupted, so a caller who needs a deadline calls from a thread that it can give up.
///
/// VFs are spoken to through their PF, which is in the namespace of [`Links::host`].
pub trait Links: Debug + Send + Sync {
    /// A network namespace, kept open: it stays usable, and its id isn't reused, when its path is removed.
    type Namespace: Debug + Send + Sync;

    /// What tells of changes of links.
    type Events: LinkEvents;

    /// The namespace where PFs and free VFs are.
    fn host(&self) -> &Self::Namespace;

    /// Opens the namespace at a path. [`Error::NamespaceGone`] when there's nothing, or no network namespace: a
    /// runtime may leave an empty file behind.
    fn open(&self, path: &Path) -> Result<Self::Namespace, Error>;

    /// Which namespace it is.
    fn id(&self, namespace: &Self::Namespace) -> NamespaceId;

    /// All links, by index.
    fn links(&self, namespace: &Self::Namespace) -> Result<Vec<Link>, Error>;

    /// The link of an index, if it's there.
    fn link(&self, namespace: &Self::Namespace, ifindex: u32) -> Result<Option<Link>, Error>;

    /// The link with that name or alternative name, if it's there.
    fn link_named(&self, namespace: &Self::Namespace, name: &str) -> Result<Option<Link>, Error>;

    /// The link of a device, if it's there: the one way to find a VF's link, whatever its name is by now. A device
    /// with several links (rare: one port per link) gives that of the lowest index.
    fn link_of_device(&self, namespace: &Self::Namespace, pci: &str) -> Result<Option<Link>, Error> {
        Ok(self.links(namespace)?.into_iter().find(|link| link.device.as_deref() == Some(pci)))
    }

    /// All VFs of a PF, by index. Empty when it has none.
    fn vfs(&self, pf_ifindex: u32) -> Result<Vec<VfConfig>, Error>;

    /// One VF of a PF. [`Error::Absent`] when the PF doesn't show it.
    fn vf(&self, pf_ifindex: u32, vf_index: u16) -> Result<VfConfig, Error>;

    /// Makes one change to a VF.
    fn set_vf(&self, pf_ifindex: u32, vf_index: u16, change: &VfChange) -> Result<(), Error>;

    /// Moves a link to another namespace, renaming it and setting its MTU in the same message, and returns what it
    /// is there: its index may be another. It arrives down and without addresses.
    ///
    /// On an error the link is where and as it was, except when moving it back fails too, or the caller is killed:
    /// then it may be in `to`, under either name. Who finds links by [`Links::link_of_device`] isn't surprised.
    fn move_link(
        &self,
        from: &Self::Namespace,
        ifindex: u32,
        to: &Self::Namespace,
        new_name: &IfName,
        mtu: Option<u32>,
    ) -> Result<Link, Error>;

    /// Renames a link. Before Linux 6.2 it has to be down, else `EBUSY`.
    fn rename(&self, namespace: &Self::Namespace, ifindex: u32, name: &IfName) -> Result<(), Error>;

    /// Removes an alternative name.
    fn remove_altname(&self, namespace: &Self::Namespace, ifindex: u32, altname: &OsStr)
    -> Result<(), Error>;

    /// Removes a link that someone made (a VLAN interface, a macvlan, a veth), with what's on it. A device's own
    /// can't be: `EOPNOTSUPP`.
    fn remove_link(&self, namespace: &Self::Namespace, ifindex: u32) -> Result<(), Error>;

    /// Sets a link's hardware address.
    fn set_mac(&self, namespace: &Self::Namespace, ifindex: u32, mac: MacAddr) -> Result<(), Error>;

    /// Sets a link's MTU in bytes.
    fn set_mtu(&self, namespace: &Self::Namespace, ifindex: u32, mtu: u32) -> Result<(), Error>;

    /// Sets a link administratively up or down.
    fn set_up(&self, namespace: &Self::Namespace, ifindex: u32, up: bool) -> Result<(), Error>;

    /// Sets whether a link takes every frame. It stays so when the link moves. A VF's PF may pay attention only
    /// where it trusts the VF, and says nothing then.
    fn set_promisc(&self, namespace: &Self::Namespace, ifindex: u32, on: bool) -> Result<(), Error>;

    /// Sets whether a link takes every multicast frame; otherwise as [`Links::set_promisc`].
    fn set_allmulti(&self, namespace: &Self::Namespace, ifindex: u32, on: bool) -> Result<(), Error>;

    /// Adds an address with its prefix. [`Error::is_taken`] when it's there already.
    fn add_address(&self, namespace: &Self::Namespace, ifindex: u32, address: IpNet) -> Result<(), Error>;

    /// A link's addresses with their prefixes, those included that the kernel made itself (as `fe80::`).
    fn addresses(&self, namespace: &Self::Namespace, ifindex: u32) -> Result<Vec<IpNet>, Error>;

    /// Adds a route. [`Error::is_taken`] when there's one to the same destination with the same metric.
    fn add_route(&self, namespace: &Self::Namespace, route: &Route) -> Result<(), Error>;

    /// All unicast routes of both families and all tables but the kernel's own `local`.
    fn routes(&self, namespace: &Self::Namespace) -> Result<Vec<Route>, Error>;

    /// Removes a route; what is `None` in it isn't compared. `ESRCH` when there's none.
    fn remove_route(&self, namespace: &Self::Namespace, route: &Route) -> Result<(), Error>;

    /// Lets the kernel announce a link's addresses by itself when its MAC changes, it's set up, or an IPv6 address
    /// of it turns out to be nobody else's; and use those IPv6 addresses at once that it makes itself. A kernel that
    /// can't, doesn't. It ends when the link moves.
    fn set_announce(&self, namespace: &Self::Namespace, ifindex: u32) -> Result<(), Error>;

    /// Announces those of some addresses that a link has, so that its neighbours forget who had them before; returns
    /// which. None when it has no Ethernet address. An IPv6 address that's still checked for duplicates is left to
    /// the kernel: see [`Links::set_announce`].
    fn announce(
        &self,
        namespace: &Self::Namespace,
        ifindex: u32,
        addresses: &[IpAddr],
    ) -> Result<Vec<IpAddr>, Error>;

    /// Begins to note the changes of links in some namespaces. Who looks after this, and waits between looks, misses
    /// none; but what a driver changes without telling (as a VF's MAC that comes from its PF) is no event.
    fn events(&self, namespaces: &[&Self::Namespace]) -> Result<Self::Events, Error>;

    /// Whether RDMA devices belong to one namespace each; `None` when the kernel has no RDMA, or is older than 5.2
    /// and has no such mode.
    fn rdma_mode(&self) -> Result<Option<RdmaMode>, Error>;

    /// The RDMA devices that a namespace sees, by index; none when the kernel has no RDMA.
    fn rdma_devices(&self, namespace: &Self::Namespace) -> Result<Vec<RdmaDevice>, Error>;

    /// Moves an RDMA device to another namespace, where it keeps its index and its name. Its users in the former one
    /// are cut off. Takes [`RdmaMode::Exclusive`] and a driver that lets its devices go, else
    /// [`Error::is_unsupported`]. When its namespace ends, a device goes to the machine's first namespace.
    fn move_rdma(&self, from: &Self::Namespace, index: u32, to: &Self::Namespace) -> Result<(), Error>;

    /// Renames an RDMA device. [`Error::is_taken`] when another device of the machine has the name.
    fn rename_rdma(&self, namespace: &Self::Namespace, index: u32, name: &str) -> Result<(), Error>;

    /// Waits until a link is up with a carrier; `false` when it isn't at the deadline.
    fn wait_carrier(
        &self,
        namespace: &Self::Namespace,
        ifindex: u32,
        deadline: Instant,
    ) -> Result<bool, Error> {
        // From before the first look, so that no change falls between.
        let mut events = self.events(&[namespace])?;
        loop {
            let Some(link) = self.link(namespace, ifindex)? else {
                return Err(Error::Absent { verb: Verb::Links, target: format!("link {ifindex}") });
            };
            if link.carrier {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(false);
            }
            events.wait(deadline)?;
        }
    }
}

/// Changes of links in some namespaces, noted from when it was made.
pub trait LinkEvents: Debug + Send {
    /// Waits for a change since this was made, or last returned; `false` when there's none until the deadline. Any
    /// number of changes is told once, and some are told that aren't visible.
    fn wait(&mut self, deadline: Instant) -> Result<bool, Error>;
}
