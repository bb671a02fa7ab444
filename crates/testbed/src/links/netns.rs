//! Real network namespaces, made and removed with iproute2's `ip`: an opinion that's independent of ours.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use netlink::{Error, Kernel};

use super::contract::Bench;

/// Where `ip netns` keeps namespaces.
const NETNS: &str = "/run/netns";

/// A network namespace with a name, removed when this is dropped.
#[derive(Debug)]
pub struct NamedNamespace {
    name: String,
}

/// Why there's no namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// `ip` can't be started.
    #[error("can't run ip: install iproute2")]
    Start(#[source] io::Error),
    /// `ip` refused.
    #[error("ip {args} failed, it needs root: {message}")]
    Failed {
        /// What was asked of it.
        args: String,
        /// What it said.
        message: String,
    },
    /// The new namespace can't be used.
    #[error("the new namespace can't be used")]
    Open(#[source] Error),
}

/// Runs `ip` in this process's namespace.
pub fn ip(args: &[&str]) -> Result<(), NetnsError> {
    let Output { status, stderr, .. } = Command::new("ip").args(args).output().map_err(NetnsError::Start)?;
    if status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&stderr).trim().to_owned();
    Err(NetnsError::Failed { args: args.join(" "), message })
}

impl NamedNamespace {
    /// Makes one with a name that nothing else has.
    pub fn make() -> Result<Self, NetnsError> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let count = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("testbed-{}-{count}", process::id());
        ip(&["netns", "add", &name])?;
        Ok(Self { name })
    }

    /// Its name, for `ip -n`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS).join(&self.name)
    }

    /// Runs `ip` in it.
    pub fn ip(&self, args: &[&str]) -> Result<(), NetnsError> {
        ip(&[&["-n", &self.name], args].concat())
    }
}

impl Drop for NamedNamespace {
    fn drop(&mut self) {
        // Nothing to remove when a test has done so.
        if self.path().exists() {
            drop(ip(&["netns", "delete", &self.name]));
        }
    }
}

/// The kernel, with a namespace of its own as the host's.
#[derive(Debug)]
pub struct KernelBench {
    kernel: Kernel,
    host: NamedNamespace,
    others: Mutex<Vec<NamedNamespace>>,
    directory: tempfile::TempDir,
}

impl KernelBench {
    /// Makes one; it takes root.
    pub fn make() -> Result<Self, NetnsError> {
        let host = NamedNamespace::make()?;
        let kernel = Kernel::with_host(&host.path()).map_err(NetnsError::Open)?;
        let directory = tempfile::tempdir().map_err(NetnsError::Start)?;
        Ok(Self { kernel, host, others: Mutex::default(), directory })
    }

    /// The namespace that's the host's here.
    pub const fn host(&self) -> &NamedNamespace {
        &self.host
    }
}

impl Bench for KernelBench {
    type Links = Kernel;

    fn links(&self) -> &Kernel {
        &self.kernel
    }

    fn add_namespace(&self) -> PathBuf {
        let made = NamedNamespace::make().expect("a second namespace can be made as the first was");
        let path = made.path();
        self.others.lock().expect("no check panics with it locked").push(made);
        path
    }

    fn remove_namespace(&self, path: &Path) {
        self.others.lock().expect("no check panics with it locked").retain(|other| other.path() != path);
    }

    fn add_plain_file(&self) -> PathBuf {
        let path = self.directory.path().join("plain");
        fs::File::create(&path).expect("the directory is writable");
        path
    }

    fn add_veth(&self, name: &str, peer: &str) {
        self.host
            .ip(&["link", "add", name, "type", "veth", "peer", "name", peer])
            .expect("the kernel has veth (CONFIG_VETH)");
    }

    fn add_macvlan(&self, on: &str, name: &str) {
        self.host
            .ip(&["link", "add", "link", on, "name", name, "type", "macvlan"])
            .expect("the kernel has macvlan (CONFIG_MACVLAN)");
    }

    fn add_altname(&self, name: &str, altname: &str) {
        self.host
            .ip(&["link", "property", "add", "dev", name, "altname", altname])
            .expect("the link is there");
    }
}
