//! What the API server knows: this node's pods (metadata only) and the NADs of the cluster.
//!
//! Both come from watches that fill caches; in steady state an ADD reads nothing. What a cache doesn't have
//! (a pod that was bound a moment ago) is read live, within a time limit. While the API server is away the
//! caches keep what they have.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::time::Duration;

use cni::error::with_sources;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::core::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use multinet::Nad;
use tokio::time::{Instant, timeout_at};

/// How long live reads wait, and how often they're repeated.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an answer of the API server; all repetitions together.
    pub answer: Duration,
    /// For a pod that isn't there to appear.
    pub appearance: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(10), appearance: Duration::from_millis(2500) }
    }
}

/// Why the API server's objects can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such pod, or only one with another UID.
    #[error(
        "pod {namespace}/{name} with UID {} is not known to the API server; it was deleted, or isn't visible yet",
        uid.as_deref().unwrap_or("(not given)")
    )]
    NoPod {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// The UID that the runtime named.
        uid: Option<String>,
    },
    /// There is no such NAD.
    #[error(
        "there is no NetworkAttachmentDefinition {namespace}/{name}; create it, or correct the pod's annotation"
    )]
    NoNad {
        /// The NAD's namespace.
        namespace: String,
        /// The NAD's name.
        name: String,
    },
    /// A NAD isn't what it should be.
    #[error("the NetworkAttachmentDefinition {namespace}/{name} is malformed: {what}")]
    MalformedNad {
        /// The NAD's namespace.
        namespace: String,
        /// The NAD's name.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The API server said no.
    #[error("the API server does not give {what}; check its log and the permissions of patchbayd")]
    Api {
        /// What was asked for.
        what: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server said nothing.
    #[error("the API server did not answer within {} s when asked for {what}", after.as_secs())]
    Timeout {
        /// What was asked for.
        what: String,
        /// How long was waited.
        after: Duration,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let text = with_sources(&error);
        match error {
            Error::NoPod { .. } | Error::Api { .. } | Error::Timeout { .. } => cni::Error::try_again(text),
            Error::NoNad { .. } | Error::MalformedNad { .. } => cni::Error::invalid_config(text),
        }
    }
}

/// A pod as far as its networks go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The UID of the API server's object. A static pod's differs from the one that kubelet uses.
    pub uid: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Pod {
    fn new(metadata: &ObjectMeta) -> Self {
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone().unwrap_or_default(),
            annotations: metadata.annotations.clone().unwrap_or_default(),
        }
    }

    /// Whether this is the pod that the runtime calls `uid`. Kubelet runs a static pod under the hash of its
    /// file, which its mirror in the API server has as an annotation.
    fn is(&self, uid: Option<&str>) -> bool {
        uid.is_none_or(|uid| {
            let hash = |key: &str| self.annotations.get(key).map(String::as_str);
            self.uid == uid
                || hash("kubernetes.io/config.hash") == Some(uid)
                || hash("kubernetes.io/config.mirror") == Some(uid)
        })
    }
}

/// The API server's objects.
#[derive(Clone)]
pub struct Cluster {
    client: kube::Client,
    pods: Store<PartialObjectMeta<ApiPod>>,
    nads: Store<DynamicObject>,
    patience: Patience,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("pods", &self.pods.len())
            .field("nads", &self.nads.len())
            .finish_non_exhaustive()
    }
}

fn nad_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("k8s.cni.cncf.io", "v1", "NetworkAttachmentDefinition"),
        "network-attachment-definitions",
    )
}

impl Cluster {
    /// The cluster as the pods of `node` see it. The second part of the answer keeps the caches up to date for
    /// as long as it's polled; it never ends.
    pub fn new(
        client: kube::Client,
        node: &str,
        patience: Patience,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let pods: Writer<PartialObjectMeta<ApiPod>> = Writer::default();
        let nads: Writer<DynamicObject> = Writer::new(nad_resource());
        let cluster =
            Self { client: client.clone(), pods: pods.as_reader(), nads: nads.as_reader(), patience };
        let of_node = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
        let pod_events = watcher(Api::<PartialObjectMeta<ApiPod>>::all(client.clone()), of_node)
            .default_backoff()
            .map(|event| event.map(|event| event.modify(|pod| trim(&mut pod.metadata))));
        let nad_events = watcher(Api::all_with(client, &nad_resource()), watcher::Config::default())
            .default_backoff()
            .map(|event| event.map(|event| event.modify(|nad: &mut DynamicObject| trim(&mut nad.metadata))));
        let pods = reflector(pods, pod_events).for_each(|event| {
            log("pods", &event);
            ready(())
        });
        let nads = reflector(nads, nad_events).for_each(|event| {
            log("NADs", &event);
            ready(())
        });
        let watches = async move {
            futures::join!(pods, nads);
        };
        (cluster, watches)
    }

    /// The client, for writing.
    pub fn client(&self) -> kube::Client {
        self.client.clone()
    }

    /// Ready once both caches have been filled.
    pub async fn synced(&self) {
        let _ = self.pods.wait_until_ready().await;
        let _ = self.nads.wait_until_ready().await;
    }

    /// The pod that the runtime calls `namespace/name` with `uid`, if the cache has it.
    pub fn cached_pod(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<Pod> {
        let cached = self.pods.get(&ObjectRef::new(name).within(namespace));
        cached.map(|pod| Pod::new(&pod.metadata)).filter(|pod| pod.is(uid))
    }

    /// The pod that the runtime calls `namespace/name` with `uid`, from the cache or live.
    pub async fn pod(&self, namespace: &str, name: &str, uid: Option<&str>) -> Result<Pod, Error> {
        if let Some(pod) = self.cached_pod(namespace, name, uid) {
            return Ok(pod);
        }
        let api: Api<PartialObjectMeta<ApiPod>> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("pod {namespace}/{name}");
        let found = self
            .live(&what, self.patience.appearance, || async {
                let pod = api.get_opt(name).await?.map(|pod| Pod::new(&pod.metadata));
                Ok(pod.filter(|pod| pod.is(uid)))
            })
            .await?;
        found.ok_or_else(|| Error::NoPod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.map(str::to_owned),
        })
    }

    /// A NAD, from the cache or live.
    pub async fn nad(&self, namespace: &str, name: &str) -> Result<Nad, Error> {
        let key = ObjectRef::new_with(name, nad_resource()).within(namespace);
        if let Some(nad) = self.nads.get(&key) {
            return read_nad(&nad);
        }
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &nad_resource());
        let what = format!("NetworkAttachmentDefinition {namespace}/{name}");
        // What the API server doesn't have isn't waited for: kubelet tries again.
        match self.live(&what, Duration::ZERO, || api.get_opt(name)).await? {
            Some(nad) => read_nad(&nad),
            None => Err(Error::NoNad { namespace: namespace.to_owned(), name: name.to_owned() }),
        }
    }

    /// The names of the pod's containers in the order of its spec, init containers first.
    pub async fn container_order(&self, namespace: &str, name: &str) -> Result<Vec<String>, Error> {
        let api: Api<ApiPod> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("the containers of pod {namespace}/{name}");
        let pod = self.live(&what, Duration::ZERO, || api.get_opt(name)).await?;
        let spec = pod.and_then(|pod| pod.spec).ok_or_else(|| Error::NoPod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: None,
        })?;
        let init = spec.init_containers.unwrap_or_default();
        Ok(init.into_iter().chain(spec.containers).map(|container| container.name).collect())
    }

    /// Asks until there's an object, or it hasn't appeared in that time; errors are asked through as well.
    async fn live<T, F>(
        &self,
        what: &str,
        appearance: Duration,
        ask: impl Fn() -> F,
    ) -> Result<Option<T>, Error>
    where
        F: Future<Output = kube::Result<Option<T>>>,
    {
        let start = Instant::now();
        let (end, appeared) = (start + self.patience.answer, start + appearance);
        let mut pause = Duration::from_millis(50);
        loop {
            let failure = match timeout_at(end, ask()).await {
                Ok(Ok(Some(found))) => return Ok(Some(found)),
                Ok(Ok(None)) if Instant::now() + pause >= appeared => return Ok(None),
                Ok(Ok(None)) => None,
                Ok(Err(error)) if is_final(&error) => Some(error),
                Ok(Err(error)) if Instant::now() + pause >= end => Some(error),
                Ok(Err(error)) => {
                    tracing::warn!(
                        what,
                        error = with_sources(&error),
                        "the API server did not answer as it should"
                    );
                    None
                }
                Err(_) => {
                    return Err(Error::Timeout { what: what.to_owned(), after: self.patience.answer });
                }
            };
            if let Some(source) = failure {
                return Err(Error::Api { what: what.to_owned(), source: Box::new(source) });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// Whether asking again within seconds can't help: we aren't allowed to, or asked for nonsense.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400..=499) && !matches!(status.code, 408 | 429))
}

/// Drops what nobody reads and the API server sends with every object.
fn trim(metadata: &mut ObjectMeta) {
    metadata.managed_fields = None;
    metadata.labels = None;
    metadata.owner_references = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

fn log<K>(what: &'static str, event: &Result<watcher::Event<K>, watcher::Error>) {
    match event {
        Err(error) => {
            tracing::warn!(what, error = with_sources(error), "the watch failed and is begun again");
        }
        Ok(watcher::Event::InitDone) => tracing::info!(what, "the cache is filled"),
        Ok(_) => {}
    }
}

fn read_nad(object: &DynamicObject) -> Result<Nad, Error> {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let malformed = |what| Error::MalformedNad { namespace: namespace.clone(), name: name.clone(), what };
    let config = match object.data.pointer("/spec/config") {
        None | Some(serde_json::Value::Null) => String::new(),
        Some(serde_json::Value::String(config)) => config.clone(),
        Some(_) => return Err(malformed("spec.config is not a string")),
    };
    let annotations = object.metadata.annotations.as_ref();
    let resource_name = annotations
        .and_then(|all| all.get(multinet::RESOURCE_NAME_ANNOTATION))
        .filter(|r| !r.is_empty())
        .cloned();
    Ok(Nad { namespace, name, config, resource_name })
}

#[cfg(test)]
mod tests;
