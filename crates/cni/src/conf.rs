//! A network's configuration: one plugin's, or a list of plugins.

use crate::args::is_identifier;
use crate::error::{Error, with_sources};
use crate::object::{self, Object};
use crate::version::{UnknownVersion, Version};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConf {
    /// No JSON object, or a value of the wrong kind.
    #[error("the CNI configuration can't be read; correct its JSON")]
    Read(#[from] object::Error),
    /// `cniVersion` isn't known.
    #[error("the CNI configuration has a cniVersion that can't be used")]
    Version(#[from] UnknownVersion),
    /// Neither `type` nor `plugins`.
    #[error("the CNI configuration has neither \"type\" nor \"plugins\"; give it the one or the other")]
    NoPlugin,
    /// `plugins` has no elements.
    #[error("the CNI configuration's \"plugins\" is empty; name at least one plugin")]
    EmptyList,
    /// An element of `plugins` has no `type`.
    #[error("plugin {index} of the CNI configuration has no \"type\"; name its program (counted from 0)")]
    NoType {
        /// Its place in `plugins`, from 0.
        index: usize,
    },
    /// `name` is missing or isn't valid.
    #[error(
        "the CNI configuration's \"name\" {0:?} is not valid; it starts with a letter or digit and holds only letters, digits, '_', '.' and '-'"
    )]
    Name(String),
}

impl From<InvalidConf> for Error {
    fn from(error: InvalidConf) -> Self {
        let text = with_sources(&error);
        match error {
            InvalidConf::Read(_) => Error::decode(text),
            InvalidConf::Version(_) => Error::incompatible_version(text),
            InvalidConf::NoPlugin
            | InvalidConf::EmptyList
            | InvalidConf::NoType { .. }
            | InvalidConf::Name(_) => Error::invalid_config(text),
        }
    }
}

impl From<object::Error> for Error {
    fn from(error: object::Error) -> Self {
        Error::decode(with_sources(&error))
    }
}

/// What a plugin reads on its standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConf {
    object: Object,
    cni_version: Version,
    name: String,
    kind: String,
    ipam_type: Option<String>,
}

impl NetConf {
    /// Reads a configuration. Name and type may be missing; a version that isn't known is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidConf> {
        let object = Object::parse(bytes)?;
        let ipam = object.read::<Object>("ipam")?.unwrap_or_default();
        Ok(NetConf {
            cni_version: object.read::<String>("cniVersion")?.unwrap_or_default().parse()?,
            name: object.read("name")?.unwrap_or_default(),
            kind: object.read("type")?.unwrap_or_default(),
            ipam_type: ipam.read::<String>("type")?.filter(|kind| !kind.is_empty()),
            object,
        })
    }

    /// The whole of it, as it was read.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The version that the result must have; 0.1.0 when none is given.
    pub fn cni_version(&self) -> Version {
        self.cni_version
    }

    /// The network's name; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `type`: the plugin's program; may be empty.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// `ipam.type`; `None` when it is missing or empty.
    pub fn ipam_type(&self) -> Option<&str> {
        self.ipam_type.as_deref()
    }

    /// `prevResult`, as text.
    pub fn prev_result(&self) -> Option<&str> {
        self.object.get("prevResult").filter(|text| *text != "null")
    }

    /// An error unless the name is one that the specification allows.
    pub fn require_name(&self) -> Result<&str, InvalidConf> {
        if is_identifier(&self.name) { Ok(&self.name) } else { Err(InvalidConf::Name(self.name.clone())) }
    }
}

/// A network: its name, its version, and its plugins in order. A configuration of one plugin is a list
/// of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetConfList {
    /// `None` when the configuration gives none.
    pub cni_version: Option<Version>,
    /// May be empty.
    pub name: String,
    /// `disableCheck`: CHECK is not to be called.
    pub disable_check: bool,
    /// `disableGC`: GC is not to be called.
    pub disable_gc: bool,
    /// `loadOnlyInlinedPlugins`: no plugins from a directory beside the file.
    pub load_only_inlined_plugins: bool,
    /// Each plugin's configuration as it was read; at least one, each with a `type`.
    pub plugins: Vec<Object>,
}

impl NetConfList {
    /// Reads a single configuration (it has a `type`) or a list (it has `plugins`).
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidConf> {
        let object = Object::parse(bytes)?;
        let name = object.read::<String>("name")?.unwrap_or_default();
        let cni_version = chosen_version(&object)?;
        if kind(&object)?.is_some() {
            return Ok(NetConfList {
                cni_version,
                name,
                disable_check: false,
                disable_gc: false,
                load_only_inlined_plugins: false,
                plugins: vec![object],
            });
        }
        let plugins = object.read::<Vec<Object>>("plugins")?.ok_or(InvalidConf::NoPlugin)?;
        if plugins.is_empty() {
            return Err(InvalidConf::EmptyList);
        }
        for (index, plugin) in plugins.iter().enumerate() {
            if kind(plugin)?.is_none() {
                return Err(InvalidConf::NoType { index });
            }
        }
        Ok(NetConfList {
            cni_version,
            name,
            disable_check: flag(&object, "disableCheck")?,
            disable_gc: flag(&object, "disableGC")?,
            load_only_inlined_plugins: flag(&object, "loadOnlyInlinedPlugins")?,
            plugins,
        })
    }

    /// The version in which its plugins are called; 0.1.0 when none is given.
    pub fn version(&self) -> Version {
        self.cni_version.unwrap_or(Version::V0_1_0)
    }
}

/// `type`, unless it is missing or empty.
fn kind(object: &Object) -> Result<Option<String>, object::Error> {
    Ok(object.read::<String>("type")?.filter(|kind| !kind.is_empty()))
}

/// `cniVersion`, or the newest of `cniVersions` that is known.
fn chosen_version(object: &Object) -> Result<Option<Version>, InvalidConf> {
    let offered = object.read::<Vec<String>>("cniVersions")?.unwrap_or_default();
    let newest = offered.iter().filter_map(|version| version.parse::<Version>().ok()).max();
    let single = match object.read::<String>("cniVersion")?.filter(|version| !version.is_empty()) {
        Some(text) => match (text.parse::<Version>(), newest) {
            (Ok(version), _) => Some(version),
            (Err(_), Some(_)) => None,
            (Err(unknown), None) => return Err(unknown.into()),
        },
        None => None,
    };
    Ok(single.max(newest))
}

/// A boolean; the words `"true"` and `"false"` count, as they do in the CNI library.
fn flag(object: &Object, key: &str) -> Result<bool, object::Error> {
    match object.get(key) {
        Some("\"true\"") => Ok(true),
        Some("\"false\"") => Ok(false),
        _ => Ok(object.read(key)?.unwrap_or(false)),
    }
}

#[cfg(test)]
mod tests;
