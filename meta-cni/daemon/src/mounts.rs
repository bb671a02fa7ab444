//! How a plugin becomes a process: in the host's mount namespace, and not for longer than the daemon lives.
//!
//! The daemon executes itself again as `patchbayd run-plugin -- PLUGIN`, which then becomes the plugin. In
//! between it asks the kernel to be killed with its parent: a plugin that went on after its daemon was killed
//! would attach behind the back of the one that recovers. And where the daemon's container has a mount namespace
//! of its own, it joins that of process 1 while it still has a single thread: a plugin expects the host's files,
//! its own state, the programs and libraries that it uses. That needs `hostPID`.

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
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};

/// The hidden command.
pub const COMMAND: &str = "run-plugin";
/// Its option: the mount namespace to join.
pub const OPTION: &str = "--mounts";
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
    /// The kernel doesn't promise to end us with the daemon.
    #[error("cannot tie the plugin's life to patchbayd's")]
    Tie(#[source] Errno),
    /// The daemon is gone already.
    #[error("patchbayd was gone before the plugin was started")]
    Orphaned,
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
    /// Process 1 couldn't be looked at, so this may be the wrong namespace for plugins.
    pub unsure: bool,
}

/// How plugins are run from here. `proc` is where process 1 is the host's.
pub fn reach(proc: &Path) -> io::Result<Reach> {
    // Not the program's path: after an upgrade there may be another version, or none.
    let own = OsString::from("/proc/self/exe");
    let here = |unsure| {
        let prefix = vec![own.clone(), COMMAND.into(), "--".into()];
        Reach { prefix, root: PathBuf::from("/"), unsure }
    };
    let namespace = |process: &str| fs::read_link(proc.join(process).join("ns/mnt"));
    let host = match namespace("1") {
        // Who may not look at process 1 couldn't join it either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(here(true)),
        host => host?,
    };
    if namespace("self")? == host {
        return Ok(here(false));
    }
    let mounts = proc.join("1/ns/mnt").into_os_string();
    let prefix = vec![own, COMMAND.into(), OPTION.into(), mounts, "--".into()];
    Ok(Reach { prefix, root: proc.join("1/root"), unsure: false })
}

/// Becomes `command`, in the mount namespace `mounts` if one is named. Returns only if that fails. Must be
/// called while the process has a single thread: the kernel refuses to join otherwise.
pub fn run_plugin(mounts: Option<&Path>, command: &[OsString]) -> Result<Infallible, Error> {
    let [program, arguments @ ..] = command else { return Err(Error::NoProgram) };
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(Error::Tie)?;
    // It may have died before the kernel knew. Whoever is orphaned gets process 1 for a parent, and that may be
    // the daemon itself only in a namespace of processes where it can't die before us.
    if getppid() == Pid::from_raw(1) && getpid() != Pid::from_raw(1) && !is_daemon(1) {
        return Err(Error::Orphaned);
    }
    if let Some(path) = mounts {
        let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        join(&file)?;
    }
    let source = execute(program, arguments);
    Err(Error::Execute { program: program.into(), source })
}

/// Whether a process executes the same program as we do.
fn is_daemon(process: i32) -> bool {
    let program = |of: &str| fs::read_link(format!("/proc/{of}/exe")).ok();
    program("self").is_some_and(|own| program(&process.to_string()) == Some(own))
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
