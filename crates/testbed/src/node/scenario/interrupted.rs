//! `patchbayd` is killed in the middle of an ADD, and starts again: nothing half done is left, and the pod's next try
//! succeeds, as it does when a runtime retries.

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use super::{Error, SETTLE, pods};
use crate::node::cluster::{Node, Running};
use crate::node::hardware::{self, Nic, Vf};
use crate::node::report::Report;
use crate::node::{cluster, exec};

/// After how long the daemon is killed: from before it has done anything to after it has all but finished.
const MOMENTS: [u64; 5] = [5, 60, 200, 500, 1200];

pub(super) fn play(node: &mut Node, nics: &[Nic], report: &mut Report) -> Result<(), Error> {
    report.title("patchbayd is killed in the middle of an ADD");
    for after in MOMENTS {
        once(node, nics, Duration::from_millis(after), report)?;
    }
    Ok(())
}

fn once(node: &mut Node, nics: &[Nic], after: Duration, report: &mut Report) -> Result<(), Error> {
    let pod = node.manifests.pod("web").map_err(cluster::Error::from)?;
    let mut running = node.admit(pod)?;
    let device = pods::device_of(&running)?;
    let reached = interrupt(node, &running, after)?;
    let when = format!("killed after {} ms", after.as_millis());
    report.line(&format!("{when}: {device} was {}", described(hardware::vf(&reached, &device))));

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
        &format!("{when}: after the restart and DEL, {device} is as it was"),
        clean.is_some(),
        &format!("was {before:?}, is {found:?}"),
    );

    node.replace_sandbox(&mut running)?;
    let second = node.start(&mut running);
    let up = second.is_ok();
    match second {
        Ok(()) => report.check(&format!("{when}: the next ADD gives the pod {device}"), true, ""),
        Err(error) => {
            report.broken(&format!("{when}: the next ADD gives the pod {device}"), &error);
            false
        }
    };
    if up {
        node.delete(&running)?;
    } else {
        node.forget(&running)?;
    }
    Ok(())
}

/// Starts an ADD, kills the daemon after a while, and returns what the NICs looked like then.
fn interrupt(node: &mut Node, running: &Running, after: Duration) -> Result<Vec<Nic>, Error> {
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
    std::thread::sleep(after);
    node.kill_patchbayd();
    let reached = hardware::nics()?;
    // The runtime has given up on it.
    exec::kill(&mut child);
    Ok(reached)
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
