//! What a state file holds.
//!
//! ```text
//! free ── Allocate ──> prepared ── ADD ──> claimed ──> attached ── DEL, GC, owner dead ──> releasing ──> free
//!                                                                                              └──> quarantined ── retried
//! ```

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Whom a device belongs to: one interface of one sandbox in one network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The name of the network's configuration.
    pub network: String,
    /// The sandbox, as the runtime names it.
    pub container_id: String,
    /// The interface's name in the sandbox (`CNI_IFNAME`), also where no interface is moved there.
    pub ifname: String,
}

/// A network namespace at the time of a claim. The path alone isn't enough: it can be reused, and so can the inode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceRecord {
    /// Where the runtime said it was.
    pub path: PathBuf,
    /// The device number of its inode.
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// The kernel's number for it, which none after it gets; unknown before Linux 5.14.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<u64>,
}

/// The pod behind an owner, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// The pod's Kubernetes namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// Its UID, where the runtime passed it on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
}

/// A device's owner and what it is owed: enough to take the device back without anything else on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim<W> {
    /// Whom the device belongs to.
    pub owner: Owner,
    /// The pool that it was allocated from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The owner's network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<NamespaceRecord>,
    /// The owner's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// What was asked for, and whatever else the caller needs to take the device back.
    pub wanted: W,
}

/// Where in its life a device is. Free is the absence of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum State<W> {
    /// Kubelet was told of an allocation; nobody has claimed the device.
    Prepared {
        /// The pool.
        resource: String,
    },
    /// Being set up. From here on the device may differ from its baseline.
    Claimed {
        /// For whom.
        claim: Claim<W>,
    },
    /// Handed over.
    Attached {
        /// To whom.
        claim: Claim<W>,
    },
    /// Being taken back.
    Releasing {
        /// From whom.
        claim: Claim<W>,
    },
    /// Couldn't be brought back to its baseline; nobody gets it until it is.
    Quarantined {
        /// What is wrong, for a person to read.
        reason: String,
        /// Its last owner, where there was one.
        #[serde(default = "none", skip_serializing_if = "Option::is_none")]
        claim: Option<Claim<W>>,
    },
}

fn none<T>() -> Option<T> {
    None
}

impl<W> State<W> {
    /// The claim, where there is one.
    pub fn claim(&self) -> Option<&Claim<W>> {
        match self {
            Self::Prepared { .. } => None,
            Self::Claimed { claim } | Self::Attached { claim } | Self::Releasing { claim } => Some(claim),
            Self::Quarantined { claim, .. } => claim.as_ref(),
        }
    }

    /// The state's name, as it is written in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Prepared { .. } => "prepared",
            Self::Claimed { .. } => "claimed",
            Self::Attached { .. } => "attached",
            Self::Releasing { .. } => "releasing",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// A state file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<W> {
    /// The boot that it was written in. A device doesn't keep its settings over a reboot.
    pub boot_id: String,
    /// The state.
    #[serde(flatten)]
    pub state: State<W>,
}
