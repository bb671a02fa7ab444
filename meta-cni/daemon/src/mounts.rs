//! Running plugins in the host's mount namespace, from a container that has one of its own.
//!
//! A plugin expects the host's files: its own state, the programs and libraries that it uses. The daemon
//! executes itself again as `patchbayd enter-host -- PLUGIN`, which joins the mount namespace of process 1 while
//! it still has a single thread, and then becomes the plugin. That needs `hostPID`.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Uid;

/// The hidden command.
pub const COMMAND: &str = "enter-host";
/// A plugin that is just being replaced can't be executed for a moment.
const BUSY_RETRIES: u32 = 50;
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Why the plugin isn't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was named.
    #[error("no program to execute was named")]
    NoProgram,
    /// The namespace can't be opened.
    #[error("cannot open the host's mount namespace {}: patchbayd needs hostPID and privileges", path.display())]
    Open {
        /// The namespace.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The namespace can't be joined.
    #[error("cannot join the host's mount namespace: patchbayd needs privileges")]
    Join(#[source] Errno),
    /// The program can't be executed.
    #[error("cannot execute {} on the host", program.display())]
    Execute {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How plugins are reached from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// What is executed in front of a plugin.
    pub prefix: Vec<OsString>,
    /// Where the plugins' root is seen.
    pub root: PathBuf,
}

/// Whether plugins have to be run in another mount namespace than ours. `proc` is where process 1 is the host's.
pub fn reach(proc: &Path) -> io::Result<Reach> {
    let here = || Reach { prefix: Vec::new(), root: PathBuf::from("/") };
    let namespace = |process: &str| fs::read_link(proc.join(process).join("ns/mnt"));
    let host = match namespace("1") {
        // An ordinary user may not look at process 1, and couldn't join it either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !Uid::effective().is_root() => {
            return Ok(here());
        }
        host => host?,
    };
    if namespace("self")? == host {
        return Ok(here());
    }
    let own = std::env::current_exe()?;
    let prefix = vec![own.into_os_string(), COMMAND.into(), "--".into()];
    Ok(Reach { prefix, root: proc.join("1/root") })
}

/// Joins the mount namespace at `namespace` and becomes `command`. Returns only if that fails. Must be called
/// while the process has a single thread: the kernel refuses it otherwise.
pub fn enter_host(namespace: &Path, command: &[OsString]) -> Result<Infallible, Error> {
    let [program, arguments @ ..] = command else { return Err(Error::NoProgram) };
    let file = File::open(namespace).map_err(|source| Error::Open { path: namespace.to_owned(), source })?;
    join(&file)?;
    let source = execute(program, arguments);
    Err(Error::Execute { program: program.into(), source })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a mount namespace, joined for good by a process that becomes another program"
)]
fn join(file: &File) -> Result<(), Error> {
    nix::sched::setns(file, CloneFlags::CLONE_NEWNS).map_err(Error::Join)
}

fn execute(program: &OsStr, arguments: &[OsString]) -> io::Error {
    for _ in 0..BUSY_RETRIES {
        let error = Command::new(program).args(arguments).exec();
        if error.kind() != io::ErrorKind::ExecutableFileBusy {
            return error;
        }
        thread::sleep(BUSY_PAUSE);
    }
    io::ErrorKind::ExecutableFileBusy.into()
}

#[cfg(test)]
mod tests;
