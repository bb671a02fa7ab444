//! What can be wrong with a network's configuration.

use cni::object;
use netlink::{Guid, InvalidGuid, InvalidMac, MacAddr};
use pci::{InvalidAddress, InvalidPkey, InvalidVlans, PciAddress};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// A value has the wrong JSON type.
    #[error("the configuration of the network can't be used")]
    Read(#[from] object::Error),
    /// No VF is named.
    #[error(
        "\"deviceID\" is missing: it's the PCI address of the VF, which comes from the pod's allocation of the network's resource (k8s.v1.cni.cncf.io/resourceName)"
    )]
    NoDevice,
    /// The VF's name isn't a PCI address.
    #[error("\"{key}\" can't be used")]
    Device {
        /// The key.
        key: &'static str,
        /// Why.
        source: InvalidAddress,
    },
    /// Two keys name different VFs.
    #[error("\"{first}\" is {first_value} and \"{second}\" is {second_value}: they have to name one VF")]
    Devices {
        /// A key.
        first: &'static str,
        /// Its value.
        first_value: PciAddress,
        /// Another key.
        second: &'static str,
        /// Its value.
        second_value: PciAddress,
    },
    /// The MAC isn't one.
    #[error("\"mac\" (from {origin}) can't be used")]
    Mac {
        /// Where it was given.
        origin: &'static str,
        /// Why.
        source: InvalidMac,
    },
    /// The MAC is a group's, or zero.
    #[error("\"mac\" {mac} (from {origin}) can't be an interface's address: it's a group address or zero")]
    NotUnicast {
        /// Where it was given.
        origin: &'static str,
        /// The MAC.
        mac: MacAddr,
    },
    /// A number is out of its range.
    #[error("\"{key}\" is {value}: it has to be {least} to {most}")]
    Range {
        /// The key.
        key: &'static str,
        /// Its value.
        value: i64,
        /// The lowest value.
        least: i64,
        /// The highest value.
        most: i64,
    },
    /// A text is none of those allowed.
    #[error("\"{key}\" is {value:?}: it has to be {allowed}")]
    Choice {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: &'static str,
    },
    /// A key says more about a VLAN, and there's no VLAN.
    #[error("\"{key}\" needs \"vlan\"{}", if *nonzero { " to be other than 0" } else { "" })]
    NeedsVlan {
        /// The key.
        key: &'static str,
        /// Whether there is a `vlan`, and it's 0.
        nonzero: bool,
    },
    /// The GUID isn't one.
    #[error("\"{origin}\" can't be used")]
    Guid {
        /// Where it was given.
        origin: &'static str,
        /// Why.
        source: InvalidGuid,
    },
    /// No port can have the GUID.
    #[error("\"{origin}\" is {guid}, which can't be a port's: it's all zero or all ones")]
    UnusableGuid {
        /// Where it was given.
        origin: &'static str,
        /// The GUID.
        guid: Guid,
    },
    /// The partition's key isn't one.
    #[error("\"pkey\" can't be used")]
    Pkey(#[from] InvalidPkey),
    /// ib-kubernetes hasn't given the pod a GUID yet.
    #[error(
        "\"ibKubernetesEnabled\" is set, and ib-kubernetes hasn't configured this network for the pod yet (its annotation has to say \"mellanox.infiniband.app\": \"configured\", and a guid): it's tried again; see whether ib-kubernetes runs"
    )]
    NotYetConfigured,
    /// What's said of VLANs isn't a set of them.
    #[error("\"vlanTrunk\" can't be used")]
    Trunk(#[from] InvalidVlans),
    /// A range without one of its ends, or neither a range nor a VLAN.
    #[error(
        "\"vlanTrunk\" has an element without VLANs: it has to have \"id\", or both \"minID\" and \"maxID\""
    )]
    NoVlans,
    /// A VF in a VLAN has no tags of its own.
    #[error(
        "\"vlan\" is {vlan}, so \"vlanTrunk\" can't be: a VF in a VLAN tags no frames itself; leave one of the two out"
    )]
    TrunkInVlan {
        /// The VLAN.
        vlan: u16,
    },
    /// The guaranteed rate is higher than the highest.
    #[error("\"min_tx_rate\" {min} is higher than \"max_tx_rate\" {max}")]
    Rates {
        /// The guaranteed rate in Mbit/s.
        min: u32,
        /// The highest rate in Mbit/s.
        max: u32,
    },
    /// `CNI_ARGS` has a key that nobody knows.
    #[error("CNI_ARGS has the key {0:?}, which isn't known here: leave it out or add IgnoreUnknown=1")]
    UnknownArg(String),
}

impl From<InvalidConfig> for cni::Error {
    fn from(error: InvalidConfig) -> Self {
        let text = cni::error::with_sources(&error);
        match error {
            InvalidConfig::Read(_) => cni::Error::decode(text),
            InvalidConfig::NotYetConfigured => cni::Error::new(cni::code::TRY_AGAIN, text),
            InvalidConfig::UnknownArg(_) => cni::Error::invalid_environment(text),
            InvalidConfig::NoDevice
            | InvalidConfig::Device { .. }
            | InvalidConfig::Devices { .. }
            | InvalidConfig::Mac { .. }
            | InvalidConfig::NotUnicast { .. }
            | InvalidConfig::Range { .. }
            | InvalidConfig::Choice { .. }
            | InvalidConfig::NeedsVlan { .. }
            | InvalidConfig::Guid { .. }
            | InvalidConfig::UnusableGuid { .. }
            | InvalidConfig::Pkey(_)
            | InvalidConfig::Trunk(_)
            | InvalidConfig::NoVlans
            | InvalidConfig::TrunkInVlan { .. }
            | InvalidConfig::Rates { .. } => cni::Error::invalid_config(text),
        }
    }
}
