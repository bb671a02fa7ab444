//! Noticing that something changed in a directory.
//!
//! A [`Directory`] says *that* something happened, never what: events can be lost and come in bursts, so whoever
//! watches looks at the directory again. Kubelet's restart is seen in that its socket is another file
//! ([`identity`]), not in that its path was created.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::net::unix::pipe;

#[cfg(test)]
mod tests;

/// Why a directory can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The watch couldn't be made.
    #[error("cannot watch the directory {}", directory.display())]
    Watch {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The watch can't be read any more.
    #[error("cannot read what changed in the directory {}", directory.display())]
    Read {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory itself was removed or renamed: watch it anew.
    #[error("the directory {} is gone", directory.display())]
    Gone {
        /// The directory.
        directory: PathBuf,
    },
}

/// A watched directory.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Device and inode: the same path may be another directory later.
    itself: (u64, u64),
    events: pipe::Receiver,
}

impl Directory {
    /// Watches the entries of `path`: created, removed, renamed, and written files. Belongs to the current runtime.
    pub fn watch(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Watch { directory: path.to_owned(), source };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
            .map_err(|errno| failed(errno.into()))?;
        let events = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        inotify.add_watch(path, events).map_err(|errno| failed(errno.into()))?;
        let itself = directory(path).map_err(failed)?;
        // Only that bytes arrive matters, so the descriptor serves as the reading end of a pipe: tokio's own way to
        // wait on any descriptor is unsafe.
        let events = pipe::Receiver::from_owned_fd_unchecked(inotify.into()).map_err(failed)?;
        Ok(Self { path: path.to_owned(), itself, events })
    }

    /// Waits until something has changed since the watch was made or this last returned.
    pub async fn changed(&self) -> Result<(), Error> {
        let failed = |source| Error::Read { directory: self.path.clone(), source };
        self.events.readable().await.map_err(failed)?;
        self.drain().map_err(failed)?;
        match directory(&self.path) {
            Ok(itself) if itself == self.itself => Ok(()),
            _ => Err(Error::Gone { directory: self.path.clone() }),
        }
    }

    fn drain(&self) -> io::Result<()> {
        // One event with the longest name fits.
        let mut buffer = [0; 4096];
        loop {
            match self.events.try_read(&mut buffer) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

fn directory(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// What tells one file from the next one under the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// An inode's number is used again soon after its file is gone.
    changed: (i64, i64),
}

/// The identity of the file at `path`, or `None` when there is none.
pub fn identity(path: &Path) -> Option<Identity> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    let changed = (metadata.ctime(), metadata.ctime_nsec());
    Some(Identity { device: metadata.dev(), inode: metadata.ino(), changed })
}
