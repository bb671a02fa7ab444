//! A PF with many VFs and every attribute: the double in every test run, netdevsim in the VM node.

use netlink::{Errno, LinkState, Links, MacAddr, VfChange, VfConfig, VlanProto};

use super::Bench;

/// How many VFs the PF has: their list overflows the length that netlink's attributes have.
pub const MANY: u16 = 256;

/// A machine with a PF that has [`MANY`] VFs and whose driver takes every attribute.
pub trait LargeBench: Bench {
    /// The index of the PF's link.
    fn pf(&self) -> u32;
}

fn vfs<B: LargeBench>(bench: &B) -> Vec<VfConfig> {
    bench.links().vfs(bench.pf()).expect("VFs can be read")
}

/// Sets everything, one after the other, each read back alone, and back again.
fn goes_through_everything<B: LargeBench>(bench: &B, vf: u16) {
    let links = bench.links();
    let read = || links.vf(bench.pf(), vf).expect("the VF is listed");
    let before = read();
    let mut expected = before.clone();
    let mac = MacAddr([0x02, 0, 0, 0, 0x20, 1]);
    let vlan = |id, qos, proto| VfChange::Vlan { id, qos, proto };
    let mut takes = |change: VfChange, edit: &dyn Fn(&mut VfConfig)| {
        links.set_vf(bench.pf(), vf, &change).expect("the driver takes it");
        edit(&mut expected);
        assert_eq!(read(), expected, "{change} on VF {vf}");
    };
    takes(VfChange::Mac(mac), &|vf| vf.mac = Some(mac));
    takes(vlan(4094, 7, VlanProto::Dot1ad), &|vf| {
        (vf.vlan, vf.qos, vf.proto) = (4094, 7, VlanProto::Dot1ad);
    });
    takes(vlan(100, 3, VlanProto::Dot1q), &|vf| (vf.vlan, vf.qos, vf.proto) = (100, 3, VlanProto::Dot1q));
    takes(VfChange::Rate { min: 50, max: 1000 }, &|vf| (vf.min_tx_rate, vf.max_tx_rate) = (50, 1000));
    for on in [true, false] {
        takes(VfChange::SpoofCheck(on), &|vf| vf.spoofchk = Some(on));
        takes(VfChange::Trust(on), &|vf| vf.trust = Some(on));
    }
    for state in [LinkState::Enable, LinkState::Disable, LinkState::Auto] {
        takes(VfChange::LinkState(state), &|vf| vf.link_state = Some(state));
    }
    for change in [
        VfChange::Mac(before.mac.expect("an Ethernet VF has one")),
        vlan(before.vlan, before.qos, before.proto),
        VfChange::Rate { min: before.min_tx_rate, max: before.max_tx_rate },
        VfChange::SpoofCheck(before.spoofchk.expect("the driver tells it")),
        VfChange::Trust(before.trust.expect("the driver tells it")),
        VfChange::LinkState(before.link_state.expect("the driver tells it")),
    ] {
        links.set_vf(bench.pf(), vf, &change).expect("it was so before");
    }
    assert_eq!(read(), before);
}

/// All VFs are listed, by index, each once.
pub fn all_of_many_vfs_are_listed<B: LargeBench>(bench: &B) {
    let indexes = vfs(bench).into_iter().map(|vf| vf.index);
    assert!(indexes.eq(0..MANY));
}

/// Each attribute of the first and of the last VF is read back, also those that igb refuses.
pub fn every_attribute_is_read_back_on_the_first_and_the_last_vf<B: LargeBench>(bench: &B) {
    for vf in [0, MANY - 1] {
        goes_through_everything(bench, vf);
    }
}

/// What is set on one VF shows on none of the others.
pub fn a_change_to_one_of_many_vfs_shows_on_no_other<B: LargeBench>(bench: &B) {
    let before = vfs(bench);
    let (vf, mac) = (MANY / 2, MacAddr([0x02, 0, 0, 0, 0x20, 2]));
    let set = |mac| bench.links().set_vf(bench.pf(), vf, &VfChange::Mac(mac)).expect("the driver takes it");
    let own = before.iter().find(|other| other.index == vf).and_then(|vf| vf.mac);
    set(mac);
    let changed = |other: &VfConfig| if other.index == vf { Some(mac) } else { other.mac };
    let expected: Vec<VfConfig> =
        before.iter().map(|vf| VfConfig { mac: changed(vf), ..vf.clone() }).collect();
    assert_eq!(vfs(bench), expected);
    set(own.expect("an Ethernet VF has one"));
    assert_eq!(vfs(bench), before);
}

/// Beyond the last VF there's none to read or to set.
pub fn beyond_the_last_of_many_vfs_is_none<B: LargeBench>(bench: &B) {
    assert!(bench.links().vf(bench.pf(), MANY).is_err_and(|error| error.is_gone()));
    let refused =
        bench.links().set_vf(bench.pf(), MANY, &VfChange::Trust(true)).expect_err("there's no such VF");
    assert_eq!(refused.errno(), Some(Errno::EINVAL), "{refused:?}");
}

/// Makes a test of each check on many VFs, where `make` is an expression for an `Option<impl LargeBench>`.
#[macro_export]
macro_rules! large_contract {
    ($module:ident, $make:expr) => {
        $crate::links_contract!(@module $module, $make,
            all_of_many_vfs_are_listed, every_attribute_is_read_back_on_the_first_and_the_last_vf,
            a_change_to_one_of_many_vfs_shows_on_no_other, beyond_the_last_of_many_vfs_is_none
        );
    };
}
