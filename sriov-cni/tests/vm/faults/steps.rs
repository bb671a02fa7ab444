//! The program killed after every single thing that it does: each write of the ledger, each step.
//!
//! `sriov-killed` is the program with a witness that kills it. What there is to be killed after isn't listed
//! here: a call is killed after its first deed, then after its second, until it has none left to be killed after.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use pci::{Driver, Sysfs};
use rstest::rstest;

use super::rescue::{RESCUES, Rescue};
use crate::life::MORE;
use crate::node::{Call, Pod, Vf, View, add, vf};

/// What a VF without an interface can be given.
const FOR_USER_SPACE: &str =
    r#","mac":"02:00:00:00:0b:02","vlan":100,"vlanQoS":3,"max_tx_rate":100,"spoofchk":"off","trust":"on""#;

const SIGKILL: i32 = 9;

/// Beside the tests' folder, where `hack/test` puts it.
fn program() -> PathBuf {
    let tests = env::current_exe().unwrap();
    tests.parent().unwrap().join("../vm-programs/sriov-killed")
}

/// Runs a call that's killed after its deed of that number; whether it was.
fn killed_after(deed: u32, call: &Call<'_>) -> bool {
    let mut command = call.command_of(program().to_str().unwrap());
    command.env("KILLED_AFTER", deed.to_string()).stdout(Stdio::null());
    let status = call.start(command).wait().unwrap();
    assert!(status.success() || status.signal() == Some(SIGKILL), "{}: {status}", call.command);
    !status.success()
}

/// Kills calls after their first, second… deed; how many deeds there are.
fn kill_all(vf: Vf, before: &View, command: &str, conf: &str, rescue: Rescue) -> u32 {
    for deed in 1.. {
        let pod = Pod::new("steps");
        if command == "DEL" {
            add("c1", &pod, conf).unwrap();
        }
        let call = Call { command, container: "c1", netns: &pod.path(), conf };
        let killed = killed_after(deed, &call);
        let said = format!("{command} killed after deed {deed}");
        rescue.run(&pod, conf, &said);
        assert_eq!((&vf.look(), vf.state()), (before, None), "{said}, then {rescue:?}");
        if !killed {
            return deed - 1;
        }
    }
    unreachable!("a call ends")
}

#[rstest]
fn killed_after_any_step_an_interface_comes_back(#[values("ADD", "DEL")] command: &str) {
    let vf = vf(1, 5);
    let before = vf.look();
    for rescue in RESCUES {
        let deeds = kill_all(vf, &before, command, &vf.conf(MORE), rescue);
        assert!(deeds >= 10, "{command}: only {deeds} deeds");
    }
}

#[rstest]
fn killed_after_any_step_a_vf_for_user_space_comes_back(#[values("ADD", "DEL")] command: &str) {
    let vf = vf(1, 5);
    let at_first = vf.look();
    Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
    let before = vf.look();
    for rescue in RESCUES {
        let deeds = kill_all(vf, &before, command, &vf.conf(FOR_USER_SPACE), rescue);
        assert!(deeds >= 6, "{command}: only {deeds} deeds");
    }
    Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    assert_eq!(vf.look().driver, at_first.driver);
}

/// The pod bound the VF to another driver: DEL's steps are others then.
#[test]
fn killed_after_any_step_a_del_of_a_vf_under_another_driver_is_ended_by_the_next() {
    let vf = vf(1, 5);
    let before = vf.look();
    for deed in 1.. {
        let pod = Pod::new("steps");
        let conf = vf.conf(MORE);
        add("c1", &pod, &conf).unwrap();
        Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
        let call = Call { command: "DEL", container: "c1", netns: &pod.path(), conf: &conf };
        let killed = killed_after(deed, &call);
        let said = format!("DEL killed after deed {deed}");
        Rescue::Del.run(&pod, &conf, &said);
        assert_eq!((vf.look(), vf.state()), (before.clone(), None), "{said}");
        if !killed {
            assert!(deed > 6, "only {deed} deeds");
            return;
        }
    }
}

/// Whoever rescues may be killed too, and whoever comes then: each gets one deed further at least in the end.
#[test]
fn a_del_that_is_killed_again_and_again_ends() {
    let vf = vf(1, 5);
    let before = vf.look();
    let pod = Pod::new("again");
    let conf = vf.conf(MORE);
    add("c1", &pod, &conf).unwrap();
    let call = Call { command: "DEL", container: "c1", netns: &pod.path(), conf: &conf };
    // The first deed of each is to note that it's at work; the second is a step.
    let mut times = 0;
    while killed_after(2, &call) {
        times += 1;
        assert!(times < 50, "DEL doesn't get further");
    }
    vf.assert_clean(&before);
}
