use std::path::{Path, PathBuf};

/// Kubelet's directory on a node, usually `/var/lib/kubelet`, and the paths in it that plugins use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubelet {
    dir: PathBuf,
}

impl Kubelet {
    /// Where kubelet keeps its files unless it was started with another `--root-dir`.
    pub const DEFAULT_DIR: &str = "/var/lib/kubelet";

    /// A kubelet whose directory is `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Kubelet's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// `device-plugins`: the plugins' sockets. Kubelet empties it whenever it starts.
    pub fn device_plugins(&self) -> PathBuf {
        self.dir.join("device-plugins")
    }

    /// `device-plugins/kubelet.sock`, where a device plugin registers.
    pub fn registration_socket(&self) -> PathBuf {
        self.device_plugins().join("kubelet.sock")
    }

    /// `device-plugins/kubelet_internal_checkpoint`: what the device manager remembers.
    pub fn checkpoint(&self) -> PathBuf {
        self.device_plugins().join("kubelet_internal_checkpoint")
    }

    /// `plugins_registry`: the sockets that kubelet's plugin watcher looks for.
    pub fn plugins_registry(&self) -> PathBuf {
        self.dir.join("plugins_registry")
    }

    /// `pod-resources/kubelet.sock`: which pod has which devices.
    pub fn pod_resources_socket(&self) -> PathBuf {
        self.dir.join("pod-resources/kubelet.sock")
    }
}

impl Default for Kubelet {
    fn default() -> Self {
        Self::new(Self::DEFAULT_DIR)
    }
}
