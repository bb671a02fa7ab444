//! patchbayd: the default network, then every network that a pod asks for.

pub mod config;
