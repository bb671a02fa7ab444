//! How one plugin of one attachment is run: inside the daemon, or as a process.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni::Args;
use cni::chain::Call;
use cni::delegate::{self, Runtime};

/// A plugin inside the daemon. It gets the call (with its command), how it may run plugins of its own, and
/// what it reads; it answers what it would print.
pub type BuiltIn = Arc<dyn Fn(&Runtime, &[u8]) -> Result<Vec<u8>, cni::Error> + Send + Sync>;

/// The node's plugins.
#[derive(Clone)]
pub struct Plugins {
    /// See [`Runtime::prefix`].
    pub prefix: Vec<OsString>,
    /// See [`Runtime::root`].
    pub root: PathBuf,
    /// How long one plugin may take.
    pub deadline: Duration,
    /// The plugin that runs inside the daemon, and its type.
    pub built_in: Option<(String, BuiltIn)>,
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugins")
            .field("prefix", &self.prefix)
            .field("root", &self.root)
            .field("deadline", &self.deadline)
            .field("built_in", &self.built_in.as_ref().map(|(kind, _)| kind))
            .finish()
    }
}

/// A process's environment without the variables of a CNI call, or one to start with where there is none.
pub fn environment<'a>(request: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = request
        .into_iter()
        .filter(|(name, _)| !name.starts_with("CNI_") && !name.is_empty())
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    if !env.iter().any(|(name, _)| name == "PATH") {
        env.push(("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()));
    }
    env
}

impl Plugins {
    /// Whether a plugin is there to be run.
    pub fn look_for(&self, kind: &str, path: &[PathBuf]) -> Result<(), delegate::Error> {
        match &self.built_in {
            Some((built_in, _)) if built_in == kind => Ok(()),
            _ => delegate::find(kind, path, &self.root).map(drop),
        }
    }

    /// Runs one plugin, which may take its own deadline but not longer than `until`.
    pub fn run(
        &self,
        args: &Args,
        env: &[(OsString, OsString)],
        call: &Call<'_>,
        until: Instant,
    ) -> Result<Vec<u8>, cni::Error> {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let text = format!("no time is left for plugin {:?} ({})", call.kind, call.command);
            return Err(cni::Error::try_again(text));
        }
        let runtime = Runtime {
            args: args.with_command(call.command),
            env: env.to_vec(),
            prefix: self.prefix.clone(),
            root: self.root.clone(),
            deadline: self.deadline.min(left),
        };
        let started = Instant::now();
        let outcome = match &self.built_in {
            Some((kind, built_in)) if kind == call.kind => built_in(&runtime, &call.stdin),
            _ => runtime.run(call),
        };
        tracing::debug!(
            plugin = call.kind,
            command = call.command.as_str(),
            milliseconds = started.elapsed().as_millis(),
            error = outcome.as_ref().err().map(tracing::field::display),
            "plugin"
        );
        outcome
    }
}
