//! Taking back what nobody asks back.

use std::collections::BTreeSet;
use std::time::Duration;

use ledger::Owner;
use netlink::Links;
use pci::PciAddress;

use crate::error::Error;
use crate::existing::possible_owners;
use crate::host::Host;
use crate::record::{Intent, State};

/// What a sweep did with a VF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swept {
    /// Its owner is dead or its release was left half done; it's free again.
    Released {
        /// Whose it was.
        owner: Owner,
    },
    /// It was quarantined, and is free again.
    Healed,
}

/// Each VF that a sweep worked on, with what it did or why that failed.
pub type Sweep = Vec<(PciAddress, Result<Swept, Error>)>;

impl<L: Links> Host<L> {
    /// Takes back the VFs of dead owners, finishes releases that were left half done, and tries again what is
    /// quarantined. Tells of each VF that it worked on, also where that failed.
    ///
    /// An owner is dead when its namespace is gone, or `is_alive` denies it. That has to affirm an owner whose ADD
    /// is still going on: a runtime may list a sandbox only after it. A VF that someone else is at work on is
    /// passed over.
    pub fn sweep(&self, is_alive: &dyn Fn(&Owner) -> bool) -> Result<Sweep, Error> {
        self.sweep_all(None, is_alive)
    }

    /// As [`Host::sweep`], but only the VFs that belong, or lastly belonged, to one network: what CNI's GC asks.
    pub fn sweep_network(&self, network: &str, is_alive: &dyn Fn(&Owner) -> bool) -> Result<Sweep, Error> {
        self.sweep_all(Some(network), is_alive)
    }

    fn sweep_all(&self, network: Option<&str>, is_alive: &dyn Fn(&Owner) -> bool) -> Result<Sweep, Error> {
        let entries = self.ledger.entries::<Intent>().map_err(Error::List)?;
        let mut vfs: BTreeSet<PciAddress> =
            entries.into_iter().filter_map(|(device, _entry)| device.as_str().parse().ok()).collect();
        vfs.extend(self.existing_vfs()?);
        Ok(vfs
            .into_iter()
            .filter_map(|pci| Some((pci, self.sweep_one(pci, network, is_alive).transpose()?)))
            .collect())
    }

    fn sweep_one(
        &self,
        pci: PciAddress,
        network: Option<&str>,
        is_alive: &dyn Fn(&Owner) -> bool,
    ) -> Result<Option<Swept>, Error> {
        let locked = match self.lock_within(pci, Duration::ZERO) {
            Ok(locked) => locked,
            Err(error) if error.is_locked() => return Ok(None),
            Err(error) => return Err(error),
        };
        let state = self.standing(&locked, pci)?;
        let owner = state.as_ref().and_then(State::claim).map(|claim| claim.owner.network.as_str());
        if network.is_some() && network != owner {
            return Ok(None);
        }
        match state {
            None | Some(State::Prepared { .. }) => Ok(None),
            Some(State::Claimed { claim } | State::Attached { claim })
                if !self.is_dead(pci, &claim) && possible_owners(&claim).iter().any(is_alive) =>
            {
                Ok(None)
            }
            Some(State::Claimed { claim } | State::Attached { claim } | State::Releasing { claim }) => {
                let owner = claim.owner.clone();
                self.take_back(&locked, pci, claim)?;
                Ok(Some(Swept::Released { owner }))
            }
            Some(State::Quarantined { reason, claim }) => {
                self.heal(&locked, pci, reason, claim, None)?;
                Ok(Some(Swept::Healed))
            }
        }
    }
}
