//! `sriov`, the CNI plugin's program.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use cni::plugin::Request;
use cni::{AddResult, Command};
use ledger::Ledger;
use netlink::Kernel;
use pci::Sysfs;
use sriov_cni::log::Log;
use sriov_cni::{Ipam, Sriov, error};
use vf::{Host, Witness};

/// Where it's noted who owns which VF; the device plugin and the daemon use the same.
const LEDGER: &str = "/run/patchbay/vf";

fn main() -> ExitCode {
    let about = concat!("CNI sriov plugin ", env!("CARGO_PKG_VERSION"), " (patchbay)");
    cni::plugin::run(about, serve)
}

fn serve(request: &Request) -> Result<Option<AddResult>, cni::Error> {
    let log = Arc::new(Log::new(request));
    let outcome = host(log.witness())
        .map_err(|error| match request.args.command {
            Command::Status => cni::Error::not_available(error.to_string()),
            Command::Add | Command::Del | Command::Check | Command::Gc | Command::Version => error,
        })
        .and_then(|host| Sriov { host: &host, ipam: Ipam::with_env(std::env::vars_os()) }.serve(request));
    log.outcome(&outcome);
    outcome
}

fn host(witness: Witness) -> Result<Host<Kernel>, cni::Error> {
    let boot_id = vf::boot_id(Path::new("/proc")).map_err(|error| error::of_vf(&error))?;
    let ledger = Ledger::open(LEDGER).map_err(|error| cni::Error::io(cni::error::with_sources(&error)))?;
    let links = Kernel::new().map_err(|error| cni::Error::io(cni::error::with_sources(&error)))?;
    Ok(Host { witness, ..Host::new(Sysfs::host(), links, ledger, boot_id) })
}
