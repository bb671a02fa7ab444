//! Which pod has which devices, from kubelet's pod-resources socket.
//!
//! The reply has no pod UID. A kubelet before 1.34 also lists pods that have ended, so a pod that was made again under
//! its old name can be there twice; that is an error of its own ([`Error::Ambiguous`]), because to guess could hand one
//! VF to two pods. The checkpoint file, which knows UIDs, is the way out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::Code;

use crate::{ContainerDevices, socket};

pub use crate::generated::podresources_v1 as v1;

#[cfg(test)]
mod tests;

/// A reply lists every pod of the node; the libraries' usual limit of 4 MiB is too little for a big one.
const MAX_REPLY: usize = 16 << 20;

/// Why kubelet didn't say.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket couldn't be reached.
    #[error("cannot ask kubelet for the node's pod resources")]
    Connect(#[source] socket::Error),
    /// The call wasn't answered in time.
    #[error("kubelet did not list the node's pod resources on {} within {after:?}", socket.display())]
    Timeout {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        after: Duration,
    },
    /// Kubelet answered with an error.
    #[error("kubelet did not list the node's pod resources on {}", socket.display())]
    List {
        /// The socket.
        socket: PathBuf,
        /// What kubelet answered.
        #[source]
        status: Box<tonic::Status>,
    },
    /// Several pods with devices have that name.
    #[error(
        "kubelet lists {count} pods {namespace}/{name} with different devices; an earlier one is still ending"
    )]
    Ambiguous {
        /// The pods' namespace.
        namespace: String,
        /// The pods' name.
        name: String,
        /// How many there are.
        count: usize,
    },
}

impl Error {
    /// Whether the same question may be answered a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect(error) => !error.is_absent(),
            Self::Timeout { .. } | Self::Ambiguous { .. } => true,
            Self::List { status, .. } => matches!(
                status.code(),
                Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled
            ),
        }
    }

    /// Whether there is no such socket: this kubelet has none, or it isn't mounted here.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Connect(error) if error.is_absent())
    }
}

/// The devices of the pod `namespace/name`, its containers in the pod's order; `None` when kubelet doesn't list the
/// pod. The whole of it takes at most `deadline`.
pub async fn devices_of(
    socket: &Path,
    namespace: &str,
    name: &str,
    deadline: Duration,
) -> Result<Option<Vec<ContainerDevices>>, Error> {
    select(list(socket, deadline).await?, namespace, name)
}

/// Every device that kubelet has given to a container of this node, by resource. The whole of it takes at most
/// `deadline`.
pub async fn allocated(
    socket: &Path,
    deadline: Duration,
) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let containers = list(socket, deadline).await?.into_iter().flat_map(|pod| pod.containers);
    for devices in containers.flat_map(|container| container.devices) {
        all.entry(devices.resource_name).or_default().extend(devices.device_ids);
    }
    Ok(all)
}

async fn list(socket: &Path, deadline: Duration) -> Result<Vec<v1::PodResources>, Error> {
    let timeout = || Error::Timeout { socket: socket.to_owned(), after: deadline };
    let call = async {
        let channel = socket::connect(socket, deadline).await.map_err(Error::Connect)?;
        let mut client = v1::pod_resources_lister_client::PodResourcesListerClient::new(channel)
            .max_decoding_message_size(MAX_REPLY);
        client
            .list(v1::ListPodResourcesRequest {})
            .await
            .map_err(|status| Error::List { socket: socket.to_owned(), status: Box::new(status) })
    };
    let reply = tokio::time::timeout(deadline, call).await.map_err(|_elapsed| timeout())??;
    Ok(reply.into_inner().pod_resources)
}

/// What `pods` says about one of them.
fn select(
    pods: Vec<v1::PodResources>,
    namespace: &str,
    name: &str,
) -> Result<Option<Vec<ContainerDevices>>, Error> {
    let mut found: Vec<Vec<ContainerDevices>> = pods
        .into_iter()
        .filter(|pod| pod.namespace == namespace && pod.name == name)
        .map(|pod| pod.containers.into_iter().map(container).collect())
        .collect();
    if found.len() > 1 {
        // An entry without devices says nothing, and the same entry twice says one thing.
        found.retain(|containers| containers.iter().any(|container| !container.resources.is_empty()));
        found.dedup();
    }
    if found.len() > 1 {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        return Err(Error::Ambiguous { namespace, name, count: found.len() });
    }
    Ok(found.pop())
}

fn container(container: v1::ContainerResources) -> ContainerDevices {
    let devices = container.devices.into_iter().map(|devices| (devices.resource_name, devices.device_ids));
    ContainerDevices::gather(container.name, devices)
}
