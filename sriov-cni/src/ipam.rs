//! Addresses by delegation to an IPAM plugin.
//!
//! It reads the very bytes that we were given, for each command alike.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::delegate::{self, Invocation};
use cni::{AddResult, Args, Command};

/// How IPAM plugins are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipam {
    /// Their environment, besides the variables of the call.
    pub env: Vec<(OsString, OsString)>,
    /// A program and its arguments to put in front, as [`Invocation::prefix`].
    pub prefix: Vec<OsString>,
    /// Where their root directory is seen from here, as [`delegate::Runtime::root`].
    pub root: PathBuf,
    /// How long each may take.
    pub deadline: Duration,
}

impl Ipam {
    /// Directly, with this environment, and a minute each.
    pub fn with_env(env: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let of_call = |name: &OsString| name.to_string_lossy().starts_with("CNI_");
        Self {
            env: env.into_iter().filter(|(name, _value)| !of_call(name)).collect(),
            prefix: Vec::new(),
            root: Path::new("/").to_owned(),
            deadline: Duration::from_mins(1),
        }
    }

    /// Runs a plugin for a command.
    pub(crate) fn run(
        &self,
        kind: &str,
        command: Command,
        args: &Args,
        stdin: &[u8],
    ) -> Result<Vec<u8>, cni::Error> {
        let plugin = delegate::find(kind, &args.path, &self.root)?;
        Ok(delegate::run(&Invocation {
            plugin,
            args: args.with_command(command),
            env: self.env.clone(),
            prefix: self.prefix.clone(),
            stdin: stdin.to_vec(),
            deadline: self.deadline,
        })?)
    }

    /// Asks a plugin for addresses; it's an error if it gives none.
    pub(crate) fn add(&self, kind: &str, args: &Args, stdin: &[u8]) -> Result<AddResult, cni::Error> {
        let answer = self.run(kind, Command::Add, args, stdin)?;
        let result = AddResult::parse(&answer)
            .map_err(cni::Error::from)
            .map_err(|error| error.context(format!("IPAM plugin {kind:?}")))?;
        if result.ips.is_empty() {
            let text = format!(
                "IPAM plugin {kind:?} gave no address: correct \"ipam\" in the network's configuration"
            );
            return Err(cni::Error::invalid_config(text));
        }
        Ok(result)
    }
}
