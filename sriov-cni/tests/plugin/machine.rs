//! A machine with one PF and its VFs, two pods, and a scripted IPAM plugin.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::{AddResult, Args, Command};
use ledger::Ledger;
use netlink::Links;
use pci::PciAddress;
use sriov_cni::{Ipam, Sriov};
use tempfile::TempDir;
use testbed::links::{DriverModel, FakeLinks};
use testbed::sysfs::{PfSpec, SysfsTree};
use vf::{Deadlines, Host, Intent, State};

const SHORT: Duration = Duration::from_millis(30);

/// What the script does is in files beside it: `answer` is what ADD prints, `fails` names the commands that fail,
/// `hangs` those that never end. What it was asked is in `calls`, what it read last in `stdin`.
const SCRIPT: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s %s %s [%s]\n' "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_IFNAME" "$CNI_NETNS" >> "$here/calls"
cat > "$here/stdin.$CNI_COMMAND"
if grep -qs "$CNI_COMMAND" "$here/hangs"; then sleep 600; fi
if grep -qs "$CNI_COMMAND" "$here/fails"; then
    echo '{"cniVersion":"1.0.0","code":42,"msg":"no luck today"}'
    exit 1
fi
if [ "$CNI_COMMAND" = ADD ]; then cat "$here/answer"; fi
"#;

pub(crate) const ANSWER: &str = r#"{
    "cniVersion": "1.0.0",
    "ips": [
        {"address": "10.100.0.10/24", "gateway": "10.100.0.1"},
        {"address": "fd00::10/64"}
    ],
    "routes": [{"dst": "10.200.0.0/16"}, {"dst": "10.201.0.0/16", "gw": "10.100.0.254"}],
    "dns": {"nameservers": ["10.100.0.53"]}
}"#;

pub(crate) struct Machine {
    pub(crate) host: Host<FakeLinks>,
    pub(crate) links: FakeLinks,
    pub(crate) tree: SysfsTree,
    pub(crate) directory: TempDir,
    spec: PfSpec,
    vfs: Vec<PciAddress>,
}

impl Machine {
    pub(crate) fn igb() -> Self {
        Self::new(PfSpec::igb("0000:01:00.0", "enp1s0"))
    }

    pub(crate) fn vfio() -> Self {
        Self::new(PfSpec { vf_driver: Some("vfio-pci".to_owned()), ..PfSpec::igb("0000:01:00.0", "enp1s0") })
    }

    fn new(spec: PfSpec) -> Self {
        let tree = SysfsTree::new();
        let links = FakeLinks::new();
        let vfs = tree.add_pf(&spec);
        let names: Vec<String> = vfs.iter().map(ToString::to_string).collect();
        links.add_pf(&spec.address.to_string(), "enp1s0", &names, DriverModel::igb());
        links.mirror(&tree);
        if spec.vf_driver.as_deref() == Some(pci::VFIO_PCI) {
            for name in &names {
                links.unbind(name);
            }
        }
        links.add_namespace(pod(1));
        links.add_namespace(pod(2));
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(directory.path().join("vf")).unwrap();
        let mut host = Host::new(tree.sysfs(), links.clone(), ledger, "a boot".to_owned());
        host.deadlines =
            Deadlines { lock: Duration::from_mins(1), turn: SHORT, read_back: SHORT, home_coming: SHORT };
        host.existing_state = directory.path().join("sriov");
        host.proc = directory.path().join("proc");
        let machine = Self { host, links, tree, directory, spec, vfs };
        machine.put("scripted", SCRIPT);
        machine.put("answer", ANSWER);
        fs::set_permissions(machine.path("scripted"), fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "files of the scripted plugin")]
    pub(crate) fn put(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// The scripted plugin's commands so far, and for whom.
    pub(crate) fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn vf(&self) -> PciAddress {
        self.vfs[0]
    }

    pub(crate) fn sriov(&self) -> Sriov<'_, FakeLinks> {
        let mut ipam = Ipam::with_env(std::env::vars_os());
        ipam.deadline = Duration::from_mins(1);
        Sriov { host: &self.host, ipam }
    }

    pub(crate) fn args(&self, command: Command, number: u32) -> Args {
        Args {
            command,
            container_id: format!("sandbox{number}"),
            netns: Some(pod(number)),
            ifname: "net1".to_owned(),
            args: Vec::new(),
            path: vec![self.directory.path().to_owned()],
        }
    }

    pub(crate) fn add(&self, number: u32, conf: &[u8]) -> Result<AddResult, cni::Error> {
        self.sriov().add(&self.args(Command::Add, number), conf)
    }

    pub(crate) fn del(&self, number: u32, conf: &[u8]) -> Result<(), cni::Error> {
        self.sriov().del(&self.args(Command::Del, number), conf)
    }

    /// A configuration for the first VF, with more keys.
    pub(crate) fn conf(&self, more: &str) -> Vec<u8> {
        let vf = self.vf();
        format!(
            r#"{{"cniVersion":"1.1.0","name":"blue","type":"sriov","deviceID":"{vf}",{more}"x-kept":1.50}}"#
        )
        .into_bytes()
    }

    /// The same with addresses.
    pub(crate) fn conf_with_ipam(&self, more: &str) -> Vec<u8> {
        self.conf(&format!(r#""ipam":{{"type":"scripted"}},{more}"#))
    }

    pub(crate) fn state(&self) -> Option<State> {
        let key = self.vf().to_string().parse().unwrap();
        self.host.ledger.entry::<Intent>(&key).unwrap().map(|entry| entry.state)
    }

    /// Everything about the VF that others can see. Where the PF shows the MAC that the VF has of its own, that's as
    /// good as none.
    pub(crate) fn look(&self) -> (Option<String>, netlink::VfConfig, Option<netlink::Link>) {
        let function = self.tree.sysfs().function(&self.vf()).unwrap();
        let home = self.links.host();
        let pf = self.links.link_of_device(home, &self.spec.address.to_string()).unwrap().unwrap();
        let mut config = self.links.vf(pf.index, function.vf.unwrap().index).unwrap();
        let link = self.links.link_of_device(home, &self.vf().to_string()).unwrap();
        if link.as_ref().is_some_and(|link| link.mac == config.mac) {
            config.mac = Some(netlink::MacAddr::default());
        }
        let link = link.map(|link| netlink::Link { index: 0, ..link });
        (function.driver, config, link)
    }

    pub(crate) fn in_pod(&self, number: u32) -> Option<netlink::Link> {
        let namespace = self.links.open(&pod(number)).unwrap();
        self.links.link_of_device(&namespace, &self.vf().to_string()).unwrap()
    }
}

pub(crate) fn pod(number: u32) -> PathBuf {
    Path::new("/run/netns").join(format!("pod{number}"))
}

/// Everything that an igb can set.
pub(crate) const EVERYTHING: &str = r#""mac":"02:00:00:00:00:0a","vlan":100,"vlanQoS":3,"max_tx_rate":500,
    "spoofchk":"off","trust":"on","mtu":1400,"promisc":"on","allmulti":true,"#;
