//! What a pod and its owner are told: network-status and events.

use std::sync::Arc;

use cni::error::with_sources;

use super::{Engine, News, Phase, Pod, Record, execute};

impl Engine {
    /// Writes network-status and an event per network.
    pub(super) async fn announce(&self, pod: &Pod, record: &Record) {
        let status = match execute::network_status(record) {
            Ok(status) => status,
            Err(error) => {
                tracing::error!(pod = %record.pod, %error, "network-status can't be made out of the results");
                return;
            }
        };
        for entry in status.iter().filter(|entry| entry.interface.is_some()) {
            let interface = entry.interface.as_deref().unwrap_or_default();
            let note = format!("Add {interface} [{}] from {}", entry.ips.join(" "), entry.name);
            self.tell(pod, "AddedInterface", note, false);
        }
        if let Err(error) = self.reports.status(pod, &status).await {
            tracing::error!(pod = %record.pod, %error, "network-status can't be written as JSON");
        }
    }

    /// Announces what was attached before the daemon was restarted and isn't in its pod's annotation: the API
    /// server was away.
    pub async fn announce_missing(self: &Arc<Self>) -> Result<(), crate::store::Error> {
        self.cluster.synced().await;
        for container_id in self.store.sandboxes()? {
            let Some(_sandbox) = self.sandboxes.try_lock(&container_id) else { continue };
            let record = match self.store.read(&container_id) {
                Ok(Some(record)) if record.phase == Phase::Added => record,
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(
                        container = container_id,
                        error = with_sources(&error),
                        "a record can't be read"
                    );
                    continue;
                }
            };
            let owner = &record.pod;
            let pod = self.cluster.cached_pod(&owner.namespace, &owner.name, Some(&owner.uid));
            if let Some(pod) = pod.filter(|pod| !pod.annotations.contains_key(multinet::STATUS_ANNOTATION)) {
                self.announce(&pod, &record).await;
            }
        }
        Ok(())
    }

    pub(super) fn tell(&self, pod: &Pod, reason: &'static str, note: String, is_warning: bool) {
        self.reports.event(pod, News { reason, note, is_warning });
    }
}
