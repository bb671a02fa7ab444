//! What patchbayd places on the node: the CNI plugins, and the configuration by which the runtime uses them.
//!
//! Everything is put in place by rename, so nobody reads or executes a part of it, and a plugin that is
//! running isn't in the way. The configuration stays when the daemon goes: without it the runtime would start
//! pods on the default network alone.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cni::error::with_sources;
use cni::{NetConfList, Object, Version};
use ledger::file::{self, Durability, read_bounded, write_whole};

use crate::confdir::{self, Found, OWN_FILE};
use crate::config::Config;

/// The plugin that the runtime calls.
const PLUGIN: &str = "patchbay";
/// The plugin that another program may have installed under the same name.
const SRIOV: &str = "sriov";
/// In our `sriov` and in no other: where it keeps its record of VFs.
const MARK: &[u8] = b"/run/patchbay/vf";

/// Why something isn't placed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A plugin can't be placed.
    #[error("cannot install {} as {}", from.display(), to.display())]
    Binary {
        /// Where it's from.
        from: PathBuf,
        /// Where it goes.
        to: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is a `sriov` that isn't ours.
    #[error(
        "{} is another program's and isn't replaced: set overwriteSriov if it should be; until then only patchbayd \
         itself runs ours", path.display()
    )]
    Foreign {
        /// The program.
        path: PathBuf,
    },
    /// The cluster's own configuration can't be used.
    #[error("there is no default network to put patchbay in front of")]
    Default(#[source] confdir::Error),
    /// The version that was asked for can't be used.
    #[error("cniVersion {version:?} of patchbayd's configuration can't be used")]
    Version {
        /// What was asked for.
        version: String,
        /// Why.
        #[source]
        source: cni::version::UnknownVersion,
    },
    /// The configuration can't be read or written.
    #[error("cannot place the CNI configuration")]
    File(#[from] file::Error),
}

/// Places the plugins. A foreign `sriov` is an error that comes after everything else is done.
pub fn binaries(config: &Config) -> Result<(), Error> {
    let Some(from) = &config.install_from else { return Ok(()) };
    place(&from.join(PLUGIN), &config.bin_dir.join(PLUGIN))?;
    let (from, to) = (from.join(SRIOV), config.bin_dir.join(SRIOV));
    let is_foreign = to.exists() && !config.overwrite_sriov && !is_ours(&to).unwrap_or(false);
    if is_foreign { Err(Error::Foreign { path: to }) } else { place(&from, &to) }
}

/// Whether a program has our mark in it. It's read, and not executed.
fn is_ours(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    let mut window = Vec::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(false);
        }
        window.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if window.windows(MARK.len()).any(|part| part == MARK) {
            return Ok(true);
        }
        let keep = window.len().saturating_sub(MARK.len());
        window.drain(..keep);
    }
}

fn place(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Binary { from: from.to_owned(), to: to.to_owned(), source };
    let content = fs::read(from).map_err(failed)?;
    if fs::read(to).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let dir = to.parent().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    fs::create_dir_all(dir).map_err(failed)?;
    let mut temporary = tempfile::Builder::new().prefix(".patchbay-tmp-").tempfile_in(dir).map_err(failed)?;
    io::Write::write_all(&mut temporary, &content).map_err(failed)?;
    temporary.as_file().set_permissions(Permissions::from_mode(0o755)).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(to).map_err(|error| failed(error.error))?;
    tracing::info!(plugin = %to.display(), "installed");
    Ok(())
}

/// The configuration that puts `patchbay` in front of the cluster's own network.
pub fn configuration(primary: &NetConfList, path: &Path, config: &Config) -> Result<Vec<u8>, Error> {
    let version = match &config.cni_version {
        Some(version) => {
            version.parse().map_err(|source| Error::Version { version: version.clone(), source })?
        }
        // A list needs 0.3.0, and a DEL is better off with the results that came with 0.4.0.
        None => primary.version().max(Version::V0_4_0),
    };
    let mut capabilities = Object::default();
    for plugin in &primary.plugins {
        let declared = plugin.read::<Object>("capabilities").ok().flatten().unwrap_or_default();
        for (capability, _) in declared.iter().filter(|(_, enabled)| *enabled == "true") {
            capabilities.set(capability, true);
        }
    }
    for capability in config.capabilities.iter().filter(|(_, enabled)| **enabled).map(|(name, _)| name) {
        capabilities.set(capability, true);
    }
    let mut plugin = Object::default();
    plugin.set("type", PLUGIN);
    if !capabilities.is_empty() {
        plugin.set_object("capabilities", &capabilities);
    }
    plugin.set("socket", config.socket.to_string_lossy());
    plugin.set("intents", config.state_dir.join("intents").to_string_lossy());
    // For people: patchbayd looks for the default network itself, at each ADD.
    plugin.set("clusterNetwork", path.to_string_lossy());
    let mut list = Object::default();
    list.set("cniVersion", version.as_str());
    list.set("name", if config.override_network_name { primary.name.as_str() } else { PLUGIN });
    list.set_list("plugins", [&plugin]);
    Ok(format!("{list}\n").into_bytes())
}

/// What [`conf_file`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Whether the file had to be written.
    pub written: bool,
    /// Files that the runtime prefers to ours.
    pub before: Vec<String>,
}

/// Sees to it that the runtime's directory has our configuration, as the cluster's own wants it now.
pub fn conf_file(config: &Config) -> Result<Placed, Error> {
    let found = default_file(config).map_err(Error::Default)?;
    let wanted = configuration(&found.list, &found.path, config)?;
    let path = own_file(config);
    let present = read_bounded(&path, 1 << 20)?;
    let written = present.as_ref() != Some(&wanted);
    if written {
        write_whole(&path, &wanted, Durability::Disk)?;
    }
    let before = confdir::before_ours(&config.cni_config_dir).unwrap_or_else(|error| {
        tracing::warn!(error = with_sources(&error), "files before ours aren't known");
        Vec::new()
    });
    Ok(Placed { written, before })
}

/// Where our configuration is.
pub fn own_file(config: &Config) -> PathBuf {
    config.cni_config_dir.join(OWN_FILE)
}

/// The file of the default network. One that a NAD defines has none, so the cluster's own stands for it here.
fn default_file(config: &Config) -> Result<Found, confdir::Error> {
    match &config.cluster_network {
        Some(reference) if reference.contains('/') => confdir::load(Path::new(reference)),
        Some(reference) => confdir::by_name(&config.conf_dir, reference)
            .or_else(|_| confdir::primary(&config.autoconfig_dir, config.master_cni.as_deref())),
        None => confdir::primary(&config.autoconfig_dir, config.master_cni.as_deref()),
    }
}

#[cfg(test)]
mod tests;
