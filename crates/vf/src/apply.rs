//! Taking steps.

use netlink::{IfName, Links};
use pci::PciAddress;

use crate::driver;
use crate::error::Error;
use crate::host::Host;
use crate::observe::Seen;
use crate::settings::Place;
use crate::step::Step;
use crate::unable::Unable;
use crate::wanted::Attribute;
use crate::witness::Deed;

/// A VF on its way: what is known of it, and the namespace that counts as the pod's.
#[derive(Debug)]
pub(crate) struct OnTheWay<'a, L: Links> {
    host: &'a Host<L>,
    pci: PciAddress,
    pod: Option<&'a L::Namespace>,
    seen: Seen,
}

impl<'a, L: Links> OnTheWay<'a, L> {
    pub(crate) fn new(host: &'a Host<L>, pci: PciAddress, pod: Option<&'a L::Namespace>, seen: Seen) -> Self {
        Self { host, pci, pod, seen }
    }

    /// Takes a step, and tells of it.
    pub(crate) fn take(&mut self, step: &Step) -> Result<(), Error> {
        let taken = self.carry_out(step);
        let deed = taken.as_ref().map_or_else(|error| Deed::Refused(step, error), |()| Deed::Step(step));
        self.host.witness.tell(self.pci, deed);
        taken
    }

    fn carry_out(&mut self, step: &Step) -> Result<(), Error> {
        let pci = self.pci;
        match step {
            Step::Bind(driver) => {
                self.host.sysfs.bind(&pci, driver).map_err(|source| Error::Bind { pci, source })
            }
            Step::Reset => {
                self.host.sysfs.reset(&pci).map(drop).map_err(|source| Error::Reset { pci, source })
            }
            Step::Rebind => self.host.sysfs.rebind(&pci).map_err(|source| Error::Bind { pci, source }),
            Step::AllowVlans(_) | Step::ForbidVlans(_) => self.change_trunk(step),
            Step::Down
            | Step::RemoveUpper { .. }
            | Step::RemoveAltname(_)
            | Step::Admin(_)
            | Step::Move { .. }
            | Step::Rename(_)
            | Step::Mtu(_)
            | Step::Mac(_)
            | Step::Promisc(_)
            | Step::Allmulti(_)
            | Step::Up
            | Step::MoveRdma(_)
            | Step::RenameRdma(_) => self.change(step).map_err(|source| self.refused(step, source)),
        }
    }

    fn change_trunk(&self, step: &Step) -> Result<(), Error> {
        // These steps are planned only where a PF's driver shows a trunk.
        let Some(pf) = &self.seen.pf else { return Ok(()) };
        let (sysfs, pci) = (&self.host.sysfs, self.pci);
        let outcome = match (step, driver::trunk(&pf.driver)) {
            (Step::AllowVlans(vlans), Some(dialect)) => sysfs.allow_vlans(&pf.pci, pf.vf, dialect, vlans),
            (Step::ForbidVlans(vlans), Some(dialect)) => sysfs.forbid_vlans(&pf.pci, pf.vf, dialect, vlans),
            (_, _) => Ok(()),
        };
        outcome.map_err(|source| {
            if source.is_unsupported() {
                Unable::Unsupported { pci, driver: pf.driver.clone(), attribute: Attribute::VlanTrunk }.into()
            } else {
                Error::Trunk { pci, source }
            }
        })
    }

    /// Moves the interface home under a name that nobody else has, where the move that was planned fails.
    pub(crate) fn take_home_under_another_name(&mut self) -> Result<(), Error> {
        let name = refuge(self.pci);
        self.take(&Step::Move { to: Place::Home, name, mtu: None })
    }

    fn change(&mut self, step: &Step) -> Result<(), netlink::Error> {
        if let Step::MoveRdma(to) = step {
            return self.move_rdma(*to);
        }
        if let Step::RenameRdma(name) = step {
            return self.rename_rdma(name);
        }
        let links = &self.host.links;
        if let (Step::Admin(change), Some(pf)) = (step, &self.seen.pf) {
            return links.set_vf(pf.ifindex, pf.vf, change);
        }
        let here = self.namespace(self.seen.situation.place);
        // Steps for an interface, or through a PF, are planned only where there is one.
        let (Some(here), Some(ifindex)) = (here, self.seen.ifindex) else { return Ok(()) };
        match step {
            Step::Down => links.set_up(here, ifindex, false),
            Step::Up => {
                if self.seen.situation.place == Place::Pod {
                    // Before it's up, so that its own addresses are under it too. No pod is refused for it.
                    drop(links.set_announce(here, ifindex));
                }
                links.set_up(here, ifindex, true)
            }
            Step::RemoveUpper { ifindex, .. } => match links.remove_link(here, *ifindex) {
                Err(error) if error.is_gone() => Ok(()),
                removed => removed,
            },
            Step::RemoveAltname(altname) => links.remove_altname(here, ifindex, altname),
            Step::Rename(name) => links.rename(here, ifindex, name),
            Step::Mtu(mtu) => links.set_mtu(here, ifindex, *mtu),
            Step::Mac(mac) => links.set_mac(here, ifindex, *mac),
            Step::Promisc(on) => links.set_promisc(here, ifindex, *on),
            Step::Allmulti(on) => links.set_allmulti(here, ifindex, *on),
            Step::Move { to, name, mtu } => {
                let Some(there) = self.namespace(*to) else { return Ok(()) };
                let moved = links.move_link(here, ifindex, there, name, *mtu)?;
                self.seen.ifindex = Some(moved.index);
                self.seen.situation.place = *to;
                Ok(())
            }
            Step::Admin(_)
            | Step::AllowVlans(_)
            | Step::ForbidVlans(_)
            | Step::Bind(_)
            | Step::Reset
            | Step::Rebind
            | Step::MoveRdma(_)
            | Step::RenameRdma(_) => Ok(()),
        }
    }

    // Steps for an RDMA device are planned only where there is one.

    fn move_rdma(&mut self, to: Place) -> Result<(), netlink::Error> {
        let Some(mut rdma) = self.seen.situation.settings.rdma.clone() else { return Ok(()) };
        if let (Some(here), Some(there)) = (self.namespace(rdma.place), self.namespace(to)) {
            self.host.links.move_rdma(here, rdma.index, there)?;
        }
        rdma.place = to;
        self.seen.situation.settings.rdma = Some(rdma);
        Ok(())
    }

    fn rename_rdma(&self, name: &str) -> Result<(), netlink::Error> {
        let Some(rdma) = &self.seen.situation.settings.rdma else { return Ok(()) };
        let here = self.namespace(rdma.place);
        here.map_or(Ok(()), |here| self.host.links.rename_rdma(here, rdma.index, name))
    }

    fn namespace(&self, place: Place) -> Option<&'a L::Namespace> {
        match place {
            Place::Home => Some(self.host.links.host()),
            Place::Pod => self.pod,
        }
    }

    fn refused(&self, step: &Step, source: netlink::Error) -> Error {
        let pf = self.seen.pf.as_ref().filter(|_| matches!(step, Step::Admin(_)));
        let driver = pf.map(|pf| pf.driver.clone()).or_else(|| self.seen.situation.settings.driver.clone());
        Error::Step {
            pci: self.pci,
            driver: driver.unwrap_or_else(|| "none".to_owned()),
            step: step.to_string(),
            source,
        }
    }
}

/// A name made of a PCI address, at most 15 bytes long, for an interface whose own name is taken.
fn refuge(pci: PciAddress) -> IfName {
    let digits = format!("v{:x}-{:02x}{:02x}{:x}", pci.domain(), pci.bus(), pci.device(), pci.function());
    #[expect(clippy::expect_used, reason = "at most 8 digits of the domain, and 7 other bytes")]
    digits.parse().expect("short, and of letters, digits and a dash")
}
