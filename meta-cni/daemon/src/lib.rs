//! patchbayd: the default network, then every network that a pod asks for.
//!
//! | module | |
//! |---|---|
//! | [`config`] | the configuration file |
//! | [`cluster`] | pods and NADs, from watches |
//! | [`devices`] | what kubelet gave to a pod |
//! | [`choice`] | which networks a pod has chosen |
//! | [`plan`](mod@plan) | what is attached, decided by a plain function |
//! | [`store`] | what was attached, on disk |
//! | [`plugins`], [`execute`] | carrying a plan out, and undoing it |
//! | [`routes`] | a pod's default routes |
//! | [`confdir`] | CNI configuration files |
//! | [`report`] | network-status and events |
//! | [`engine`] | the runtime's calls |
//! | [`server`] | the socket |
//! | [`install`] | what is placed on the node |
//! | [`sriov`] | VFs in process |
//! | [`mounts`] | plugins in the host's mount namespace |
//! | [`daemon`] | everything put together |
//! | [`sandboxes`] | one operation at a time per sandbox |

pub mod choice;
pub mod cluster;
pub mod confdir;
pub mod config;
pub mod daemon;
pub mod devices;
pub mod engine;
pub mod execute;
pub mod install;
pub mod mounts;
pub mod plan;
pub mod plugins;
pub mod report;
pub mod routes;
pub mod sandboxes;
pub mod server;
pub mod sriov;
pub mod store;
