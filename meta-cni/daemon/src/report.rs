//! What the API server is told: the annotation network-status, and events.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cni::error::with_sources;
use k8s_openapi::api::core::v1::{ObjectReference, Pod as ApiPod};
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use multinet::{NetworkStatus, STATUS_ANNOTATION};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Pod;

/// How many events may wait for the API server; beyond that they're dropped.
const EVENTS: usize = 256;
/// How long one request may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long an ADD waits for its status to be written before that goes on behind its back.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it's tried at all.
const ENDURANCE: Duration = Duration::from_mins(10);

/// Something worth telling a pod's owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// A machine's word for it.
    pub reason: &'static str,
    /// A person's.
    pub note: String,
    /// Whether it's bad.
    pub is_warning: bool,
}

/// Tells the API server about pods.
#[derive(Clone)]
pub struct Reports {
    client: kube::Client,
    events: mpsc::Sender<(ObjectReference, News)>,
    tasks: TaskTracker,
    /// Per pod UID, what ends the status that is being written.
    writing: Arc<Mutex<HashMap<String, CancellationToken>>>,
}

impl std::fmt::Debug for Reports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reports").field("waiting", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Reports {
    /// Reports of the patchbayd on `node`. What is written behind an ADD's back belongs to `tasks`, and so does
    /// the sender of events, which ends with the last clone.
    pub fn new(client: kube::Client, node: &str, tasks: &TaskTracker) -> Self {
        let (events, mut queue) = mpsc::channel::<(ObjectReference, News)>(EVENTS);
        let reporter = Reporter { controller: "patchbay".to_owned(), instance: Some(node.to_owned()) };
        let recorder = Recorder::new(client.clone(), reporter);
        tasks.spawn(async move {
            while let Some((pod, news)) = queue.recv().await {
                let event = Event {
                    type_: if news.is_warning { EventType::Warning } else { EventType::Normal },
                    reason: news.reason.to_owned(),
                    note: Some(shortened(&news.note)),
                    action: news.reason.to_owned(),
                    secondary: None,
                };
                match tokio::time::timeout(ANSWER, recorder.publish(&event, &pod)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(error = with_sources(&error), "an event is lost"),
                    Err(_) => tracing::debug!("an event is lost: the API server did not answer"),
                }
            }
        });
        Self { client, events, tasks: tasks.clone(), writing: Arc::default() }
    }

    /// Records an event on a pod. It doesn't wait, and with the API server away it's lost.
    pub fn event(&self, pod: &Pod, news: News) {
        let reference = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(pod.namespace.clone()),
            name: Some(pod.name.clone()),
            uid: Some(pod.uid.clone()),
            ..ObjectReference::default()
        };
        self.send(reference, news);
    }

    /// The same on this node.
    pub fn node_event(&self, node: &str, news: News) {
        let reference = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            // What kubelet writes too, and what is looked for.
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        self.send(reference, news);
    }

    fn send(&self, reference: ObjectReference, news: News) {
        if self.events.try_send((reference, news)).is_err() {
            tracing::debug!("an event is dropped: too many are waiting");
        }
    }

    /// Writes the pod's network-status. With the API server slow or away this returns after a few seconds, and
    /// the status is written later: the pod has its networks either way.
    pub async fn status(&self, pod: &Pod, status: &[NetworkStatus]) -> Result<(), serde_json::Error> {
        let patch = status_patch(&pod.uid, status)?;
        let superseded = self.supersede(&pod.uid);
        let (client, pod_written) = (self.client.clone(), pod.clone());
        let writing = self.tasks.spawn(async move {
            tokio::select! {
                () = superseded.cancelled() => {}
                () = write(client, pod_written, patch) => {}
            }
        });
        if tokio::time::timeout(PATIENCE, writing).await.is_err() {
            tracing::warn!(pod = %format!("{}/{}", pod.namespace, pod.name), "network-status is written later");
        }
        Ok(())
    }
}

impl Reports {
    /// Ends the write of an older status of the pod, and says what will end the next one.
    fn supersede(&self, uid: &str) -> CancellationToken {
        let token = CancellationToken::new();
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = writing.insert(uid.to_owned(), token.clone()) {
            older.cancel();
        }
        token
    }

    /// A status of the pod that isn't written yet won't be: its sandbox is gone.
    pub fn forget(&self, uid: &str) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = writing.remove(uid) {
            token.cancel();
        }
    }
}

/// The merge patch for a pod's network-status. The UID in it is a precondition: a pod that was made again under
/// the same name isn't touched.
fn status_patch(uid: &str, status: &[NetworkStatus]) -> Result<Value, serde_json::Error> {
    let annotation = multinet::status::to_annotation(status)?;
    Ok(json!({"metadata": {"uid": uid, "annotations": {STATUS_ANNOTATION: annotation}}}))
}

async fn write(client: kube::Client, pod: Pod, patch: Value) {
    let name = format!("{}/{}", pod.namespace, pod.name);
    let api: Api<PartialObjectMeta<ApiPod>> = Api::namespaced(client, &pod.namespace);
    let end = tokio::time::Instant::now() + ENDURANCE;
    let mut pause = Duration::from_millis(100);
    loop {
        let patch = Patch::Merge(&patch);
        let parameters = PatchParams::default();
        let writing = api.patch_status(&pod.name, &parameters, &patch);
        match tokio::time::timeout(ANSWER, writing).await {
            Ok(Ok(_)) => return,
            // Gone, or made again under its name: nobody is left to read it.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => return,
            Ok(Err(error)) => {
                tracing::warn!(pod = name, error = with_sources(&error), "network-status isn't written yet");
            }
            Err(_) => {
                tracing::warn!(
                    pod = name,
                    "network-status isn't written yet: the API server does not answer"
                );
            }
        }
        if tokio::time::Instant::now() + pause > end {
            tracing::error!(pod = name, "network-status is not written");
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

/// The API server takes 1024 bytes.
fn shortened(note: &str) -> String {
    if note.len() <= 1024 {
        return note.to_owned();
    }
    let mut short: String = note.chars().take(250).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests;
