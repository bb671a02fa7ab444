//! The life of a virtual function (VF).
//!
//! ```text
//! free ── prepare ──> prepared ── attach ──> claimed ── confirm ──> attached ── detach, owner dead ──> releasing
//!  ^                                │                                                                      │
//!  │                                └─ failed: as detach                                                   │
//!  ├────────────────────────── read-back equals the baseline ──────────────────────────────────────────────┤
//!  └── retried: attach, sweep ── quarantined(reason) <── anything else ────────────────────────────────────┘
//! ```
//!
//! - A VF's identity is its PCI address. Names are looked up anew each time.
//! - Its **baseline** is what it looked like when it was last seen free and at home. It's taken by [`Host::prepare`]
//!   and [`Host::attach`] before they change anything, and holds for one boot and one making of the device: sysfs
//!   gives the directory of a device that's made again another inode, so that a PF taken through 0 VFs is noticed. A
//!   free VF that differs from its baseline was changed by someone else, and gets a new one.
//! - The **claim** is in the ledger before the first write to the VF. It holds a copy of the baseline, so whoever
//!   finds it can take the VF back, whatever else is lost, and without writing anything first.
//! - A claim goes when a read-back equals the baseline, and not before. What can't be restored is quarantined with
//!   a reason; [`Host::attach`] and [`Host::sweep`] try again.
//! - A VF that the existing SR-IOV plugin gave to a pod is adopted: what that plugin's files say counts as a claim.
//! - An owner is dead when its network namespace is: it's neither at the recorded path (another one may be, even with
//!   its inode, but not with its cookie) nor under any process that we can see, and the interface has come home.
//!
//! Everything blocks. What is worth telling a caller is in what is returned; what is done on the way is told to
//! [`Host::witness`].

mod apply;
mod attach;
pub mod driver;
mod error;
mod existing;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod host;
mod namespace;
mod observe;
mod prepare;
mod rdma;
mod record;
mod release;
mod settings;
mod step;
mod sweep;
mod unable;
mod uplink;
mod wanted;
mod witness;

pub use attach::{Attach, Attached};
pub use error::Error;
pub use existing::{ExistingError, Unusable};
pub use host::{Deadlines, Host, boot_id};
pub use prepare::{Prepared, Unprepared};
pub use rdma::Unmovable;
pub use record::{Baseline, Claim, Entry, Freshness, Intent, State};
pub use release::Detached;
pub use settings::{
    Admin, Difference, Guids, Netdev, Place, Rate, Rdma, Settings, Situation, Vlan, describe, differences,
};
pub use step::{Step, steps};
pub use sweep::{Sweep, Swept};
pub use unable::Unable;
pub use wanted::{Attribute, Wanted};
pub use witness::{Deed, Witness};
