//! A plugin as a child process, with a deadline.
//!
//! The child gets exactly the environment that the caller gives it and leads a process group of its own.
//! Whatever goes wrong (the deadline, too much output, a failing pipe), the whole group is killed before
//! the error is returned. A child that can't be killed, because it hangs in the kernel, doesn't hold the
//! caller up: a thread of its own waits for it.

mod process;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::args::{Args, Command};
use crate::chain::{AttachmentId, Call, Chain};
use crate::error::{code, with_sources};

/// The most that a plugin may print on standard output, in bytes.
pub const MAX_STDOUT: usize = 4 << 20;
/// How much of a plugin's standard error is kept, in bytes; the rest is read and dropped.
pub const MAX_STDERR: usize = 64 << 10;

/// One run of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The program.
    pub plugin: PathBuf,
    /// The call: command, container, interface.
    pub args: Args,
    /// The environment besides the variables of the call.
    pub env: Vec<(OsString, OsString)>,
    /// A program and arguments to put in front, such as one that enters the host's mount namespace and
    /// then executes the rest; usually empty. It has to retry `ETXTBSY` itself.
    pub prefix: Vec<OsString>,
    /// What the plugin reads.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub deadline: Duration,
}

/// How the plugins of one attachment are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// The attachment; each call brings its own command.
    pub args: Args,
    /// The environment besides the variables of the call.
    pub env: Vec<(OsString, OsString)>,
    /// See [`Invocation::prefix`].
    pub prefix: Vec<OsString>,
    /// Where the plugins' root directory is seen from here: `/`, or with a prefix for instance
    /// `/proc/1/root`. Plugins are looked for below it and executed by their path without it.
    pub root: PathBuf,
    /// How long each plugin may take.
    pub deadline: Duration,
}

/// Why a plugin didn't do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plugin's name can't be a program's name.
    #[error("plugin type {kind:?} is not a program's name; it may not be empty or hold '/'")]
    InvalidType {
        /// The name.
        kind: String,
    },
    /// No directory holds the plugin.
    #[error("plugin {kind:?} was not found in {path:?}; install it there or correct \"type\"")]
    NotFound {
        /// The program's name.
        kind: String,
        /// Where it was looked for.
        path: Vec<PathBuf>,
    },
    /// The plugin can't be executed.
    #[error("plugin {plugin:?} can't be started")]
    Start {
        /// The program.
        plugin: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Talking to the running plugin failed.
    #[error("input or output of plugin {plugin:?} failed")]
    Exchange {
        /// The program.
        plugin: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The plugin was killed at its deadline.
    #[error("plugin {plugin:?} ({command}) had not finished after {} ms and was killed{}", deadline.as_millis(), quoted(stderr))]
    Deadline {
        /// The program.
        plugin: PathBuf,
        /// What it was asked to do.
        command: Command,
        /// How long it was given.
        deadline: Duration,
        /// What it had printed on standard error.
        stderr: String,
    },
    /// The plugin was killed because it printed too much.
    #[error("plugin {plugin:?} ({command}) printed more than {MAX_STDOUT} bytes and was killed")]
    TooMuchOutput {
        /// The program.
        plugin: PathBuf,
        /// What it was asked to do.
        command: Command,
    },
    /// The plugin failed and said why.
    #[error("plugin {plugin:?} ({command}) failed")]
    Failed {
        /// The program.
        plugin: PathBuf,
        /// What it was asked to do.
        command: Command,
        /// Its error, with its code.
        #[source]
        error: crate::Error,
    },
    /// The plugin failed without an error object.
    #[error(
        "plugin {plugin:?} ({command}) failed with {status} and no error object{}{}",
        quoted(stdout),
        quoted(stderr)
    )]
    FailedSilently {
        /// The program.
        plugin: PathBuf,
        /// What it was asked to do.
        command: Command,
        /// How it ended.
        status: ExitStatus,
        /// The beginning of its standard output.
        stdout: String,
        /// The beginning of its standard error.
        stderr: String,
    },
}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Failed { plugin, command, error } => {
                let name = plugin.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return error.clone().context(format!("plugin {name:?} ({command})"));
            }
            Error::InvalidType { .. } => code::INVALID_CONFIG,
            Error::NotFound { .. } | Error::Start { .. } => code::PLUGIN_NOT_STARTED,
            Error::Exchange { .. } => code::IO,
            Error::Deadline { .. } => code::PLUGIN_DEADLINE,
            Error::TooMuchOutput { .. } => code::DECODE,
            Error::FailedSilently { .. } => code::PLUGIN_FAILED,
        };
        crate::Error::new(code, with_sources(&error))
    }
}

/// `: "text"`, or nothing.
fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text:?}") }
}

/// Finds the first of the directories that holds a program of that name, as `root` shows them, and returns
/// its path without `root`. Below another root than `/` a symbolic link counts as found: only a process
/// inside that root can follow it.
pub fn find(kind: &str, path: &[PathBuf], root: &Path) -> Result<PathBuf, Error> {
    if kind.is_empty() || matches!(kind, "." | "..") || kind.contains(['/', '\0']) {
        return Err(Error::InvalidType { kind: kind.to_owned() });
    }
    let inside = root == Path::new("/");
    path.iter()
        .map(|directory| directory.join(kind))
        .find(|plugin| {
            let seen = root.join(plugin.strip_prefix("/").unwrap_or(plugin));
            if inside {
                plugin.is_file()
            } else {
                seen.symlink_metadata().is_ok_and(|file| file.is_file() || file.is_symlink())
            }
        })
        .ok_or_else(|| Error::NotFound { kind: kind.to_owned(), path: path.to_vec() })
}

/// Runs a plugin to its end and returns what it printed on standard output.
pub fn run(invocation: &Invocation) -> Result<Vec<u8>, Error> {
    let ended = process::run(invocation)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let plugin = invocation.plugin.clone();
    let command = invocation.args.command;
    match crate::Error::parse(&ended.stdout) {
        Some(error) => Err(Error::Failed { plugin, command, error }),
        None => Err(Error::FailedSilently {
            plugin,
            command,
            status: ended.status,
            stdout: beginning(&ended.stdout),
            stderr: beginning(&ended.stderr),
        }),
    }
}

/// The first 1024 bytes, for a message.
fn beginning(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..1024).unwrap_or(bytes)).trim().to_owned()
}

impl Runtime {
    /// Finds and runs one plugin.
    pub fn run(&self, call: &Call<'_>) -> Result<Vec<u8>, crate::Error> {
        let invocation = Invocation {
            plugin: find(call.kind, &self.args.path, &self.root)?,
            args: self.args.with_command(call.command),
            env: self.env.clone(),
            prefix: self.prefix.clone(),
            stdin: call.stdin.clone(),
            deadline: self.deadline,
        };
        Ok(run(&invocation)?)
    }

    /// [`Chain::add`] with every plugin a process.
    pub fn add(&self, chain: &Chain) -> Result<String, crate::Error> {
        chain.add(|call| self.run(call))
    }

    /// [`Chain::check`] with every plugin a process.
    pub fn check(&self, chain: &Chain, prev_result: &str) -> Result<(), crate::Error> {
        chain.check(prev_result, |call| self.run(call))
    }

    /// [`Chain::del`] with every plugin a process.
    pub fn del(&self, chain: &Chain, prev_result: Option<&str>) -> Result<(), crate::Error> {
        chain.del(prev_result, |call| self.run(call))
    }

    /// [`Chain::status`] with every plugin a process.
    pub fn status(&self, chain: &Chain) -> Result<(), crate::Error> {
        chain.status(|call| self.run(call))
    }

    /// [`Chain::gc`] with every plugin a process.
    pub fn gc(&self, chain: &Chain, valid: &[AttachmentId]) -> Vec<crate::Error> {
        chain.gc(valid, |call| self.run(call))
    }
}

#[cfg(test)]
mod tests;
