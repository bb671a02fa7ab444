//! The resident program: everything put together, for as long as it runs.
//!
//! The socket opens first, so that nobody waits for anything that isn't theirs: sandboxes that were left half
//! done are recovered under their own locks while others are served. The runtime's configuration file is written
//! once calls can be served, and stays.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cni::error::with_sources;
use kubelet::Kubelet;
use meta_cni_shim::protocol::alive_path;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::{Cluster, Patience};
use crate::config::Config;
use crate::devices;
use crate::engine::Engine;
use crate::install;
use crate::plugins::Plugins;
use crate::report::{News, Reports};
use crate::server::{self, Service, Socket};
use crate::store::{self, Store};

/// How long calls under way may take once the daemon is told to stop. A pod is usually given 30 s.
const DRAIN: Duration = Duration::from_secs(25);
/// How often it's looked whether the CNI configuration is still right.
const INSTALL: Duration = Duration::from_secs(5);
/// How often what is left half done is tried again, and intents of the plugin are looked for.
const RECOVER: Duration = Duration::from_secs(15);
/// How often VFs without a living owner are looked for.
const SWEEP: Duration = Duration::from_secs(30);
/// How often the plugin is shown that we live.
const ALIVE: Duration = Duration::from_secs(10);

/// Something that takes back VFs which nobody owns any more. It blocks, and says what is worth logging.
pub type Sweep = Arc<dyn Fn() -> Vec<String> + Send + Sync>;

/// What the daemon is made of.
#[derive(Clone)]
pub struct Parts {
    /// Its configuration.
    pub config: Config,
    /// The API server.
    pub client: kube::Client,
    /// Who carries out.
    pub plugins: Plugins,
    /// The VFs' sweeper, where VFs are handled in process.
    pub sweep: Option<Sweep>,
    /// The boot's ID.
    pub boot_id: String,
    /// How long is waited for others.
    pub timing: Timing,
}

/// How long is waited for others.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// For the API server.
    pub api: Patience,
    /// For kubelet's pod-resources socket, per pod.
    pub pod_resources: Duration,
    /// For the runtime to list a sandbox that was just added.
    pub gc_grace: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            api: Patience::default(),
            pod_resources: Duration::from_secs(10),
            gc_grace: Duration::from_mins(2),
        }
    }
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("config", &self.config)
            .field("plugins", &self.plugins)
            .field("boot_id", &self.boot_id)
            .finish_non_exhaustive()
    }
}

/// Why the daemon doesn't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of records can't be used.
    #[error("cannot keep record of attachments")]
    Store(#[from] store::Error),
    /// There is no socket.
    #[error("cannot serve the plugin")]
    Socket(#[from] server::Error),
    /// Serving ended.
    #[error("serving the plugin ended")]
    Serve(#[source] std::io::Error),
}

/// Runs until `stop` is cancelled, and then until the calls under way are done.
pub async fn run(parts: Parts, stop: CancellationToken) -> Result<(), Error> {
    let Parts { config, client, plugins, sweep, boot_id, timing } = parts;
    let (calls, background) = (TaskTracker::new(), TaskTracker::new());
    let store = Store::open(&config.state_dir.join("attachments"), &boot_id)?;
    let (cluster, watches) = Cluster::new(client.clone(), &config.node_name, timing.api);
    let source = devices::Source::new(&Kubelet::new(&config.kubelet_dir), timing.pod_resources);
    let reports = Reports::new(client, &config.node_name, &background);
    let engine = Arc::new(Engine::new(config, cluster, source, store, plugins, reports, timing.gc_grace));

    let socket = Socket::open(&engine.config.socket)?;
    tracing::info!(socket = %engine.config.socket.display(), node = engine.config.node_name, "serving");
    let service = Service { engine: Arc::clone(&engine), calls: calls.clone(), stopping: stop.clone() };
    let until_stopped = stop.clone();
    let serving = axum::serve(socket, server::router(service))
        .with_graceful_shutdown(async move { until_stopped.cancelled().await });

    // These end with the daemon; what they do is safe to leave off anywhere.
    let upkeep = async {
        tokio::join!(
            watches,
            alive(&engine),
            install(&engine),
            recover(&engine),
            announce(&engine),
            swept(sweep)
        );
    };
    // Served to the end: the answer written, and what goes on although the runtime hung up done as well.
    let served = async {
        let served = serving.await;
        calls.close();
        calls.wait().await;
        served
    };
    let too_late = async {
        stop.cancelled().await;
        tracing::info!(calls = calls.len(), "stopping: the calls under way are finished first");
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = served => served.map_err(Error::Serve)?,
        () = upkeep => {}
        () = too_late => {
            tracing::warn!(calls = calls.len(), "calls are cut off: what they did is undone at the next start");
        }
    }
    Ok(())
}

/// Shows the plugin that we live.
async fn alive(engine: &Engine) {
    let path = alive_path(&engine.config.socket);
    let mut ticks = ticks(ALIVE);
    loop {
        ticks.tick().await;
        if let Err(error) = touch(&path) {
            tracing::warn!(path = %path.display(), %error, "the sign of life can't be given");
        }
    }
}

fn touch(path: &Path) -> std::io::Result<()> {
    let file = File::options().create(true).append(true).open(path)?;
    file.set_modified(SystemTime::now())
}

/// Places the plugins, and keeps the runtime's configuration as it should be.
async fn install(engine: &Arc<Engine>) {
    let config = &engine.config;
    if let Err(error) = blocking(engine, |engine| install::binaries(&engine.config)).await {
        tracing::error!(error = with_sources(&error), "a plugin isn't installed");
    }
    if !config.write_cni_config {
        return;
    }
    if !install::own_file(config).exists() {
        // The first time nobody relies on us yet: pods are better served by what is there until we can.
        engine.cluster.synced().await;
    }
    let mut ticks = ticks(INSTALL);
    let mut last = None;
    loop {
        ticks.tick().await;
        if config.readiness_indicator.as_ref().is_some_and(|file| !file.exists()) {
            continue;
        }
        let placed = blocking(engine, |engine| install::conf_file(&engine.config)).await;
        let said = match &placed {
            Ok(placed) if placed.before.is_empty() => String::new(),
            Ok(placed) => format!(
                "the runtime uses {} in front of ours, so pods don't get their networks: remove it",
                placed.before.join(", ")
            ),
            Err(error) => with_sources(error),
        };
        if placed.as_ref().is_ok_and(|placed| placed.written) {
            tracing::info!(file = %install::own_file(config).display(), "the CNI configuration is written");
        }
        // Every few seconds the same would drown the rest.
        if last.as_ref() != Some(&said) && !said.is_empty() {
            tracing::error!("{said}");
            let news = News { reason: "NetworksNotServed", note: said.clone(), is_warning: true };
            engine.reports.node_event(&config.node_name, news);
        }
        last = Some(said);
    }
}

/// Recovers what was left half done, and carries out the intents of the plugin.
async fn recover(engine: &Arc<Engine>) {
    let mut ticks = ticks(RECOVER);
    loop {
        ticks.tick().await;
        if let Err(error) = engine.recover().await {
            tracing::error!(error = with_sources(&error), "half-done sandboxes can't be looked for");
        }
        if let Err(error) = engine.replay().await {
            tracing::error!(error = with_sources(&error), "the plugin's intents can't be looked for");
        }
    }
}

/// Writes the network-status that an earlier run couldn't.
async fn announce(engine: &Arc<Engine>) {
    if let Err(error) = engine.announce_missing().await {
        tracing::error!(error = with_sources(&error), "sandboxes without network-status can't be looked for");
    }
}

/// Takes back VFs without a living owner.
async fn swept(sweep: Option<Sweep>) {
    let Some(sweep) = sweep else { return };
    let mut ticks = ticks(SWEEP);
    loop {
        ticks.tick().await;
        let sweep = Arc::clone(&sweep);
        match tokio::task::spawn_blocking(move || sweep()).await {
            Ok(notes) => notes.iter().for_each(|note| tracing::info!("{note}")),
            Err(panicked) => {
                tracing::error!(error = with_sources(&panicked), "looking for dead owners panicked");
            }
        }
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn blocking<T: Send + 'static>(
    engine: &Arc<Engine>,
    work: impl FnOnce(&Engine) -> T + Send + 'static,
) -> T {
    let engine = Arc::clone(engine);
    match tokio::task::spawn_blocking(move || work(&engine)).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// The directories that have to be there; made if needed.
pub fn make_directories(config: &Config) -> std::io::Result<()> {
    for dir in [&config.state_dir, &config.vf_dir] {
        fs::create_dir_all(dir)?;
    }
    Ok(())
}
