//! VFs of real PFs and RDMA devices in software, in the VM node: `hack/test` compiles this on the host and runs it in the guest, after
//! `hack/node` has made the VFs.

#![expect(clippy::expect_used, reason = "a test's helpers fail the test")]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Kernel, Links, RdmaMode};
use testbed::links::contract::{Bench, LargeBench, MANY, RdmaBench, SriovBench};
use testbed::links::netns::{KernelBench, NamedNamespace, ip};
use testbed::{large_contract, links_contract, rdma_contract, sriov_contract};

const PF: &str = "0000:01:00.0";

/// The VFs' addresses, as an 82576 gives them.
const VFS: [&str; 7] = [
    "0000:01:10.0",
    "0000:01:10.2",
    "0000:01:10.4",
    "0000:01:10.6",
    "0000:01:11.0",
    "0000:01:11.2",
    "0000:01:11.4",
];

/// The guest, whose own namespace has the PFs.
struct Guest {
    kernel: Kernel,
    namespaces: Mutex<Vec<NamedNamespace>>,
    veths: Mutex<Vec<String>>,
    simulated: Option<Simulated>,
}

/// A PF of the kernel's simulator of NICs, which has any number of VFs and every attribute of them, but no VF that
/// could be moved. It ends with this.
struct Simulated {
    name: String,
    id: usize,
}

/// Writes to one of the kernel's own files. A value has to arrive whole.
fn tell(path: &str, value: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

impl Simulated {
    fn with_many_vfs() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(1);
        let id = MADE.fetch_add(1, Ordering::Relaxed);
        let loaded = Command::new("modprobe").arg("netdevsim").status().expect("the guest has kmod");
        assert!(loaded.success(), "the guest's kernel has no netdevsim");
        tell("/sys/bus/netdevsim/new_device", &format!("{id} 1")).expect("netdevsim makes a PF");
        let simulated = Self { name: format!("netdevsim{id}"), id };
        let Self { name, .. } = &simulated;
        tell(&format!("/sys/kernel/debug/netdevsim/{name}/max_vfs"), &MANY.to_string())
            .expect("netdevsim takes another maximum");
        tell(&format!("/sys/bus/netdevsim/devices/{name}/sriov_numvfs"), &MANY.to_string())
            .expect("netdevsim makes VFs");
        simulated
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        drop(tell("/sys/bus/netdevsim/del_device", &self.id.to_string()));
    }
}

fn guest() -> Guest {
    let inside = std::env::var_os("PATCHBAY_VM").is_some_and(|value| value == "1");
    assert!(
        inside,
        "this test changes the machine's NICs: run it with hack/test, which runs it in the VM node"
    );
    let kernel = Kernel::new().expect("the guest's own namespace can be used");
    Guest { kernel, namespaces: Mutex::default(), veths: Mutex::default(), simulated: None }
}

fn netdevsim() -> Guest {
    let mut guest = guest();
    guest.simulated = Some(Simulated::with_many_vfs());
    guest
}

impl Bench for Guest {
    type Links = Kernel;

    fn links(&self) -> &Kernel {
        &self.kernel
    }

    fn add_namespace(&self) -> PathBuf {
        let made = NamedNamespace::make().expect("the guest's root may make namespaces");
        let path = made.path();
        self.namespaces.lock().expect("no check panics with it locked").push(made);
        path
    }

    fn remove_namespace(&self, path: &Path) {
        self.namespaces.lock().expect("no check panics with it locked").retain(|other| other.path() != path);
    }

    fn add_plain_file(&self) -> PathBuf {
        PathBuf::from("/etc/hostname")
    }

    fn add_veth(&self, name: &str, peer: &str) {
        ip(&["link", "add", name, "type", "veth", "peer", "name", peer]).expect("the guest has veth");
        self.veths.lock().expect("no check panics with it locked").push(name.to_owned());
    }

    fn add_macvlan(&self, on: &str, name: &str) {
        ip(&["link", "add", "link", on, "name", name, "type", "macvlan"]).expect("the guest has macvlan");
    }

    fn add_altname(&self, name: &str, altname: &str) {
        ip(&["link", "property", "add", "dev", name, "altname", altname]).expect("the link is there");
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        for name in self.veths.lock().expect("no check panics with it locked").iter() {
            drop(ip(&["link", "delete", name]));
        }
    }
}

impl SriovBench for Guest {
    fn pf(&self) -> u32 {
        let pf = self.kernel.link_of_device(self.kernel.host(), PF).expect("links can be read");
        pf.expect("the guest has its first PF").index
    }

    fn vf(&self) -> (u16, String) {
        // In turn, so that what one check leaves behind is seldom seen by the next.
        static GIVEN: AtomicUsize = AtomicUsize::new(0);
        let turn = GIVEN.fetch_add(1, Ordering::Relaxed);
        let (index, pci) = (0..).zip(VFS).cycle().nth(turn).expect("the VFs go round");
        (index, pci.to_owned())
    }
}

impl LargeBench for Guest {
    fn pf(&self) -> u32 {
        let simulated = self.simulated.as_ref().expect("it was made by netdevsim");
        let pf = self.kernel.link_of_device(self.kernel.host(), &simulated.name).expect("links can be read");
        pf.expect("the PF has one port").index
    }
}

/// The guest with two soft RoCE devices, each on an end of a veth pair, and gone with that.
struct RdmaGuest {
    guest: Guest,
    names: [String; 2],
}

fn rdma_guest() -> RdmaGuest {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let guest = guest();
    run("modprobe", &["rdma_rxe"]).expect("the guest has soft RoCE");
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    let ends = ["a", "b"].map(|end| format!("roce{made}{end}"));
    guest.add_veth(&ends[0], &ends[1]);
    // A device goes some time after its link, and its name with it: so each check has names of its own.
    let names = ["a", "b"].map(|end| format!("rxe{made}{end}"));
    for (name, end) in names.iter().zip(&ends) {
        run("rdma", &["link", "add", name, "type", "rxe", "netdev", end]).expect("the link is there");
    }
    RdmaGuest { guest, names }
}

/// Runs a tool; what it says is the error.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

impl Bench for RdmaGuest {
    type Links = Kernel;

    fn links(&self) -> &Kernel {
        self.guest.links()
    }

    fn add_namespace(&self) -> PathBuf {
        self.guest.add_namespace()
    }

    fn remove_namespace(&self, path: &Path) {
        self.guest.remove_namespace(path);
    }

    fn add_plain_file(&self) -> PathBuf {
        self.guest.add_plain_file()
    }

    fn add_veth(&self, name: &str, peer: &str) {
        self.guest.add_veth(name, peer);
    }

    fn add_altname(&self, name: &str, altname: &str) {
        self.guest.add_altname(name, altname);
    }

    fn add_macvlan(&self, on: &str, name: &str) {
        self.guest.add_macvlan(on, name);
    }
}

impl RdmaBench for RdmaGuest {
    fn set_rdma_mode(&self, mode: RdmaMode) {
        // A namespace that was removed ends a little later, and the kernel tells nobody.
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            let outcome = run("rdma", &["system", "set", "netns", &mode.to_string()]);
            if outcome.is_ok() || Instant::now() > deadline {
                return outcome.expect("no namespace is left");
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn rdma_names(&self) -> [String; 2] {
        self.names.clone()
    }
}

sriov_contract!(igb, Some(crate::guest()));
large_contract!(netdevsim, Some(crate::netdevsim()));
links_contract!(links, Some(crate::kernel()));
rdma_contract!(soft_roce, Some(crate::rdma_guest()));

fn kernel() -> KernelBench {
    drop(guest());
    KernelBench::make().expect("the guest's root may make namespaces")
}
