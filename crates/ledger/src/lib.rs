//! Who owns which virtual function, what it looked like before, and where in its life it is.
//!
//! One directory, on a tmpfs, holds up to three files for each device:
//!
//! | file | content |
//! |---|---|
//! | `<device>.baseline` | what the device looked like when it was last seen clean |
//! | `<device>.state` | an [`Entry`]; **absent means free** |
//! | `<device>.lock` | nothing; it is locked, and never unlinked |
//!
//! The files are small JSON that a person can read, written whole, mode 0600, each with a format version. A file
//! of a newer format is left alone ([`Error::is_newer`]); one that is empty or torn is an error
//! ([`Error::is_damaged`]) and never counts as "free".
//!
//! This crate knows nothing of PCI or netlink: a device is a [`Device`] key, and what a baseline or a claim
//! holds is the caller's type.

mod device;
pub mod file;
mod record;
mod store;
mod watch;

pub use device::{Device, InvalidDevice};
pub use record::{Claim, Entry, FORMAT, NamespaceRecord, Owner, Pod, State};
pub use store::{Error, Ledger, Locked};
pub use watch::Watch;
