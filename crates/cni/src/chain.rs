//! A list of plugins as it is carried out: what each reads, and in which order.
//!
//! ```text
//! ADD    plugin 0 ──result──> plugin 1 ──result──> …      the last result is the network's
//! CHECK  plugin 0, plugin 1, …                            each with the network's result
//! DEL    …, plugin 1, plugin 0                            each with the network's result
//! ```
//!
//! A [`Chain`] is plain data. What a plugin reads on ADD is fixed when the chain is made; CHECK and DEL
//! get the same text plus `prevResult`. So a stored chain undoes what it did, whatever has become of the
//! configuration that it came from. The walk knows nothing of processes: the caller says how a plugin is
//! run, for instance by [`Runtime::run`](crate::delegate::Runtime::run).

use serde::{Deserialize, Serialize};

use crate::args::{Command, is_identifier};
use crate::conf::{InvalidConf, NetConfList};
use crate::error::Error;
use crate::object::Object;
use crate::version::Version;

/// A network ready to be carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The network's name.
    pub name: String,
    /// The version in which the plugins are called.
    pub cni_version: Version,
    /// CHECK does nothing.
    #[serde(default)]
    pub disable_check: bool,
    /// GC does nothing.
    #[serde(default)]
    pub disable_gc: bool,
    /// In the order of ADD.
    pub plugins: Vec<Plugin>,
}

/// One plugin of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plugin {
    /// The program's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the program reads, but for `prevResult`: JSON text, byte for byte.
    pub stdin: String,
}

/// One plugin to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// What it is asked to do.
    pub command: Command,
    /// Its place in the chain, from 0.
    pub index: usize,
    /// The program's name.
    pub kind: &'a str,
    /// What it reads.
    pub stdin: Vec<u8>,
}

/// An attachment as GC names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId {
    /// The container's ID.
    #[serde(rename = "containerID")]
    pub container_id: String,
    /// The interface's name.
    pub ifname: String,
}

impl Plugin {
    /// What the program reads with a previous result, which must be JSON text.
    pub fn stdin_with(&self, prev_result: Option<&str>) -> Result<Vec<u8>, Error> {
        let Some(prev_result) = prev_result else {
            return Ok(self.stdin.clone().into_bytes());
        };
        let mut object = Object::parse(self.stdin.as_bytes())?;
        object.set_json("prevResult", prev_result)?;
        Ok(object.to_string().into_bytes())
    }
}

impl Chain {
    /// Decides what every plugin reads: its own configuration with the network's name and version, and as
    /// `runtimeConfig` those of `capability_args` whose names it declares under `capabilities`.
    pub fn new(list: &NetConfList, capability_args: &Object) -> Result<Self, InvalidConf> {
        if !is_identifier(&list.name) {
            return Err(InvalidConf::Name(list.name.clone()));
        }
        let mut plugins = Vec::with_capacity(list.plugins.len());
        for (index, conf) in list.plugins.iter().enumerate() {
            let kind = conf.read::<String>("type")?.ok_or(InvalidConf::NoType { index })?;
            plugins.push(Plugin { kind, stdin: plugin_stdin(list, conf, capability_args)?.to_string() });
        }
        Ok(Chain {
            name: list.name.clone(),
            cni_version: list.version(),
            disable_check: list.disable_check,
            disable_gc: list.disable_gc,
            plugins,
        })
    }

    /// ADD: runs the plugins in order, each with the result of the one before, and returns the last result
    /// as JSON text. The first failure ends it; undoing is the caller's part, by [`del`](Chain::del).
    pub fn add(&self, mut run: impl FnMut(&Call<'_>) -> Result<Vec<u8>, Error>) -> Result<String, Error> {
        let mut result: Option<String> = None;
        for (index, plugin) in self.plugins.iter().enumerate() {
            let stdin = plugin.stdin_with(result.as_deref())?;
            let stdout = run(&Call { command: Command::Add, index, kind: &plugin.kind, stdin })?;
            result = Some(self.accept_result(&plugin.kind, &stdout)?);
        }
        result.ok_or_else(|| InvalidConf::EmptyList.into())
    }

    /// CHECK: runs the plugins in order with the result of ADD. Nothing happens where CHECK is disabled;
    /// below version 0.4.0 it is an error.
    pub fn check(
        &self,
        prev_result: &str,
        mut run: impl FnMut(&Call<'_>) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        if !self.cni_version.has_check() {
            return Err(Error::incompatible_version(format!(
                "network {:?} has cniVersion {}, and CHECK came with 0.4.0; raise its cniVersion",
                self.name, self.cni_version
            )));
        }
        if self.disable_check {
            return Ok(());
        }
        for (index, plugin) in self.plugins.iter().enumerate() {
            let stdin = plugin.stdin_with(Some(prev_result))?;
            run(&Call { command: Command::Check, index, kind: &plugin.kind, stdin })?;
        }
        Ok(())
    }

    /// DEL: runs the plugins in reverse order, from version 0.4.0 on with the result of ADD if there was
    /// one. The first failure ends it, as the specification has it.
    pub fn del(
        &self,
        prev_result: Option<&str>,
        mut run: impl FnMut(&Call<'_>) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        let prev_result = prev_result.filter(|_| self.cni_version.has_check());
        for (index, plugin) in self.plugins.iter().enumerate().rev() {
            let stdin = plugin.stdin_with(prev_result)?;
            run(&Call { command: Command::Del, index, kind: &plugin.kind, stdin })?;
        }
        Ok(())
    }

    /// STATUS: asks the plugins in order; the first that can't serve ends it. Below 1.1.0 nothing happens.
    pub fn status(&self, mut run: impl FnMut(&Call<'_>) -> Result<Vec<u8>, Error>) -> Result<(), Error> {
        if !self.cni_version.has_gc_and_status() {
            return Ok(());
        }
        for (index, plugin) in self.plugins.iter().enumerate() {
            let stdin = plugin.stdin.clone().into_bytes();
            run(&Call { command: Command::Status, index, kind: &plugin.kind, stdin })?;
        }
        Ok(())
    }

    /// GC: tells every plugin which attachments of this network are valid. Failures don't stop it; all are
    /// returned. Below 1.1.0, and where GC is disabled, nothing happens.
    pub fn gc(
        &self,
        valid: &[AttachmentId],
        mut run: impl FnMut(&Call<'_>) -> Result<Vec<u8>, Error>,
    ) -> Vec<Error> {
        if !self.cni_version.has_gc_and_status() || self.disable_gc {
            return Vec::new();
        }
        let valid: Vec<Object> = valid.iter().map(AttachmentId::to_object).collect();
        let mut failures = Vec::new();
        for (index, plugin) in self.plugins.iter().enumerate() {
            let outcome = Object::parse(plugin.stdin.as_bytes()).map_err(Error::from).and_then(|mut conf| {
                // The specification first printed the second name; plugins that followed it read that one.
                conf.set_list("cni.dev/valid-attachments", &valid);
                conf.set_list("cni.dev/attachments", &valid);
                let stdin = conf.to_string().into_bytes();
                run(&Call { command: Command::Gc, index, kind: &plugin.kind, stdin })
            });
            failures.extend(outcome.err());
        }
        failures
    }

    /// A plugin's answer to ADD as text, with the network's version where the plugin gave none.
    fn accept_result(&self, kind: &str, stdout: &[u8]) -> Result<String, Error> {
        let unreadable = |source: crate::object::Error| {
            Error::from(source)
                .context(format!("plugin {kind:?} answered ADD with something that is no result"))
        };
        let mut object = Object::parse(stdout).map_err(unreadable)?;
        if let Some(error) = Error::parse(stdout).filter(|error| error.code != 0) {
            return Err(error.context(format!("plugin {kind:?} (ADD)")));
        }
        if object.read::<String>("cniVersion").map_err(unreadable)?.unwrap_or_default().is_empty() {
            object.set("cniVersion", self.cni_version.as_str());
            return Ok(object.to_string());
        }
        Ok(String::from_utf8_lossy(stdout).trim().to_owned())
    }
}

impl AttachmentId {
    fn to_object(&self) -> Object {
        let mut object = Object::default();
        object.set("containerID", self.container_id.as_str());
        object.set("ifname", self.ifname.as_str());
        object
    }
}

/// A plugin's configuration with what the network and the runtime add to it.
fn plugin_stdin(
    list: &NetConfList,
    conf: &Object,
    capability_args: &Object,
) -> Result<Object, crate::object::Error> {
    let mut stdin = conf.clone();
    stdin.set("name", list.name.as_str());
    stdin.set("cniVersion", list.version().as_str());
    let capabilities = conf.read::<Object>("capabilities")?.unwrap_or_default();
    let mut runtime_config = Object::default();
    for (capability, _) in capabilities.iter().filter(|(_, enabled)| *enabled == "true") {
        if let Some(value) = capability_args.get(capability) {
            runtime_config.set_json(capability, value)?;
        }
    }
    if !runtime_config.is_empty() {
        stdin.set_object("runtimeConfig", &runtime_config);
    }
    Ok(stdin)
}

#[cfg(test)]
mod tests;
