//! The VM node: VFs, pods, and the program under test.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pci::{PciAddress, Sysfs};
use serde_json::Value;

/// Long, since the machine is emulated and shared.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Where the program keeps its ledger.
pub(crate) const LEDGER: &str = "/run/patchbay/vf";

/// What a PF shows where it knows no MAC of a VF.
pub(crate) const NO_MAC: &str = "00:00:00:00:00:00";

/// A VF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vf {
    pub(crate) pci: PciAddress,
    pub(crate) pf: PciAddress,
    pub(crate) index: u16,
}

/// A VF as `ip` and sysfs show it, without what differs from one look to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// The PF's line for it.
    pub(crate) pf: Value,
    /// Its interface in the host's namespace: name, address, MTU, flags, alternative names.
    pub(crate) home: Option<Value>,
    pub(crate) driver: Option<String>,
}

/// A VF by the number of its PF and its index. Everything here needs the VM.
pub(crate) fn vf(pf: usize, index: u16) -> Vf {
    assert!(std::env::var_os("PATCHBAY_VM").is_some(), "run these tests by hack/node run, as hack/test does");
    let sysfs = Sysfs::host();
    let pf: PciAddress = ["0000:01:00.0", "0000:02:00.0"][pf].parse().unwrap();
    let vfs = sysfs.vfs(&pf).unwrap();
    let pci = *vfs.get(&index).unwrap_or_else(|| panic!("{pf} has no VF {index}: run with --vfs 7"));
    Vf { pci, pf, index }
}

/// Runs a program that has to succeed.
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn ip(args: &[&str]) -> String {
    run("ip", args)
}

fn ip_json(args: &[&str]) -> Value {
    let list: Value = serde_json::from_str(&ip(args)).unwrap();
    list[0].clone()
}

fn interface_of(pci: PciAddress) -> Option<String> {
    let net = fs::read_dir(format!("/sys/bus/pci/devices/{pci}/net")).ok()?;
    net.flatten().next().map(|entry| entry.file_name().into_string().unwrap())
}

impl Vf {
    pub(crate) fn pf_name(self) -> String {
        interface_of(self.pf).expect("the PF has an interface")
    }

    /// Its interface's name, if it's in the host's namespace.
    pub(crate) fn home_name(self) -> Option<String> {
        interface_of(self.pci)
    }

    pub(crate) fn look(self) -> View {
        let shown = ip_json(&["-j", "-d", "link", "show", "dev", &self.pf_name()]);
        let lines = shown["vfinfo_list"].as_array().unwrap();
        let of_vf = lines.iter().find(|line| line["vf"] == self.index).unwrap().clone();
        let home = self.home_name().map(|name| {
            let link = ip_json(&["-j", "-d", "link", "show", "dev", &name]);
            let has = |name: &str| link["flags"].as_array().unwrap().iter().any(|flag| flag == name);
            serde_json::json!({
                "ifname": link["ifname"], "address": link["address"], "mtu": link["mtu"],
                "altnames": link["altnames"], "up": has("UP"),
                "promisc": [has("PROMISC"), link["promiscuity"]],
                "allmulti": [has("ALLMULTI"), link["allmulti"]],
            })
        });
        View { pf: of_vf, home, driver: Sysfs::host().function(&self.pci).unwrap().driver }
    }

    /// Takes its admin MAC from it, so that it may have any MAC it likes, and tells the PF the one it has. What an
    /// attachment with a `mac` gives back is the MAC that the PF showed before, as an admin MAC: to igb the one can't
    /// be told from the other.
    pub(crate) fn without_admin_mac(self) -> Self {
        ip(&["link", "set", &self.pf_name(), "vf", &self.index.to_string(), "mac", NO_MAC]);
        self.tell_mac();
        self
    }

    /// Tells the PF the MAC that it has. igbvf does so itself unless the PF was still being reset.
    pub(crate) fn tell_mac(self) {
        let name = self.home_name().expect("the VF's interface is the host's");
        ip(&["link", "set", &name, "up"]);
        ip(&["link", "set", &name, "down"]);
    }

    /// The ledger's state of it, as text.
    pub(crate) fn state(self) -> Option<String> {
        fs::read_to_string(self.state_file()).ok()
    }

    pub(crate) fn state_file(self) -> PathBuf {
        Path::new(LEDGER).join(format!("{}.state", self.pci))
    }

    /// A network's configuration for it, with more keys.
    pub(crate) fn conf(self, more: &str) -> String {
        let Self { pci, .. } = self;
        format!(r#"{{"cniVersion":"1.1.0","name":"blue","type":"sriov","deviceID":"{pci}"{more}}}"#)
    }

    /// Has to be as it was, and free.
    pub(crate) fn assert_clean(self, before: &View) {
        assert_eq!(&self.look(), before, "{} isn't as it was before", self.pci);
        assert_eq!(self.state(), None, "{} isn't free", self.pci);
    }
}

/// A pod: a network namespace, deleted at the end.
#[derive(Debug)]
pub(crate) struct Pod {
    name: String,
}

impl Pod {
    pub(crate) fn new(name: &str) -> Self {
        let pod = Self { name: format!("{name}-{}", std::process::id()) };
        ip(&["netns", "add", &pod.name]);
        pod
    }

    pub(crate) fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        let mut all = vec!["netns", "exec", self.name.as_str()];
        all.extend(args);
        ip(&all)
    }

    /// An interface in it.
    pub(crate) fn link(&self, name: &str) -> Value {
        let list: Value =
            serde_json::from_str(&self.run(&["ip", "-j", "-d", "addr", "show", "dev", name])).unwrap();
        list[0].clone()
    }

    pub(crate) fn delete(&self) {
        ip(&["netns", "del", &self.name]);
    }

    /// Whether a ping gets through.
    pub(crate) fn pings(&self, address: &str, count: &str) -> bool {
        let args = ["netns", "exec", &self.name, "ping", "-q", "-c", count, "-i", "0.2", "-W", "2", address];
        Command::new("ip").args(args).stdout(Stdio::null()).status().unwrap().success()
    }

    /// Has to get an answer, once the links are up.
    pub(crate) fn assert_pings(&self, address: &str) {
        let begun = Instant::now();
        while !self.pings(address, "1") {
            assert!(begun.elapsed() < PATIENCE, "{} gets no answer from {address}", self.name);
            thread::sleep(Duration::from_millis(200));
        }
        assert!(self.pings(address, "5"));
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // It may be deleted already: that's what some tests are about.
        drop(Command::new("ip").args(["netns", "del", &self.name]).stderr(Stdio::null()).status());
    }
}

/// A call of the program.
pub(crate) struct Call<'a> {
    pub(crate) command: &'a str,
    pub(crate) container: &'a str,
    pub(crate) netns: &'a str,
    pub(crate) conf: &'a str,
}

impl Call<'_> {
    pub(crate) fn command(&self) -> Command {
        self.command_of("sriov")
    }

    /// The same call of another program.
    pub(crate) fn command_of(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("CNI_COMMAND", self.command)
            .env("CNI_CONTAINERID", self.container)
            .env("CNI_NETNS", self.netns)
            .env("CNI_IFNAME", "net1")
            .env("CNI_PATH", "/opt/cni/bin")
            .env("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts a command of this call, and gives it the configuration.
    pub(crate) fn start(&self, mut command: Command) -> Child {
        let mut child = command.spawn().expect("sriov is on the PATH");
        let written = child.stdin.take().unwrap().write_all(self.conf.as_bytes());
        // A program that has read more than it takes doesn't read the rest.
        assert!(written.is_ok() || written.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe));
        child
    }

    /// What it prints, as a result or as an error.
    pub(crate) fn run(&self) -> Result<Value, Value> {
        outcome(self.start(self.command()))
    }
}

/// What a call prints, as a result or as an error.
pub(crate) fn outcome(child: Child) -> Result<Value, Value> {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    // Shown where the test fails.
    eprint!("{}", String::from_utf8_lossy(&stderr));
    let text = String::from_utf8(stdout).unwrap();
    let parsed = if text.trim().is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() };
    if status.success() { Ok(parsed) } else { Err(parsed) }
}

pub(crate) fn add(container: &str, pod: &Pod, conf: &str) -> Result<Value, Value> {
    Call { command: "ADD", container, netns: &pod.path(), conf }.run()
}

pub(crate) fn del(container: &str, netns: &str, conf: &str) -> Result<Value, Value> {
    Call { command: "DEL", container, netns, conf }.run()
}
