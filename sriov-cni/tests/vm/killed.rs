//! `sriov` that kills itself, for the tests in the VM: by SIGKILL, right after the deed whose number is in
//! `KILLED_AFTER`. All else is as in the program.

#![expect(clippy::unwrap_used, reason = "a part of the tests: where it fails, they fail")]

use std::env;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};

use ledger::Ledger;
use netlink::Kernel;
use nix::sys::signal::{Signal, raise};
use pci::Sysfs;
use sriov_cni::{Ipam, Sriov};
use vf::{Host, Witness};

fn main() -> ExitCode {
    let last: u32 = env::var("KILLED_AFTER").unwrap().parse().unwrap();
    cni::plugin::run("sriov-killed", |request| {
        let boot_id = vf::boot_id("/proc".as_ref()).unwrap();
        let ledger = Ledger::open("/run/patchbay/vf").unwrap();
        let mut host = Host::new(Sysfs::host(), Kernel::new().unwrap(), ledger, boot_id);
        let done = AtomicU32::new(0);
        host.witness = Witness::new(move |_, _| {
            if done.fetch_add(1, Ordering::Relaxed) + 1 == last {
                raise(Signal::SIGKILL).unwrap();
            }
        });
        Sriov { host: &host, ipam: Ipam::with_env(env::vars_os()) }.serve(request)
    })
}
