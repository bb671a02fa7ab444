//! The names that come from a pool's prefix and name, byte for byte as clusters use them.

use std::fmt;

/// A resource as pods ask for it: `prefix/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    prefix: String,
    name: String,
}

/// Why a resource can't have such a name: kubelet would refuse it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResource {
    /// The part before the slash.
    #[error(
        "{0:?} is not a prefix: use a domain in lower case, such as intel.com, that is not kubernetes.io's"
    )]
    Prefix(String),
    /// The part after the slash.
    #[error(
        "{0:?} is not a name: use up to 63 letters, digits, '_' and '-', a letter or digit first and last"
    )]
    Name(String),
}

impl Resource {
    /// A resource of these names, if kubelet takes them.
    pub fn new(prefix: &str, name: &str) -> Result<Self, InvalidResource> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|byte| lower(byte) || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let reserved = prefix == "kubernetes.io" || prefix.ends_with(".kubernetes.io");
        if reserved || prefix.len() > 253 || prefix.starts_with("requests.") || !prefix.split('.').all(label)
        {
            return Err(InvalidResource::Prefix(prefix.to_owned()));
        }
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let inner = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
        if !inner || !edge(name.bytes().next()) || !edge(name.bytes().last()) || name.len() > 63 {
            return Err(InvalidResource::Name(name.to_owned()));
        }
        Ok(Self { prefix: prefix.to_owned(), name: name.to_owned() })
    }

    /// The file name of the socket that serves it.
    pub fn socket_name(&self) -> String {
        format!("{}_{}.sock", self.prefix, self.name)
    }

    /// The environment variable that holds a container's devices. Only dots are replaced.
    pub fn variable(&self) -> String {
        format!("PCIDEVICE_{}_{}", self.prefix, self.name).to_uppercase().replace('.', "_")
    }

    /// The environment variable that describes a container's devices.
    pub fn info_variable(&self) -> String {
        format!("{}_INFO", self.variable())
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.prefix, self.name)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("intel.com", "sriov_dpdk", "PCIDEVICE_INTEL_COM_SRIOV_DPDK", "intel.com_sriov_dpdk.sock")]
    #[case("openshift.io", "net-A", "PCIDEVICE_OPENSHIFT_IO_NET-A", "openshift.io_net-A.sock")]
    #[case("a-b.example", "x", "PCIDEVICE_A-B_EXAMPLE_X", "a-b.example_x.sock")]
    fn names_are_the_ones_in_use(
        #[case] prefix: &str,
        #[case] name: &str,
        #[case] variable: &str,
        #[case] socket: &str,
    ) {
        let resource = Resource::new(prefix, name).unwrap();
        assert_eq!(resource.to_string(), format!("{prefix}/{name}"));
        assert_eq!(resource.variable(), variable);
        assert_eq!(resource.info_variable(), format!("{variable}_INFO"));
        assert_eq!(resource.socket_name(), socket);
    }

    #[rstest]
    #[case::empty_name("intel.com", "")]
    #[case::slash("intel.com", "a/b")]
    #[case::dot("intel.com", "a.b")]
    #[case::edge("intel.com", "_a")]
    #[case::long("intel.com", &"a".repeat(64))]
    #[case::empty_prefix("", "a")]
    #[case::upper_case("Intel.com", "a")]
    #[case::empty_label("intel..com", "a")]
    #[case::reserved("node.kubernetes.io", "a")]
    #[case::path("../x", "a")]
    fn what_kubelet_would_refuse_is_refused(#[case] prefix: &str, #[case] name: &str) {
        assert!(Resource::new(prefix, name).is_err());
    }
}
