//! RDMA devices, and whose they are.

use std::fmt;

/// Whether an RDMA device belongs to one network namespace. The machine has one mode; it's changed with
/// `rdma system set netns`, and only while there's no namespace but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdmaMode {
    /// Every namespace sees every device, and none can be moved.
    Shared,
    /// A device is in one namespace, and can be moved if its driver lets it.
    Exclusive,
}

impl fmt::Display for RdmaMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared => "shared",
            Self::Exclusive => "exclusive",
        })
    }
}

/// An RDMA device. Nothing in it says which PCI function it belongs to: sysfs does, in the device's own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdmaDevice {
    /// Its index: the machine's, the same in whatever namespace it is, and another one when its driver is bound anew.
    pub index: u32,
    /// Its name, which no other device of the machine has, in whatever namespace.
    pub name: String,
    /// The GUID of its node; 0 when it has none (yet).
    pub node_guid: u64,
}
