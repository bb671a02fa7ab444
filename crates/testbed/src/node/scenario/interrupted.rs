//! `patchbayd` is killed in the middle of an ADD, and starts again: nothing half done is left, and the pod's next try
//! succeeds, as it does when a runtime retries.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::{ATTACHMENTS, Error, LEDGER, SETTLE, names_in, pods};
use crate::node::cluster::{Node, Running};
use crate::node::hardware::{self, Nic, Vf};
use crate::node::report::Report;
use crate::node::{cluster, exec};

/// How far an ADD has come when the daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// The call has been handed over, and nothing can be seen yet.
    Begun,
    /// The plan is on disk; the default network is being attached.
    Planned,
    /// The ledger has the claim, and the VF is being configured.
    Claimed,
    /// The VF's interface has left the host.
    Moved,
    /// The ledger says that the VF has been handed over.
    Attached,
}

const MOMENTS: [(Moment, &str); 5] = [
    (Moment::Begun, "as the call comes in"),
    (Moment::Planned, "with the plan on disk"),
    (Moment::Claimed, "with the VF claimed"),
    (Moment::Moved, "with the VF moved to the pod"),
    (Moment::Attached, "with the VF attached"),
];

impl Moment {
    fn has_come(self, device: &str) -> bool {
        match self {
            Self::Begun => true,
            Self::Planned => !names_in(Path::new(ATTACHMENTS)).is_empty(),
            Self::Claimed => is(device, "claimed"),
            Self::Moved => names_in(&Path::new("/sys/bus/pci/devices").join(device).join("net")).is_empty(),
            Self::Attached => is(device, "attached"),
        }
    }
}

/// Whether the ledger has a device in this state.
fn is(device: &str, state: &str) -> bool {
    let file = Path::new(LEDGER).join(format!("{device}.state"));
    std::fs::read_to_string(file).is_ok_and(|text| {
        let text: String = text.split_whitespace().collect();
        text.contains(&format!("\"state\":\"{state}\""))
    })
}

pub(super) fn play(node: &mut Node, nics: &[Nic], report: &mut Report) -> Result<(), Error> {
    report.title("patchbayd is killed in the middle of an ADD");
    for (moment, when) in MOMENTS {
        once(node, nics, moment, when, report)?;
    }
    Ok(())
}

fn once(node: &mut Node, nics: &[Nic], moment: Moment, when: &str, report: &mut Report) -> Result<(), Error> {
    let pod = node.manifests.pod("web").map_err(cluster::Error::from)?;
    let mut running = node.admit(pod)?;
    let device = pods::device_of(&running)?;
    let (came, reached) = interrupt(node, &running, moment, &device)?;
    report.check(&format!("killed {when}"), came, "the ADD ended without coming there");
    report.line(&format!("{device} was {}", described(hardware::vf(&reached, &device))));

    // What a runtime does with an ADD that failed: DEL. Kubelet then asks it for another sandbox.
    node.start_patchbayd()?;
    node.machine.del(&running.sandbox, None)?;
    let before = hardware::vf(nics, &device).cloned();
    let mut found = None;
    let clean = exec::until(SETTLE, || {
        found = hardware::nics().ok().and_then(|nics| hardware::vf(&nics, &device).cloned());
        (found == before).then_some(())
    });
    report.check(
        &format!("killed {when}: after the restart and DEL, {device} is as it was"),
        clean.is_some(),
        &format!("was {before:?}, is {found:?}"),
    );

    node.replace_sandbox(&mut running)?;
    let again = format!("killed {when}: the next ADD gives the pod {device}");
    match node.start(&mut running) {
        Ok(()) => {
            report.check(&again, true, "");
            node.delete(&running)?;
        }
        Err(error) => {
            report.broken(&again, &error);
            node.forget(&running)?;
        }
    }
    Ok(())
}

/// Starts an ADD and kills the daemon at the moment. Says whether that came, and what the NICs looked like then.
fn interrupt(
    node: &mut Node,
    running: &Running,
    moment: Moment,
    device: &str,
) -> Result<(bool, Vec<Nic>), Error> {
    let mut plugin = begin(node, running)?;
    let end = Instant::now() + exec::DEADLINE;
    let came = loop {
        if moment.has_come(device) {
            break true;
        }
        let over = matches!(plugin.try_wait(), Ok(Some(_)) | Err(_));
        if over || Instant::now() >= end {
            break false;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    node.kill_patchbayd();
    let reached = hardware::nics()?;
    // The runtime has given up on it.
    exec::kill(&mut plugin);
    Ok((came, reached))
}

/// Starts the plugin as the runtime would, and leaves it running.
fn begin(node: &Node, running: &Running) -> Result<Child, Error> {
    let runtime = &node.machine.runtime;
    let request = runtime.first_request(None).map_err(cluster::Error::from)?;
    let mut command = runtime.command("ADD", &running.sandbox, &request).map_err(cluster::Error::from)?;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|source| exec::Error::Start { program: "patchbay".to_owned(), source })?;
    if let Some(mut stdin) = child.stdin.take() {
        use std::io::Write;
        // A plugin that ends before it has read its configuration is as good as one that is cut off.
        let _ = stdin.write_all(request.to_string().as_bytes());
    }
    Ok(child)
}

fn described(vf: Option<&Vf>) -> String {
    match vf {
        None => "gone".to_owned(),
        Some(vf) => format!(
            "on VLAN {} and {}",
            vf.vlan(),
            if vf.link.is_some() { "in the host's namespace" } else { "out of the host's namespace" }
        ),
    }
}
