//! Why there is no plan.

use cni::conf::InvalidConf;
use cni::error::with_sources;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Kubelet gave the pod fewer devices than its networks need.
    #[error(
        "pod {pod}: network {network} needs a device of {resource}, and kubelet shows {allocated} for this pod, which \
         its earlier networks have; request one {resource} per such network in the limits of a container"
    )]
    NoDevice {
        /// The pod's `namespace/name`.
        pod: String,
        /// The network.
        network: String,
        /// Its resource.
        resource: String,
        /// How many devices the pod has of it.
        allocated: usize,
    },
    /// Two networks would get the same device.
    #[error(
        "pod {pod}: network {network} would get device {device}, which an earlier network of the pod has; remove one of them"
    )]
    DeviceTwice {
        /// The pod's `namespace/name`.
        pod: String,
        /// The network.
        network: String,
        /// The device.
        device: String,
    },
    /// A network's configuration can't be used.
    #[error("pod {pod}: the configuration of network {network} can't be used")]
    Config {
        /// The pod's `namespace/name`.
        pod: String,
        /// The network.
        network: String,
        /// Why.
        #[source]
        source: Box<InvalidConf>,
    },
    /// Two networks would have the same interface.
    #[error(
        "pod {pod}: network {network} would have interface {ifname}, which an earlier network of the pod has; choose another name"
    )]
    InterfaceTwice {
        /// The pod's `namespace/name`.
        pod: String,
        /// The network.
        network: String,
        /// The interface.
        ifname: String,
    },
    /// The annotation asks for what none of the network's plugins can do.
    #[error(
        "pod {pod}: {key:?} is asked of network {network}, and none of its plugins declares the capability \
         {capability:?}; declare it under \"capabilities\" in the network's configuration, or don't ask for it"
    )]
    NoCapability {
        /// The pod's `namespace/name`.
        pod: String,
        /// The network.
        network: String,
        /// The annotation's key.
        key: &'static str,
        /// The capability.
        capability: &'static str,
    },
    /// Several networks want to be the way out.
    #[error(
        "pod {pod}: networks {first} and {second} both have a \"default-route\" for IPv{family}; only one network can \
         be the way out"
    )]
    DefaultRouteTwice {
        /// The pod's `namespace/name`.
        pod: String,
        /// The earlier network.
        first: String,
        /// The later network.
        second: String,
        /// 4 or 6.
        family: u8,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = with_sources(&error);
        match error {
            Error::NoDevice { .. } => cni::Error::try_again(text),
            Error::DeviceTwice { .. }
            | Error::Config { .. }
            | Error::InterfaceTwice { .. }
            | Error::NoCapability { .. }
            | Error::DefaultRouteTwice { .. } => cni::Error::invalid_config(text),
        }
    }
}
