//! What tests, demo and benchmarks stand on.

pub mod api;
pub mod kubelet;
pub mod node;
