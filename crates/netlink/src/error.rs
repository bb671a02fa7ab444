//! What can go wrong with links.

use std::fmt;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// Something that is asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Open a namespace.
    Open,
    /// Read links.
    Links,
    /// Read a PF's VFs.
    Vfs,
    /// Change a VF through its PF.
    SetVf,
    /// Move a link to another namespace.
    Move,
    /// Rename a link.
    Rename,
    /// Remove an alternative name.
    RemoveAltname,
    /// Remove a link.
    RemoveLink,
    /// Set a link's hardware address.
    SetMac,
    /// Set a link's MTU.
    SetMtu,
    /// Set a link up or down.
    SetUp,
    /// Set whether a link takes every frame.
    SetPromisc,
    /// Set whether a link takes every multicast frame.
    SetAllmulti,
    /// Read addresses.
    Addresses,
    /// Add an address.
    AddAddress,
    /// Read routes.
    Routes,
    /// Add a route.
    AddRoute,
    /// Remove a route.
    RemoveRoute,
    /// Be told of changes of links.
    Events,
    /// Let the kernel announce a link's addresses.
    SetAnnounce,
    /// Announce a link's addresses.
    Announce,
    /// Read whether RDMA devices belong to one namespace each.
    RdmaMode,
    /// Read RDMA devices.
    RdmaDevices,
    /// Move an RDMA device to another namespace.
    MoveRdma,
    /// Rename an RDMA device.
    RenameRdma,
}

impl Verb {
    /// Whether it changes something.
    pub const fn changes(self) -> bool {
        match self {
            Self::Open
            | Self::Links
            | Self::Vfs
            | Self::Addresses
            | Self::Routes
            | Self::Events
            | Self::Announce
            | Self::RdmaMode
            | Self::RdmaDevices => false,
            Self::SetVf
            | Self::Move
            | Self::Rename
            | Self::RemoveAltname
            | Self::RemoveLink
            | Self::SetMac
            | Self::SetMtu
            | Self::SetUp
            | Self::SetPromisc
            | Self::SetAllmulti
            | Self::AddAddress
            | Self::AddRoute
            | Self::RemoveRoute
            | Self::SetAnnounce
            | Self::MoveRdma
            | Self::RenameRdma => true,
        }
    }
}

/// As it stands before what it's done to.
impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Links => "read",
            Self::Vfs => "read the VFs of",
            Self::SetVf | Self::SetUp => "set",
            Self::Move => "move",
            Self::Rename => "rename",
            Self::RemoveAltname => "remove the alternative name",
            Self::RemoveLink => "remove",
            Self::SetMac => "set the MAC of",
            Self::SetMtu => "set the MTU of",
            Self::SetPromisc => "set promisc of",
            Self::SetAllmulti => "set allmulti of",
            Self::Addresses => "read the addresses of",
            Self::AddAddress => "add the address",
            Self::Routes => "read the routes of",
            Self::AddRoute => "add the route",
            Self::RemoveRoute => "remove the route",
            Self::Events => "be told of changes of",
            Self::SetAnnounce => "let the kernel announce",
            Self::Announce => "announce",
            Self::RdmaMode => "read the RDMA mode of",
            Self::RdmaDevices => "read the RDMA devices of",
            Self::MoveRdma => "move the RDMA device",
            Self::RenameRdma => "rename the RDMA device",
        })
    }
}

/// What failed, of what, and what the kernel said about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There's no network namespace at a path any more.
    #[error("no network namespace at {}: its sandbox is gone", path.display())]
    NamespaceGone {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A namespace exists but can't be opened or entered.
    #[error("can't use the network namespace {}: it needs CAP_SYS_ADMIN over it", path.display())]
    Namespace {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("can't {verb} {target}{}", text.as_deref().map(|text| format!(" (kernel: {text})")).unwrap_or_default())]
    Refused {
        /// What was asked.
        verb: Verb,
        /// Of what, with the values asked for.
        target: String,
        /// The kernel's own words about it, when it has any.
        text: Option<String>,
        /// Its error number.
        source: io::Error,
    },
    /// No such link, or a PF has no VF of that index.
    #[error("there's no {target}: it was removed or moved, or never was")]
    Absent {
        /// What was asked.
        verb: Verb,
        /// What isn't there.
        target: String,
    },
    /// Talking to the kernel failed, before or after it did what was asked.
    #[error("can't {verb} {target}: no talk with the kernel")]
    Socket {
        /// What was asked.
        verb: Verb,
        /// Of what.
        target: String,
        /// Why.
        source: io::Error,
    },
    /// Things changed too often while they were listed.
    #[error("can't {verb} {target}: it changed under each of {tries} reads, try again")]
    Interrupted {
        /// What was asked.
        verb: Verb,
        /// Of what.
        target: String,
        /// How often it was tried.
        tries: u32,
    },
    /// The kernel's answer can't be read.
    #[error("can't {verb} {target}: the kernel's answer is malformed: {what}")]
    Malformed {
        /// What was asked.
        verb: Verb,
        /// Of what.
        target: String,
        /// What's wrong with the answer.
        what: String,
    },
}

impl Error {
    /// The kernel's refusal of `verb`, with its number and text.
    pub fn refused(verb: Verb, target: impl Into<String>, errno: Errno, text: Option<String>) -> Self {
        let source = io::Error::from(errno);
        Self::Refused { verb, target: target.into(), text, source }
    }

    /// The kernel's error number, when it gave one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { source, .. } | Self::Namespace { source, .. } | Self::Socket { source, .. } => {
                source.raw_os_error().map(Errno::from_raw)
            }
            Self::NamespaceGone { .. }
            | Self::Absent { .. }
            | Self::Interrupted { .. }
            | Self::Malformed { .. } => None,
        }
    }

    /// Whether driver or kernel can't do what was asked at all, whatever the value.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.errno(), Some(Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::ENOSYS))
    }

    /// Whether what it was asked of isn't there any more.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::NamespaceGone { .. } | Self::Absent { .. } => true,
            Self::Refused { .. }
            | Self::Namespace { .. }
            | Self::Socket { .. }
            | Self::Interrupted { .. }
            | Self::Malformed { .. } => matches!(self.errno(), Some(Errno::ENODEV | Errno::ENXIO)),
        }
    }

    /// Whether what was to be added, or the name asked for, is there already.
    pub fn is_taken(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    /// Whether the same may succeed if it's tried again a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Interrupted { .. } => true,
            Self::NamespaceGone { .. }
            | Self::Absent { .. }
            | Self::Malformed { .. }
            | Self::Namespace { .. }
            | Self::Refused { .. }
            | Self::Socket { .. } => matches!(
                self.errno(),
                Some(
                    Errno::EBUSY
                        | Errno::EAGAIN
                        | Errno::EINTR
                        | Errno::ENOBUFS
                        | Errno::ENOMEM
                        | Errno::ETIMEDOUT
                )
            ),
        }
    }
}

#[cfg(test)]
mod tests;
