//! The existing plugin's lock of a VF, `pci/vf_lock/<address>.lock`, so that both never work on one VF.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use ledger::Locked;
use netlink::Links;
use pci::PciAddress;

use crate::error::Error;
use crate::host::Host;

use super::error::ExistingError;

/// A VF's lock in the ledger, and the existing plugin's where that knows the VF.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    /// Unlocked when it's closed, before the other: whoever gets that one finds this one free.
    _existing: Option<File>,
    ledger: Locked<'a>,
}

impl<'a> Deref for Held<'a> {
    type Target = Locked<'a>;

    fn deref(&self) -> &Locked<'a> {
        &self.ledger
    }
}

impl<L: Links> Host<L> {
    /// Adds the existing plugin's lock to ours, waiting for it up to `limit`.
    pub(crate) fn hold<'a>(
        &self,
        ledger: Locked<'a>,
        pci: PciAddress,
        limit: Duration,
    ) -> Result<Held<'a>, Error> {
        let lock = self.existing_state.join("pci/vf_lock").join(format!("{pci}.lock"));
        let failed = |source| ExistingError::Lock { pci, lock: lock.clone(), source };
        let Some(file) = self.open_lock(pci, &lock).map_err(failed)? else {
            return Ok(Held { _existing: None, ledger });
        };
        match locked_within(file, limit).map_err(failed)? {
            Some(file) => Ok(Held { _existing: Some(file), ledger }),
            None => Err(ExistingError::Locked { pci, lock, waited: limit }.into()),
        }
    }

    /// Opens the lock's file; `None` where the existing plugin has nothing to do with the VF.
    fn open_lock(&self, pci: PciAddress, lock: &Path) -> io::Result<Option<File>> {
        match File::open(lock) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened.map(Some),
        }
        if !self.is_known_to_existing(pci) {
            return Ok(None);
        }
        // Its releases from before there was a lock wait for nothing. Where the lock can't be made, as on a full
        // disk, the existing plugin can't make it and fails.
        Ok(make_lock(lock).ok())
    }
}

fn make_lock(lock: &Path) -> io::Result<File> {
    let directory = lock.parent().ok_or(io::ErrorKind::InvalidInput)?;
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(lock)
}

/// Locks a file, waiting up to `limit`; `None` when someone else has it until then.
fn locked_within(file: File, limit: Duration) -> io::Result<Option<File>> {
    match file.try_lock() {
        Ok(()) => return Ok(Some(file)),
        Err(TryLockError::WouldBlock) if limit.is_zero() => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The kernel knows no deadline for this. A thread that comes too late finds nobody to take the lock, and lets go.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(file.lock().map(|()| file)));
    match receiver.recv_timeout(limit) {
        Ok(locked) => locked.map(Some),
        Err(_late) => Ok(None),
    }
}

/// The path of an attachment's record.
pub(super) fn record_name(container_id: &str, ifname: &str) -> PathBuf {
    PathBuf::from(format!("{container_id}-{ifname}"))
}
