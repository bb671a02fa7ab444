//! What was attached to which sandbox, on disk: one file per sandbox, written before anything is done.
//!
//! The files outlive a reboot, since IPAM leases do; they carry the boot ID, and in another boot no namespace or
//! VF setting of theirs is left.
//!
//! ```text
//!  (no file) ── plan stored ──> adding ── all attached ──> added ── DEL ──> deleting ── all gone ──> (no file)
//!                                 └── one failed ──────────────────────────────┘
//! ```
//!
//! A sandbox found `adding` when the daemon starts was left half done and is undone; one found `deleting` is
//! finished. Marking `deleting` isn't needed for a DEL to act: on a full disk the file stays `added`, and the
//! runtime, which got no answer, calls again.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::error::with_sources;
use ledger::file::{self, Durability};
use serde::{Deserialize, Serialize};

use crate::plan::{Attachment, Plan, PodRef};

/// The format that is written.
pub const FORMAT: u32 = 1;
/// More than any plan takes, in bytes: 256 networks of 64 KiB each.
const MAX_SIZE: u64 = 16 << 20;
const SUFFIX: &str = ".json";

/// Why a file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory can't be made or listed.
    #[error("cannot use the directory {} for attachments", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file can't be read, written or removed.
    #[error("cannot keep record of the sandbox's attachments")]
    File(#[from] file::Error),
    /// A file isn't what we write.
    #[error("{} is damaged: what it recorded can only be undone as far as the VF ledger and the runtime know it", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where it stops making sense.
        #[source]
        source: serde_json::Error,
    },
    /// A file was written by a newer patchbayd.
    #[error("{} has format {format}, and this patchbayd knows {FORMAT}: run the patchbayd that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// A record can't be turned into JSON.
    #[error("cannot write down the attachments of sandbox {container_id}")]
    Encode {
        /// The sandbox.
        container_id: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Whether the file is there and can't be understood.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = with_sources(&error);
        match error {
            Error::Newer { .. } => cni::Error::try_again(text),
            Error::Directory { .. } | Error::File(_) | Error::Encode { .. } => cni::Error::io(text),
            Error::Damaged { .. } => cni::Error::internal(text),
        }
    }
}

/// Where a sandbox is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// An ADD is under way, or was when its daemon died.
    Adding,
    /// Everything is attached.
    Added,
    /// What is left has to go.
    Deleting,
}

/// How far one attachment has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Progress {
    /// Nothing was done.
    Planned,
    /// Its plugins were started, or were about to be.
    Adding,
    /// Its plugins succeeded.
    Added {
        /// What they answered: the `prevResult` of CHECK and DEL.
        result: String,
    },
}

/// One attachment and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// How far it has come.
    pub progress: Progress,
    /// What it is.
    pub attachment: Attachment,
}

impl Entry {
    /// The result of its ADD, if that succeeded.
    pub fn result(&self) -> Option<&str> {
        match &self.progress {
            Progress::Added { result } => Some(result),
            Progress::Planned | Progress::Adding => None,
        }
    }

    /// Whether there may be something to undo.
    pub fn is_begun(&self) -> bool {
        self.progress != Progress::Planned
    }
}

/// A sandbox's attachments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`].
    pub format: u32,
    /// The boot in which it was written.
    pub boot_id: String,
    /// Where the sandbox is in its life.
    pub phase: Phase,
    /// The pod.
    pub pod: PodRef,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS` of the ADD.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME` of the ADD.
    pub ifname: String,
    /// `CNI_PATH` for the plugins.
    pub path: Vec<PathBuf>,
    /// In the order of ADD.
    pub attachments: Vec<Entry>,
}

impl Record {
    /// A plan of which nothing is done yet.
    pub fn new(plan: Plan, boot_id: &str) -> Self {
        let entry = |attachment| Entry { progress: Progress::Planned, attachment };
        Self {
            format: FORMAT,
            boot_id: boot_id.to_owned(),
            phase: Phase::Adding,
            pod: plan.pod,
            container_id: plan.container_id,
            netns: plan.netns,
            ifname: plan.ifname,
            path: plan.path,
            attachments: plan.attachments.into_iter().map(entry).collect(),
        }
    }
}

/// The directory of records.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
    boot_id: String,
}

impl Store {
    /// Opens the directory, making it if needed, and removes what writers that died have left in it.
    pub fn open(dir: &Path, boot_id: &str) -> Result<Self, Error> {
        std::fs::create_dir_all(dir).map_err(|source| Error::Directory { dir: dir.to_owned(), source })?;
        file::clean_stale(dir);
        Ok(Self { dir: dir.to_owned(), boot_id: boot_id.to_owned() })
    }

    /// This boot's ID.
    pub fn boot_id(&self) -> &str {
        &self.boot_id
    }

    /// The container ID has been validated as a CNI argument: it holds no `/` and isn't `.` or `..`.
    fn path(&self, container_id: &str) -> PathBuf {
        self.dir.join(format!("{container_id}{SUFFIX}"))
    }

    /// The record of a sandbox; `None` when there is none.
    pub fn read(&self, container_id: &str) -> Result<Option<Record>, Error> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let path = self.path(container_id);
        let Some(bytes) = file::read_bounded(&path, MAX_SIZE)? else { return Ok(None) };
        let damaged = |source| Error::Damaged { path: path.clone(), source };
        let Format { format } = serde_json::from_slice(&bytes).map_err(damaged)?;
        if format > FORMAT {
            return Err(Error::Newer { path, format });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Writes a record; it's on the disk when this returns.
    pub fn write(&self, record: &Record) -> Result<(), Error> {
        let encode = |source| Error::Encode { container_id: record.container_id.clone(), source };
        let bytes = serde_json::to_vec(record).map_err(encode)?;
        Ok(file::write_whole(&self.path(&record.container_id), &bytes, Durability::Disk)?)
    }

    /// Removes a record; it isn't an error when there is none.
    pub fn remove(&self, container_id: &str) -> Result<(), Error> {
        file::remove(&self.path(container_id), Durability::Disk)?;
        Ok(())
    }

    /// Takes a damaged record out of the way, and keeps it for a person to look at.
    pub fn set_aside(&self, container_id: &str) -> Result<PathBuf, Error> {
        let (from, to) = (self.path(container_id), self.dir.join(format!("{container_id}.damaged")));
        std::fs::rename(&from, &to).map_err(|source| Error::Directory { dir: self.dir.clone(), source })?;
        Ok(to)
    }

    /// How long ago a record was written last; zero when that isn't known.
    pub fn age(&self, container_id: &str) -> Duration {
        let modified = std::fs::metadata(self.path(container_id)).and_then(|metadata| metadata.modified());
        modified.ok().and_then(|time| time.elapsed().ok()).unwrap_or_default()
    }

    /// The sandboxes that have a record, in no particular order.
    pub fn sandboxes(&self) -> Result<Vec<String>, Error> {
        let failed = |source| Error::Directory { dir: self.dir.clone(), source };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            found.extend(id.filter(|id| cni::args::is_identifier(id)).map(str::to_owned));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
