//! Handing a VF over to a pod.

use std::path::Path;
use std::time::{Duration, Instant};

use ledger::{Locked, Owner, Pod};
use netlink::{IfName, Links, MacAddr, VfChange};
use pci::{PciAddress, Pkey};

use crate::apply::OnTheWay;
use crate::error::Error;
use crate::existing::{Held, is_of};
use crate::host::{Host, device};
use crate::namespace::record_of;
use crate::observe::Seen;
use crate::record::{Claim, Freshness, Intent, State};
use crate::settings::{Difference, Settings, Situation, describe, differences};
use crate::step::{Step, steps};
use crate::unable::{self, Unable, attribute, unsupported};
use crate::wanted::{Attribute, Wanted};

/// How often it's looked whether the owner who is waited for has died: nothing in the ledger tells of that.
const STILL_ALIVE: Duration = Duration::from_millis(500);

/// How often the steps are planned: once for a GUID, once for what depends on it, and once more where a driver takes
/// the GUID in two goes.
const GUID_ROUNDS: usize = 3;

/// A request for a VF.
#[derive(Clone, Copy, Debug)]
pub struct Attach<'a> {
    /// Which VF.
    pub pci: PciAddress,
    /// For whom. Its `ifname` is the interface's name in the pod.
    pub owner: &'a Owner,
    /// The pod's network namespace.
    pub netns: &'a Path,
    /// What is asked of the VF.
    pub wanted: &'a Wanted,
    /// The pod, where it's known.
    pub pod: Option<&'a Pod>,
    /// The pool that the VF was allocated from, where it's known and the ledger doesn't say.
    pub resource: Option<&'a str>,
}

/// A VF that was handed over and read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Which VF.
    pub pci: PciAddress,
    /// The interface of its PF, by which its attributes were set; `None` when no PF is in sight, as in a virtual
    /// machine: then it has what it had, and nothing but MAC and MTU could be asked for.
    pub pf: Option<String>,
    /// Whether it has an interface in the pod; otherwise a program in the pod drives it.
    pub kernel: bool,
    /// The interface's index in the pod.
    pub ifindex: Option<u32>,
    /// Its effective MAC; without an interface the admin MAC, where one is set.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes; without an interface the PF's.
    pub mtu: Option<u32>,
    /// Whether its PF is in sight and has a carrier: then the VF gets one too, unless its link state is *disable*.
    pub pf_carrier: bool,
    /// What became of the VF's baseline.
    pub baseline: Freshness,
}

impl<L: Links> Host<L> {
    /// Hands a VF over: baseline and claim into the ledger, every attribute through the PF, the interface into the
    /// pod and up, and all of it read back.
    ///
    /// On an error the VF is at its baseline and as free as before, or quarantined ([`Error::NotUndone`]). After a
    /// crash the claim is there, and [`Host::detach`] or [`Host::sweep`] takes the VF back.
    ///
    /// The VF is *claimed* until [`Host::confirm`].
    pub fn attach(&self, request: &Attach<'_>) -> Result<Attached, Error> {
        let pci = request.pci;
        let ifname: IfName = request.owner.ifname.parse().map_err(|source| Error::Name { pci, source })?;
        if let Some(mac) = request.wanted.mac.filter(|mac| !mac.is_unicast()) {
            return Err(Unable::NotUnicast { mac }.into());
        }
        self.refuse_what_is_no_vf(pci)?;
        let netns = self
            .links
            .open(request.netns)
            .map_err(|source| Error::Namespace { path: request.netns.to_owned(), source })?;
        let (locked, prepared) = self.take_turn(pci, request.owner)?;
        let (seen, baseline, freshness) = self.look_at_free(&locked, pci, request.wanted.rdma)?;
        if let Some(guid) = request.wanted.guid.filter(|guid| !guid.is_usable()) {
            return Err(Unable::UnusableGuid { guid }.into());
        }
        self.refuse_uplink(pci, &seen)?;
        let id = self.links.id(&netns);
        if seen.ifindex.is_some() && id == self.links.id(self.links.host()) {
            return Err(Error::HostNamespace { pci, path: request.netns.to_owned() });
        }
        unable::refuse(pci, request.wanted, &seen)?;

        let goal = request.wanted.goal(&baseline.settings, &ifname);
        let mut claim = Claim {
            owner: request.owner.clone(),
            resource: prepared.clone().or_else(|| request.resource.map(str::to_owned)),
            netns: Some(record_of(request.netns, id)),
            pod: request.pod.cloned(),
            wanted: Intent { wanted: request.wanted.clone(), baseline, existing: Vec::new() },
        };
        self.write_state(&locked, pci, State::Claimed { claim: claim.clone() })?;
        match self.hand_over(&locked, pci, &mut claim, goal, &netns, seen) {
            Ok(seen) => Ok(attached(pci, &seen, freshness)),
            Err(cause) => Err(self.undo(&locked, pci, claim, prepared, cause)),
        }
    }

    /// Refuses a PF, and what isn't a NIC. A VF whose PF is out of sight looks like any other NIC; the one that the
    /// host itself needs is left out by [`Host::refuse_uplink`].
    fn refuse_what_is_no_vf(&self, pci: PciAddress) -> Result<(), Error> {
        let function = self.sysfs.function(&pci).map_err(|source| Error::Device { pci, source })?;
        if function.vf.is_none() && (function.sriov.is_some() || !function.is_network()) {
            return Err(Error::NoVf { pci });
        }
        Ok(())
    }

    /// Marks a VF as attached, once everything else that its owner needs is done. Repeating it changes nothing.
    pub fn confirm(&self, pci: PciAddress, owner: &Owner) -> Result<(), Error> {
        let locked = self.lock(pci)?;
        match self.standing(&locked, pci)? {
            Some(State::Claimed { claim }) if claim.owner == *owner => {
                self.write_state(&locked, pci, State::Attached { claim })
            }
            Some(State::Attached { claim }) if claim.owner == *owner => Ok(()),
            _ => Err(Error::NotOwned { pci, owner: Box::new(owner.clone()) }),
        }
    }

    /// In what an attached VF isn't as its owner asked, seen from the PF and from inside the pod.
    pub fn verify(&self, pci: PciAddress, owner: &Owner) -> Result<Vec<Difference>, Error> {
        let locked = self.lock(pci)?;
        let claim = match self.standing(&locked, pci)? {
            Some(State::Claimed { claim } | State::Attached { claim }) if is_of(&claim, owner) => claim,
            Some(State::Quarantined { reason, .. }) => return Err(Error::Quarantined { pci, reason }),
            _ => return Err(Error::NotOwned { pci, owner: Box::new(owner.clone()) }),
        };
        let ifname = owner.ifname.parse().map_err(|source| Error::Name { pci, source })?;
        let goal = claim.wanted.wanted.goal(&claim.wanted.baseline.settings, &ifname);
        let pod = match &claim.netns {
            Some(record) => self
                .recorded_namespace(record)
                .map_err(|source| Error::Namespace { path: record.path.clone(), source })?,
            None => None,
        };
        let mut found = differences(&goal, &self.observe_like(pci, pod.as_ref(), &goal.settings)?.situation);
        found.extend(self.partition_missing(pci, claim.wanted.wanted.pkey)?);
        Ok(found)
    }

    /// Waits until the VF is free for the owner, and gives its lock, with the pool that it's marked for.
    fn take_turn(&self, pci: PciAddress, owner: &Owner) -> Result<(Held<'_>, Option<String>), Error> {
        let begun = Instant::now();
        let mut watch = None;
        loop {
            let locked = self.lock(pci)?;
            let claim = match self.standing(&locked, pci)? {
                None => return Ok((locked, None)),
                Some(State::Prepared { resource }) => return Ok((locked, Some(resource))),
                Some(State::Quarantined { reason, claim }) => {
                    let resource = claim.as_ref().and_then(|claim| claim.resource.clone());
                    self.heal(&locked, pci, reason, claim, None)?;
                    return Ok((locked, resource));
                }
                Some(State::Attached { claim }) if !self.is_dead(pci, &claim) => claim,
                // Whoever began the one or the other would hold the lock, or be about to confirm.
                Some(State::Claimed { claim }) if claim.owner != *owner && !self.is_dead(pci, &claim) => {
                    claim
                }
                Some(State::Claimed { claim } | State::Attached { claim } | State::Releasing { claim }) => {
                    let resource = claim.resource.clone();
                    self.take_back(&locked, pci, claim)?;
                    return Ok((locked, resource));
                }
            };
            drop(locked);
            let waited = self.deadlines.turn;
            let left = waited.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(Error::Busy { pci, owner: Box::new(claim.owner), waited });
            }
            match &mut watch {
                // The next look is after this, so that no change falls between.
                None => watch = Some(self.ledger.watch(&device(pci))),
                Some(watch) => drop(watch.wait(left.min(STILL_ALIVE))),
            }
        }
    }

    /// The partition that a VF has to be in, and isn't, as far as sysfs shows them.
    fn partition_missing(&self, pci: PciAddress, pkey: Option<Pkey>) -> Result<Option<Difference>, Error> {
        let Some(pkey) = pkey else { return Ok(None) };
        let found = self.sysfs.pkeys(&pci).map_err(|source| Error::Device { pci, source })?;
        let missing = found.filter(|found| !found.iter().any(|found| found.is_same_partition(pkey)));
        Ok(missing.map(|found| {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            Difference { attribute: "pkey", wanted: pkey.to_string(), found: found.join(" and ") }
        }))
    }

    fn hand_over(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        claim: &mut Claim,
        mut goal: Situation,
        netns: &L::Namespace,
        seen: Seen,
    ) -> Result<Seen, Error> {
        let pkey = claim.wanted.wanted.pkey;
        let mut mac_refused = None;
        let mut now = Some(seen);
        for _ in 0..GUID_ROUNDS {
            let Some(seen) = now.take() else { break };
            let plan = steps(&seen.situation, &goal);
            let mut way = OnTheWay::new(self, pci, Some(netns), seen);
            for step in &plan {
                match (step, way.take(step)) {
                    (_, Ok(())) => {}
                    // A driver may refuse what it takes from the PF by itself: the read-back tells.
                    (Step::Mac(_), Err(error)) => mac_refused = Some(error),
                    (Step::Admin(change), Err(error)) => {
                        return Err(unsupported(pci, attribute(change), error));
                    }
                    (Step::MoveRdma(_), Err(error)) => return Err(unsupported(pci, Attribute::Rdma, error)),
                    (_, Err(error)) => return Err(error),
                }
            }
            if ends_with_guid(&plan) {
                now = self.await_links(pci, Some(netns), self.deadlines.home_coming, || {
                    let seen = self.observe_like(pci, Some(netns), &goal.settings)?;
                    let (settings, goal) = (&seen.situation.settings, &goal.settings);
                    let has_interface = settings.netdev.is_some() || goal.netdev.is_none();
                    let is_there = has_interface && (settings.rdma.is_some() || goal.rdma.is_none());
                    Ok(is_there.then_some(seen))
                })?;
                let made = now.as_ref().and_then(|seen| seen.situation.settings.rdma.as_ref());
                self.note_rdma(locked, pci, claim, &mut goal, made)?;
            }
        }
        let mut last = (Vec::new(), None, None);
        let agreed = self.await_links(pci, Some(netns), self.deadlines.read_back, || {
            let seen = self.observe_like(pci, Some(netns), &goal.settings)?;
            let mut differences = differences(&goal, &seen.situation);
            let guid = seen.situation.settings.netdev.as_ref().and_then(|netdev| netdev.guid);
            let is_set = differences.is_empty();
            differences.extend(self.partition_missing(pci, pkey)?);
            let agrees = differences.is_empty();
            let driver = seen.situation.settings.driver.clone();
            last = (differences, driver, pkey.filter(|_| is_set).map(|pkey| (pkey, guid)));
            Ok(agrees.then_some(seen))
        })?;
        let (found, driver, partition) = last;
        if let (None, Some((pkey, guid))) = (&agreed, partition) {
            return Err(Error::NotInPartition { pci, pkey, guid });
        }
        agreed.ok_or_else(|| {
            mac_refused.unwrap_or_else(|| Error::ReadBack {
                pci,
                driver: driver.unwrap_or_else(|| "none".to_owned()),
                differences: describe(&found),
            })
        })
    }

    /// Takes back a VF whose hand-over failed, and gives the error to tell.
    fn undo(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        claim: Claim,
        prepared: Option<String>,
        cause: Error,
    ) -> Error {
        match self.take_back(locked, pci, claim) {
            Ok(_) => {
                if let Some(resource) = prepared {
                    // The mark is for others to see; without it the VF is free, which is as good for the next ADD.
                    drop(self.write_state(locked, pci, State::Prepared { resource }));
                }
                cause
            }
            Err(Error::Quarantined { pci, reason }) => {
                Error::NotUndone { pci, reason, source: Box::new(cause) }
            }
            Err(error) => Error::NotUndone { pci, reason: error.chain(), source: Box::new(cause) },
        }
    }
}

fn attached(pci: PciAddress, seen: &Seen, baseline: Freshness) -> Attached {
    let Settings { netdev, admin, .. } = &seen.situation.settings;
    let admin_mac = admin.as_ref().and_then(|admin| admin.mac).filter(|mac| !mac.is_zero());
    Attached {
        pci,
        pf: seen.pf.as_ref().map(|pf| pf.name.clone()),
        kernel: netdev.is_some(),
        ifindex: seen.ifindex,
        mac: netdev.as_ref().map_or(admin_mac, |netdev| netdev.mac),
        mtu: netdev.as_ref().map(|netdev| netdev.mtu).or_else(|| seen.pf.as_ref().map(|pf| pf.mtu)),
        pf_carrier: seen.pf.as_ref().is_some_and(|pf| pf.carrier),
        baseline,
    }
}

/// Whether a plan sets a GUID, and nothing else: whatever follows depends on what comes of that.
fn ends_with_guid(plan: &[Step]) -> bool {
    let sets = |step: &Step| matches!(step, Step::Admin(VfChange::NodeGuid(_) | VfChange::PortGuid(_)));
    plan.last().is_some_and(|last| *last == Step::Rebind || sets(last))
}
