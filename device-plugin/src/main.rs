//! `patchbay-device-plugin`: wiring.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use device_plugin::cli::Cli;
use device_plugin::config::Config;
use device_plugin::node::Node;
use device_plugin::{Timing, plugin, report};
use kubelet::Kubelet;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, the rest to standard error; nothing to do if that fails.
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let filter = EnvFilter::try_new(cli.log_filter()).unwrap_or_else(|_invalid| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    for warning in cli.warnings() {
        tracing::warn!("{warning}");
    }
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = report::chain(error.as_ref()), "the device plugin ends");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    let config = Config::read(&cli.config_file, &cli.resource_prefix)?;
    let host = vf::Host {
        existing_state: cli.existing_state_dir.clone(),
        ..vf::Host::new(
            pci::Sysfs::new(&cli.sysfs),
            netlink::Kernel::new().context("cannot speak to the kernel about links")?,
            ledger::Ledger::open(&cli.ledger_dir)?,
            vf::boot_id(std::path::Path::new("/proc"))?,
        )
    };
    let node = Arc::new(Node { host, device_info: cli.devinfo_dir.clone() });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build()
        .context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut signals = Signals::listen().context("cannot listen for signals")?;
        let stopping = stop.clone();
        let waiting = async move {
            signals.told_to_stop().await;
            tracing::info!("told to stop");
            stopping.cancel();
            // From here on the plugin's own end is waited for.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            done = plugin::run(node, config, Kubelet::new(&cli.kubelet_dir), Timing::default(), stop) => done.map_err(anyhow::Error::from),
            () = waiting => Ok(()),
        }
    });
    // Work that hangs in the kernel must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}

/// What ends the plugin. The existing one ends on SIGHUP, too.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn told_to_stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
