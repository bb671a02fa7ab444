//! What tests, demo and benchmarks stand on.

pub mod api;
pub mod corpus;
pub mod kubelet;
pub mod links;
pub mod node;
pub mod sysfs;
