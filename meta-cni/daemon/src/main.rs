//! patchbayd.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Parser, Subcommand};
use meta_cni_daemon::config::{self, Config};
use meta_cni_daemon::plugins::Plugins;
use meta_cni_daemon::{daemon, mounts, sriov};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Wrong usage or configuration, as in `sysexits.h`.
const USAGE: u8 = 64;

/// Gives pods the default network, and then every network that they ask for.
#[derive(Debug, Parser)]
#[command(name = "patchbayd", version)]
struct Cli {
    /// The configuration, a JSON file.
    #[arg(long, default_value = config::DEFAULT_FILE)]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Becomes a plugin.
    #[command(name = mounts::COMMAND, hide = true)]
    RunPlugin {
        /// The mount namespace to join before.
        #[arg(long)]
        mounts: Option<PathBuf>,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(Command::RunPlugin { mounts, program }) = cli.command {
        // Here, and not behind a runtime: a process with several threads may not change its mounts.
        return run_plugin(mounts.as_deref(), &program);
    }
    let node_name = std::env::var("NODE_NAME").ok();
    let (config, warnings) = match config::load(&cli.config, node_name) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&cni::error::with_sources(&error), USAGE),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&config.log_level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}"), 1),
    }
}

fn serve(config: Config) -> anyhow::Result<()> {
    daemon::make_directories(&config).context("cannot make the directories of patchbayd's state")?;
    let boot_id = vf::boot_id(Path::new("/proc"))?;
    let reach =
        mounts::reach(Path::new("/proc")).context("cannot compare our mount namespace with the host's")?;
    if reach.unsure {
        tracing::warn!(
            "process 1 can't be looked at, so plugins run in this mount namespace: in a container patchbayd needs hostPID and privileges"
        );
    } else {
        tracing::info!(root = %reach.root.display(), "where plugins run");
    }
    let host = Arc::new(sriov::host(&config, &boot_id)?);
    let built_in =
        config.in_process_sriov.then(|| (sriov::TYPE.to_owned(), sriov::built_in(Arc::clone(&host))));
    let plugins =
        Plugins { prefix: reach.prefix, root: reach.root, deadline: config.plugin_deadline, built_in };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(config.add_workers + config.del_workers + 8)
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let client = client(&config).await?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let parts = daemon::Parts {
            config,
            client,
            plugins,
            sweep: Some(sriov::sweep(host)),
            boot_id,
            timing: daemon::Timing::default(),
        };
        let signals = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stop.cancel();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = daemon::run(parts, stopped) => Ok(ended?),
            () = signals => Ok(()),
        }
    })
}

async fn client(config: &Config) -> anyhow::Result<kube::Client> {
    let kube_config = match &config.kubeconfig {
        Some(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path)
                .with_context(|| format!("cannot read the kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} can't be used", path.display()))?
        }
        None => kube::Config::incluster().context(
            "there is no API server: run in a pod with a service account, or set kubeconfig in the configuration",
        )?,
    };
    kube::Client::try_from(kube_config).context("cannot make a client for the API server")
}

/// Becomes the plugin. What goes wrong is told as a plugin would: a CNI error on standard output.
fn run_plugin(mounts: Option<&Path>, program: &[OsString]) -> ExitCode {
    let Err(error) = mounts::run_plugin(mounts, program);
    let error = cni::Error::new(cni::code::PLUGIN_NOT_STARTED, cni::error::with_sources(&error));
    let json = error.to_json(cni::Version::LATEST);
    // Without a standard output there is nobody to tell.
    let _told = std::io::stdout().write_all(&json);
    ExitCode::FAILURE
}

fn complain(text: &str, code: u8) -> ExitCode {
    // Without a standard error there is nobody to tell.
    let _told = writeln!(std::io::stderr(), "patchbayd: {text}");
    ExitCode::from(code)
}
