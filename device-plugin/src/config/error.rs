use std::io;
use std::path::PathBuf;

use crate::resource::InvalidResource;

/// Why a pool file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file.
    #[error("cannot read the pool file {}: mount it there, or name another one with --config-file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It's there and can't be read.
    #[error("cannot use the pool file {}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ledger::file::Error,
    },
    /// It isn't JSON.
    #[error("the pool file {} is not valid JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where it stops to be.
        #[source]
        source: serde_json::Error,
    },
    /// It has no list of pools.
    #[error("the pool file {} has no list \"resourceList\": write {{\"resourceList\": [ … ]}}", path.display())]
    NoList {
        /// The file.
        path: PathBuf,
    },
    /// Something in a pool is wrong.
    #[error("pool file {}, pool {pool}, key {key}: {problem}", path.display())]
    Pool {
        /// The file.
        path: PathBuf,
        /// The pool's name, or its place in the list when it has none.
        pool: String,
        /// The key, with the place in a list of selectors.
        key: String,
        /// What is wrong and what to do.
        problem: Problem,
    },
}

/// What is wrong with a key's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It has to be there.
    #[error("it is missing; add it as {0}")]
    Missing(&'static str),
    /// It is of another type.
    #[error("it has to be {expected}, and is {found}")]
    Type {
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Kubelet doesn't take such a name.
    #[error("{0}")]
    Name(InvalidResource),
    /// Another pool is offered as the same resource.
    #[error(
        "{0} is the resource of an earlier pool too; give one of them another name, or put both selectors into a list in one pool"
    )]
    Duplicate(String),
    /// Not a vendor's or device's id.
    #[error("{0:?} is not an id; write four hexadecimal digits, such as 8086")]
    Id(String),
    /// Not a PCI address.
    #[error("{0}")]
    Address(pci::InvalidAddress),
    /// Not a name with a range of functions.
    #[error(
        "{0:?} is not a device with a range of functions; write NAME, NAME#4 or NAME#0-3,7, the smaller number first"
    )]
    Range(String),
    /// A device type that isn't one.
    #[error("{0:?} is not a device type; write netDevice")]
    UnknownType(String),
    /// Something that this version doesn't do.
    #[error(
        "{0} is not supported by this version; without it other devices would be offered than this file asks for, so take the pool out of the file"
    )]
    Unsupported(String),
}
