//! The SR-IOV CNI plugin: one virtual function (VF), one pod.
//!
//! [`Sriov`] serves the CNI commands over [`vf::Host`]: as the binary `sriov`, and in process. What's configured is
//! in [`config`], what an error's code is in [`error`].
//!
//! An ADD goes: VF handed over and read back, IPAM, addresses and routes, confirmed. Whatever fails, everything
//! before it is undone. A DEL does both of its parts, VF and IPAM, whatever becomes of the other, and needs no
//! namespace; the VF first, so that no address is given to another while a VF still answers to it.

mod add;
mod address;
mod check;
pub mod config;
mod del;
pub mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod gc;
mod ipam;
pub mod log;
mod sriov;
mod status;

pub use ipam::Ipam;
pub use sriov::Sriov;
