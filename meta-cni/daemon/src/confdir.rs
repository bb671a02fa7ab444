//! CNI configuration files on the node: the cluster's own, and networks by name.

use std::path::{Path, PathBuf};

use cni::conf::InvalidConf;
use cni::error::with_sources;
use cni::{NetConfList, Object};
use ledger::file::{self, read_bounded};
use multinet::DelegateConfig;

/// The file that we write, in the directory where the runtime looks.
pub const OWN_FILE: &str = "00-patchbay.conflist";
/// Types of our own plugins: a network that has one would call itself.
pub const OWN_TYPES: [&str; 2] = ["patchbay", "patchbay-standalone"];
/// Types of other meta-plugins. They are what we replace, so they're never taken as the cluster's own network.
const META_TYPES: [&str; 2] = ["multus", "multus-shim"];
/// More than any configuration takes, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory can't be listed.
    #[error("cannot list the CNI configuration directory {}", dir.display())]
    List {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file can't be read.
    #[error("cannot read a CNI configuration")]
    Read(#[from] file::Error),
    /// A file that is named isn't there.
    #[error("the CNI configuration {} is not there", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// A file isn't a CNI configuration.
    #[error("the CNI configuration {} can't be used; correct or remove it", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidConf,
    },
    /// A network of ours refers to ourselves.
    #[error(
        "{what} has a plugin of type {kind:?}, which would call itself without end; name the network that it stands for"
    )]
    Own {
        /// The file or NAD.
        what: String,
        /// The type.
        kind: String,
    },
    /// There is no network of the cluster's own yet.
    #[error(
        "{} holds no CNI configuration of the cluster's own yet; install the cluster's network, or name it as \
         clusterNetwork", dir.display()
    )]
    NoPrimary {
        /// The directory.
        dir: PathBuf,
    },
    /// No file has a network of that name.
    #[error("no CNI configuration in {} has \"name\": {name:?}; put one there, or configuration into the NetworkAttachmentDefinition", dir.display())]
    NoNetwork {
        /// The directory.
        dir: PathBuf,
        /// The name.
        name: String,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = with_sources(&error);
        match error {
            Error::List { .. } | Error::Read(_) => cni::Error::io(text),
            // What isn't there may still come: at boot, the cluster's own network often does.
            Error::Absent { .. } | Error::NoPrimary { .. } => cni::Error::try_again(text),
            Error::Invalid { .. } | Error::Own { .. } | Error::NoNetwork { .. } => {
                cni::Error::invalid_config(text)
            }
        }
    }
}

/// A configuration and the file that it's from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file.
    pub path: PathBuf,
    /// Its content, with what belongs to it.
    pub config: DelegateConfig,
    /// The same, taken apart.
    pub list: NetConfList,
}

/// The cluster's own configuration: `pinned` in `dir`, or the first by name that isn't ours or another
/// meta-plugin's. A broken one before it is an error and isn't passed over: the runtime would stop there too.
pub fn primary(dir: &Path, pinned: Option<&str>) -> Result<Found, Error> {
    if let Some(name) = pinned {
        return load(&dir.join(name));
    }
    for path in files(dir)? {
        if path.file_name().is_some_and(|name| name == OWN_FILE) {
            continue;
        }
        let found = read(&path)?;
        if has_type(&found.list, &META_TYPES).is_none() {
            refuse_own(&found.list, || path.display().to_string())?;
            return Ok(found);
        }
    }
    Err(Error::NoPrimary { dir: dir.to_owned() })
}

/// The file at `path`, or the first by name if it's a directory.
pub fn load(path: &Path) -> Result<Found, Error> {
    if path.is_dir() {
        return primary(path, None);
    }
    let found = read(path)?;
    refuse_own(&found.list, || path.display().to_string())?;
    Ok(found)
}

/// The network of that name: lists first, then single plugins, each in the order of their files' names. A file
/// that can't be used is passed over.
pub fn by_name(dir: &Path, name: &str) -> Result<Found, Error> {
    let no_network = || Error::NoNetwork { dir: dir.to_owned(), name: name.to_owned() };
    if !dir.exists() {
        return Err(no_network());
    }
    let mut files = files(dir)?;
    files.sort_by_key(|path| path.extension().is_none_or(|extension| extension != "conflist"));
    for path in files {
        match read(&path) {
            Ok(found) if found.list.name == name => {
                refuse_own(&found.list, || path.display().to_string())?;
                return Ok(found);
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = with_sources(&error), "a CNI configuration is passed over"),
        }
    }
    Err(no_network())
}

/// An error if one of the plugins is ours. `what` names the configuration.
pub fn refuse_own(list: &NetConfList, what: impl FnOnce() -> String) -> Result<(), Error> {
    match has_type(list, &OWN_TYPES) {
        Some(kind) => Err(Error::Own { what: what(), kind }),
        None => Ok(()),
    }
}

/// Files before ours in the runtime's directory: the runtime takes the first, so ours wouldn't be used.
pub fn before_ours(dir: &Path) -> Result<Vec<String>, Error> {
    let names = files(dir)?.into_iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    Ok(names.filter(|name| name.as_str() < OWN_FILE).collect())
}

/// CNI configuration files by name, as the runtime looks for them.
fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::List { dir: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("conf" | "conflist" | "json")) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Found, Error> {
    let bytes = read_bounded(path, MAX_SIZE)?.ok_or_else(|| Error::Absent { path: path.to_owned() })?;
    let invalid = |source: InvalidConf| Error::Invalid { path: path.to_owned(), source };
    let text = String::from_utf8_lossy(&bytes);
    let list = NetConfList::parse(text.as_bytes()).map_err(invalid)?;
    if !cni::args::is_identifier(&list.name) {
        return Err(invalid(InvalidConf::Name(list.name)));
    }
    let is_list = path.extension().is_some_and(|extension| extension == "conflist");
    let appended = match path.parent() {
        Some(dir) if is_list && !list.load_only_inlined_plugins => beside(&dir.join(&list.name))?,
        _ => Vec::new(),
    };
    if appended.is_empty() {
        let config = DelegateConfig::parse(&text, "").map_err(invalid)?;
        return Ok(Found { path: path.to_owned(), config, list });
    }
    let mut object = Object::parse(text.as_bytes()).map_err(|error| invalid(error.into()))?;
    object.set_list("plugins", list.plugins.iter().chain(&appended));
    let config = DelegateConfig::parse(&object.to_string(), "").map_err(invalid)?;
    let list = config.list().map_err(invalid)?;
    Ok(Found { path: path.to_owned(), config, list })
}

/// Plugins that the CNI library appends to a list: `*.conf` in a directory that is named as the list is.
fn beside(dir: &Path) -> Result<Vec<Object>, Error> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let mut plugins = Vec::new();
    for path in files(dir)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "conf")) {
        let Some(bytes) = read_bounded(&path, MAX_SIZE)? else { continue };
        let plugin = Object::parse(&bytes)
            .map_err(|error| Error::Invalid { path: path.clone(), source: error.into() })?;
        plugins.push(plugin);
    }
    Ok(plugins)
}

fn has_type(list: &NetConfList, types: &[&str]) -> Option<String> {
    list.plugins
        .iter()
        .filter_map(|plugin| plugin.read::<String>("type").ok().flatten())
        .find(|kind| types.contains(&kind.as_str()))
}

#[cfg(test)]
mod tests;
