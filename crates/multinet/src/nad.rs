//! A `NetworkAttachmentDefinition` and the CNI configuration in it.

use cni::conf::InvalidConf;
use cni::{NetConfList, Object};

/// What of a `NetworkAttachmentDefinition` matters on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nad {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `spec.config`; may be empty, then a file on the node's disk has the configuration.
    pub config: String,
    /// [`RESOURCE_NAME_ANNOTATION`](crate::RESOURCE_NAME_ANNOTATION), if there is one.
    pub resource_name: Option<String>,
}

/// The CNI configuration of one attachment: JSON text, one plugin's or a list's.
///
/// Editing changes the keys that are set and nothing else: every other value keeps its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegateConfig {
    text: String,
}

/// Why a `NetworkAttachmentDefinition` can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `spec.config` is empty.
    #[error(
        "NetworkAttachmentDefinition {network} has an empty spec.config; put a CNI configuration there, or a file with \"name\" {name:?} into the node's configuration directory"
    )]
    Empty {
        /// `namespace/name`.
        network: String,
        /// The NAD's name.
        name: String,
    },
    /// `spec.config` isn't a CNI configuration.
    #[error("NetworkAttachmentDefinition {network} has a spec.config that can't be used")]
    Config {
        /// `namespace/name`.
        network: String,
        /// Why.
        #[source]
        source: InvalidConf,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        cni::Error::invalid_config(cni::error::with_sources(&error))
    }
}

impl Nad {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// The configuration: the text of `spec.config` as it is, or with the NAD's name where it has none.
    pub fn delegate_config(&self) -> Result<DelegateConfig, Error> {
        if self.config.trim().is_empty() {
            return Err(Error::Empty { network: self.full_name(), name: self.name.clone() });
        }
        DelegateConfig::parse(&self.config, &self.name)
            .map_err(|source| Error::Config { network: self.full_name(), source })
    }
}

impl DelegateConfig {
    /// Accepts a configuration that has plugins, and gives it a name where it has none.
    pub fn parse(text: &str, default_name: &str) -> Result<Self, InvalidConf> {
        let list = NetConfList::parse(text.as_bytes())?;
        if !list.name.is_empty() {
            return Ok(DelegateConfig { text: text.to_owned() });
        }
        let mut object = Object::parse(text.as_bytes())?;
        object.set("name", default_name);
        Ok(DelegateConfig { text: object.to_string() })
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same, taken apart.
    pub fn list(&self) -> Result<NetConfList, InvalidConf> {
        NetConfList::parse(self.text.as_bytes())
    }

    /// With the device's PCI address as `deviceID` and `pciBusID`, in every plugin of a list.
    pub fn with_device(&self, id: &str) -> Result<Self, InvalidConf> {
        self.edited(|plugin| {
            plugin.set("deviceID", id);
            plugin.set("pciBusID", id);
            Ok(())
        })
    }

    /// With the keys of `cni-args` over those of `args.cni`, in every plugin of a list.
    pub fn with_cni_args(&self, cni_args: &Object) -> Result<Self, InvalidConf> {
        if cni_args.is_empty() {
            return Ok(self.clone());
        }
        self.edited(|plugin| {
            let mut args = plugin.read::<Object>("args")?.unwrap_or_default();
            let mut inner = args.read::<Object>("cni")?.unwrap_or_default();
            inner.merge(cni_args);
            args.set_object("cni", &inner);
            plugin.set_object("args", &args);
            Ok(())
        })
    }

    /// Edits the one plugin, or each plugin of a list.
    fn edited(
        &self,
        edit: impl Fn(&mut Object) -> Result<(), cni::object::Error>,
    ) -> Result<Self, InvalidConf> {
        let mut object = Object::parse(self.text.as_bytes())?;
        let single = object.read::<String>("type")?.is_some_and(|kind| !kind.is_empty());
        if single {
            edit(&mut object)?;
        } else {
            let mut plugins = object.take::<Vec<Object>>("plugins")?.unwrap_or_default();
            for plugin in &mut plugins {
                edit(plugin)?;
            }
            object.set_list("plugins", &plugins);
        }
        Ok(DelegateConfig { text: object.to_string() })
    }
}

#[cfg(test)]
mod tests;
