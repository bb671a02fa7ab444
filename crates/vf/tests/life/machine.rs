//! A machine with one PF and its VFs, a ledger, and two pods.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ledger::{Ledger, Owner};
use netlink::{IfName, Links, MacAddr, RdmaMode, Verb};
use pci::PciAddress;
use tempfile::TempDir;
use testbed::links::{Call, DriverModel, FakeLinks};
use testbed::sysfs::{FakeKernel, PfSpec, SysfsTree};
use vf::{Attach, Attached, Deadlines, Detached, Entry, Error, Host, Intent, Rate, State, Vlan, Wanted};

pub(crate) const BOOT: &str = "5d1c5c1e-0000-4000-8000-000000000001";
pub(crate) const MAC: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x0a]);
const SHORT: Duration = Duration::from_millis(30);

pub(crate) struct Machine {
    pub(crate) host: Host<FakeLinks>,
    pub(crate) links: FakeLinks,
    pub(crate) tree: SysfsTree,
    pub(crate) spec: PfSpec,
    pub(crate) vfs: Vec<PciAddress>,
    pub(crate) directory: TempDir,
    pub(crate) kernel: FakeKernel,
}

impl Machine {
    pub(crate) fn igb() -> Self {
        Self::new(PfSpec::igb("0000:01:00.0", "enp1s0"), DriverModel::igb())
    }

    /// A NIC whose VFs have an RDMA device each, in RDMA's exclusive mode.
    pub(crate) fn rdma() -> Self {
        let spec = PfSpec { num_vfs: 7, ..PfSpec::connectx("0000:01:00.0", "enp1s0") };
        let machine = Self::new(spec, DriverModel::mlx5());
        for (number, vf) in (2..).zip(&machine.vfs) {
            machine.links.add_rdma(&vf.to_string(), &format!("mlx5_{number}"));
        }
        machine.links.set_rdma_mode(Some(RdmaMode::Exclusive));
        machine
    }

    /// The calls in the journal: their verbs, and how many calls of the verb there have been with each.
    pub(crate) fn calls(&self) -> Vec<(Verb, usize)> {
        let mut counts = BTreeMap::new();
        let numbered = |call: Call| {
            let count: &mut usize = counts.entry(call.verb).or_default();
            *count += 1;
            (call.verb, *count)
        };
        self.links.journal().into_iter().map(numbered).collect()
    }

    pub(crate) fn new(spec: PfSpec, model: DriverModel) -> Self {
        let tree = SysfsTree::new();
        let links = FakeLinks::new();
        let vfs = tree.add_pf(&spec);
        let names: Vec<String> = vfs.iter().map(ToString::to_string).collect();
        links.add_pf(&spec.address.to_string(), "enp1s0", &names, model);
        links.mirror(&tree);
        if spec.vf_driver.as_deref() == Some(pci::VFIO_PCI) {
            for name in &names {
                links.unbind(name);
            }
        }
        links.add_namespace(pod(1));
        links.add_namespace(pod(2));
        let kernel = FakeKernel::start(&tree, Some(&links));
        let directory = tempfile::tempdir().unwrap();
        let host = machine(&tree, &links, directory.path(), BOOT);
        Self { host, links, tree, spec, vfs, directory, kernel }
    }

    /// The same machine, as the next process sees it.
    pub(crate) fn next_process(&self, boot_id: &str) -> Host<FakeLinks> {
        self.links.revive();
        machine(&self.tree, &self.links, self.directory.path(), boot_id)
    }

    pub(crate) fn vf(&self) -> PciAddress {
        self.vfs[0]
    }

    /// Everything about a VF that others can see. Where the PF shows the MAC that the VF has of its own, that's as
    /// good as none.
    pub(crate) fn look(&self, pci: PciAddress) -> Look {
        let function = self.tree.sysfs().function(&pci).unwrap();
        let pf =
            self.links.link_of_device(self.links.host(), &self.spec.address.to_string()).unwrap().unwrap();
        let link = self.links.link_of_device(self.links.host(), &pci.to_string()).unwrap();
        let mut config = self.links.vf(pf.index, function.vf.unwrap().index).unwrap();
        if link.as_ref().is_some_and(|link| link.mac == config.mac) {
            config.mac = Some(MacAddr::default());
        }
        Look {
            driver: function.driver,
            config,
            link: link.map(|mut link| {
                // The kernel may number it anew each time it moves.
                link.index = 0;
                link
            }),
            rdma: self.tree.sysfs().rdma_names(&pci).unwrap(),
        }
    }

    pub(crate) fn state(&self, pci: PciAddress) -> Option<State> {
        self.host.ledger.entry::<Intent>(&key(pci)).unwrap().map(|entry: Entry| entry.state)
    }

    pub(crate) fn attach(&self, wanted: &Wanted) -> Result<Attached, Error> {
        self.attach_to(1, wanted)
    }

    pub(crate) fn attach_to(&self, number: u32, wanted: &Wanted) -> Result<Attached, Error> {
        let owner = owner(number);
        let netns = pod(number);
        self.host.attach(&Attach {
            pci: self.vf(),
            owner: &owner,
            netns: &netns,
            wanted,
            pod: None,
            resource: None,
        })
    }

    pub(crate) fn detach(&self, number: u32) -> Result<Detached, Error> {
        self.host.detach(self.vf(), &owner(number), Some(&pod(number)))
    }

    /// The link of the VF in a pod.
    pub(crate) fn in_pod(&self, number: u32) -> Option<netlink::Link> {
        let namespace = self.links.open(&pod(number)).unwrap();
        self.links.link_of_device(&namespace, &self.vf().to_string()).unwrap()
    }

    /// The RDMA devices in a pod.
    pub(crate) fn rdma_in_pod(&self, number: u32) -> Vec<netlink::RdmaDevice> {
        let namespace = self.links.open(&pod(number)).unwrap();
        self.links.rdma_devices(&namespace).unwrap()
    }

    /// The path of a VF's file in the ledger.
    pub(crate) fn file(&self, kind: &str) -> PathBuf {
        self.host.ledger.directory().join(format!("{}.{kind}", self.vf()))
    }

    /// Writes a file of the ledger as something else than us would.
    #[expect(clippy::disallowed_methods, reason = "a torn file isn't written whole")]
    pub(crate) fn spoil(&self, kind: &str, content: &str) {
        fs::write(self.file(kind), content).unwrap();
    }
}

/// A VF as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) driver: Option<String>,
    pub(crate) config: netlink::VfConfig,
    pub(crate) link: Option<netlink::Link>,
    /// Its RDMA devices at home.
    pub(crate) rdma: Vec<String>,
}

fn machine(tree: &SysfsTree, links: &FakeLinks, directory: &Path, boot_id: &str) -> Host<FakeLinks> {
    let ledger = Ledger::open(directory.join("vf")).unwrap();
    let mut host = Host::new(tree.sysfs(), links.clone(), ledger, boot_id.to_owned());
    host.deadlines =
        Deadlines { lock: Duration::from_mins(1), turn: SHORT, read_back: SHORT, home_coming: SHORT };
    host.existing_state = directory.join("sriov");
    host.proc = directory.join("proc");
    host
}

pub(crate) fn key(pci: PciAddress) -> ledger::Device {
    pci.to_string().parse().unwrap()
}

pub(crate) fn pod(number: u32) -> PathBuf {
    PathBuf::from(format!("/run/netns/pod{number}"))
}

pub(crate) fn owner(number: u32) -> Owner {
    Owner { network: "blue".to_owned(), container_id: format!("sandbox{number}"), ifname: "net1".to_owned() }
}

pub(crate) fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// All that an igb can set.
pub(crate) fn everything() -> Wanted {
    Wanted {
        mac: Some(MAC),
        vlan: Some(Vlan { id: 100, qos: 3, ..Vlan::default() }),
        rate: Some(Rate { min: 0, max: 500 }),
        spoofchk: Some(false),
        trust: Some(true),
        link_state: None,
        trunk: None,
        guid: None,
        pkey: None,
        mtu: Some(1400),
        promisc: Some(true),
        allmulti: Some(true),
        rdma: false,
    }
}

/// All that an igb can set, and RDMA.
pub(crate) fn everything_with_rdma() -> Wanted {
    Wanted { rdma: true, ..everything() }
}
