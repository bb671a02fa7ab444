//! Free VFs: baselines, and marking them.

use std::fs::{self, File, FileTimes};
use std::time::{Duration, SystemTime};

use netlink::{Links, MacAddr};
use vf::{Error, Freshness, Prepared, State, Unprepared, Wanted};

use crate::detach::remake;
use crate::machine::{BOOT, Machine, everything, owner, pod};

const POOL: &str = "example.com/vfs";

#[test]
fn a_mark_is_repeatable_and_goes_when_it_is_not_claimed() {
    let machine = Machine::igb();
    let vf = machine.vf();
    assert_eq!(machine.host.prepare(vf, POOL).unwrap(), Prepared::Marked(Freshness::Taken));
    assert_eq!(machine.host.prepare(vf, POOL).unwrap(), Prepared::Already);
    assert_eq!(machine.host.prepare(vf, "example.com/other").unwrap(), Prepared::Marked(Freshness::Kept));
    assert_eq!(machine.host.unprepare(vf).unwrap(), Unprepared::Freed);
    assert_eq!(machine.host.unprepare(vf).unwrap(), Unprepared::NotPrepared);
    assert_eq!(machine.state(vf), None);
    assert!(machine.links.changes().is_empty());
}

#[test]
fn a_claim_remembers_the_pool_and_a_failed_attach_gives_the_mark_back() {
    let machine = Machine::igb();
    let vf = machine.vf();
    machine.host.prepare(vf, POOL).unwrap();
    machine.attach(&Wanted { mtu: Some(60), ..Wanted::default() }).unwrap_err();
    assert_eq!(machine.state(vf), Some(State::Prepared { resource: POOL.to_owned() }));
    machine.attach(&everything()).unwrap();
    let state = machine.state(vf).unwrap();
    assert_eq!(state.claim().unwrap().resource.as_deref(), Some(POOL));
    // Kubelet's view of it is behind: the pod isn't in its list any more.
    assert_eq!(machine.host.unprepare(vf).unwrap(), Unprepared::NotPrepared);
    assert_eq!(machine.state(vf), Some(state));
    machine.detach(1).unwrap();
    assert_eq!(machine.state(vf), None);
}

#[test]
fn what_is_claimed_or_quarantined_is_not_marked() {
    let machine = Machine::igb();
    let vf = machine.vf();
    machine.attach(&everything()).unwrap();
    assert!(matches!(machine.host.prepare(vf, POOL), Err(Error::Busy { .. })));
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "enp1s0v0", "peer");
    machine.detach(1).unwrap_err();
    let error = machine.host.prepare(vf, POOL).unwrap_err();
    assert!(matches!(&error, Error::Quarantined { reason, .. } if reason.contains("enp1s0v0")), "{error}");
}

#[test]
fn the_vf_of_a_dead_owner_is_released_and_marked() {
    let machine = Machine::igb();
    let vf = machine.vf();
    machine.attach(&everything()).unwrap();
    machine.links.remove_namespace(&pod(1));
    assert_eq!(machine.host.prepare(vf, POOL).unwrap(), Prepared::Marked(Freshness::Kept));
    assert_eq!(machine.look(vf).config.vlan, 0);
}

#[test]
fn a_free_vf_that_someone_changed_has_a_new_baseline() {
    let machine = Machine::igb();
    let vf = machine.vf();
    assert_eq!(machine.host.take_baseline(vf).unwrap(), Some(Freshness::Taken));
    assert_eq!(machine.host.take_baseline(vf).unwrap(), Some(Freshness::Kept));
    machine.links.change_vf_behind(&vf.to_string(), |config| config.vlan = 9);
    let Some(Freshness::Replaced(differences)) = machine.host.take_baseline(vf).unwrap() else {
        panic!("the change wasn't seen")
    };
    assert_eq!(vf::describe(&differences), "vlan is 9 in place of 0");
    machine.attach(&everything()).unwrap();
    assert_eq!(machine.host.take_baseline(vf).unwrap(), None);
    machine.detach(1).unwrap();
    assert_eq!(machine.look(vf).config.vlan, 9);
}

#[test]
fn a_device_that_was_made_again_has_a_new_baseline() {
    let machine = Machine::igb();
    machine.host.take_baseline(machine.vf()).unwrap();
    remake(&machine);
    let mac = machine.look(machine.vf()).link.unwrap().mac;
    assert_eq!(machine.host.take_baseline(machine.vf()).unwrap(), Some(Freshness::Taken));
    machine.attach(&everything()).unwrap();
    machine.detach(1).unwrap();
    assert_eq!(machine.look(machine.vf()).link.unwrap().mac, mac);
}

#[test]
fn a_reboot_voids_the_baseline() {
    let machine = Machine::igb();
    machine.host.take_baseline(machine.vf()).unwrap();
    let rebooted = machine.next_process("another boot");
    assert_eq!(rebooted.take_baseline(machine.vf()).unwrap(), Some(Freshness::Taken));
}

#[test]
fn a_vf_that_is_not_at_home_has_no_baseline() {
    let machine = Machine::igb();
    let vf = machine.vf();
    let namespace = machine.links.open(&pod(2)).unwrap();
    let link = machine.links.link_of_device(machine.links.host(), &vf.to_string()).unwrap().unwrap();
    let name = "elsewhere".parse().unwrap();
    machine.links.move_link(machine.links.host(), link.index, &namespace, &name, None).unwrap();
    let error = machine.host.prepare(vf, POOL).unwrap_err();
    assert!(matches!(&error, Error::NotAtHome { driver, .. } if driver == "igbvf"), "{error:?}");
    assert!(!machine.file("baseline").exists() && !machine.file("state").exists());
}

#[test]
fn a_vf_without_a_driver_is_refused() {
    let machine = Machine::igb();
    machine.links.unbind(&machine.vf().to_string());
    machine.tree.set_driver(&machine.vf(), None);
    assert!(matches!(machine.host.prepare(machine.vf(), POOL), Err(Error::NoDriver { .. })));
}

#[expect(clippy::disallowed_methods, reason = "as the existing plugin writes them")]
fn existing_record(machine: &Machine, netns: &str) -> std::path::PathBuf {
    let directory = machine.host.existing_state.join("pci");
    fs::create_dir_all(&directory).unwrap();
    let record = directory.join(machine.vf().to_string());
    fs::write(&record, netns).unwrap();
    fs::create_dir_all(&machine.host.proc).unwrap();
    fs::write(machine.host.proc.join("stat"), "cpu 1 2 3\nbtime 1000000\n").unwrap();
    record
}

#[test]
fn a_vf_of_the_existing_plugin_is_left_to_it() {
    let machine = Machine::igb();
    existing_record(&machine, "/run/netns/pod2");
    let error = machine.attach(&everything()).unwrap_err();
    assert!(matches!(error, Error::OfExistingPlugin { .. }) && error.is_transient(), "{error:?}");
    assert!(matches!(machine.host.prepare(machine.vf(), POOL), Err(Error::OfExistingPlugin { .. })));
    assert!(!machine.file("baseline").exists());
}

/// It leaves its record, and the VF in whatever state, when a namespace is gone before DEL.
#[test]
fn a_vf_that_the_existing_plugin_left_dirty_does_not_become_a_baseline() {
    let machine = Machine::igb();
    let record = existing_record(&machine, "/run/netns/gone");
    let error = machine.attach(&everything()).unwrap_err();
    assert!(matches!(error, Error::LeftByExistingPlugin { .. }), "{error:?}");
    assert!(error.to_string().contains(&record.display().to_string()), "{error}");
    // Older than the boot, it's about settings that no VF has any more.
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(999_999);
    File::options().write(true).open(&record).unwrap().set_times(FileTimes::new().set_modified(old)).unwrap();
    machine.attach(&everything()).unwrap();
}

#[test]
fn a_state_that_cannot_be_read_is_never_free() {
    for content in ["", "{", "{\"format\":1}"] {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        machine.attach(&everything()).unwrap();
        machine.spoil("state", content);
        // Someone else's VF may be under it: it's in a pod that we can't name.
        let error = machine.attach_to(2, &Wanted::default()).unwrap_err();
        assert!(
            matches!(&error, Error::Quarantined { reason, .. } if reason.contains("damaged")),
            "{error:?}"
        );
        assert!(matches!(machine.host.prepare(machine.vf(), POOL), Err(Error::Quarantined { .. })));
        assert!(matches!(machine.detach(2), Err(Error::Quarantined { .. })));
        assert!(machine.in_pod(1).is_some());
        // The pod that has it in its namespace is its owner.
        machine.detach(1).unwrap();
        assert_eq!(machine.look(machine.vf()), before);
        assert_eq!(machine.state(machine.vf()), None);
    }
}

#[test]
fn a_state_that_cannot_be_read_heals_once_the_vf_is_at_home() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    machine.spoil("state", "");
    machine.links.remove_namespace(&pod(1));
    machine.attach_to(2, &everything()).unwrap();
    machine.detach(2).unwrap();
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_lost_baseline_is_in_the_claim_as_well() {
    for content in ["", "{\"format\":1}"] {
        let machine = Machine::igb();
        let before = machine.look(machine.vf());
        machine.attach(&everything()).unwrap();
        machine.spoil("baseline", content);
        machine.detach(1).unwrap();
        assert_eq!(machine.look(machine.vf()), before);
    }
}

#[test]
fn files_of_a_newer_version_are_left_alone() {
    for kind in ["state", "baseline"] {
        let machine = Machine::igb();
        let content = "{\"format\":99,\"state\":\"elsewhere\"}";
        machine.spoil(kind, content);
        let error = machine.attach(&everything()).unwrap_err();
        assert!(matches!(&error, Error::Ledger { source, .. } if source.is_newer()), "{error:?}");
        assert!(error.is_transient());
        assert_eq!(fs::read_to_string(machine.file(kind)).unwrap(), content);
        assert!(machine.links.changes().is_empty());
    }
    let machine = Machine::igb();
    machine.spoil("state", "{\"format\":99}");
    assert!(matches!(machine.detach(1), Err(Error::Ledger { .. })));
    assert!(machine.host.sweep(&|_| true).unwrap()[0].1.is_err());
}

#[test]
fn an_mac_of_its_own_counts_where_none_is_set() {
    let machine = Machine::igb();
    let vf = machine.vf();
    let own = machine.look(vf).link.unwrap().mac;
    assert_eq!(machine.look(vf).config.mac, Some(MacAddr::default()));
    machine.attach(&Wanted::default()).unwrap();
    // Some drivers show it as soon as the VF uses it.
    machine.links.change_vf_behind(&vf.to_string(), |config| config.mac = own);
    assert!(machine.host.verify(vf, &owner(1)).unwrap().is_empty());
    machine.detach(1).unwrap();
    assert_eq!(machine.next_process(BOOT).take_baseline(vf).unwrap(), Some(Freshness::Kept));
}
