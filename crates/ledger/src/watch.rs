//! Being told that a file of the ledger changed.
//!
//! Watches are hints: whoever waits looks again after each, and now and then without one.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};

/// How often a state is looked at where it can't be watched.
const STATE_POLL: Duration = Duration::from_millis(50);

/// How often a lock is tried where it can't be watched: short against the milliseconds that its holder works, long
/// against a spin.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// What is waited for.
#[derive(Debug)]
pub struct Watch {
    /// `None` where the system has no watch to give (they're limited per user), or it's broken: then waiting is
    /// looking often.
    inotify: Option<Inotify>,
    /// The entry of the watched directory that counts; `None` where a file is watched.
    entry: Option<OsString>,
    poll: Duration,
}

impl Watch {
    /// For a change of one file in a directory, which is replaced whole, or removed.
    pub(crate) fn of_entry(directory: &Path, entry: OsString) -> Self {
        let events = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_ONLYDIR;
        Self { inotify: watch(directory, events), entry: Some(entry), poll: STATE_POLL }
    }

    /// For someone who has a file open to close it, which the end of a process does too.
    pub(crate) fn of_close(path: &Path) -> Self {
        Self { inotify: watch(path, AddWatchFlags::IN_CLOSE), entry: None, poll: LOCK_POLL }
    }

    /// Waits, at most for `limit`, until it has changed since this was made or last returned; `true` when it's told
    /// that it has. Where it can't be told, `false` comes after a moment: look again all the same.
    pub fn wait(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while let Some(inotify) = &self.inotify {
            let left = limit.saturating_sub(begun.elapsed());
            match changes(inotify, left) {
                Ok(changes) if changes.iter().any(|change| self.counts(change)) => return true,
                Ok(_) if begun.elapsed() >= limit => return false,
                Ok(_) => {}
                Err(_) => self.inotify = None,
            }
        }
        thread::sleep(self.poll.min(limit.saturating_sub(begun.elapsed())));
        false
    }

    fn counts(&self, change: &InotifyEvent) -> bool {
        // Where changes were lost, this may have been one of them.
        let lost = AddWatchFlags::IN_Q_OVERFLOW;
        self.entry.is_none() || change.name == self.entry || change.mask.contains(lost)
    }
}

fn watch(path: &Path, events: AddWatchFlags) -> Option<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
    inotify.add_watch(path, events).ok()?;
    Some(inotify)
}

/// What has changed, as soon as anything has, or nothing after `limit`.
fn changes(inotify: &Inotify, limit: Duration) -> Result<Vec<InotifyEvent>, Errno> {
    // Rounded up, so that the last fraction of a millisecond isn't spent spinning.
    let timeout = PollTimeout::try_from(limit.as_millis().saturating_add(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)], timeout) {
        Ok(0) | Err(Errno::EINTR) => return Ok(Vec::new()),
        Ok(_) => {}
        Err(errno) => return Err(errno),
    }
    match inotify.read_events() {
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(Vec::new()),
        read => read,
    }
}

#[cfg(test)]
mod tests;
