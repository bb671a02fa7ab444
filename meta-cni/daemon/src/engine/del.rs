//! DEL, and what is done when nobody asks: half-done sandboxes and the intents of the plugin.

use std::sync::Arc;

use meta_cni_shim::intent;

use super::{
    Args, Call, Command, Engine, Execution, Instant, Instrument, Phase, Record, environment, with_sources,
    worker,
};

impl Engine {
    /// DEL: the stored plan backwards; without one, the default network's DEL with what the runtime gave.
    pub(super) async fn del(self: &Arc<Self>, call: Call) -> Result<(), cni::Error> {
        let sandbox = self.turn(&call).await?;
        let _worker = worker(&self.dels, &call).await?;
        let record = match self.store.read(&call.args.container_id) {
            Ok(Some(record)) if record.ifname != call.args.ifname => {
                // An ADD for another interface than the sandbox has was refused, so there's nothing of it.
                let (container, ifname) = (&record.container_id, &call.args.ifname);
                tracing::warn!(
                    container,
                    ifname,
                    has = record.ifname,
                    "DEL of an interface that wasn't attached"
                );
                return Ok(());
            }
            Ok(record) => record,
            Err(error) if error.is_damaged() => {
                let kept = self.store.set_aside(&call.args.container_id)?;
                let kept = kept.display();
                tracing::error!(error = with_sources(&error), %kept, "only the default network and VFs are undone");
                None
            }
            Err(error) => return Err(error.into()),
        };
        let mut record = match record {
            Some(record) => record,
            None => self.default_only(&call).await?,
        };
        self.reports.forget(&record.pod.uid);
        let failures = self
            .blocking(move |engine| {
                let Call { args, env, until, .. } = call;
                let execution = Execution { store: &engine.store, plugins: &engine.plugins, env, until };
                let failures = execution.del(&mut record, args.netns.as_ref());
                drop(sandbox);
                failures
            })
            .await;
        all(failures)
    }

    /// Undoes ADDs and finishes DELs that were left half done, and takes down what an earlier boot has left.
    /// Sandboxes that are being worked on are left to whoever does. Returns how many couldn't be finished.
    pub async fn recover(self: &Arc<Self>) -> Result<usize, crate::store::Error> {
        let mut unfinished = 0;
        for container_id in self.store.sandboxes()? {
            let Some(sandbox) = self.sandboxes.try_lock(&container_id) else { continue };
            let record = match self.store.read(&container_id) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(
                        container = container_id,
                        error = with_sources(&error),
                        "a record can't be read"
                    );
                    unfinished += 1;
                    continue;
                }
            };
            if record.phase == Phase::Added && record.boot_id == self.store.boot_id() {
                continue;
            }
            unfinished += usize::from(!self.finish(record).await);
            drop(sandbox);
        }
        Ok(unfinished)
    }

    /// Takes a sandbox down; whether nothing is left.
    async fn finish(self: &Arc<Self>, mut record: Record) -> bool {
        let Ok(_worker) = self.dels.acquire().await else { return false };
        let (pod, container, phase) = (record.pod.to_string(), record.container_id.clone(), record.phase);
        let failures = self
            .blocking(move |engine| {
                let env = environment([]);
                let until = Instant::now() + engine.config.request_deadline;
                Execution { store: &engine.store, plugins: &engine.plugins, env, until }
                    .del(&mut record, None)
            })
            .await;
        for failure in &failures {
            tracing::warn!(pod, container, error = %failure, "a sandbox left half done isn't undone yet");
        }
        if failures.is_empty() {
            tracing::info!(pod, container, ?phase, "a sandbox left half done is undone");
        }
        failures.is_empty()
    }

    /// Carries out the DELs that the plugin couldn't hand over. Returns how many are left.
    pub async fn replay(self: &Arc<Self>) -> Result<usize, intent::Error> {
        let mut left = 0;
        for path in intent::list(&self.config.state_dir.join("intents"))? {
            let outcome = match intent::read(&path) {
                Ok(None) => continue,
                Ok(Some(intent)) => self.replay_one(&intent).await,
                Err(error) => Err(cni::Error::io(with_sources(&error))),
            };
            match outcome.and_then(|()| intent::remove(&path).map_err(|e| cni::Error::io(with_sources(&e)))) {
                Ok(()) => {
                    tracing::info!(intent = %path.display(), "a DEL that came while patchbayd was away is done");
                }
                Err(error) => {
                    left += 1;
                    tracing::warn!(intent = %path.display(), %error, "a DEL that came while patchbayd was away isn't done yet");
                }
            }
        }
        Ok(left)
    }

    async fn replay_one(self: &Arc<Self>, intent: &intent::Intent) -> Result<(), cni::Error> {
        let call = Call::new(&intent.request, self.config.request_deadline)?;
        match call.args {
            Args { command: Command::Del, .. } => {
                let span = call.span();
                self.del(call).instrument(span).await
            }
            Args { command, .. } => {
                Err(cni::Error::invalid_environment(format!("an intent is a DEL, and this is {command}")))
            }
        }
    }
}

/// All failures in one error, with the first one's code.
fn all(failures: Vec<cni::Error>) -> Result<(), cni::Error> {
    let text = failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    match failures.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(cni::Error::new(first.code, text)),
    }
}
