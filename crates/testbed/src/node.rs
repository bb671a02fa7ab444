//! A node's runtime and kubelet, as far as pods with virtual functions need them: for scenarios on real hardware, the
//! VM's or a machine's, with the released programs as processes of their own and pods as real containers.
//!
//! ```text
//!  manifests ──> pod ──> kubelet double ── Allocate ──> patchbay-device-plugin
//!                 │
//!                 └──> sandbox: namespace, CNI ADD ──> patchbay ──> patchbayd
//!                         └──> container: runc with what was granted
//! ```

pub mod cluster;
pub mod cni;
pub mod container;
pub mod daemon;
pub mod exec;
pub mod hardware;
pub mod machine;
pub mod manifest;
pub mod report;
pub mod scenario;
mod terminal;
