//! Which networks a pod has chosen.

use cni::error::with_sources;
use multinet::{DEFAULT_NETWORK_ANNOTATION, NETWORKS_ANNOTATION, Selection};
use multinet::{parse_default_network, parse_networks, selection};

use crate::cluster::Pod;

/// A pod's choice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    /// In place of the node's default network.
    pub default: Option<Selection>,
    /// Besides it, in this order.
    pub networks: Vec<Selection>,
}

/// Which NADs a pod may choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Only those of its own namespace and of the global ones.
    pub isolation: bool,
    /// Namespaces whose NADs everybody may choose.
    pub global: Vec<String>,
    /// The namespace of NADs that the default network's annotation names without one.
    pub default_namespace: String,
}

/// Why a choice isn't valid.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An annotation can't be read.
    #[error("pod {pod} has a wrong annotation")]
    Annotation {
        /// The pod's `namespace/name`.
        pod: String,
        /// What is wrong with it.
        #[source]
        source: Box<selection::Error>,
    },
    /// The NAD is in a namespace that the pod may not use.
    #[error(
        "pod {pod} may not use NetworkAttachmentDefinition {network}: namespaceIsolation keeps it to \
         its own namespace and to {}", global.join(", ")
    )]
    Isolated {
        /// The pod's `namespace/name`.
        pod: String,
        /// The NAD.
        network: String,
        /// The namespaces that are open to all.
        global: Vec<String>,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        cni::Error::invalid_config(with_sources(&error))
    }
}

/// Reads a pod's annotations.
pub fn choice(pod: &Pod, rules: &Rules) -> Result<Choice, Error> {
    let name = || format!("{}/{}", pod.namespace, pod.name);
    let wrong = |source| Error::Annotation { pod: name(), source: Box::new(source) };
    let default = match pod.annotations.get(DEFAULT_NETWORK_ANNOTATION) {
        Some(text) => parse_default_network(text, &rules.default_namespace).map_err(wrong)?,
        None => None,
    };
    let networks = match pod.annotations.get(NETWORKS_ANNOTATION) {
        Some(text) => parse_networks(text, &pod.namespace).map_err(wrong)?,
        None => Vec::new(),
    };
    // What the annotation names without a namespace for the default network is the node's to offer.
    let offered = |selection: &&Selection| selection.namespace != rules.default_namespace;
    let foreign = default.as_ref().filter(offered).into_iter().chain(&networks).find(|selection| {
        rules.isolation
            && selection.namespace != pod.namespace
            && !rules.global.contains(&selection.namespace)
    });
    match foreign {
        Some(selection) => {
            Err(Error::Isolated { pod: name(), network: selection.full_name(), global: rules.global.clone() })
        }
        None => Ok(Choice { default, networks }),
    }
}

#[cfg(test)]
mod tests;
