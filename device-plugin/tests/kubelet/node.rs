//! A node with two PFs, one with kernel VFs and one with VFs for vfio, a kubelet, and the plugin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use device_plugin::config::Config;
use device_plugin::node::Node;
use device_plugin::{Timing, plugin};
use kubelet::Kubelet;
use ledger::{Ledger, Locked};
use netlink::Links;
use tempfile::TempDir;
use testbed::kubelet::{FakeKubelet, Pod};
use testbed::links::{DriverModel, FakeLinks};
use testbed::sysfs::{FunctionSpec, PfSpec, SysfsTree};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vf::{Entry, Host, State};

/// Long enough for a busy machine; nothing waits that long when it works.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) const NET: &str = "intel.com/net";
pub(crate) const DPDK: &str = "intel.com/dpdk";
pub(crate) const BOOT: &str = "boot-1";

pub(crate) const POOLS: &str = r#"{"resourceList": [
    {"resourceName": "net", "selectors": {"drivers": ["igbvf"], "pfNames": ["ens1#0-2"]}},
    {"resourceName": "dpdk", "excludeTopology": true, "selectors": {"drivers": ["vfio-pci"]}},
    {"resourceName": "nothing", "selectors": {"vendors": ["15b3"]}}
]}"#;

pub(crate) struct TestNode {
    pub(crate) tree: SysfsTree,
    pub(crate) links: FakeLinks,
    pub(crate) kernel_vfs: Vec<String>,
    pub(crate) vfio_vfs: Vec<String>,
    pub(crate) directory: TempDir,
}

impl TestNode {
    pub(crate) fn new() -> Self {
        let (tree, links) = (SysfsTree::new(), FakeLinks::new());
        let kernel = PfSpec { num_vfs: 4, numa_node: 1, ..PfSpec::igb("0000:01:00.0", "ens1") };
        let vfio = PfSpec {
            num_vfs: 2,
            numa_node: 1,
            vf_driver: Some(pci::VFIO_PCI.to_owned()),
            ..PfSpec::igb("0000:02:00.0", "ens2")
        };
        let add = |spec: &PfSpec| -> Vec<String> {
            let vfs: Vec<String> = tree.add_pf(spec).iter().map(ToString::to_string).collect();
            let name = spec.net.as_deref().unwrap();
            links.add_pf(&spec.address.to_string(), name, &vfs, DriverModel::igb());
            vfs
        };
        let (kernel_vfs, vfio_vfs) = (add(&kernel), add(&vfio));
        tree.add_function(&FunctionSpec {
            address: "0000:00:01.0".parse().unwrap(),
            vendor: 0x8086,
            device: 0x2922,
            class: 0x01_0601,
            driver: Some("ahci".to_owned()),
            net: Vec::new(),
            numa_node: -1,
            iommu: false,
        });
        links.mirror(&tree);
        for vf in &vfio_vfs {
            links.unbind(vf);
        }
        Self { tree, links, kernel_vfs, vfio_vfs, directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn kubelet(&self) -> Kubelet {
        Kubelet::new(self.directory.path())
    }

    pub(crate) fn start_kubelet(&self) -> FakeKubelet {
        FakeKubelet::start(self.directory.path()).unwrap()
    }

    pub(crate) fn host(&self) -> Host<FakeLinks> {
        let path = |name: &str| self.directory.path().join(name);
        let ledger = Ledger::open(path("ledger")).unwrap();
        let host = Host::new(self.tree.sysfs(), self.links.clone(), ledger, BOOT.to_owned());
        Host { existing_state: path("existing"), ..host }
    }

    pub(crate) fn device_info(&self) -> PathBuf {
        self.directory.path().join("devinfo")
    }

    pub(crate) fn start_plugin(&self) -> Plugin {
        self.start_plugin_with(POOLS, timing())
    }

    pub(crate) fn start_plugin_with(&self, pools: &str, timing: Timing) -> Plugin {
        let config = Config::parse(Path::new("config.json"), pools.as_bytes(), "intel.com").unwrap();
        let node = Arc::new(Node { host: self.host(), device_info: self.device_info() });
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(plugin::run(node, config, self.kubelet(), timing, stop.clone()));
        Plugin { stop, task }
    }

    /// What the ledger says of a VF.
    pub(crate) fn state(&self, vf: &str) -> Option<State> {
        let entry = self.host().ledger.entry::<vf::Intent>(&vf.parse().unwrap()).unwrap();
        entry.map(|entry: Entry| entry.state)
    }

    /// Writes a VF's state as another program does.
    pub(crate) fn write_state(&self, vf: &str, state: Option<State>) {
        let host = self.host();
        let locked: Locked<'_> = host.ledger.lock(&vf.parse().unwrap(), PATIENCE).unwrap();
        match state {
            Some(state) => locked.write_entry(&Entry { boot_id: BOOT.to_owned(), state }).unwrap(),
            None => locked.clear().unwrap(),
        }
    }

    pub(crate) fn quarantine(&self, vf: &str) {
        let reason = "its VLAN is 7 in place of 0".to_owned();
        self.write_state(vf, Some(State::Quarantined { reason, claim: None }));
    }

    /// Lets the host live on an interface.
    pub(crate) fn add_default_route(&self, name: &str) {
        let host = self.links.host();
        let link = self.links.link_named(host, name).unwrap().unwrap();
        self.links.set_up(host, link.index, true).unwrap();
        let route = netlink::Route::new("::/0".parse().unwrap(), None, link.index);
        self.links.add_route(host, &route).unwrap();
    }
}

/// The plugin, running.
pub(crate) struct Plugin {
    stop: CancellationToken,
    task: JoinSet<Result<(), plugin::Error>>,
}

impl Plugin {
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task.join_next()).await;
        ended.expect("it ends when it is told to").unwrap().unwrap().unwrap();
    }
}

/// Everything happens soon, but for what has a deadline.
pub(crate) fn timing() -> Timing {
    let soon = Duration::from_millis(20);
    Timing {
        first_pause: soon,
        longest_pause: Duration::from_millis(200),
        look: Duration::from_millis(100),
        rescan: soon,
        sweep: soon,
        ..Timing::default()
    }
}

pub(crate) fn pod(name: &str) -> Pod {
    Pod { namespace: "default".to_owned(), name: name.to_owned(), uid: format!("uid-of-{name}") }
}

/// Waits until `count` devices of `resource` are allocatable.
pub(crate) async fn allocatable(kubelet: &FakeKubelet, resource: &str, count: usize) {
    let what = format!("{count} devices of {resource} allocatable");
    kubelet.until(&what, PATIENCE, |kubelet| kubelet.allocatable(resource).len() == count).await.unwrap();
}

/// Waits for what no event tells of.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_elapsed| panic!("never: {what}"));
}
