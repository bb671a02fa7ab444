//! One owner, and who counts as dead.

use std::os::unix::fs::symlink;
use std::thread;
use std::time::Duration;

use ledger::Owner;
use netlink::Links;
use testbed::links::DriverModel;
use testbed::sysfs::PfSpec;
use vf::{Detached, Error, State, Swept, Vlan, Wanted};

use crate::detach::remake;
use crate::machine::{MAC, Machine, everything, key, owner, pod};

#[test]
fn another_owners_detach_changes_nothing() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    let attached = machine.look(machine.vf());
    let changes = machine.links.changes().len();
    let mine = owner(1);
    for other in [
        Owner { container_id: "sandbox0".into(), ..mine.clone() },
        Owner { network: "red".into(), ..mine.clone() },
        Owner { ifname: "net2".into(), ..mine },
    ] {
        let outcome = machine.host.detach(machine.vf(), &other, Some(&pod(1))).unwrap();
        assert_eq!(outcome, Detached::NotOwner);
        assert!(matches!(machine.host.confirm(machine.vf(), &other), Err(Error::NotOwned { .. })));
        assert!(matches!(machine.host.verify(machine.vf(), &other), Err(Error::NotOwned { .. })));
    }
    assert_eq!(machine.links.changes().len(), changes);
    assert_eq!(machine.look(machine.vf()), attached);
    assert_eq!(machine.host.owned_by(&owner(1)).unwrap(), [machine.vf()]);
    assert!(machine.host.owned_by(&owner(2)).unwrap().is_empty());
}

/// Kubelet gives a device away before the former pod's DEL has run.
#[test]
fn a_late_detach_for_an_old_sandbox_leaves_the_new_one_alone() {
    let machine = Machine::igb();
    machine.attach_to(1, &Wanted::default()).unwrap();
    machine.detach(1).unwrap();
    machine.attach_to(2, &everything()).unwrap();
    assert_eq!(machine.detach(1).unwrap(), Detached::NotOwner);
    assert_eq!(machine.in_pod(2).unwrap().mac, Some(MAC));
}

#[test]
fn a_living_owner_is_waited_for_and_the_wait_is_bounded() {
    let machine = Machine::igb();
    machine.attach_to(1, &everything()).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    let error = machine.attach_to(2, &Wanted::default()).unwrap_err();
    assert!(matches!(&error, Error::Busy { owner, .. } if owner.container_id == "sandbox1"), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(machine.in_pod(1).unwrap().mac, Some(MAC));
}

#[test]
fn an_attach_that_waits_gets_the_vf_clean_once_it_is_given_back() {
    let mut machine = Machine::igb();
    machine.host.deadlines.turn = Duration::from_mins(1);
    let own = machine.look(machine.vf()).link.unwrap().mac;
    machine.attach_to(1, &everything()).unwrap();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| machine.attach_to(2, &Wanted::default()));
        thread::sleep(Duration::from_millis(20));
        machine.detach(1).unwrap();
        let attached = waiter.join().unwrap().unwrap();
        assert_eq!((attached.mac, attached.mtu), (own, Some(1500)));
    });
}

#[test]
fn of_two_attaches_one_wins() {
    let machine = Machine::igb();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = [1, 2]
            .map(|number| {
                (
                    number,
                    scope.spawn({
                        let machine = &machine;
                        move || machine.attach_to(number, &everything())
                    }),
                )
            })
            .into();
        handles.into_iter().map(|(number, handle)| (number, handle.join().unwrap())).collect()
    });
    let winners: Vec<u32> = outcomes.iter().filter(|(_, it)| it.is_ok()).map(|(number, _)| *number).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert!(outcomes.iter().any(|(_, it)| matches!(it, Err(Error::Busy { .. }))), "{outcomes:?}");
    assert!(machine.in_pod(winners[0]).is_some());
}

#[test]
fn a_dead_owner_is_released_by_the_next_attach() {
    let machine = Machine::igb();
    let own = machine.look(machine.vf()).link.unwrap().mac;
    machine.attach_to(1, &everything()).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    machine.links.remove_namespace(&pod(1));
    let attached = machine.attach_to(2, &Wanted::default()).unwrap();
    assert_eq!((attached.mac, attached.mtu), (own, Some(1500)));
    assert_eq!(machine.look(machine.vf()).config.vlan, 0);
}

/// The PF was taken through 0 VFs: what the pod had is gone, so nobody has to wait for it.
#[test]
fn a_living_owner_of_a_device_that_was_made_again_has_nothing_of_it() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    remake(&machine);
    let before = machine.look(machine.vf());
    machine.attach_to(2, &everything()).unwrap();
    assert_eq!(machine.detach(1).unwrap(), Detached::NotOwner);
    assert_eq!(machine.detach(2).unwrap(), Detached::Released);
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn a_reused_path_does_not_keep_an_owner_alive() {
    let machine = Machine::igb();
    machine.attach_to(1, &everything()).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    machine.links.remove_namespace(&pod(1));
    machine.links.add_namespace(pod(1));
    machine.attach_to(2, &Wanted::default()).unwrap();
}

/// The path may go while a process still lives in the namespace.
#[test]
fn a_namespace_that_a_process_is_in_is_alive() {
    let machine = Machine::igb();
    // The double knows namespaces by path, and its inodes are none of the file system's: the process's own
    // namespace stands for one that the claim recorded.
    let ns = machine.directory.path().join("proc/4711/ns");
    std::fs::create_dir_all(&ns).unwrap();
    symlink("/proc/self/ns/net", ns.join("net")).unwrap();
    machine.attach_to(1, &everything()).unwrap();
    let metadata = std::fs::metadata("/proc/self/ns/net").unwrap();
    {
        use std::os::unix::fs::MetadataExt;
        let locked = machine.host.ledger.lock(&key(machine.vf()), Duration::from_mins(1)).unwrap();
        let mut entry: vf::Entry = locked.entry().unwrap().unwrap();
        let State::Claimed { claim } = &mut entry.state else { panic!("{entry:?}") };
        let record = claim.netns.as_mut().unwrap();
        (record.dev, record.ino) = (metadata.dev(), metadata.ino());
        locked.write_entry(&entry).unwrap();
    }
    let error = machine.attach_to(2, &Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    std::fs::remove_file(ns.join("net")).unwrap();
    machine.links.remove_namespace(&pod(1));
    machine.attach_to(2, &Wanted::default()).unwrap();
}

#[test]
fn an_interface_that_is_nowhere_in_sight_is_quarantined_until_the_kernel_brings_it_home() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    machine.attach_to(1, &everything()).unwrap();
    let nested = machine.links.open(&pod(2)).unwrap();
    let namespace = machine.links.open(&pod(1)).unwrap();
    let link = machine.in_pod(1).unwrap();
    machine.links.move_link(&namespace, link.index, &nested, &"deep".parse().unwrap(), None).unwrap();
    let error = machine.detach(1).unwrap_err();
    assert!(
        matches!(&error, Error::Quarantined { reason, .. } if reason.contains("no namespace")),
        "{error}"
    );
    // What can be restored from outside is.
    assert_eq!(machine.look(machine.vf()).config, before.config);
    drop(nested);
    machine.links.remove_namespace(&pod(2));
    assert_eq!(machine.detach(1).unwrap(), Detached::Released);
    assert_eq!(machine.look(machine.vf()), before);
}

#[test]
fn an_attach_that_died_half_way_is_released_by_its_own_next_one() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    // No confirm: the same sandbox asks again.
    let attached = machine.attach(&Wanted::default()).unwrap();
    assert_eq!(attached.mtu, Some(1500));
    assert_eq!(machine.look(machine.vf()).config.vlan, 0);
}

#[test]
fn a_sweep_releases_the_dead_and_heals_the_quarantined_and_leaves_the_living() {
    let machine = Machine::igb();
    let before = machine.look(machine.vf());
    machine.attach(&everything()).unwrap();
    machine.host.confirm(machine.vf(), &owner(1)).unwrap();
    assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
    assert!(machine.in_pod(1).is_some());

    let swept = machine.host.sweep(&|owner| owner.container_id != "sandbox1").unwrap();
    assert_eq!(swept.len(), 1);
    assert_eq!(swept[0].0, machine.vf());
    assert_eq!(swept[0].1.as_ref().unwrap(), &Swept::Released { owner: owner(1) });
    assert_eq!(machine.look(machine.vf()), before);

    machine.attach(&everything()).unwrap();
    machine.links.add_veth("/proc/1/ns/net".as_ref(), "enp1s0v0", "peer");
    machine.detach(1).unwrap_err();
    let swept = machine.host.sweep(&|_| true).unwrap();
    assert!(matches!(swept[0].1, Err(Error::Quarantined { .. })), "{swept:?}");
    let taken = machine.links.link_named(machine.links.host(), "enp1s0v0").unwrap().unwrap();
    machine.links.rename(machine.links.host(), taken.index, &"other".parse().unwrap()).unwrap();
    let swept = machine.host.sweep(&|_| true).unwrap();
    assert_eq!(swept[0].1.as_ref().unwrap(), &Swept::Healed);
    assert_eq!(machine.look(machine.vf()), before);
    assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
}

#[test]
fn a_sweep_passes_over_a_vf_that_someone_works_on() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    machine.links.remove_namespace(&pod(1));
    let held = machine.host.ledger.lock(&key(machine.vf()), Duration::from_mins(1)).unwrap();
    assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
    drop(held);
    assert_eq!(machine.host.sweep(&|_| true).unwrap().len(), 1);
}

#[test]
fn a_sweep_of_one_network_leaves_the_others_alone() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    machine.links.remove_namespace(&pod(1));
    assert!(machine.host.sweep_network("red", &|_| false).unwrap().is_empty());
    assert!(machine.state(machine.vf()).is_some());
    assert_eq!(machine.host.sweep_network("blue", &|_| true).unwrap().len(), 1);
    assert_eq!(machine.state(machine.vf()), None);
}

/// A program in a container may see neither the namespaces' paths nor other processes.
#[test]
fn an_owner_is_not_dead_while_its_interface_has_not_come_home() {
    let machine = Machine::igb();
    machine.attach(&everything()).unwrap();
    let attached = machine.look(machine.vf());
    let kept = machine.links.open(&pod(1)).unwrap();
    machine.links.remove_namespace(&pod(1));
    assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
    let error = machine.attach_to(2, &Wanted::default()).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    assert_eq!(machine.look(machine.vf()), attached);
    drop(kept);
    machine.attach_to(2, &Wanted::default()).unwrap();
}

#[test]
fn without_an_interface_an_owner_is_dead_if_nothing_is_where_its_namespace_was() {
    let spec = PfSpec { vf_driver: Some("vfio-pci".to_owned()), ..PfSpec::igb("0000:01:00.0", "enp1s0") };
    let machine = Machine::new(spec, DriverModel::igb());
    let directory = machine.directory.path().join("netns");
    let path = directory.join("pod3");
    machine.links.add_namespace(&path);
    let owner = owner(3);
    let wanted = Wanted { vlan: Some(Vlan { id: 100, ..Vlan::default() }), ..Wanted::default() };
    let request = vf::Attach {
        pci: machine.vf(),
        owner: &owner,
        netns: &path,
        wanted: &wanted,
        pod: None,
        resource: None,
    };
    machine.host.attach(&request).unwrap();
    machine.links.remove_namespace(&path);
    // The directory isn't seen from here, or mounts don't propagate to here.
    assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
    std::fs::create_dir(&directory).unwrap();
    std::fs::File::create(&path).unwrap();
    assert!(machine.host.sweep(&|_| true).unwrap().is_empty());
    assert_eq!(machine.look(machine.vf()).config.vlan, 100);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(machine.host.sweep(&|_| true).unwrap().len(), 1);
    assert_eq!(machine.look(machine.vf()).config.vlan, 0);
}
