//! Free VFs: their baselines, and marking them for a pod.

use ledger::Locked;
use netlink::Links;
use pci::{PciAddress, USERSPACE_DRIVERS};

use crate::error::Error;
use crate::host::Host;
use crate::observe::Seen;
use crate::record::{Baseline, Entry, Freshness, Intent, State};
use crate::settings::{Place, Settings, Situation, differences};
use crate::witness::Deed;

/// What became of an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared {
    /// The VF was free, and is marked for the pool's next pod.
    Marked(Freshness),
    /// It was marked before.
    Already,
}

/// What became of an allocation that isn't there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprepared {
    /// The VF is free.
    Freed,
    /// It wasn't marked: it's free, or someone has claimed it meanwhile.
    NotPrepared,
}

impl<L: Links> Host<L> {
    /// Marks a VF as allocated from a pool, for kubelet's `Allocate`. Repeating it changes nothing.
    ///
    /// [`Error::Quarantined`] means that the VF can't be served. [`Error::Busy`] names a living owner: kubelet gives
    /// a device away before the former pod's DEL has run, and the new pod's ADD waits for that.
    pub fn prepare(&self, pci: PciAddress, resource: &str) -> Result<Prepared, Error> {
        let locked = self.lock(pci)?;
        match self.standing(&locked, pci)? {
            Some(State::Prepared { resource: marked }) if marked == resource => return Ok(Prepared::Already),
            None | Some(State::Prepared { .. }) => {}
            Some(State::Quarantined { reason, .. }) => return Err(Error::Quarantined { pci, reason }),
            Some(State::Claimed { claim } | State::Attached { claim } | State::Releasing { claim }) => {
                if !self.is_dead(pci, &claim) {
                    let owner = Box::new(claim.owner);
                    return Err(Error::Busy { pci, owner, waited: std::time::Duration::ZERO });
                }
                self.take_back(&locked, pci, claim)?;
            }
        }
        let (_seen, _baseline, freshness) = self.look_at_free(&locked, pci, false)?;
        self.write_state(&locked, pci, State::Prepared { resource: resource.to_owned() })?;
        Ok(Prepared::Marked(freshness))
    }

    /// Frees a VF that was marked and never claimed.
    pub fn unprepare(&self, pci: PciAddress) -> Result<Unprepared, Error> {
        let locked = self.lock(pci)?;
        match self.standing(&locked, pci)? {
            Some(State::Prepared { .. }) => {
                self.free(&locked, pci)?;
                Ok(Unprepared::Freed)
            }
            None
            | Some(
                State::Claimed { .. }
                | State::Attached { .. }
                | State::Releasing { .. }
                | State::Quarantined { .. },
            ) => Ok(Unprepared::NotPrepared),
        }
    }

    /// Takes the baseline of a VF that is free, so that it's known before anyone touches the VF; `None` when it
    /// isn't free.
    pub fn take_baseline(&self, pci: PciAddress) -> Result<Option<Freshness>, Error> {
        let locked = self.lock(pci)?;
        if self.standing(&locked, pci)?.is_some() {
            return Ok(None);
        }
        let (_seen, _baseline, freshness) = self.look_at_free(&locked, pci, false)?;
        Ok(Some(freshness))
    }

    /// The VF's state, by the ledger and by the existing plugin's files.
    pub(crate) fn standing(&self, locked: &Locked<'_>, pci: PciAddress) -> Result<Option<State>, Error> {
        let recorded = self.recorded(locked, pci)?;
        self.adopted(pci, recorded)
    }

    /// The VF's state in the ledger, without what an earlier boot left. What can't be read counts as quarantined.
    fn recorded(&self, locked: &Locked<'_>, pci: PciAddress) -> Result<Option<State>, Error> {
        let ledger = |source| Error::Ledger { pci, source };
        match locked.entry::<Intent>() {
            Ok(Some(entry)) if entry.boot_id != self.boot_id => {
                // The VF didn't outlive the reboot either.
                self.forget(locked, pci)?;
                Ok(None)
            }
            Ok(entry) => Ok(entry.map(|entry| entry.state)),
            Err(error) if error.is_damaged() => Ok(Some(State::Quarantined {
                reason: Error::Ledger { pci, source: error }.chain(),
                claim: None,
            })),
            Err(error) => Err(ledger(error)),
        }
    }

    /// The VF's baseline, if it's of this boot and of the device as it is now made.
    pub(crate) fn valid_baseline(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
    ) -> Result<Option<Baseline>, Error> {
        let incarnation = self.incarnation(pci)?;
        match locked.baseline::<Baseline>() {
            Ok(baseline) => Ok(baseline.filter(|baseline| {
                baseline.boot_id == self.boot_id && Some(baseline.incarnation) == incarnation
            })),
            Err(error) if error.is_damaged() => Ok(None),
            Err(source) => Err(Error::Ledger { pci, source }),
        }
    }

    /// Looks at a VF that the ledger has as free, refuses it where it can't be handed out, and makes sure that its
    /// baseline is in the ledger, its RDMA device included where that is to be handed out.
    pub(crate) fn look_at_free(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        rdma: bool,
    ) -> Result<(Seen, Baseline, Freshness), Error> {
        self.refuse_existing(pci)?;
        let mut seen = self.observe(pci, None)?;
        refuse_homeless(pci, &seen.situation.settings)?;
        if rdma {
            let driver = seen.situation.settings.driver.as_deref();
            seen.situation.settings.rdma = Some(self.movable_rdma(pci, driver)?);
        }
        let settings = &seen.situation.settings;
        let known = self.valid_baseline(locked, pci)?;
        if let Some(known) = known.clone().filter(|known| known.settings == *settings) {
            return Ok((seen, known, Freshness::Kept));
        }
        let baseline = Baseline {
            boot_id: self.boot_id.clone(),
            // The device was there a moment ago; if it has gone, no write can find it either.
            incarnation: self.incarnation(pci)?.unwrap_or_default(),
            settings: settings.clone(),
        };
        locked.write_baseline(&baseline).map_err(|source| Error::Ledger { pci, source })?;
        let freshness = known.map_or(Freshness::Taken, |known| {
            if (Settings { rdma: settings.rdma.clone(), ..known.settings.clone() }) == *settings {
                // The RDMA device was looked for the one time and not the other.
                return Freshness::Kept;
            }
            let before = Situation { settings: known.settings, place: Place::Home };
            Freshness::Replaced(differences(&before, &seen.situation))
        });
        self.witness.tell(pci, Deed::Baseline(&freshness));
        Ok((seen, baseline, freshness))
    }

    pub(crate) fn write_state(
        &self,
        locked: &Locked<'_>,
        pci: PciAddress,
        state: State,
    ) -> Result<(), Error> {
        let entry = Entry { boot_id: self.boot_id.clone(), state };
        locked.write_entry(&entry).map_err(|source| Error::Ledger { pci, source })?;
        self.witness.tell(pci, Deed::State(Some(&entry.state)));
        Ok(())
    }

    pub(crate) fn free(&self, locked: &Locked<'_>, pci: PciAddress) -> Result<(), Error> {
        locked.clear().map_err(|source| Error::Ledger { pci, source })?;
        self.witness.tell(pci, Deed::State(None));
        Ok(())
    }

    /// Frees a VF whose baseline says nothing any more.
    pub(crate) fn forget(&self, locked: &Locked<'_>, pci: PciAddress) -> Result<(), Error> {
        locked.forget_baseline().map_err(|source| Error::Ledger { pci, source })?;
        self.free(locked, pci)
    }
}

/// A VF is at home when it has an interface there, or a driver that gives it none.
fn refuse_homeless(pci: PciAddress, settings: &Settings) -> Result<(), Error> {
    match (&settings.driver, &settings.netdev) {
        (None, _) => Err(Error::NoDriver { pci }),
        (Some(driver), None) if !USERSPACE_DRIVERS.contains(&driver.as_str()) => {
            Err(Error::NotAtHome { pci, driver: driver.clone() })
        }
        (Some(_), _) => Ok(()),
    }
}
