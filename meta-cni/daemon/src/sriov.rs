//! The type `sriov` inside the daemon: the plugin's own library, without a process.

use std::sync::Arc;

use cni::NetConf;
use cni::delegate::Runtime;
use cni::error::with_sources;
use cni::plugin::Request;
use ledger::Ledger;
use netlink::{Kernel, Links};
use pci::Sysfs;
use sriov_cni::{Ipam, Sriov};
use vf::{Host, Swept, Witness};

use crate::config::Config;
use crate::daemon::Sweep;
use crate::plugins::BuiltIn;

/// The plugin's type.
pub const TYPE: &str = "sriov";

/// Why VFs can't be handled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The ledger can't be opened.
    #[error("cannot open the VF ledger")]
    Ledger(#[from] ledger::Error),
    /// The kernel can't be spoken to.
    #[error("cannot speak to the kernel about links")]
    Links(#[from] netlink::Error),
}

/// This machine's VFs.
pub fn host(config: &Config, boot_id: &str) -> Result<Host<Kernel>, Error> {
    let ledger = Ledger::open(&config.vf_dir)?;
    let witness = Witness::new(|pci, deed| {
        if deed.is_noteworthy() {
            tracing::warn!(vf = %pci, "{deed}");
        } else {
            tracing::debug!(vf = %pci, "{deed}");
        }
    });
    Ok(Host { witness, ..Host::new(Sysfs::host(), Kernel::new()?, ledger, boot_id.to_owned()) })
}

/// The plugin over `host`. It reads and answers what the program of that name does, and runs IPAM plugins the
/// way the daemon runs any plugin.
pub fn built_in<L: Links + 'static>(host: Arc<Host<L>>) -> BuiltIn {
    Arc::new(move |runtime: &Runtime, stdin: &[u8]| {
        let conf = NetConf::parse(stdin)?;
        conf.require_name()?;
        let version = conf.cni_version();
        let ipam = Ipam {
            env: runtime.env.clone(),
            prefix: runtime.prefix.clone(),
            root: runtime.root.clone(),
            deadline: runtime.deadline,
        };
        let request = Request { args: runtime.args.clone(), stdin: stdin.to_vec(), conf };
        let result = Sriov { host: &host, ipam }.serve(&request)?;
        Ok(result.map(|result| result.to_version(version).to_string().into_bytes()).unwrap_or_default())
    })
}

/// Takes back the VFs of dead owners.
pub fn sweep<L: Links + 'static>(host: Arc<Host<L>>) -> Sweep {
    Arc::new(move || match host.sweep(&|_owner| true) {
        Ok(swept) => swept
            .into_iter()
            .map(|(pci, outcome)| match outcome {
                Ok(Swept::Released { owner }) => {
                    format!("VF {pci} is taken back from sandbox {}, which is gone", owner.container_id)
                }
                Ok(Swept::Healed) => format!("VF {pci} is itself again and no longer quarantined"),
                Err(error) => format!("VF {pci} can't be taken back yet: {}", with_sources(&error)),
            })
            .collect(),
        Err(error) => vec![format!("the VF ledger can't be looked through: {}", with_sources(&error))],
    })
}
