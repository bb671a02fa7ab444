//! What the ledger holds for a VF.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::settings::{Difference, Settings};
use crate::wanted::Wanted;

/// A VF's state file.
pub type Entry = ledger::Entry<Intent>;

/// Where in its life a VF is.
pub type State = ledger::State<Intent>;

/// A VF's owner, with what it is owed.
pub type Claim = ledger::Claim<Intent>;

/// What a claim says besides whose it is: the way there and the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// What was asked for.
    pub wanted: Wanted,
    /// What the VF returns to.
    pub baseline: Baseline,
    /// The existing SR-IOV plugin's records of the VF, the newest first, where that plugin gave it away. They go when
    /// the VF is back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub existing: Vec<PathBuf>,
}

/// What a VF looked like when it was last seen clean.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// The boot that this was in.
    pub boot_id: String,
    /// The inode of the device's directory in sysfs: another one is another device at the same address.
    pub incarnation: u64,
    /// What it looked like.
    pub settings: Settings,
}

/// What became of a VF's baseline when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It's still what the VF looks like.
    Kept,
    /// There was none for this boot and this making of the device, so it was taken.
    Taken,
    /// Someone changed the free VF, so it was taken anew. Worth a line in a log.
    Replaced(Vec<Difference>),
}
