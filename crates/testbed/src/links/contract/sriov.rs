//! VFs, as igb and igbvf have them: the double in every test run, the real ones in the VM node.

use std::thread;
use std::time::{Duration, Instant};

use netlink::{Errno, Guid, Link, LinkState, Links, MacAddr, VfChange, VfConfig, VlanProto};

use super::{Bench, name};

/// How long the kernel may take for what it does on its own.
const LONG: Duration = Duration::from_mins(2);

/// A machine with a PF that has free VFs.
pub trait SriovBench: Bench {
    /// The index of the PF's link.
    fn pf(&self) -> u32;

    /// A VF that no other check has: its index below the PF, and its PCI address.
    fn vf(&self) -> (u16, String);
}

/// The VF's link in the host namespace.
fn host_link<B: SriovBench>(bench: &B, pci: &str) -> Link {
    let links = bench.links();
    links
        .link_of_device(links.host(), pci)
        .expect("links can be read")
        .expect("the VF is in the host namespace")
}

fn config<B: SriovBench>(bench: &B, vf: u16) -> VfConfig {
    bench.links().vf(bench.pf(), vf).expect("VFs can be read")
}

fn set<B: SriovBench>(bench: &B, vf: u16, change: &VfChange) {
    bench.links().set_vf(bench.pf(), vf, change).expect("the driver takes it");
}

/// Waits for what the kernel does after a call has returned.
fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + LONG;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// VFs are listed by index, each once.
pub fn vfs_are_listed_by_index<B: SriovBench>(bench: &B) {
    let vfs = bench.links().vfs(bench.pf()).expect("VFs can be read");
    assert!(!vfs.is_empty());
    let indexes = vfs.iter().map(|vf| usize::from(vf.index));
    assert!(indexes.eq(0..vfs.len()), "{vfs:?}");
}

/// Each change is read back, alone, and its inverse restores the VF.
pub fn every_change_is_read_back_and_restored<B: SriovBench>(bench: &B) {
    let (vf, _) = bench.vf();
    let before = config(bench, vf);
    let vlan = |id, qos| VfChange::Vlan { id, qos, proto: VlanProto::Dot1q };
    let rate = |max| VfChange::Rate { min: 0, max };
    let mac = MacAddr([0x02, 0, 0, 0, 0x10, 1]);
    let zero = MacAddr::default();
    let plain = || before.clone();
    for (change, after, inverse) in [
        (
            VfChange::Mac(mac),
            VfConfig { mac: Some(mac), ..plain() },
            VfChange::Mac(before.mac.unwrap_or(zero)),
        ),
        (vlan(100, 5), VfConfig { vlan: 100, qos: 5, ..plain() }, vlan(before.vlan, before.qos)),
        (rate(100), VfConfig { max_tx_rate: 100, ..plain() }, rate(before.max_tx_rate)),
        (
            VfChange::SpoofCheck(before.spoofchk != Some(true)),
            VfConfig { spoofchk: before.spoofchk.map(|on| !on), ..plain() },
            VfChange::SpoofCheck(before.spoofchk == Some(true)),
        ),
        (
            VfChange::Trust(before.trust != Some(true)),
            VfConfig { trust: before.trust.map(|on| !on), ..plain() },
            VfChange::Trust(before.trust == Some(true)),
        ),
    ] {
        set(bench, vf, &change);
        assert_eq!(config(bench, vf), after, "{change}");
        set(bench, vf, &inverse);
        assert_eq!(config(bench, vf), before, "{inverse}");
    }
}

/// What igb can't do is refused as it refuses it, with words, and changes nothing.
pub fn what_the_driver_refuses_changes_nothing<B: SriovBench>(bench: &B) {
    let (vf, _) = bench.vf();
    let before = config(bench, vf);
    let beyond = bench.links().vfs(bench.pf()).expect("VFs can be read").len();
    let beyond = u16::try_from(beyond).expect("VF indexes have 16 bits");
    let vlan = |id, proto| VfChange::Vlan { id, qos: 0, proto };
    for (index, change, errno) in [
        (vf, VfChange::LinkState(LinkState::Auto), Errno::EOPNOTSUPP),
        (vf, VfChange::LinkState(LinkState::Enable), Errno::EOPNOTSUPP),
        (vf, VfChange::LinkState(LinkState::Disable), Errno::EOPNOTSUPP),
        (vf, vlan(100, VlanProto::Dot1ad), Errno::EPROTONOSUPPORT),
        (vf, VfChange::Rate { min: 10, max: 100 }, Errno::EINVAL),
        (vf, VfChange::Rate { min: 0, max: 2000 }, Errno::EINVAL),
        (vf, VfChange::Mac(MacAddr([0x01, 0, 0x5e, 0, 0, 1])), Errno::EINVAL),
        (vf, VfChange::NodeGuid(Guid([2; 8])), Errno::EOPNOTSUPP),
        (vf, VfChange::PortGuid(Guid([2; 8])), Errno::EOPNOTSUPP),
        (beyond, VfChange::Trust(true), Errno::EINVAL),
    ] {
        let error = bench.links().set_vf(bench.pf(), index, &change).expect_err("igb refuses it");
        assert_eq!(error.errno(), Some(errno), "{change}: {error:?}");
        assert_eq!(error.is_unsupported(), errno != Errno::EINVAL, "{change}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(&format!("VF {index} ")) && text.contains(&change.to_string()), "{text}");
        assert_eq!(config(bench, vf), before, "{change}");
    }
    assert!(bench.links().vf(bench.pf(), beyond).is_err_and(|error| error.is_gone()));
}

/// A VF is found by its PCI address wherever it is, and moves, renamed and with its MTU, in one step.
pub fn a_vf_is_found_by_its_device_wherever_it_is<B: SriovBench>(bench: &B) {
    let (_, pci) = bench.vf();
    let links = bench.links();
    let before = host_link(bench, &pci);
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let moved =
        links.move_link(links.host(), before.index, &pod, &name("net1"), Some(9000)).expect("it can move");
    assert_eq!((moved.name.as_str(), moved.mtu, moved.device.as_deref()), ("net1", 9000, Some(pci.as_str())));
    let found = links.link_of_device(&pod, &pci).expect("links can be read");
    assert_eq!(found.map(|link| link.index), Some(moved.index));
    assert_eq!(links.link_of_device(links.host(), &pci).expect("links can be read"), None);
    for altname in &moved.altnames {
        links.remove_altname(&pod, moved.index, altname).expect("it's there");
    }
    let home = name(&before.name);
    let back =
        links.move_link(&pod, moved.index, links.host(), &home, Some(before.mtu)).expect("it can move");
    assert_eq!((back.name, back.mtu, back.mac), (before.name, before.mtu, before.mac));
}

/// An admin MAC becomes the interface's on its way down, not up; before that not even the VF can set it.
pub fn an_admin_mac_takes_effect_on_the_way_down<B: SriovBench>(bench: &B) {
    let (vf, pci) = bench.vf();
    let links = bench.links();
    let before = host_link(bench, &pci);
    let up = |up| links.set_up(links.host(), before.index, up).expect("it's there");
    let admin = MacAddr([0x02, 0, 0, 0, 0x10, 2]);
    up(false);
    set(bench, vf, &VfChange::Mac(admin));
    up(true);
    assert_eq!(host_link(bench, &pci).mac, before.mac);
    let error = links.set_mac(links.host(), before.index, admin).expect_err("it hasn't taken it yet");
    assert_eq!(error.errno(), Some(Errno::EADDRNOTAVAIL), "{error:?}");
    up(false);
    assert_eq!(host_link(bench, &pci).mac, Some(admin));
    links.set_mac(links.host(), before.index, admin).expect("it has it");

    // Removed, it stays the interface's, which tells it to the PF again, until its own is set.
    set(bench, vf, &VfChange::Mac(MacAddr::default()));
    assert_eq!(config(bench, vf).mac, Some(MacAddr::default()));
    up(true);
    up(false);
    assert_eq!((host_link(bench, &pci).mac, config(bench, vf).mac), (Some(admin), Some(admin)));
    let own = before.mac.expect("a VF has an address");
    links.set_mac(links.host(), before.index, own).expect("nothing is set through the PF");
    assert_eq!((host_link(bench, &pci).mac, config(bench, vf).mac), (Some(own), Some(own)));
    up(before.up);
}

/// Another MTU makes a VF take its admin MAC, too.
pub fn an_admin_mac_takes_effect_with_another_mtu<B: SriovBench>(bench: &B) {
    let (vf, pci) = bench.vf();
    let links = bench.links();
    let before = host_link(bench, &pci);
    let admin = MacAddr([0x02, 0, 0, 0, 0x10, 4]);
    set(bench, vf, &VfChange::Mac(admin));
    assert_eq!(host_link(bench, &pci).mac, before.mac);
    links.set_mtu(links.host(), before.index, 1400).expect("igbvf takes it");
    assert_eq!(host_link(bench, &pci).mac, Some(admin));
    links.set_mtu(links.host(), before.index, before.mtu).expect("it had it before");
    set(bench, vf, &VfChange::Mac(MacAddr::default()));
    let own = before.mac.expect("a VF has an address");
    links.set_mac(links.host(), before.index, own).expect("nothing is set through the PF");
}

/// Only a trusted VF changes an address that its PF set, and the PF then shows the VF's.
pub fn an_admin_mac_is_guarded<B: SriovBench>(bench: &B) {
    let (vf, pci) = bench.vf();
    let links = bench.links();
    let before = host_link(bench, &pci);
    let up = |up| links.set_up(links.host(), before.index, up).expect("it's there");
    let (admin, own) = (MacAddr([0x02, 0, 0, 0, 0x10, 5]), MacAddr([0x02, 0, 0, 0, 0x10, 6]));
    set(bench, vf, &VfChange::Mac(admin));
    up(true);
    up(false);
    let error = links.set_mac(links.host(), before.index, own).expect_err("it isn't trusted");
    assert_eq!(error.errno(), Some(Errno::EADDRNOTAVAIL), "{error:?}");
    assert_eq!((host_link(bench, &pci).mac, config(bench, vf).mac), (Some(admin), Some(admin)));

    set(bench, vf, &VfChange::Trust(true));
    links.set_mac(links.host(), before.index, own).expect("it's trusted");
    set(bench, vf, &VfChange::Trust(false));
    assert_eq!((host_link(bench, &pci).mac, config(bench, vf).mac), (Some(own), Some(own)));

    set(bench, vf, &VfChange::Mac(MacAddr::default()));
    let own = before.mac.expect("a VF has an address");
    links.set_mac(links.host(), before.index, own).expect("nothing is set through the PF");
    up(before.up);
}

/// Moves a VF into a namespace, ends that, and returns the VF's link before and in the host namespace again.
fn lose<B: SriovBench>(bench: &B, pci: &str, pod_name: &str) -> (Link, Link) {
    let links = bench.links();
    let before = host_link(bench, pci);
    let path = bench.add_namespace();
    let pod = links.open(&path).expect("it was just made");
    let moved =
        links.move_link(links.host(), before.index, &pod, &name(pod_name), Some(1400)).expect("it can move");
    links.set_up(&pod, moved.index, true).expect("it's there");
    bench.remove_namespace(&path);
    assert!(links.link_of_device(&pod, pci).expect("links can be read").is_some(), "it's still open");
    drop(pod);
    let back = eventually(|| links.link_of_device(links.host(), pci).expect("links can be read"));
    (before, back.expect("the VF comes back"))
}

fn rename_back<B: SriovBench>(bench: &B, lost: &Link, before: &Link) {
    let links = bench.links();
    links.rename(links.host(), lost.index, &name(&before.name)).expect("its name is free");
    links.set_mtu(links.host(), lost.index, before.mtu).expect("it had it before");
    links.set_up(links.host(), lost.index, before.up).expect("it's there");
}

/// When its namespace ends, a VF returns as it was there, but down.
pub fn a_vf_returns_when_its_namespace_ends<B: SriovBench>(bench: &B) {
    let (_, pci) = bench.vf();
    let (before, back) = lose(bench, &pci, "pod7");
    assert_eq!((back.name.as_str(), back.mtu, back.up), ("pod7", 1400, false));
    rename_back(bench, &back, &before);
}

/// It gets a numbered name when its own is taken.
pub fn a_returning_vf_whose_name_is_taken_is_numbered<B: SriovBench>(bench: &B) {
    let (_, pci) = bench.vf();
    bench.add_veth("pod8", "pod9");
    let (before, back) = lose(bench, &pci, "pod8");
    assert_eq!(back.name, format!("dev{}", back.index));
    rename_back(bench, &back, &before);
}

/// A VF that's up has a carrier soon, while its PF has one.
pub fn a_vf_that_is_up_has_a_carrier<B: SriovBench>(bench: &B) {
    let (_, pci) = bench.vf();
    let links = bench.links();
    let link = host_link(bench, &pci);
    links.set_up(links.host(), link.index, true).expect("it's there");
    assert!(
        links.wait_carrier(links.host(), link.index, Instant::now() + LONG).expect("it can be waited for")
    );
    links.set_up(links.host(), link.index, false).expect("it's there");
    assert!(!host_link(bench, &pci).carrier);
    links.set_up(links.host(), link.index, link.up).expect("it's there");
}
