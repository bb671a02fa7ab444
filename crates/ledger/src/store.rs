//! The directory itself: its locks, and reading and writing the files in it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::file::{self, Durability};
use crate::watch::Watch;
use crate::{Device, Entry, FORMAT};

/// The largest file that is read, in bytes. A state with everything set has about 2 KiB.
const MAX_FILE: u64 = 256 * 1024;

/// A lock is tried again this soon after somebody closed its file, and then less and less often. The close of a
/// killed holder is told a moment before its lock goes.
const LOCK_SOON: Duration = Duration::from_millis(1);

/// And at least this often.
const LOCK_SELDOM: Duration = Duration::from_millis(500);

/// Why the ledger couldn't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory can't be made, or isn't ours alone.
    #[error("can't use {} as the ledger's directory", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Locking failed.
    #[error("can't lock {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else holds the lock.
    #[error("{device} is being worked on by another process: no lock within {waited:?}; try again")]
    LockTimeout {
        /// The device.
        device: Device,
        /// How long was waited.
        waited: Duration,
    },
    /// A file couldn't be read, written or removed.
    #[error(transparent)]
    File(#[from] file::Error),
    /// A file was written by a newer version.
    #[error("{} has format {format}, this version knows up to {FORMAT}: it is left alone, go back to the newer version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// A file is empty, torn, or not ours.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// What is to be written has no JSON form.
    #[error("can't put into JSON what belongs into {}", path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Error {
    /// A newer version wrote the file: leave it alone, the caller may try again later.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Newer { .. })
    }

    /// The file's content is lost.
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::File(file::Error::TooLarge { .. }))
    }

    /// Somebody else is at work on the device.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::LockTimeout { .. })
    }
}

/// The ledger's directory.
#[derive(Clone, Debug)]
pub struct Ledger {
    directory: PathBuf,
}

impl Ledger {
    /// Opens the ledger, making its directory (mode 0700) where it is missing and clearing away what dead
    /// writers left.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, Error> {
        let directory = directory.into();
        let failed = |source| Error::Directory { path: directory.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        let mode = fs::metadata(&directory).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            fs::set_permissions(&directory, Permissions::from_mode(0o700)).map_err(failed)?;
        }
        file::clean_stale(&directory);
        Ok(Self { directory })
    }

    /// The directory, for those who watch it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Takes the device's lock, waiting for it up to `timeout`.
    ///
    /// The lock is released when the value is dropped, also by a crash. Two threads of one process exclude each
    /// other as two processes do.
    pub fn lock(&self, device: &Device, timeout: Duration) -> Result<Locked<'_>, Error> {
        let path = self.path(device, "lock");
        let failed = |source| Error::Lock { path: path.clone(), source };
        // Opened once: each waiter's own close wakes the others.
        let file = open_lock(&path).map_err(failed)?;
        let begun = Instant::now();
        let (mut watch, mut pause) = (None, LOCK_SELDOM);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Locked { ledger: self, device: device.clone(), lock: file }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(Error::LockTimeout { device: device.clone(), waited: timeout });
            }
            match &mut watch {
                // The next try is after this, so that no close falls between.
                None => watch = Some(Watch::of_close(&path)),
                Some(watch) => {
                    let is_told = watch.wait(left.min(pause));
                    pause = if is_told { LOCK_SOON } else { LOCK_SELDOM.min(pause * 2) };
                }
            }
        }
    }

    /// Watches for a change of the device's state. A look after this, and after each wait, misses none.
    pub fn watch(&self, device: &Device) -> Watch {
        Watch::of_entry(&self.directory, format!("{device}.state").into())
    }

    /// The device's state, read without its lock; `None` means free.
    pub fn entry<W: DeserializeOwned>(&self, device: &Device) -> Result<Option<Entry<W>>, Error> {
        self.read(device, "state")
    }

    /// The device's baseline, read without its lock.
    pub fn baseline<B: DeserializeOwned>(&self, device: &Device) -> Result<Option<B>, Error> {
        self.read(device, "baseline")
    }

    /// Every device that isn't free, in order, each with its state or why that can't be read.
    #[expect(clippy::type_complexity, reason = "a list of a key and a result is plainer than a name for it")]
    pub fn entries<W: DeserializeOwned>(&self) -> Result<Vec<(Device, Result<Entry<W>, Error>)>, Error> {
        let listed = self.devices("state")?;
        Ok(listed
            .into_iter()
            .filter_map(|device| {
                // A device that has become free meanwhile is left out.
                let entry = self.entry(&device).transpose()?;
                Some((device, entry))
            })
            .collect())
    }

    fn devices(&self, kind: &str) -> Result<Vec<Device>, Error> {
        let failed = |source| Error::Directory { path: self.directory.clone(), source };
        let mut devices = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed)? {
            let path = PathBuf::from(entry.map_err(failed)?.file_name());
            if path.extension() == Some(OsStr::new(kind))
                && let Some(device) =
                    path.file_stem().and_then(OsStr::to_str).and_then(|stem| stem.parse().ok())
            {
                devices.push(device);
            }
        }
        devices.sort();
        Ok(devices)
    }

    fn path(&self, device: &Device, kind: &str) -> PathBuf {
        self.directory.join(format!("{device}.{kind}"))
    }

    fn read<T: DeserializeOwned>(&self, device: &Device, kind: &str) -> Result<Option<T>, Error> {
        let path = self.path(device, kind);
        file::read_bounded(&path, MAX_FILE)?.map(|bytes| decode(&path, &bytes)).transpose()
    }

    fn write<T: Serialize>(&self, device: &Device, kind: &str, content: &T) -> Result<(), Error> {
        let path = self.path(device, kind);
        let mut bytes = serde_json::to_vec_pretty(&Versioned { format: FORMAT, content })
            .map_err(|source| Error::Encode { path: path.clone(), source })?;
        bytes.push(b'\n');
        Ok(file::write_whole(&path, &bytes, Durability::Tmpfs)?)
    }
}

/// A device's lock. Whoever holds it may write.
#[derive(Debug)]
pub struct Locked<'a> {
    ledger: &'a Ledger,
    device: Device,
    lock: File,
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // Closing unlocks as well, but who waits is told of that before it's done.
        drop(self.lock.unlock());
    }
}

impl Locked<'_> {
    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The device's state; `None` means free.
    pub fn entry<W: DeserializeOwned>(&self) -> Result<Option<Entry<W>>, Error> {
        self.ledger.entry(&self.device)
    }

    /// The device's baseline.
    pub fn baseline<B: DeserializeOwned>(&self) -> Result<Option<B>, Error> {
        self.ledger.baseline(&self.device)
    }

    /// Replaces the device's state.
    pub fn write_entry<W: Serialize>(&self, entry: &Entry<W>) -> Result<(), Error> {
        self.ledger.write(&self.device, "state", entry)
    }

    /// Replaces the device's baseline.
    pub fn write_baseline<B: Serialize>(&self, baseline: &B) -> Result<(), Error> {
        self.ledger.write(&self.device, "baseline", baseline)
    }

    /// Makes the device free.
    pub fn clear(&self) -> Result<(), Error> {
        file::remove(&self.ledger.path(&self.device, "state"), Durability::Tmpfs)?;
        Ok(())
    }

    /// Removes the device's baseline.
    pub fn forget_baseline(&self) -> Result<(), Error> {
        file::remove(&self.ledger.path(&self.device, "baseline"), Durability::Tmpfs)?;
        Ok(())
    }
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    format: u32,
    #[serde(flatten)]
    content: &'a T,
}

#[derive(Deserialize)]
struct Version {
    format: u32,
}

fn decode<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    let damaged = |source| Error::Damaged { path: path.to_owned(), source };
    // The version is read alone first: nothing else of a newer file has to make sense to us.
    let Version { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format > FORMAT {
        return Err(Error::Newer { path: path.to_owned(), format });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// Opens an existing lock file for reading, which a full or read-only file system doesn't prevent.
fn open_lock(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests;
