//! What goes wrong, and what was done.

use netlink::{Errno, Error, Verb};

/// One call that was let through to the double.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub verb: Verb,
    /// Of what, with its values.
    pub target: String,
}

#[derive(Debug)]
struct Fault {
    verb: Verb,
    calls_left: usize,
    effect: Effect,
}

#[derive(Clone, Copy, Debug)]
enum Effect {
    Refuse(Errno),
    Stall,
}

/// How long the process that asks lives.
#[derive(Clone, Copy, Debug, Default)]
enum Life {
    #[default]
    Alive,
    /// For so many changes more.
    Dying(usize),
    Dead,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    waiting: Vec<Fault>,
    life: Life,
    pub(super) stalled: bool,
    pub(super) journal: Vec<Call>,
}

impl Faults {
    pub(super) fn refuse(&mut self, verb: Verb, nth: usize, errno: Errno) {
        self.waiting.push(Fault { verb, calls_left: nth, effect: Effect::Refuse(errno) });
    }

    pub(super) fn stall(&mut self, verb: Verb, nth: usize) {
        self.waiting.push(Fault { verb, calls_left: nth, effect: Effect::Stall });
    }

    pub(super) fn die_after(&mut self, changes: usize) {
        self.life = Life::Dying(changes);
    }

    pub(super) fn revive(&mut self) {
        self.life = Life::Alive;
    }

    /// Notes a call, unless it's to fail.
    pub(super) fn admit(&mut self, verb: Verb, target: &str) -> Result<(), Error> {
        self.life = match self.life {
            Life::Dying(0) if verb.changes() => Life::Dead,
            Life::Dying(left) if verb.changes() => Life::Dying(left - 1),
            life @ (Life::Alive | Life::Dying(_) | Life::Dead) => life,
        };
        if let Life::Dead = self.life {
            // Even reads fail: a dead process sees nothing.
            let text = "the process that asks is dead".to_owned();
            return Err(Error::refused(verb, target, Errno::EIO, Some(text)));
        }
        let mut due = None;
        for fault in self.waiting.iter_mut().filter(|fault| fault.verb == verb) {
            fault.calls_left = fault.calls_left.saturating_sub(1);
            if fault.calls_left == 0 {
                due = Some(fault.effect);
            }
        }
        self.waiting.retain(|fault| fault.calls_left > 0);
        match due {
            Some(Effect::Refuse(errno)) => return Err(Error::refused(verb, target, errno, None)),
            Some(Effect::Stall) => self.stalled = true,
            None => {}
        }
        self.journal.push(Call { verb, target: target.to_owned() });
        Ok(())
    }
}
