//! What is played on a node: each scenario tells what it does, checks what it finds, and leaves the node as it was.

mod away;
mod devices;
mod interrupted;
mod mistakes;
mod pods;
mod traffic;

use std::path::Path;
use std::time::Duration;

use super::cluster::{self, Node, Settings};
use super::hardware::{self, Nic};
use super::report::Report;
use super::{daemon, exec, machine};

/// Where the ledger is.
const LEDGER: &str = "/run/patchbay/vf";

/// Where the daemon keeps what it has attached.
const ATTACHMENTS: &str = "/var/lib/patchbay/attachments";

/// How long what happens in the background may take.
const SETTLE: Duration = Duration::from_mins(2);

/// Why a scenario could not be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's hardware can't be prepared or looked at.
    #[error("hardware")]
    Hardware(#[from] hardware::Error),
    /// The node can't do what is asked.
    #[error("node")]
    Node(#[from] cluster::Error),
    /// The runtime can't do what is asked.
    #[error("runtime")]
    Machine(#[from] machine::Error),
    /// A program can't be run.
    #[error("programs")]
    Daemon(#[from] daemon::Error),
    /// A tool of the node can't be run.
    #[error("tools")]
    Exec(#[from] exec::Error),
    /// The hardware is not what the examples need.
    #[error("this needs two NICs with at least four VFs each, and there are {found}")]
    TooLittle {
        /// What there is.
        found: String,
    },
    /// Something that has to be there for the scenario to go on isn't.
    #[error("{what} is missing")]
    Missing {
        /// What.
        what: String,
    },
    /// There is no such scenario.
    #[error("there is no scenario {name}; there are {known}")]
    Unknown {
        /// The name that was given.
        name: String,
        /// Those that there are.
        known: String,
    },
}

type Play = fn(&mut Node, &[Nic], &mut Report) -> Result<(), Error>;

const SCENARIOS: [(&str, Play); 5] = [
    ("pods", pods::play),
    ("devices", devices::play),
    ("away", away::play),
    ("mistakes", mistakes::play),
    ("interrupted", interrupted::play),
];

/// Plays the scenarios with these names, one after the other on one node, and says whether all went well.
pub fn play(names: &[String], settings: Settings, report: &mut Report) -> bool {
    if let Err(error) = play_all(names, settings, report) {
        report.broken("the scenario is played to its end", &error);
    }
    report.summary()
}

fn play_all(names: &[String], settings: Settings, report: &mut Report) -> Result<(), Error> {
    let mut plays = Vec::new();
    for name in names {
        let known = SCENARIOS.iter().find(|(known, _)| known == name);
        let (_, play) = known.ok_or_else(|| Error::Unknown {
            name: name.clone(),
            known: SCENARIOS.map(|(name, _)| name).join(", "),
        })?;
        plays.push(play);
    }
    let nics = prepare_hardware(report)?;
    let mut node = Node::prepare(settings)?;
    pods::start_programs(&mut node, report)?;
    for play in plays {
        play(&mut node, &nics, report)?;
        check_clean(&node, &nics, report);
    }
    stop(&mut node, report)
}

/// Gives the last VF of each NIC to vfio-pci and reserves huge pages, as a node's owner does for the pools of the
/// examples; returns what the VFs look like before Patchbay has seen them.
fn prepare_hardware(report: &mut Report) -> Result<Vec<Nic>, Error> {
    report.title("NICs and their virtual functions");
    let found = hardware::nics()?;
    let enough = found.iter().filter(|nic| nic.vfs.len() >= 4).count();
    if enough < 2 {
        let found =
            found.iter().map(|nic| format!("{} with {} VFs", nic.name, nic.vfs.len())).collect::<Vec<_>>();
        return Err(Error::TooLittle {
            found: if found.is_empty() { "none".to_owned() } else { found.join(", ") },
        });
    }
    hardware::reserve_hugepages(64)?;
    for nic in &found {
        if let Some(last) = nic.vfs.get(3)
            && last.driver.as_deref() != Some("vfio-pci")
        {
            hardware::bind(&last.address, "vfio-pci")?;
        }
    }
    let nics = hardware::nics()?;
    let mut rows =
        vec![row(&["NIC", "VF", "PCI address", "driver", "group", "interface", "admin MAC", "VLAN"])];
    for nic in &nics {
        let driver = nic.driver.as_deref().unwrap_or("-");
        rows.push(row(&[&nic.name, "", &nic.address, driver]));
        for (index, vf) in nic.vfs.iter().enumerate() {
            rows.push(row(&[
                "",
                &index.to_string(),
                &vf.address,
                vf.driver.as_deref().unwrap_or("-"),
                vf.group.as_deref().unwrap_or("-"),
                vf.link.as_ref().map_or("-", |link| &link.name),
                &vf.admin_mac(),
                &vf.vlan().to_string(),
            ]));
        }
    }
    report.table(&rows);
    Ok(nics)
}

/// After the last pod: every VF as it was, every claim free, everything allocatable.
fn check_clean(node: &Node, before: &[Nic], report: &mut Report) {
    report.title("Virtual functions after the pods");
    let mut differences = String::new();
    let mut claims = String::new();
    let settled = exec::until(SETTLE, || {
        differences = match hardware::nics() {
            Ok(after) => hardware::differences(before, &after),
            Err(error) => error.to_string(),
        };
        claims = claimed().join(", ");
        (differences.is_empty() && claims.is_empty()).then_some(())
    });
    report.check(
        "every VF is as it was before, in its PF's view and its own",
        differences.is_empty(),
        &differences,
    );
    report.check("every claim in the ledger is free", settled.is_some() && claims.is_empty(), &claims);
    for (resource, offered) in pods::OFFERED {
        let allocatable = || node.kubelet.allocatable(resource).len();
        exec::until(SETTLE, || (allocatable() == offered).then_some(()));
        report.check(
            &format!("kubelet shows all {offered} of {resource} allocatable"),
            allocatable() == offered,
            &allocatable().to_string(),
        );
    }
    let left = left_behind();
    report.check("no attachment and no leased address is left", left.is_empty(), &left.join(", "));
}

/// What pods have on disk while they run: attachments, claims, and addresses leased by host-local.
///
/// A hidden file is what a killed writer has left; it goes at a start that comes later.
fn left_behind() -> Vec<String> {
    let mut left = names_in(Path::new(ATTACHMENTS));
    left.retain(|name| !name.starts_with('.'));
    left.extend(claimed());
    let networks = Path::new("/var/lib/cni/networks");
    for network in names_in(networks) {
        let addresses = names_in(&networks.join(&network)).into_iter().filter(|name| name.starts_with("10."));
        left.extend(addresses.map(|address| format!("{network}/{address}")));
    }
    left
}

/// Ends the programs, and looks at what has to stay.
fn stop(node: &mut Node, report: &mut Report) -> Result<(), Error> {
    report.title("The programs end");
    let statuses = node.stop()?;
    let ended = statuses.iter().all(std::process::ExitStatus::success) && statuses.len() == 2;
    report.check("both end on SIGTERM without an error", ended, &format!("{statuses:?}"));
    let file = node.machine.runtime.configuration().map(|(file, _)| file).unwrap_or_default();
    report.check(
        "the CNI configuration stays, so that no pod starts without its networks meanwhile",
        file == "00-patchbay.conflist",
        &file,
    );
    Ok(())
}

/// Devices that the ledger says are not free.
fn claimed() -> Vec<String> {
    names_in(Path::new(LEDGER))
        .into_iter()
        .filter_map(|name| name.strip_suffix(".state").map(str::to_owned))
        .collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}
