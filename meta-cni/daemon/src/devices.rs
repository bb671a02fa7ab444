//! Which devices kubelet gave to a pod.
//!
//! The pod-resources socket is asked first, one call at a time for all pods, since kubelet limits how often it
//! answers. It leaves out ordinary init containers, has no pod UIDs, and may not be there at all; so kubelet's
//! checkpoint file is read where the socket didn't give enough.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use cni::error::with_sources;
use kubelet::checkpoint::{self, Checkpoint};
use kubelet::{ContainerDevices, Kubelet, ids_by_resource, podresources};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cluster;

/// For how long a socket that didn't answer isn't asked again: the pods that wait would all wait for it in turn.
const SILENCE: Duration = Duration::from_secs(30);

/// A pod's device IDs by resource, in the order in which its networks use them up.
pub type Devices = BTreeMap<String, Vec<String>>;

/// Why a pod's devices aren't known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither source could be read.
    #[error(
        "the devices of pod {namespace}/{name} are not known: kubelet's checkpoint can't be read, and on the \
         pod-resources socket {socket}"
    )]
    NoSource {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// What was wrong with the socket.
        socket: String,
        /// What is wrong with the checkpoint.
        #[source]
        source: checkpoint::Error,
    },
    /// Several containers have devices of one resource, and their order isn't known.
    #[error("the containers of pod {namespace}/{name} that share a resource can't be put in order")]
    Order {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        name: String,
        /// Why the pod's spec can't be read.
        #[source]
        source: cluster::Error,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        cni::Error::try_again(with_sources(&error))
    }
}

/// A pod as kubelet knows it.
#[derive(Debug, Clone, Copy)]
pub struct PodName<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Kubelet's UID for it.
    pub uid: &'a str,
}

/// Kubelet as a source of devices.
#[derive(Debug)]
pub struct Source {
    socket: PathBuf,
    checkpoint: PathBuf,
    /// How long the socket is tried, all repetitions together.
    deadline: Duration,
    /// Held by the one call that is under way. After a call that wasn't answered it says until when the next
    /// ones needn't try.
    turn: Mutex<Option<Instant>>,
}

impl Source {
    /// The kubelet whose directory this is. `deadline` limits what one pod's question to its socket takes,
    /// once it's that pod's turn.
    pub fn new(kubelet: &Kubelet, deadline: Duration) -> Self {
        let (socket, checkpoint) = (kubelet.pod_resources_socket(), kubelet.checkpoint());
        Self { socket, checkpoint, deadline, turn: Mutex::new(None) }
    }

    /// The devices of a pod that has `needed` networks of each resource. `order` names the pod's containers in
    /// the order of its spec; it's asked only where more than one of them has devices that are needed.
    pub async fn of_pod<F>(
        &self,
        pod: PodName<'_>,
        needed: &BTreeMap<String, usize>,
        order: impl FnOnce() -> F,
    ) -> Result<Devices, Error>
    where
        F: Future<Output = Result<Vec<String>, cluster::Error>>,
    {
        let (listed, socket) = match self.listed(pod).await {
            Ok(listed) => (listed.unwrap_or_default(), None),
            Err(error) => (Vec::new(), Some(with_sources(&error))),
        };
        let devices = ids_by_resource(&listed);
        if suffices(&devices, needed) {
            return Ok(devices);
        }
        let remembered = match self.remembered(pod, needed, order).await {
            Ok(remembered) => remembered,
            // The socket was heard: it's enough to say what is missing.
            Err(error) if socket.is_none() => {
                tracing::warn!(pod = %pod, error = with_sources(&error), "kubelet's checkpoint doesn't help");
                return Ok(devices);
            }
            Err(Remembered::Checkpoint(source)) => {
                return Err(Error::NoSource {
                    namespace: pod.namespace.to_owned(),
                    name: pod.name.to_owned(),
                    socket: socket.unwrap_or_default(),
                    source,
                });
            }
            Err(Remembered::Order(source)) => {
                let (namespace, name) = (pod.namespace.to_owned(), pod.name.to_owned());
                return Err(Error::Order { namespace, name, source });
            }
        };
        if let Some(socket) = socket {
            tracing::info!(pod = %pod, socket, "devices are taken from kubelet's checkpoint");
        }
        let more = |resource: &String| {
            remembered.get(resource).map_or(0, Vec::len) > devices.get(resource).map_or(0, Vec::len)
        };
        Ok(if needed.keys().any(more) { remembered } else { devices })
    }

    /// What the socket says. Refusals that pass (its rate limit, a pod that is listed twice while its
    /// predecessor ends) are waited out.
    async fn listed(&self, pod: PodName<'_>) -> Result<Option<Vec<ContainerDevices>>, podresources::Error> {
        let mut silent_until = self.turn.lock().await;
        if silent_until.is_some_and(|until| Instant::now() < until) {
            return Err(podresources::Error::Timeout { socket: self.socket.clone(), after: self.deadline });
        }
        let end = Instant::now() + self.deadline;
        let mut pause = Duration::from_millis(20);
        loop {
            let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            let answer = podresources::devices_of(&self.socket, pod.namespace, pod.name, left).await;
            match answer {
                Err(error) if error.is_transient() && Instant::now() + pause < end => {
                    tracing::debug!(pod = %pod, error = with_sources(&error), "kubelet is asked again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                answer => {
                    let is_silent = answer.is_err() && Instant::now() + pause >= end;
                    *silent_until = is_silent.then(|| Instant::now() + SILENCE);
                    return answer;
                }
            }
        }
    }

    /// What the checkpoint file says.
    async fn remembered<F>(
        &self,
        pod: PodName<'_>,
        needed: &BTreeMap<String, usize>,
        order: impl FnOnce() -> F,
    ) -> Result<Devices, Remembered>
    where
        F: Future<Output = Result<Vec<String>, cluster::Error>>,
    {
        let path = self.checkpoint.clone();
        let read = tokio::task::spawn_blocking(move || Checkpoint::read(&path)).await;
        let checkpoint = match read {
            Ok(read) => read.map_err(Remembered::Checkpoint)?,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let unordered = checkpoint.devices_of(pod.uid, &[]);
        let holders = |resource: &String| {
            unordered
                .iter()
                .filter(|container| container.resources.iter().any(|r| r.resource == *resource))
                .count()
        };
        if needed.keys().all(|resource| holders(resource) < 2) {
            return Ok(ids_by_resource(&unordered));
        }
        let order = order().await.map_err(Remembered::Order)?;
        let order: Vec<&str> = order.iter().map(String::as_str).collect();
        Ok(ids_by_resource(&checkpoint.devices_of(pod.uid, &order)))
    }
}

/// Why the checkpoint doesn't give a pod's devices.
#[derive(Debug, thiserror::Error)]
enum Remembered {
    #[error("it can't be read")]
    Checkpoint(#[source] checkpoint::Error),
    #[error("the order of the pod's containers isn't known")]
    Order(#[source] cluster::Error),
}

fn suffices(devices: &Devices, needed: &BTreeMap<String, usize>) -> bool {
    needed.iter().all(|(resource, count)| devices.get(resource).map_or(0, Vec::len) >= *count)
}

impl std::fmt::Display for PodName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests;
