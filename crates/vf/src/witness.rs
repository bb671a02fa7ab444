//! Being told what is done to VFs, right after it's done.

use std::fmt;

use pci::PciAddress;

use crate::error::Error;
use crate::record::{Freshness, State};
use crate::settings::describe;
use crate::step::Step;

/// Something that was done. Between two of them nothing on the machine changes.
#[derive(Clone, Copy, Debug)]
pub enum Deed<'a> {
    /// A free VF's baseline was written.
    Baseline(&'a Freshness),
    /// The ledger has the VF's new state; `None` is free.
    State(Option<&'a State>),
    /// A step was taken.
    Step(&'a Step),
    /// A step was refused.
    Refused(&'a Step, &'a Error),
}

impl Deed<'_> {
    /// Whether somebody should look at it: the rest is what happens every day.
    pub fn is_noteworthy(&self) -> bool {
        matches!(self, Self::Baseline(Freshness::Replaced(_)) | Self::State(Some(State::Quarantined { .. })))
    }
}

impl fmt::Display for Deed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Baseline(Freshness::Kept) => f.write_str("the baseline is as before"),
            Self::Baseline(Freshness::Taken) => f.write_str("the baseline is taken"),
            Self::Baseline(Freshness::Replaced(differences)) => {
                write!(
                    f,
                    "someone changed the free VF, its baseline is taken anew: {}",
                    describe(differences)
                )
            }
            Self::State(None) => f.write_str("it's free"),
            Self::State(Some(State::Quarantined { reason, .. })) => write!(f, "it's quarantined: {reason}"),
            Self::State(Some(state)) => write!(f, "it's {}", state.name()),
            Self::Step(step) => write!(f, "done: {step}"),
            Self::Refused(step, error) => write!(f, "refused: {step}: {}", error.chain()),
        }
    }
}

type Told = dyn Fn(PciAddress, Deed<'_>) + Send + Sync;

/// Who is told: a log, or nobody.
#[derive(Default)]
pub struct Witness(Option<Box<Told>>);

impl Witness {
    /// Tells `told`, on whatever thread does the work. It mustn't call the [`crate::Host`] back: the VF is locked.
    pub fn new(told: impl Fn(PciAddress, Deed<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(told)))
    }

    pub(crate) fn tell(&self, pci: PciAddress, deed: Deed<'_>) {
        if let Some(told) = &self.0 {
            told(pci, deed);
        }
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Witness").field(&self.0.is_some()).finish()
    }
}
