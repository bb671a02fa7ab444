//! The annotation by which a pod chooses its networks.
//!
//! Two forms: `[namespace/]name[@interface], …`, or a JSON list of objects. It is the JSON form when it
//! contains `[`, `{` or `"`. Errors name the element; the caller adds the pod.

mod address;
mod read;

use std::net::IpAddr;

use cni::Object;
use cni::args::is_interface_name;

pub use address::is_hardware_address;

/// The most networks that a pod may choose.
pub const MAX_NETWORKS: usize = 256;

/// One network chosen by a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The NAD's namespace; the pod's when the annotation gives none.
    pub namespace: String,
    /// The NAD's name.
    pub name: String,
    /// The interface's name in the pod; `None` leaves it to the caller (`net1`, `net2`, …).
    pub interface: Option<String>,
    /// Addresses wanted, each with or without a prefix length, as they were written.
    pub ips: Vec<String>,
    /// The hardware address wanted, as it was written.
    pub mac: Option<String>,
    /// The InfiniBand GUID wanted, as it was written.
    pub infiniband_guid: Option<String>,
    /// Port mappings, each as it was written.
    pub port_mappings: Vec<Object>,
    /// Bandwidth limits, as they were written.
    pub bandwidth: Option<Object>,
    /// A device for networks whose NAD names no resource.
    pub device_id: Option<String>,
    /// Goes over `args.cni` of every plugin's configuration.
    pub cni_args: Object,
    /// Gateways of the pod's default routes through this network. An empty list differs from `None`: the
    /// network's own default routes are wanted, whatever they are.
    pub default_route: Option<Vec<IpAddr>>,
    /// The name of an `IPAMClaim`.
    pub ipam_claim_reference: Option<String>,
    /// Keys that the specification doesn't know.
    pub other: Object,
}

/// Why an annotation can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Looks like JSON and isn't a list of objects.
    #[error(
        "annotation {annotation} is not a JSON list of objects; write [{{\"name\": \"…\"}}] or the form namespace/name@interface"
    )]
    Json {
        /// The annotation's key.
        annotation: &'static str,
        /// Where it goes wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Too many elements.
    #[error(
        "annotation {annotation} chooses {count} networks, and at most {MAX_NETWORKS} are possible; remove some"
    )]
    TooMany {
        /// The annotation's key.
        annotation: &'static str,
        /// How many.
        count: usize,
    },
    /// The default network's annotation must choose exactly one.
    #[error("annotation {annotation} chooses {count} networks; choose exactly one")]
    NotOne {
        /// The annotation's key.
        annotation: &'static str,
        /// How many.
        count: usize,
    },
    /// Something is wrong with one element.
    #[error("annotation {annotation}, network {network:?} (number {number})")]
    Element {
        /// The annotation's key.
        annotation: &'static str,
        /// The element's place, from 1.
        number: usize,
        /// The element's name as it was written; may be empty.
        network: String,
        /// What is wrong.
        #[source]
        source: ElementError,
    },
}

/// What is wrong with an element of an annotation.
#[derive(Debug, thiserror::Error)]
pub enum ElementError {
    /// A value of the wrong kind.
    #[error("it can't be read")]
    Read(#[from] cni::object::Error),
    /// No name.
    #[error("it has no name; give the name of a NetworkAttachmentDefinition")]
    NoName,
    /// More than one `/` or `@`.
    #[error("it has more than one {0:?}; write namespace/name@interface")]
    Repeated(char),
    /// Not a name that Kubernetes allows.
    #[error(
        "{what} {text:?} is not valid; it has 1 to 253 lower-case letters, digits, '-' and '.', and begins and ends with a letter or digit"
    )]
    Name {
        /// `namespace` or `name`.
        what: &'static str,
        /// What was written.
        text: String,
    },
    /// Not an interface's name.
    #[error(
        "interface {0:?} is not valid; it has 1 to 15 bytes without '/', ':' and white space, and is not '.' or '..'"
    )]
    Interface(String),
    /// An interface's name that an earlier element has.
    #[error("interface {0:?} is chosen by an earlier network too; choose another")]
    RepeatedInterface(String),
    /// An address can't be read.
    #[error("key {key:?} holds {text:?}, which is not {expected}")]
    Address {
        /// The key.
        key: &'static str,
        /// What was written.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// `ips` beside `ipam-claim-reference`.
    #[error("it has both \"ips\" and \"ipam-claim-reference\"; remove one of them")]
    IpsAndClaim,
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        cni::Error::invalid_config(cni::error::with_sources(&error))
    }
}

/// Reads [`NETWORKS_ANNOTATION`](crate::NETWORKS_ANNOTATION). An annotation of nothing but white space chooses nothing.
pub fn parse_networks(annotation: &str, pod_namespace: &str) -> Result<Vec<Selection>, Error> {
    read::selections(crate::NETWORKS_ANNOTATION, annotation, pod_namespace)
}

/// Reads [`DEFAULT_NETWORK_ANNOTATION`](crate::DEFAULT_NETWORK_ANNOTATION), which chooses one network, by default in `namespace`. An annotation of
/// nothing but white space chooses none.
pub fn parse_default_network(annotation: &str, namespace: &str) -> Result<Option<Selection>, Error> {
    let annotation_key = crate::DEFAULT_NETWORK_ANNOTATION;
    let mut selections = read::selections(annotation_key, annotation, namespace)?;
    match selections.len() {
        0 | 1 => Ok(selections.pop()),
        count => Err(Error::NotOne { annotation: annotation_key, count }),
    }
}

impl Selection {
    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// What the element asks of plugins that declare the capability: keys of `runtimeConfig`.
    /// `device_id` is the device allocated for it, before which its own gives way, and `device_info` the
    /// path of the file in which the plugin may describe it.
    pub fn capability_args(&self, device_id: Option<&str>, device_info: Option<&str>) -> Object {
        let mut args = Object::default();
        if !self.port_mappings.is_empty() {
            args.set_list("portMappings", &self.port_mappings);
        }
        if let Some(bandwidth) = &self.bandwidth {
            args.set_object("bandwidth", bandwidth);
        }
        if !self.ips.is_empty() {
            args.set("ips", self.ips.as_slice());
        }
        let texts = [
            ("mac", self.mac.as_deref()),
            ("infinibandGUID", self.infiniband_guid.as_deref()),
            ("deviceID", device_id.or(self.device_id.as_deref())),
            ("CNIDeviceInfoFile", device_info),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                args.set(key, text);
            }
        }
        args
    }

    /// The same wishes as elements of `CNI_ARGS`, for plugins that know no `runtimeConfig`.
    pub fn legacy_args(&self) -> Vec<(String, String)> {
        let mut args = Vec::new();
        if let Some(mac) = &self.mac {
            args.push(("MAC".to_owned(), mac.clone()));
        }
        if !self.ips.is_empty() {
            args.push(("IP".to_owned(), self.ips.join(",")));
        }
        args
    }
}

/// A DNS-1123 subdomain: what Kubernetes takes as a NAD's name.
fn is_kubernetes_name(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= 253
        && text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || matches!(c, '-' | '.'))
}

fn valid_interface(text: String) -> Result<String, ElementError> {
    if is_interface_name(&text) { Ok(text) } else { Err(ElementError::Interface(text)) }
}

#[cfg(test)]
mod tests;
