//! DEL when everything else is gone: API server, kubelet, and the pod's namespace, in which the kernel's own clean-up has
//! thrown the VF back at the host.

use super::{Error, left_behind, pods};
use crate::api::Fault;
use crate::node::cluster::Node;
use crate::node::hardware::{self, Nic};
use crate::node::report::Report;

pub(super) fn play(node: &mut Node, nics: &[Nic], report: &mut Report) -> Result<(), Error> {
    report.title("DEL without API server, kubelet and namespace");
    let running = pods::start(node, "web", report)?;
    let device = pods::device_of(&running)?;
    for container in &running.containers {
        node.machine.stop(container, running.pod.grace)?;
    }
    node.machine.remove_namespace(&running.sandbox)?;
    node.stop_kubelet();
    node.api.set_fault(Some(Fault::Away));

    let mut outcomes = Vec::new();
    for _ in 0..2 {
        outcomes.push(node.machine.del(&running.sandbox, Some(&running.result)));
    }
    let after = hardware::nics();
    let left = left_behind();
    node.api.set_fault(None);
    node.restart_kubelet()?;

    for (outcome, which) in outcomes.iter().zip(["DEL succeeds", "DEL succeeds a second time"]) {
        match outcome {
            Ok(()) => {
                report.check(which, true, "");
            }
            Err(error) => report.broken(which, error),
        }
    }
    let (before, after) = (hardware::vf(nics, &device).cloned(), hardware::vf(&after?, &device).cloned());
    report.check(
        &format!("{device} is as it was"),
        before == after,
        &format!("was {before:?}, is {after:?}"),
    );
    report.check("no attachment, claim or lease is left", left.is_empty(), &left.join(", "));
    Ok(node.forget(&running)?)
}
