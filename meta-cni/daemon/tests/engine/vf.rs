//! The type `sriov` inside the daemon, over doubles of links and sysfs.

use std::sync::Arc;
use std::time::Duration;

use ledger::Ledger;
use meta_cni_daemon::sriov;
use meta_cni_daemon::store::{Phase, Progress};
use netlink::{Links, VfConfig};
use serde_json::json;
use testbed::links::{DriverModel, FakeLinks};
use testbed::sysfs::{PfSpec, SysfsTree};
use vf::{Deadlines, Host, Intent, State};

use crate::node::Node;

const PF: &str = "0000:01:00.0";
const NAD: &str = r#"{"cniVersion": "1.0.0", "type": "sriov", "vlan": 100, "ipam": {"type": "base"}}"#;

/// A node whose patchbayd has VFs.
struct Machine {
    node: Node,
    links: FakeLinks,
    host: Arc<Host<FakeLinks>>,
    _tree: SysfsTree,
    vfs: Vec<String>,
    before: Vec<VfConfig>,
}

impl Machine {
    async fn start() -> Self {
        let (tree, links) = (SysfsTree::new(), FakeLinks::new());
        let vfs: Vec<String> =
            tree.add_pf(&PfSpec::igb(PF, "enp1s0")).iter().map(ToString::to_string).collect();
        links.add_pf(PF, "enp1s0", &vfs, DriverModel::igb());
        links.mirror(&tree);
        let mut node = Node::prepared(&json!({}));
        let dir = node.dir.path();
        links.add_namespace(dir.join("netns"));
        let ledger = Ledger::open(dir.join("run/vf")).unwrap();
        let mut host = Host::new(tree.sysfs(), links.clone(), ledger, node.boot_id.clone());
        let short = Duration::from_millis(100);
        host.deadlines =
            Deadlines { lock: Duration::from_mins(1), turn: short, read_back: short, home_coming: short };
        host.existing_state = dir.join("sriov");
        host.proc = dir.join("proc");
        let host = Arc::new(host);
        node.built_in = Some((sriov::TYPE.to_owned(), sriov::built_in(Arc::clone(&host))));
        node.nad("fast", NAD, Some("intel.com/a"));
        node.run().await;
        let mut machine = Self { node, links, host, _tree: tree, vfs, before: Vec::new() };
        machine.before = machine.configs();
        machine
    }

    /// What the PF shows of its VFs.
    fn configs(&self) -> Vec<VfConfig> {
        let pf = self.links.link_of_device(self.links.host(), PF).unwrap().unwrap();
        self.links.vfs(pf.index).unwrap()
    }

    fn state(&self, vf: &str) -> Option<State> {
        self.host.ledger.entry::<Intent>(&vf.parse().unwrap()).unwrap().map(|entry| entry.state)
    }

    /// A pod that has these VFs, and a network for each.
    async fn pod(&mut self, vfs: &[usize]) {
        let ids: Vec<&str> = vfs.iter().map(|index| self.vfs[*index].as_str()).collect();
        self.node.allocate("web", "one", "intel.com/a", &ids).await;
        self.node.pod("web", &vec!["fast"; vfs.len()].join(","));
    }

    fn assert_clean(&self) {
        assert_eq!(self.configs(), self.before);
        for vf in &self.vfs {
            assert!(self.state(vf).is_none(), "{vf}: {:?}", self.state(vf));
        }
    }
}

#[tokio::test]
async fn a_vf_comes_into_the_pod_and_back_as_it_was() {
    let mut machine = Machine::start().await;
    machine.pod(&[0, 1]).await;
    machine.node.add("web").await;
    assert_eq!(
        machine.node.journal(),
        ["ADD base eth0", "ADD base net1", "ADD base net2"],
        "IPAM is a plugin"
    );
    for vf in &machine.vfs[..2] {
        assert!(matches!(machine.state(vf), Some(State::Attached { .. })), "{:?}", machine.state(vf));
    }
    let configs = machine.configs();
    assert_eq!((configs[0].vlan, configs[1].vlan, configs[2].vlan), (100, 100, 0));
    let status = machine.node.written_status("web").await;
    assert_eq!(status[1]["interface"], "net1");
    assert_eq!(status[1]["ips"], json!(["10.0.0.5"]));
    assert!(status[1]["mac"].is_string());
    machine.node.del("web").await;
    machine.assert_clean();
    machine.node.del("web").await;
}

#[tokio::test]
async fn a_vf_comes_back_when_its_namespace_and_everybody_else_is_gone() {
    let mut machine = Machine::start().await;
    machine.pod(&[0]).await;
    machine.node.add("web").await;
    machine.links.remove_namespace(&machine.node.dir.path().join("netns"));
    machine.node.remove("netns");
    machine.node.kubelet.stop().await;
    machine.node.api.set_fault(Some(testbed::api::Fault::Away));
    machine.node.del("web").await;
    machine.assert_clean();
}

#[tokio::test]
async fn a_later_network_that_fails_gives_the_vf_back() {
    let mut machine = Machine::start().await;
    machine.node.nad("plain", r#"{"cniVersion": "1.0.0", "type": "vf"}"#, None);
    machine.node.allocate("web", "one", "intel.com/a", &[&machine.vfs[0].clone()]).await;
    machine.node.pod("web", "fast, plain");
    machine.node.fail("ADD-net2", 42);
    assert_eq!(machine.node.call("ADD", "web").await.unwrap_err().code, 42);
    machine.assert_clean();
    assert_eq!(machine.node.record("web"), None);
}

#[tokio::test]
async fn a_vf_that_was_half_attached_is_free_after_the_restart() {
    let mut machine = Machine::start().await;
    machine.pod(&[0]).await;
    machine.node.add("web").await;
    machine.node.stop().await;
    let mut record = machine.node.record("web").unwrap();
    record.phase = Phase::Adding;
    record.attachments[1].progress = Progress::Adding;
    machine.node.store().write(&record).unwrap();
    machine.node.run().await;
    machine.node.until("the ADD is undone", || machine.node.record("web").is_none()).await;
    machine.assert_clean();
}

#[tokio::test]
async fn a_device_that_is_not_there_is_named() {
    let mut machine = Machine::start().await;
    machine.node.allocate("web", "one", "intel.com/a", &["0000:99:00.1"]).await;
    machine.node.pod("web", "fast");
    let error = machine.node.call("ADD", "web").await.unwrap_err();
    for part in ["pod default/web", "default/fast", "0000:99:00.1"] {
        assert!(error.msg.contains(part), "{error}");
    }
    machine.assert_clean();
}
