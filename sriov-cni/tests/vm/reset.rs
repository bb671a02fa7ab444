//! A VF that a program had in its hands is reset on its return: the kernel's own probe counts the resets of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pci::{Driver, PciAddress, Reset, Sysfs};
use rstest::rstest;

use crate::node::{NO_MAC, PATIENCE, Pod, Vf, add, del, run, vf};

const TRACING: &str = "/sys/kernel/tracing";

/// A count of the function-level resets of one VF, from now on.
struct Resets(PciAddress);

fn append(file: &str, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(format!("{TRACING}/{file}")).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

impl Resets {
    fn of(vf: Vf) -> Self {
        if !fs::exists(format!("{TRACING}/kprobe_events")).unwrap() {
            run("mount", &["-t", "tracefs", "none", TRACING]);
        }
        // The first fields of struct pci_dev are a list's two pointers, the bus and four more pointers; then its number.
        append("kprobe_events", "p:vfs/reset pcie_flr devfn=+56($arg1):u32\n");
        append("events/vfs/reset/enable", "1");
        Self(vf.pci)
    }

    fn count(&self) -> usize {
        let number = u32::from(self.0.device()) << 3 | u32::from(self.0.function());
        let trace = fs::read_to_string(format!("{TRACING}/trace")).unwrap();
        trace.lines().filter(|line| line.ends_with(&format!("devfn={number}"))).count()
    }
}

impl Drop for Resets {
    fn drop(&mut self) {
        append("events/vfs/reset/enable", "0");
        append("kprobe_events", "-:vfs/reset\n");
        run("sh", &["-c", "echo >/sys/kernel/tracing/trace"]);
    }
}

fn bind(vf: Vf, driver: &str) {
    run("modprobe", &[driver]);
    Sysfs::host().bind(&vf.pci, &Driver::Named(driver.to_owned())).unwrap();
}

fn incarnation(vf: Vf) -> u64 {
    fs::metadata(format!("/sys/bus/pci/devices/{}", vf.pci)).unwrap().ino()
}

#[rstest]
#[case::vfio("vfio-pci")]
#[case::uio("uio_pci_generic")]
fn a_vf_for_user_space_is_reset_on_its_return(#[case] driver: &str) {
    let vf = vf(1, 3);
    let at_first = vf.look();
    bind(vf, driver);
    let (before, incarnation_before) = (vf.look(), incarnation(vf));
    let resets = Resets::of(vf);
    let pod = Pod::new("reset");
    let conf = vf.conf(r#","mac":"02:00:00:00:0d:01","vlan":100,"trust":"on""#);
    add("c1", &pod, &conf).unwrap();
    assert_eq!(resets.count(), 0);
    del("c1", &pod.path(), &conf).unwrap();
    assert_eq!(resets.count(), 1);
    vf.assert_clean(&before);
    del("c1", &pod.path(), &conf).unwrap();
    assert_eq!(resets.count(), 1);
    // It's still the device that its baseline is about.
    assert_eq!(incarnation(vf), incarnation_before);
    Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    // Its MAC is another one: that of before was the admin MAC that was removed above.
    assert_eq!(vf.look().driver, at_first.driver);
}

/// A driver that doesn't take part would be left with a device that has lost everything.
#[test]
fn a_vf_with_an_interface_is_not_reset_unless_a_program_had_it_meanwhile() {
    let vf = vf(1, 3);
    let before = vf.look();
    let pod = Pod::new("unreset");
    for (meanwhile, expected) in [(None, 0), (Some("vfio-pci"), 1)] {
        add("c1", &pod, &vf.conf("")).unwrap();
        if let Some(driver) = meanwhile {
            bind(vf, driver);
        }
        let resets = Resets::of(vf);
        del("c1", &pod.path(), &vf.conf("")).unwrap();
        assert_eq!(resets.count(), expected, "{meanwhile:?}");
        vf.assert_clean(&before);
    }
}

/// A DPDK program that was killed.
struct Killed(Child);

impl Killed {
    fn run(vf: Vf) -> Self {
        // Addresses that a device can use without an IOMMU's help are known of huge pages alone.
        run("sh", &["-c", "echo 64 >/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"]);
        let child = Command::new("dpdk-testpmd")
            .args(["-l", "0-1", "-n", "1", "-a", &vf.pci.to_string(), "--"])
            .args(["-i", "--total-num-mbufs=2048"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Resets a VF, and waits until the PF has heard of it.
fn reset_until(vf: Vf, address: &str) {
    assert_eq!(Sysfs::host().reset(&vf.pci).unwrap(), Reset::Done);
    let begun = Instant::now();
    while vf.look().pf["address"] != address {
        assert!(begun.elapsed() < PATIENCE, "the PF still shows {}", vf.look().pf);
        thread::sleep(Duration::from_millis(50));
    }
}

/// uio doesn't reset a device when the program that has it dies, and the PF goes by what that program told it.
#[test]
fn what_a_killed_program_told_the_pf_is_forgotten() {
    let vf = vf(1, 3);
    let at_first = vf.look();
    bind(vf, "uio_pci_generic");
    // Whatever was set by the tests before this one stays through a reset.
    run("ip", &["link", "set", &vf.pf_name(), "vf", &vf.index.to_string(), "mac", NO_MAC]);
    reset_until(vf, NO_MAC);
    let before = vf.look();
    let pod = Pod::new("killed");
    add("c1", &pod, &vf.conf("")).unwrap();
    let mut program = Killed::run(vf);
    let begun = Instant::now();
    while vf.look().pf["address"] == NO_MAC {
        let ended = program.0.try_wait().unwrap();
        assert!(ended.is_none() && begun.elapsed() < PATIENCE * 3, "testpmd tells the PF nothing: {ended:?}");
        thread::sleep(Duration::from_millis(200));
    }
    drop(program);
    assert_ne!(vf.look().pf, before.pf);
    // The reset alone does it.
    reset_until(vf, NO_MAC);
    del("c1", &pod.path(), &vf.conf("")).unwrap();
    vf.assert_clean(&before);
    Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    // With a MAC that igbvf chose, since no admin MAC is left.
    let (after, mut expected) = (vf.look(), at_first);
    let mac = &after.home.as_ref().unwrap()["address"];
    expected.pf["address"] = mac.clone();
    expected.home.as_mut().unwrap()["address"] = mac.clone();
    assert_eq!(after, expected);
}
