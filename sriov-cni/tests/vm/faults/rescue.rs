//! Who comes after a process that was killed.

use serde_json::Value;

use super::gc;
use crate::node::{Pod, add, del};

#[derive(Clone, Copy, Debug)]
pub(super) enum Rescue {
    Del,
    DelOfTheDead,
    Gc,
    GcOfTheDead,
    /// The next pod's ADD, where the namespace is gone.
    NextAdd,
}

pub(super) const RESCUES: [Rescue; 5] =
    [Rescue::Del, Rescue::DelOfTheDead, Rescue::Gc, Rescue::GcOfTheDead, Rescue::NextAdd];

impl Rescue {
    /// Rescues what sandbox `c1` may have; `said` is what happened before.
    pub(super) fn run(self, pod: &Pod, conf: &str, said: &str) {
        let succeeds = |outcome: Result<Value, Value>| {
            outcome.unwrap_or_else(|error| panic!("{said}, then {self:?}: {error}"));
        };
        if matches!(self, Self::DelOfTheDead | Self::GcOfTheDead | Self::NextAdd) {
            pod.delete();
        }
        match self {
            Self::Del | Self::DelOfTheDead => succeeds(del("c1", &pod.path(), conf)),
            // What was killed has no sandbox that the runtime would list.
            Self::Gc | Self::GcOfTheDead => succeeds(gc(conf, &[])),
            Self::NextAdd => {
                let next = Pod::new("next");
                succeeds(add("c2", &next, conf));
                succeeds(del("c2", &next.path(), conf));
            }
        }
    }
}
