//! Network namespaces: the only place that enters one.
//!
//! A netlink socket stays in the namespace that it was made in. So one is entered for the moment in which its socket
//! is made, on a thread of its own that ends with it, and no logic ever runs in a foreign namespace. (For RDMA the
//! thread asks its one question, too: the kernel heeds where that is.)

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::errno::Errno;
use nix::libc::O_NONBLOCK;
use nix::sched::CloneFlags;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use crate::attributes::NamespaceId;
use crate::client::Client;
use crate::error::Error;

/// The namespace of this process.
pub(crate) const OWN: &str = "/proc/self/ns/net";

/// An open network namespace with a netlink socket in it.
///
/// It lives as long as this does, even when nobody else holds it; its links are freed, or go back to the host, only
/// after.
#[derive(Debug)]
pub struct Namespace {
    path: PathBuf,
    file: File,
    id: NamespaceId,
    client: Mutex<Client>,
}

impl Namespace {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let gone = || Error::NamespaceGone { path: path.to_owned() };
        let unusable = |source| Error::Namespace { path: path.to_owned(), source };
        // Whatever lies there, opening it must not wait for a writer.
        let file = match OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path) {
            Err(error) if is_gone(&error) => return Err(gone()),
            opened => opened.map_err(unusable)?,
        };
        if fstatfs(&file).map_err(|errno| unusable(errno.into()))?.filesystem_type() != NSFS_MAGIC {
            return Err(gone());
        }
        let client = match run_in(&file, Client::open) {
            // It's a namespace, but of another kind.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => return Err(gone()),
            made => made.map_err(unusable)?,
        };
        let (dev, ino) = inode(&file).map_err(unusable)?;
        let id = NamespaceId { dev, ino, cookie: client.namespace_cookie().map_err(unusable)? };
        Ok(Self { path: path.to_owned(), file, id, client: Mutex::new(client) })
    }

    /// Where it was opened. By now something else may be there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which it is.
    pub const fn id(&self) -> NamespaceId {
        self.id
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn client(&self) -> MutexGuard<'_, Client> {
        // What a panicking thread asked has its own sequence number: the next request isn't confused by it.
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs something short in it that makes a socket, on a thread of its own: nothing that could wait for long.
    pub(crate) fn run<T: Send>(&self, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        run_in(&self.file, make)
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ESRCH | Errno::ENXIO)
    )
}

fn inode(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

fn run_in<T: Send>(file: &File, make: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, || {
            // Entering even one's own namespace takes privileges.
            if inode(&File::open("/proc/thread-self/ns/net")?)? != inode(file)? {
                enter(file)?;
            }
            make()
        })?;
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that enters a namespace, on a thread that ends with it"
)]
fn enter(file: &File) -> io::Result<()> {
    nix::sched::setns(file.as_fd(), CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}
