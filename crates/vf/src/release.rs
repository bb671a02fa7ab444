//! Taking a VF back.

use std::path::Path;

use ledger::{Locked, NamespaceRecord, Owner};
use netlink::{Links, MacAddr, VfChange};
use pci::{PciAddress, USERSPACE_DRIVERS};

use crate::apply::OnTheWay;
use crate::error::Error;
use crate::existing::is_of;
use crate::host::Host;
use crate::namespace::record_of;
use crate::record::{Baseline, Claim, State};
use crate::settings::{Place, Situation, describe, differences};
use crate::step::{Step, steps_home, without_zero_mac};

/// How often a VF is looked at and worked on before it's given up. Three are needed where a driver's binding
/// brings an interface back, whose MAC then shows in the PF's view.
const ROUNDS: usize = 4;

/// What became of a VF that was to be detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detached {
    /// It's at its baseline, and free.
    Released,
    /// It was released before, or never attached.
    NotAttached,
    /// It belongs to another owner, or to another generation of this one, and is left alone.
    NotOwner,
    /// The device isn't there any more, or another one has been made at its address: there's nothing to restore.
    DeviceGone,
}

impl<L: Links> Host<L> {
    /// Takes a VF back from its owner, wherever its interface is by now and whatever was changed on it, and frees it
    /// once a read-back equals its baseline. Repeating it changes nothing.
    ///
    /// Needs neither the owner's namespace nor a writable ledger to begin. `netns` is where the runtime says the
    /// namespace is, if it does: it counts only where the ledger's own record is lost.
    ///
    /// [`Error::Quarantined`] when something can't be restored; it's in the ledger, and retried.
    pub fn detach(&self, pci: PciAddress, owner: &Owner, netns: Option<&Path>) -> Result<Detached, Error> {
        let locked = self.lock(pci)?;
        match self.standing(&locked, pci)? {
            None | Some(State::Prepared { .. }) => {
                self.refuse_lost(pci, netns)?;
                Ok(Detached::NotAttached)
            }
            Some(
                State::Claimed { mut claim }
                | State::Attached { mut claim }
                | State::Releasing { mut claim }
                | State::Quarantined { claim: Some(mut claim), .. },
            ) => {
                if is_of(&claim, owner) {
                    claim.netns = claim.netns.or_else(|| self.record(netns?));
                    self.take_back(&locked, pci, claim)
                } else {
                    Ok(Detached::NotOwner)
                }
            }
            Some(State::Quarantined { reason, claim: None }) => {
                let evidence = netns.and_then(|path| self.record(path));
                self.heal(&locked, pci, reason, None, evidence.as_ref())
            }
        }
    }

    /// The VFs that an owner has.
    pub fn owned_by(&self, owner: &Owner) -> Result<Vec<PciAddress>, Error> {
        let entries = self.ledger.entries::<crate::record::Intent>().map_err(Error::List)?;
        Ok(entries
            .into_iter()
            .filter(|(_device, entry)| {
                let claim = entry.as_ref().ok().and_then(|entry| entry.state.claim());
                claim.is_some_and(|claim| claim.owner == *owner)
            })
            .filter_map(|(device, _entry)| device.as_str().parse().ok())
            .collect())
    }

    /// Whether a VF's owner is dead. What can't be told is alive: taking a VF's VLAN away under a living pod would
    /// put the pod where it doesn't belong.
    ///
    /// A namespace that's gone has given the interface back, so that has to be at home. This program may only not
    /// see the namespaces, in a container without them. Without an interface, no file may be at the namespace's
    /// path in a directory that's there: where mounts don't propagate, the runtime's empty file is what's seen.
    ///
    /// Where the device is gone, or made anew, even a living owner has nothing left of it.
    pub(crate) fn is_dead(&self, pci: PciAddress, claim: &Claim) -> bool {
        if self.incarnation(pci).is_ok_and(|now| now != Some(claim.wanted.baseline.incarnation)) {
            return true;
        }
        let is_gone = match &claim.netns {
            Some(record) => self.is_namespace_gone(record),
            // The existing plugin notes the namespace last.
            None => !claim.wanted.existing.is_empty(),
        };
        if !is_gone {
            return false;
        }
        let Ok(seen) = self.observe(pci, None) else { return false };
        let (baseline, now) = (&claim.wanted.baseline.settings, &seen.situation.settings);
        if baseline.netdev.is_some() && baseline.driver == now.driver {
            return now.netdev.is_some();
        }
        claim.netns.as_ref().is_some_and(|NamespaceRecord { path, .. }| {
            !path.exists() && path.parent().is_some_and(Path::exists)
        })
    }

    /// Restores a VF and removes the claim on it.
    pub(crate) fn take_back(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        claim: Claim,
    ) -> Result<Detached, Error> {
        let baseline = &claim.wanted.baseline;
        if self.incarnation(pci)? != Some(baseline.incarnation) {
            self.forget_existing(pci, &claim)?;
            self.forget(locked, pci)?;
            return Ok(Detached::DeviceGone);
        }
        // The claim holds the intent to return already: where this can't be written, it goes on all the same.
        drop(self.write_state(locked, pci, State::Releasing { claim: claim.clone() }));
        match self.restore(pci, baseline, claim.netns.as_ref()) {
            Ok(()) => {
                self.forget_existing(pci, &claim)?;
                self.free(locked, pci)?;
                Ok(Detached::Released)
            }
            Err(reason) => Err(self.quarantine(locked, pci, reason, Some(claim))),
        }
    }

    /// Tries again to restore a quarantined VF.
    ///
    /// Where the claim is lost, nobody knows whose the VF was. It's restored only if it's seen not to be in use: its
    /// interface is at home, or in the namespace that `evidence` names as its owner's.
    pub(crate) fn heal(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        reason: String,
        claim: Option<Claim>,
        evidence: Option<&NamespaceRecord>,
    ) -> Result<Detached, Error> {
        if let Some(claim) = claim {
            return self.take_back(locked, pci, claim);
        }
        let Some(baseline) = self.valid_baseline(locked, pci)? else {
            if self.incarnation(pci)?.is_some() {
                return Err(Error::Quarantined { pci, reason });
            }
            self.forget(locked, pci)?;
            return Ok(Detached::DeviceGone);
        };
        let pod = evidence.and_then(|record| self.recorded_namespace(record).ok().flatten());
        let seen = self.observe(pci, pod.as_ref())?;
        let settings = &seen.situation.settings;
        let in_user_space =
            settings.driver.as_deref().is_some_and(|driver| USERSPACE_DRIVERS.contains(&driver));
        if in_user_space || settings.netdev.is_none() {
            return Err(Error::Quarantined { pci, reason });
        }
        match self.restore(pci, &baseline, evidence) {
            Ok(()) => {
                self.free(locked, pci)?;
                Ok(Detached::Released)
            }
            Err(reason) => Err(self.quarantine(locked, pci, reason, None)),
        }
    }

    fn quarantine(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        reason: String,
        claim: Option<Claim>,
    ) -> Error {
        // Where this can't be written, the claim stays, and that keeps everyone else away too.
        drop(self.write_state(locked, pci, State::Quarantined { reason: reason.clone(), claim }));
        Error::Quarantined { pci, reason }
    }

    fn record(&self, path: &Path) -> Option<NamespaceRecord> {
        Some(record_of(path, self.links.id(&self.links.open(path).ok()?)))
    }

    /// Brings a VF to its baseline; says in words what's in the way where it can't.
    ///
    /// A reset can't be read back. So each restore does one, in the first round in which the VF's driver lets it:
    /// after a crash, or in quarantine, the next restore does another, which harms nobody.
    fn restore(
        &self,
        pci: PciAddress,
        baseline: &Baseline,
        netns: Option<&NamespaceRecord>,
    ) -> Result<(), String> {
        let goal = Situation { settings: baseline.settings.clone(), place: Place::Home };
        // A namespace that can't be opened is looked for under the processes.
        let pod = netns.and_then(|record| self.recorded_namespace(record).ok().flatten());
        let own_mac = goal.settings.netdev.as_ref().and_then(|netdev| netdev.mac);
        let mut obstacles = Vec::new();
        let mut last_plan = Vec::new();
        let mut reset_due = true;
        let mut unreset = None;
        for _ in 0..ROUNDS {
            let (seen, stray) =
                self.observe_strayed(pci, baseline, pod.as_ref()).map_err(|error| error.chain())?;
            let plan = steps_home(&seen.situation, &goal, reset_due, &seen.uppers);
            let pf_driver = seen.pf.as_ref().map(|pf| pf.driver.as_str());
            let plan = without_zero_mac(plan, pf_driver, own_mac);
            let settled = plan == last_plan && differences(&goal, &seen.situation).is_empty();
            if plan.is_empty() || settled {
                break;
            }
            let way = OnTheWay::new(self, pci, stray.as_ref().or(pod.as_ref()), seen);
            obstacles = take_all(way, &plan, own_mac);
            reset_due &= !plan.contains(&Step::Reset);
            // Who reads the next round's obstacles has to hear of it too.
            if let Some(place) = obstacles.iter().position(|error| matches!(error, Error::Reset { .. })) {
                unreset = Some(obstacles.remove(place));
            }
            last_plan = plan;
        }
        let seen = self.observe_like(pci, pod.as_ref(), &goal.settings).map_err(|error| error.chain())?;
        let left = differences(&goal, &seen.situation);
        if left.is_empty() && unreset.is_none() {
            return Ok(());
        }
        let differing = Some(describe(&left)).filter(|text| !text.is_empty());
        // Where nothing differs, the last round's obstacles were overcome.
        let obstacles = unreset.iter().chain(obstacles.iter().filter(|_| !left.is_empty())).map(Error::chain);
        Err(differing.into_iter().chain(obstacles).collect::<Vec<_>>().join("; "))
    }
}

/// Takes as many steps as can be taken: what fails isn't in the way of what doesn't depend on it.
///
/// A driver that isn't known, and refuses to remove an admin MAC, is given `own_mac`, the VF's own, as that.
fn take_all<L: Links>(mut way: OnTheWay<'_, L>, plan: &[Step], own_mac: Option<MacAddr>) -> Vec<Error> {
    let mut obstacles = Vec::new();
    let mut is_shared = false;
    for step in plan {
        // It would come home with something of the pod's on it, and be the next pod's.
        if is_shared && matches!(step, Step::Move { .. }) {
            break;
        }
        let Err(error) = way.take(step) else { continue };
        obstacles.push(error);
        match step {
            Step::Admin(VfChange::Mac(mac)) if mac.is_zero() => {
                let own = own_mac.map(|mac| Step::Admin(VfChange::Mac(mac)));
                obstacles.extend(own.and_then(|step| way.take(&step).err()));
            }
            Step::RemoveUpper { .. } => is_shared = true,
            Step::Move { .. } => {
                // At home under another name it's out of the pod's hands; the next round renames it.
                obstacles.extend(way.take_home_under_another_name().err());
                break;
            }
            Step::Admin(_)
            | Step::AllowVlans(_)
            | Step::ForbidVlans(_)
            | Step::Bind(_)
            | Step::Rebind
            | Step::Down
            | Step::Mac(_)
            | Step::MoveRdma(_)
            | Step::Mtu(_)
            | Step::Promisc(_)
            | Step::Allmulti(_)
            | Step::RemoveAltname(_)
            | Step::Rename(_)
            | Step::Reset
            | Step::RenameRdma(_)
            | Step::Up => {}
        }
    }
    obstacles
}
