//! The program killed at random moments.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::rescue::RESCUES;
use super::{Dice, all_vfs, assert_all_clean, looks, number};
use crate::life::MORE;
use crate::node::{Call, Pod, Vf, add, del};

/// The longest that an ADD and a DEL take here, of five.
fn spans(vf: Vf) -> [Duration; 2] {
    let pod = Pod::new("span");
    let conf = vf.conf(MORE);
    let mut longest = [Duration::ZERO; 2];
    for _ in 0..5 {
        let begun = Instant::now();
        add("c1", &pod, &conf).unwrap();
        let added = begun.elapsed();
        del("c1", &pod.path(), &conf).unwrap();
        longest = [longest[0].max(added), longest[1].max(begun.elapsed().saturating_sub(added))];
    }
    longest
}

/// 200 in the long runs.
#[test]
fn kills_at_random_moments_leave_no_vf_that_differs() {
    let vfs = all_vfs();
    let before = looks(&vfs);
    let [of_add, of_del] = spans(vfs[0]);
    let kills = number("PATCHBAY_KILLS", 40);
    let mut in_time = 0;
    for round in 0..kills {
        let mut dice = Dice::of_round(round);
        let (vf, rescue) = (dice.pick(&vfs), dice.pick(&RESCUES));
        let (command, span) = dice.pick(&[("ADD", of_add), ("DEL", of_del)]);
        let delay = Duration::from_micros(dice.below(span.as_micros().try_into().unwrap()));
        let pod = Pod::new("killed");
        let conf = vf.conf(MORE);
        if command == "DEL" {
            add("c1", &pod, &conf).unwrap();
        }
        let call = Call { command, container: "c1", netns: &pod.path(), conf: &conf };
        let mut program = call.command();
        program.stdout(Stdio::null());
        let mut child = call.start(program);
        thread::sleep(delay);
        child.kill().unwrap();
        in_time += u64::from(child.wait().unwrap().signal().is_some());
        let said = format!("round {round}: {command} of {} killed after {delay:?}", vf.pci);
        rescue.run(&pod, &conf, &said);
        let index = vfs.iter().position(|each| *each == vf).unwrap();
        assert_eq!((vf.look(), vf.state()), (before[index].clone(), None), "{said}, then {rescue:?}");
    }
    assert!(in_time >= kills / 2, "only {in_time} of {kills} were killed in time: measure anew");
    assert_all_clean(&vfs, &before);
}
