//! GC: what belongs to sandboxes that the runtime doesn't know any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cni::Chain;
use cni::chain::AttachmentId;

use super::{Call, Engine, Execution, Record, plugin_args, with_sources, worker};

impl Engine {
    /// Takes down every sandbox that isn't on the runtime's list, and tells each network which of its own
    /// attachments are valid.
    pub(super) async fn gc(self: &Arc<Self>, call: Call) -> Result<(), cni::Error> {
        let valid = valid_attachments(&call)?;
        let _worker = worker(&self.dels, &call).await?;
        let containers: BTreeSet<&str> = valid.iter().map(|id| id.container_id.as_str()).collect();
        let mut failures = Vec::new();
        let mut networks = Networks::default();
        for container_id in self.store.sandboxes()? {
            // One that is being worked on right now is neither dead nor the runtime's yet.
            let Some(sandbox) = self.sandboxes.try_lock(&container_id) else { continue };
            let record = match self.store.read(&container_id) {
                Ok(Some(record)) => record,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(
                        container = container_id,
                        error = with_sources(&error),
                        "GC passes a record over"
                    );
                    continue;
                }
            };
            // The runtime's list may be older than a sandbox that was added while it was made.
            let is_new = self.store.age(&container_id) < self.gc_grace;
            if is_new || containers.contains(container_id.as_str()) {
                networks.add(&record);
            } else {
                failures.extend(self.take_down(record, &call).await);
            }
            drop(sandbox);
        }
        let default = self.default_only(&call).await?;
        networks.add_default(&default, &valid);
        let told = self.blocking(move |engine| engine.tell_networks(&networks, &default, &call)).await;
        failures.extend(told);
        match failures.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(first),
        }
    }

    async fn take_down(self: &Arc<Self>, mut record: Record, call: &Call) -> Vec<cni::Error> {
        tracing::info!(pod = %record.pod, container = record.container_id, "GC takes down a sandbox that is gone");
        let (env, until) = (call.env.clone(), call.until);
        self.blocking(move |engine| {
            Execution { store: &engine.store, plugins: &engine.plugins, env, until }.del(&mut record, None)
        })
        .await
    }

    fn tell_networks(&self, networks: &Networks, default: &Record, call: &Call) -> Vec<cni::Error> {
        let args = plugin_args(default, call);
        let run = |plugin: &cni::chain::Call<'_>| self.plugins.run(&args, &call.env, plugin, call.until);
        networks.by_name.values().flat_map(|(chain, ids)| chain.gc(ids, run)).collect()
    }
}

/// Networks by name, each with its attachments.
#[derive(Debug, Default)]
struct Networks {
    by_name: BTreeMap<String, (Chain, Vec<AttachmentId>)>,
}

impl Networks {
    fn add(&mut self, record: &Record) {
        for attachment in record.attachments.iter().map(|entry| &entry.attachment) {
            let network = self.by_name.entry(attachment.chain.name.clone());
            let (_, ids) = network.or_insert_with(|| (attachment.chain.clone(), Vec::new()));
            let (container_id, ifname) = (record.container_id.clone(), attachment.ifname.clone());
            ids.push(AttachmentId { container_id, ifname });
        }
    }

    /// The default network's attachments are what the runtime says: sandboxes from before patchbay are among
    /// them. What we attached to it under another name is valid as well.
    fn add_default(&mut self, default: &Record, valid: &[AttachmentId]) {
        for attachment in default.attachments.iter().map(|entry| &entry.attachment) {
            let network = self.by_name.entry(attachment.chain.name.clone());
            let (chain, ids) = network.or_insert_with(|| (attachment.chain.clone(), Vec::new()));
            *chain = attachment.chain.clone();
            ids.extend(valid.iter().cloned());
            ids.sort();
            ids.dedup();
        }
    }
}

/// The runtime's list. Without one nothing may be taken down.
fn valid_attachments(call: &Call) -> Result<Vec<AttachmentId>, cni::Error> {
    for key in ["cni.dev/valid-attachments", "cni.dev/attachments"] {
        if let Some(valid) = call.conf.object().read(key)? {
            return Ok(valid);
        }
    }
    Err(cni::Error::invalid_config("GC came without cni.dev/valid-attachments"))
}
