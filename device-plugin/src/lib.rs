//! Offers virtual functions to kubelet as extended resources.
//!
//! ```text
//! pool file ── config ──┐
//! sysfs, netlink ── inventory ──┴─> pools ──> offer ──> server ──> kubelet
//! ledger ── health ────────────────────────────┘          └─ Allocate: node ──> ledger, device-info
//! ```
//!
//! [`pools::pools`] and [`offer::offers`] decide over plain data; [`node::Node`] is where the world is looked at and
//! marked; [`plugin::run`] puts it together.

pub mod allocate;
pub mod cli;
pub mod config;
mod follow;
pub mod health;
pub mod inventory;
pub mod node;
pub mod offer;
pub mod plugin;
pub mod pools;
mod registration;
pub mod report;
pub mod resource;
pub mod server;
pub mod sweep;
mod timing;
pub mod uplink;

pub use timing::Timing;
