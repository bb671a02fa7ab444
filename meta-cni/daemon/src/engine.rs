//! The calls of the runtime, from request to answer.
//!
//! One operation at a time per sandbox; DEL and GC have workers of their own, so that a wave of ADDs doesn't
//! hold them up. Deciding is asynchronous and ends with a [plan](crate::plan::plan); carrying it out blocks, on
//! a thread for it, and isn't given up in the middle: an ADD whose runtime hangs up is undone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cni::args::Args;
use cni::error::with_sources;
use cni::{AddResult, Command, NetConf, Object};
use meta_cni_shim::protocol::CallRequest;
use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::cluster::{Cluster, Pod};
use crate::config::Config;
use crate::devices::{self, PodName};
use crate::execute::{self, Execution};
use crate::plan::{self, Plan, PodRef, Policy, Sandbox, Wanted};
use crate::plugins::{Plugins, environment};
use crate::report::{News, Reports};
use crate::sandboxes::Sandboxes;
use crate::store::{Phase, Record, Store};

mod announce;
mod del;
mod gc;
mod networks;

/// Everything that a call needs.
#[derive(Debug)]
pub struct Engine {
    /// The node's configuration.
    pub config: Config,
    /// Pods and NADs.
    pub cluster: Cluster,
    /// Kubelet.
    pub devices: devices::Source,
    /// What was attached.
    pub store: Store,
    /// Who attaches.
    pub plugins: Plugins,
    /// What the API server is told.
    pub reports: Reports,
    /// How long a sandbox that GC's list doesn't have is left alone.
    pub gc_grace: Duration,
    sandboxes: Sandboxes,
    adds: Semaphore,
    dels: Semaphore,
}

/// A call taken apart.
#[derive(Debug)]
struct Call {
    args: Args,
    conf: NetConf,
    env: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    until: Instant,
}

impl Call {
    fn new(request: &CallRequest, deadline: Duration) -> Result<Self, cni::Error> {
        let args = request.args()?;
        let conf = NetConf::parse(&request.config)?;
        let env = environment(request.env.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Ok(Self { args, conf, env, until: Instant::now() + deadline })
    }

    /// What every line that is logged about the call begins with.
    fn span(&self) -> Span {
        let arg = |key| self.args.arg(key).unwrap_or_default();
        let (namespace, pod) = (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME"));
        tracing::info_span!("call", command = %self.args.command, namespace, pod, sandbox = self.args.container_id)
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The pod as the runtime names it.
    fn pod(&self) -> Result<(String, String, Option<String>), cni::Error> {
        let need = |key: &str| {
            self.args.arg(key).filter(|value| !value.is_empty()).map(str::to_owned).ok_or_else(|| {
                cni::Error::invalid_environment(format!(
                    "CNI_ARGS has no {key}: patchbay serves Kubernetes pods only"
                ))
            })
        };
        let uid = self.args.arg("K8S_POD_UID").filter(|uid| !uid.is_empty()).map(str::to_owned);
        Ok((need("K8S_POD_NAMESPACE")?, need("K8S_POD_NAME")?, uid))
    }
}

impl Engine {
    /// An engine over its parts.
    pub fn new(
        config: Config,
        cluster: Cluster,
        devices: devices::Source,
        store: Store,
        plugins: Plugins,
        reports: Reports,
        gc_grace: Duration,
    ) -> Self {
        let (adds, dels) = (Semaphore::new(config.add_workers), Semaphore::new(config.del_workers));
        let sandboxes = Sandboxes::default();
        Self { config, cluster, devices, store, plugins, reports, gc_grace, sandboxes, adds, dels }
    }

    /// Carries out a call of the runtime. `hung_up` says that nobody waits for the answer any more.
    pub async fn call(
        self: &Arc<Self>,
        request: &CallRequest,
        hung_up: CancellationToken,
    ) -> Result<Option<Object>, cni::Error> {
        let call = Call::new(request, self.config.request_deadline)?;
        let span = call.span();
        self.carry_out(call, hung_up).instrument(span).await
    }

    async fn carry_out(
        self: &Arc<Self>,
        call: Call,
        hung_up: CancellationToken,
    ) -> Result<Option<Object>, cni::Error> {
        let started = Instant::now();
        let command = call.args.command;
        let outcome = match command {
            Command::Add => self.add(call, hung_up).await.map(Some),
            Command::Del => self.del(call).await.map(|()| None),
            Command::Check => self.check(call).await.map(|()| None),
            Command::Status => self.status(call).await.map(|()| None),
            Command::Gc => self.gc(call).await.map(|()| None),
            Command::Version => {
                Err(cni::Error::invalid_environment("VERSION is answered by the plugin itself"))
            }
        };
        let milliseconds = started.elapsed().as_millis();
        match &outcome {
            // The runtime asks for it every few seconds.
            Ok(_) if command == Command::Status => tracing::debug!(milliseconds, "done"),
            Ok(_) => tracing::info!(milliseconds, "done"),
            Err(error) => tracing::warn!(milliseconds, code = error.code, %error, "failed"),
        }
        outcome
    }

    async fn add(self: &Arc<Self>, call: Call, hung_up: CancellationToken) -> Result<Object, cni::Error> {
        let sandbox = self.turn(&call).await?;
        let _worker = worker(&self.adds, &call).await?;
        self.ready()?;
        self.clear_leftover(&call).await?;
        let (pod, plan) = match tokio::time::timeout(call.left(), self.decide(&call)).await {
            Ok(decided) => decided?,
            Err(_) => return Err(cni::Error::try_again("patchbayd had no time left to plan this ADD")),
        };
        let mut record = Record::new(plan, self.store.boot_id());
        let (env, until) = (call.env, call.until);
        let (record, outcome, sandbox) = self
            .blocking(move |engine| {
                let execution = Execution { store: &engine.store, plugins: &engine.plugins, env, until };
                let outcome = execution.add(&mut record, &hung_up);
                (record, outcome, sandbox)
            })
            .await;
        if let Err(error) = outcome {
            self.tell(&pod, "FailedAddingInterface", error.to_string(), true);
            return Err(error);
        }
        self.announce(&pod, &record).await;
        drop(sandbox);
        let answer: AddResult = execute::answer(&record)?;
        Ok(answer.to_version(cni::Version::LATEST))
    }

    /// The pod and everything that will be attached to it.
    async fn decide(&self, call: &Call) -> Result<(Pod, Plan), cni::Error> {
        let (namespace, name, uid) = call.pod()?;
        let pod = self.cluster.pod(&namespace, &name, uid.as_deref()).await?;
        let planned = self.plan(call, &pod, uid).await;
        if let Err(error) = &planned {
            let reason =
                if error.code == cni::code::TRY_AGAIN { "NetworksNotReady" } else { "InvalidNetworks" };
            self.tell(&pod, reason, error.to_string(), true);
        }
        planned.map(|plan| (pod, plan))
    }

    async fn plan(&self, call: &Call, pod: &Pod, uid: Option<String>) -> Result<Plan, cni::Error> {
        let networks = self.networks(pod).await?;
        let pod_ref = PodRef {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            uid: uid.unwrap_or_else(|| pod.uid.clone()),
        };
        let devices = self.devices_of(&pod_ref, &networks).await?;
        Ok(plan::plan(&self.sandbox(call), &pod_ref, &networks, &devices, &self.policy())?)
    }

    async fn devices_of(&self, pod: &PodRef, networks: &[Wanted]) -> Result<devices::Devices, cni::Error> {
        let needed = plan::needed(networks);
        if needed.is_empty() {
            return Ok(devices::Devices::new());
        }
        let name = PodName { namespace: &pod.namespace, name: &pod.name, uid: &pod.uid };
        let order = || self.cluster.container_order(&pod.namespace, &pod.name);
        Ok(self.devices.of_pod(name, &needed, order).await?)
    }

    fn sandbox(&self, call: &Call) -> Sandbox {
        let mut path = vec![self.config.bin_dir.clone()];
        path.extend(call.args.path.iter().filter(|dir| **dir != self.config.bin_dir).cloned());
        Sandbox {
            container_id: call.args.container_id.clone(),
            netns: call.args.netns.clone(),
            ifname: call.args.ifname.clone(),
            args: call.args.args.clone(),
            path,
            cni_version: call.conf.cni_version(),
            runtime_config: call.conf.object().read("runtimeConfig").ok().flatten().unwrap_or_default(),
        }
    }

    fn policy(&self) -> Policy {
        Policy {
            device_info_dir: self.config.device_info_dir.clone(),
            tolerate_missing_capability: self.config.tolerate_missing_capability,
        }
    }

    /// Whether what must be there before pods are served is there.
    fn ready(&self) -> Result<(), cni::Error> {
        match &self.config.readiness_indicator {
            Some(file) if !file.exists() => Err(cni::Error::try_again(format!(
                "the readiness indicator {} is not there: the default network isn't ready",
                file.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Undoes what an earlier ADD of this sandbox has left.
    async fn clear_leftover(self: &Arc<Self>, call: &Call) -> Result<(), cni::Error> {
        let container_id = &call.args.container_id;
        let mut record = match self.store.read(container_id) {
            Ok(None) => return Ok(()),
            Ok(Some(record)) => record,
            Err(error) if error.is_damaged() => {
                tracing::error!(
                    container = container_id,
                    error = with_sources(&error),
                    "a record is set aside"
                );
                self.store.set_aside(container_id)?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if record.phase == Phase::Added && record.ifname != call.args.ifname {
            return Err(cni::Error::invalid_environment(format!(
                "sandbox {container_id} has its networks already, with {} as default interface; it can't get \
                 another set with {}",
                record.ifname, call.args.ifname
            )));
        }
        let (env, until) = (call.env.clone(), call.until);
        let failures = self
            .blocking(move |engine| {
                let execution = Execution { store: &engine.store, plugins: &engine.plugins, env, until };
                execution.del(&mut record, None)
            })
            .await;
        match failures.into_iter().next() {
            None => Ok(()),
            Some(failure) => Err(cni::Error::try_again(format!(
                "what an earlier ADD of sandbox {container_id} left can't be undone yet: {failure}"
            ))),
        }
    }

    async fn check(self: &Arc<Self>, call: Call) -> Result<(), cni::Error> {
        let _sandbox = self.turn(&call).await?;
        let _worker = worker(&self.adds, &call).await?;
        let record = match self.store.read(&call.args.container_id)? {
            Some(record) => record,
            None => self.default_only(&call).await?,
        };
        self.blocking(move |engine| {
            let Call { env, until, .. } = call;
            Execution { store: &engine.store, plugins: &engine.plugins, env, until }.check(&record)
        })
        .await
    }

    async fn status(self: &Arc<Self>, call: Call) -> Result<(), cni::Error> {
        let unavailable = |error: cni::Error| match error.code {
            cni::code::NOT_AVAILABLE | cni::code::LIMITED => error,
            _ => cni::Error::not_available(error.to_string()),
        };
        let _worker = worker(&self.adds, &call).await.map_err(unavailable)?;
        self.ready().map_err(unavailable)?;
        let record = self.default_only(&call).await.map_err(unavailable)?;
        self.blocking(move |engine| engine.status_of(&record, &call)).await.map_err(unavailable)
    }

    fn status_of(&self, record: &Record, call: &Call) -> Result<(), cni::Error> {
        record.attachments.first().map_or(Ok(()), |entry| {
            let run = |plugin: &cni::chain::Call<'_>| {
                self.plugins.run(&plugin_args(record, call), &call.env, plugin, call.until)
            };
            entry.attachment.chain.status(run)
        })
    }

    /// This sandbox's turn, or an error when it's busy for too long.
    async fn turn(&self, call: &Call) -> Result<OwnedMutexGuard<()>, cni::Error> {
        let container_id = &call.args.container_id;
        self.sandboxes.lock(container_id, call.left()).await.ok_or_else(|| {
            cni::Error::try_again(format!(
                "sandbox {container_id} is still being worked on by an earlier call"
            ))
        })
    }

    /// Does something that blocks on a thread for it, to its end even if nobody waits for it any more.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> T {
        let (engine, span) = (Arc::clone(self), Span::current());
        match tokio::task::spawn_blocking(move || span.in_scope(|| work(&engine))).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// A worker, or an error when all are busy for so long that too little time would be left for the work itself.
async fn worker<'a>(pool: &'a Semaphore, call: &Call) -> Result<SemaphorePermit<'a>, cni::Error> {
    match tokio::time::timeout(call.left() / 2, pool.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) => Err(cni::Error::try_again("patchbayd is stopping")),
        Err(_) => Err(cni::Error::try_again("patchbayd is overloaded: all its workers are busy")),
    }
}

/// STATUS and GC are about no container.
fn plugin_args(record: &Record, call: &Call) -> Args {
    Args {
        command: call.args.command,
        container_id: String::new(),
        netns: None,
        ifname: String::new(),
        args: Vec::new(),
        path: record.path.clone(),
    }
}
