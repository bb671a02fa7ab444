//! Looking at a VF from all sides: sysfs, its PF, and its interface wherever that is.

use netlink::{Link, Links};
use pci::{Function, PciAddress, Vlans};

use crate::driver;
use crate::error::Error;
use crate::host::Host;
use crate::record::Baseline;
use crate::settings::{Admin, Netdev, Place, Settings, Situation};

/// A VF as it was found, and the handles to act on it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// What it's set to, and where its interface is.
    pub(crate) situation: Situation,
    /// Its PF's interface.
    pub(crate) pf: Option<PfLink>,
    /// The index of its own interface, in the namespace where that is.
    pub(crate) ifindex: Option<u32>,
    /// What's on its interface in a pod: index and name. What's on it at home is an administrator's.
    pub(crate) uppers: Vec<(u32, String)>,
    /// Whether its link is InfiniBand.
    pub(crate) infiniband: bool,
}

/// A PF as the way to its VF.
#[derive(Clone, Debug)]
pub(crate) struct PfLink {
    pub(crate) pci: PciAddress,
    pub(crate) ifindex: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
    pub(crate) carrier: bool,
    pub(crate) infiniband: bool,
    pub(crate) driver: String,
    /// The VF's index below it.
    pub(crate) vf: u16,
}

impl<L: Links> Host<L> {
    /// Looks at a VF, and for its interface in the host's namespace and in the pod's, if that is there.
    pub(crate) fn observe(&self, pci: PciAddress, pod: Option<&L::Namespace>) -> Result<Seen, Error> {
        let function = self.sysfs.function(&pci).map_err(|source| Error::Device { pci, source })?;
        let links = |source| Error::Links { pci, source };
        // PF and VF from one list: with hundreds of VFs it's long.
        let home = self.links.links(self.links.host()).map_err(links)?;
        let pf = self.pf_link(&function, &home)?;
        let admin = match &pf {
            Some(pf) => Some(self.admin(pci, pf)?),
            None => None,
        };
        let name = pci.to_string();
        let at_home = of_device(&home, &name).cloned();
        let mut uppers = Vec::new();
        let (link, place) = match (at_home, pod) {
            (Some(link), _) => (Some(link), Place::Home),
            (None, Some(pod)) => match self.links.links(pod) {
                Ok(in_pod) => match in_pod.iter().find(|link| link.device.as_ref() == Some(&name)) {
                    Some(link) => {
                        let is_on_it = |upper: &&Link| upper.lower == Some(link.index);
                        uppers =
                            in_pod.iter().filter(is_on_it).map(|it| (it.index, it.name.clone())).collect();
                        (Some(link.clone()), Place::Pod)
                    }
                    None => (None, Place::Home),
                },
                Err(error) if error.is_gone() => (None, Place::Home),
                Err(error) => return Err(links(error)),
            },
            (None, None) => (None, Place::Home),
        };
        let ifindex = link.as_ref().map(|link| link.index);
        let infiniband = link.as_ref().map_or_else(
            || pf.as_ref().is_some_and(|pf| pf.infiniband),
            |link| link.hardware == Link::INFINIBAND,
        );
        let netdev = link.map(Netdev::from);
        let settings = Settings { driver: function.driver, netdev, admin, rdma: None };
        Ok(Seen { situation: Situation { settings, place }, pf, ifindex, uppers, infiniband })
    }

    fn admin(&self, pci: PciAddress, pf: &PfLink) -> Result<Admin, Error> {
        let config = self.links.vf(pf.ifindex, pf.vf).map_err(|source| Error::Links { pci, source })?;
        let mut admin = Admin::from(config);
        if let Some(dialect) = driver::trunk(&pf.driver) {
            let trunk = self.sysfs.trunk(&pf.pci, pf.vf, dialect);
            admin.trunk = trunk.map_err(|source| Error::Trunk { pci, source })?;
            if admin.vlan.tags() {
                // A VF in a VLAN tags nothing itself, and some drivers show that VLAN here too.
                admin.trunk = admin.trunk.map(|_| Vlans::default());
            }
        }
        Ok(admin)
    }

    /// Looks at a VF, and for its RDMA device as well where `like` has one.
    pub(crate) fn observe_like(
        &self,
        pci: PciAddress,
        pod: Option<&L::Namespace>,
        like: &Settings,
    ) -> Result<Seen, Error> {
        let mut seen = self.observe(pci, pod)?;
        if let Some(known) = &like.rdma {
            seen.situation.settings.rdma = self.find_rdma(pci, pod, known)?;
        }
        Ok(seen)
    }

    fn pf_link(&self, function: &Function, home: &[Link]) -> Result<Option<PfLink>, Error> {
        let Some(vf) = function.vf else { return Ok(None) };
        let Some(link) = of_device(home, &vf.pf.to_string()) else { return Ok(None) };
        let pf =
            self.sysfs.function(&vf.pf).map_err(|source| Error::Device { pci: function.address, source })?;
        let driver = pf.driver.unwrap_or_default();
        Ok(Some(PfLink {
            pci: vf.pf,
            ifindex: link.index,
            name: link.name.clone(),
            mtu: link.mtu,
            carrier: link.carrier,
            infiniband: link.hardware == Link::INFINIBAND,
            driver,
            vf: vf.index,
        }))
    }

    /// Looks at a VF that is to come home, waiting where the kernel is about to bring its interface or its RDMA
    /// device there, and then looking into every namespace. Gives the namespace where one of them was found, if
    /// that's neither home nor the pod's.
    pub(crate) fn observe_strayed(
        &self,
        pci: PciAddress,
        baseline: &Baseline,
        pod: Option<&L::Namespace>,
    ) -> Result<(Seen, Option<L::Namespace>), Error> {
        let like = &baseline.settings;
        let seen = self.observe_like(pci, pod, like)?;
        let (interface, rdma) = lacks(&seen, like);
        if !interface && !rdma {
            return Ok((seen, None));
        }
        let name = pci.to_string();
        let stray = self.namespace_where(|namespace| {
            let has_interface =
                || interface && matches!(self.links.link_of_device(namespace, &name), Ok(Some(_)));
            let has_rdma = || rdma && like.rdma.as_ref().is_some_and(|known| self.has_rdma(namespace, known));
            has_interface() || has_rdma()
        });
        if let Some(stray) = stray {
            return Ok((self.observe_like(pci, Some(&stray), like)?, Some(stray)));
        }
        let come = self.await_links(pci, pod, self.deadlines.home_coming, || {
            Ok(Some(self.observe_like(pci, pod, like)?).filter(|seen| lacks(seen, like) == (false, false)))
        })?;
        Ok((come.unwrap_or(seen), None))
    }
}

fn of_device<'a>(links: &'a [Link], pci: &str) -> Option<&'a Link> {
    links.iter().find(|link| link.device.as_deref() == Some(pci))
}

/// Whether a VF lacks the interface, and the RDMA device, that it has to have with its driver.
fn lacks(seen: &Seen, like: &Settings) -> (bool, bool) {
    let settings = &seen.situation.settings;
    let same_driver = settings.driver == like.driver;
    let interface = same_driver && like.netdev.is_some() && settings.netdev.is_none();
    (interface, same_driver && like.rdma.is_some() && settings.rdma.is_none())
}

impl From<Link> for Netdev {
    fn from(link: Link) -> Self {
        let Link { name, mac, guid, mtu, up, promisc, allmulti, altnames, .. } = link;
        Self { name, mac, guid, mtu, up, promisc, allmulti, altnames }
    }
}
