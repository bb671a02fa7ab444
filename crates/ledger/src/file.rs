//! State files, written whole: a reader sees the old content or the new, never a part.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How temporary files begin; the rest is random.
const TEMPORARY_PREFIX: &str = ".patchbay-tmp-";

/// A temporary file of this age belongs to a writer that died. A live one keeps it for milliseconds.
const STALE_AFTER: Duration = Duration::from_mins(1);

/// What a file has to outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The process: the directory is on a tmpfs, which a power cut empties anyway.
    Tmpfs,
    /// A power cut: file and directory are synced.
    Disk,
}

/// Why a state file couldn't be read, written or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than anything we write.
    #[error("{} is larger than {limit} bytes, so it isn't ours: move it away", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit, in bytes.
        limit: u64,
    },
    /// Writing failed; the former content is still there.
    #[error("can't write {}: its former content stays", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Removing failed.
    #[error("can't remove {}", path.display())]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Replaces the content of `path` in one go, creating it with mode 0600 where it is missing.
pub fn write_whole(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), Error> {
    replace(path, bytes, durability).map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, bytes: &[u8], durability: Durability) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // The file is made with mode 0600, and unlinked again if anything below fails.
    let mut temporary = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(directory)?;
    temporary.write_all(bytes)?;
    if durability == Durability::Disk {
        temporary.as_file().sync_all()?;
    }
    temporary.persist(path).map_err(|failed| failed.error)?;
    if durability == Durability::Disk {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// The content of `path`, at most `limit` bytes; `None` where there is no such file.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read <= limit) {
        Ok(Some(bytes))
    } else {
        Err(Error::TooLarge { path: path.to_owned(), limit })
    }
}

/// Removes `path`; `false` where it wasn't there.
pub fn remove(path: &Path, durability: Durability) -> Result<bool, Error> {
    let failed = |source| Error::Remove { path: path.to_owned(), source };
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    if let (Durability::Disk, Some(directory)) = (durability, path.parent()) {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    }
    Ok(true)
}

/// Removes the temporary files that dead writers left in `directory`; the number of them.
///
/// What can't be removed stays: it does no harm but to take room.
pub fn clean_stale(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX))
        .filter(|entry| {
            let age = entry.metadata().and_then(|metadata| metadata.modified()).map(|time| time.elapsed());
            matches!(age, Ok(Ok(age)) if age >= STALE_AFTER)
        })
        .filter(|entry| fs::remove_file(entry.path()).is_ok())
        .count()
}

#[cfg(test)]
mod tests;
