use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Errno, Error, IfName, LinkState, Links, MacAddr, Verb, VfChange, VlanProto};
use rstest::rstest;

use super::{Attribute, DriverModel, FakeLinks};
use crate::sysfs::{PfSpec, SysfsTree};

const PF: &str = "0000:01:00.0";
const VF: &str = "0000:01:10.0";
const POD: &str = "/run/netns/pod";
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);

fn machine(model: DriverModel) -> (FakeLinks, u32) {
    let links = FakeLinks::new();
    let vfs = ["0000:01:10.0", "0000:01:10.2"].map(str::to_owned);
    let pf = links.add_pf(PF, "eth1", &vfs, model);
    links.add_namespace(POD);
    (links, pf)
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

/// Moves the first VF into the pod's namespace.
fn attach(links: &FakeLinks) -> (super::FakeNamespace, u32) {
    let pod = links.open(Path::new(POD)).unwrap();
    let vf = links.link_of_device(links.host(), VF).unwrap().unwrap();
    let moved = links.move_link(links.host(), vf.index, &pod, &name("net1"), None).unwrap();
    (pod, moved.index)
}

#[rstest]
#[case(VfChange::LinkState(LinkState::Enable), Errno::EOPNOTSUPP)]
#[case(VfChange::Vlan { id: 5, qos: 0, proto: VlanProto::Dot1ad }, Errno::EPROTONOSUPPORT)]
#[case(VfChange::Rate { min: 1, max: 10 }, Errno::EINVAL)]
#[case(VfChange::Rate { min: 0, max: 2000 }, Errno::EINVAL)]
#[case(VfChange::Vlan { id: 4095, qos: 0, proto: VlanProto::Dot1q }, Errno::EINVAL)]
fn igb_refuses_as_measured(#[case] change: VfChange, #[case] errno: Errno) {
    let (links, pf) = machine(DriverModel::igb());
    let before = links.vf(pf, 0).unwrap();
    let error = links.set_vf(pf, 0, &change).unwrap_err();
    assert_eq!(error.errno(), Some(errno), "{error}");
    assert_eq!(links.vf(pf, 0).unwrap(), before);
}

#[test]
fn a_vf_beyond_the_last_is_invalid_to_set_and_absent_to_read() {
    let (links, pf) = machine(DriverModel::igb());
    let error = links.set_vf(pf, 2, &VfChange::Trust(true)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EINVAL));
    assert!(links.vf(pf, 2).unwrap_err().is_gone());
}

#[rstest]
#[case::igbvf_at_its_next_reset(DriverModel::igb(), [false, false, true])]
#[case::iavf_at_once(DriverModel::iavf(), [true, true, true])]
#[case::mlx5_when_bound_again(DriverModel::mlx5(), [false, false, false])]
fn an_admin_mac_is_taken_by(#[case] model: DriverModel, #[case] set_up_down: [bool; 3]) {
    let (links, pf) = machine(model);
    let vf = || links.link_of_device(links.host(), VF).unwrap().unwrap();
    links.set_vf(pf, 0, &VfChange::Mac(MAC)).unwrap();
    let set = vf().mac == Some(MAC);
    links.set_up(links.host(), vf().index, true).unwrap();
    let up = vf().mac == Some(MAC);
    links.set_up(links.host(), vf().index, false).unwrap();
    assert_eq!([set, up, vf().mac == Some(MAC)], set_up_down);
    links.unbind(VF);
    links.bind(VF);
    assert_eq!(vf().mac, Some(MAC));
}

#[test]
fn igbvf_takes_an_admin_mac_with_another_mtu() {
    let (links, pf) = machine(DriverModel::igb());
    let vf = links.link_of_device(links.host(), VF).unwrap().unwrap();
    links.set_vf(pf, 0, &VfChange::Mac(MAC)).unwrap();
    links.set_mtu(links.host(), vf.index, vf.mtu).unwrap();
    assert_eq!(links.link(links.host(), vf.index).unwrap().unwrap().mac, vf.mac);
    links.set_mtu(links.host(), vf.index, 1400).unwrap();
    assert_eq!(links.link(links.host(), vf.index).unwrap().unwrap().mac, Some(MAC));
}

#[test]
fn only_a_trusted_vf_changes_a_mac_that_its_pf_set() {
    let (links, pf) = machine(DriverModel::igb());
    let vf = links.link_of_device(links.host(), VF).unwrap().unwrap();
    let own = MacAddr([2, 0, 0, 0, 0, 0x22]);
    links.set_vf(pf, 0, &VfChange::Mac(MAC)).unwrap();
    let error = links.set_mac(links.host(), vf.index, own).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::EADDRNOTAVAIL));
    links.set_vf(pf, 0, &VfChange::Trust(true)).unwrap();
    links.set_mac(links.host(), vf.index, own).unwrap();
    assert_eq!(links.link(links.host(), vf.index).unwrap().unwrap().mac, Some(own));
}

#[test]
fn what_a_driver_does_not_tell_is_none() {
    let (links, pf) = machine(DriverModel::mlx5().untelling([Attribute::Trust, Attribute::SpoofCheck]));
    let vf = links.vf(pf, 0).unwrap();
    assert_eq!((vf.trust, vf.spoofchk, vf.link_state), (None, None, Some(LinkState::Auto)));
}

#[test]
fn a_vf_returns_when_its_namespace_ends_with_the_last_that_has_it_open() {
    let (links, _) = machine(DriverModel::igb());
    let (pod, index) = attach(&links);
    links.set_mtu(&pod, index, 9000).unwrap();
    links.set_up(&pod, index, true).unwrap();
    links.remove_namespace(Path::new(POD));
    assert!(matches!(links.open(Path::new(POD)), Err(Error::NamespaceGone { .. })));
    assert!(links.link_of_device(links.host(), VF).unwrap().is_none(), "it's still open");
    drop(pod);
    let vf = links.link_of_device(links.host(), VF).unwrap().unwrap();
    assert_eq!((vf.name.as_str(), vf.mtu, vf.up), ("net1", 9000, false));
}

#[test]
fn a_returning_vf_whose_name_is_taken_gets_a_numbered_one() {
    let (links, _) = machine(DriverModel::igb());
    let (pod, _) = attach(&links);
    drop(pod);
    links.rename_behind("0000:01:10.2", "net1");
    links.remove_namespace(Path::new(POD));
    let vf = links.link_of_device(links.host(), VF).unwrap().unwrap();
    assert_eq!(vf.name, format!("dev{}", vf.index));
}

#[test]
fn an_altname_that_is_taken_stops_a_move_and_nothing_changes() {
    let (links, _) = machine(DriverModel::igb());
    let (pod, index) = attach(&links);
    links.add_altname(VF, "eth1");
    let before = links.link(&pod, index).unwrap();
    let error = links.move_link(&pod, index, links.host(), &name("eth1v0"), Some(1400)).unwrap_err();
    assert!(error.is_taken());
    assert_eq!(links.link(&pod, index).unwrap(), before);
    links.remove_altname(&pod, index, "eth1".as_ref()).unwrap();
    links.move_link(&pod, index, links.host(), &name("eth1v0"), Some(1400)).unwrap();
}

#[test]
fn faults_come_at_the_call_they_are_set_for() {
    let (links, pf) = machine(DriverModel::igb());
    links.fail_on(Verb::SetVf, 2, Errno::EBUSY);
    links.set_vf(pf, 0, &VfChange::Trust(true)).unwrap();
    let error = links.set_vf(pf, 0, &VfChange::Mac(MAC)).unwrap_err();
    assert!(error.is_transient());
    links.set_vf(pf, 0, &VfChange::Mac(MAC)).unwrap();
    let changes: Vec<String> = links.changes().into_iter().map(|call| call.target).collect();
    assert_eq!(changes.len(), 2, "{changes:?}");
}

#[test]
fn the_dead_see_and_change_nothing_until_revived() {
    let (links, pf) = machine(DriverModel::igb());
    links.die_after(1);
    links.vf(pf, 0).unwrap();
    links.set_vf(pf, 0, &VfChange::Trust(true)).unwrap();
    links.vf(pf, 0).unwrap();
    links.set_vf(pf, 0, &VfChange::Mac(MAC)).unwrap_err();
    links.vf(pf, 0).unwrap_err();
    links.revive();
    let vf = links.vf(pf, 0).unwrap();
    assert_eq!((vf.trust, vf.mac), (Some(true), Some(MacAddr::default())));
}

#[test]
fn a_stalled_call_goes_on_when_released() {
    let (links, pf) = machine(DriverModel::igb());
    links.stall_on(Verb::SetVf, 1);
    let other = links.clone();
    let call = thread::spawn(move || other.set_vf(pf, 0, &VfChange::Trust(true)));
    while links.changes().is_empty() {
        thread::yield_now();
    }
    assert!(!call.is_finished());
    links.release_stalled();
    call.join().unwrap().unwrap();
}

#[test]
fn a_disabled_vf_has_no_carrier() {
    let (links, pf) = machine(DriverModel::iavf());
    let vf = links.link_of_device(links.host(), VF).unwrap().unwrap();
    links.set_up(links.host(), vf.index, true).unwrap();
    links.set_vf(pf, 0, &VfChange::LinkState(LinkState::Disable)).unwrap();
    assert!(!links.wait_carrier(links.host(), vf.index, Instant::now()).unwrap());
    let later = links.clone();
    let change = thread::spawn(move || later.set_vf(pf, 0, &VfChange::LinkState(LinkState::Enable)));
    let deadline = Instant::now() + Duration::from_secs(30);
    assert!(links.wait_carrier(links.host(), vf.index, deadline).unwrap());
    change.join().unwrap().unwrap();
}

#[test]
fn sysfs_shows_the_names_that_the_host_has() {
    let tree = SysfsTree::new();
    tree.add_pf(&PfSpec { num_vfs: 2, ..PfSpec::igb(PF, "eth1") });
    let (links, _) = machine(DriverModel::igb());
    links.mirror(&tree);
    let names = || tree.sysfs().function(&VF.parse().unwrap()).unwrap().net_names;
    assert_eq!(names(), ["eth1v0"]);
    let (pod, _) = attach(&links);
    assert!(names().is_empty());
    drop(pod);
    links.remove_namespace(Path::new(POD));
    assert_eq!(names(), ["net1"]);
    links.unbind(VF);
    assert!(names().is_empty());
}
