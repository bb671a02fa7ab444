//! The gRPC service of one pool.

use std::pin::Pin;
use std::sync::Arc;

use kubelet::deviceplugin::v1beta1 as api;
use kubelet::deviceplugin::v1beta1::device_plugin_server::DevicePlugin;
use netlink::Links;
use pci::PciAddress;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use crate::allocate;
use crate::config::PoolConfig;
use crate::inventory::Device;
use crate::node::{self, Node};
use crate::offer::Offer;
use crate::report::chain;

/// A pool, as its service and its registration share it.
#[derive(Debug)]
pub struct Pool<L: Links> {
    /// What the pool file says.
    pub config: PoolConfig,
    /// The node.
    pub node: Arc<Node<L>>,
    /// What is offered now.
    pub offer: watch::Receiver<Offer>,
    /// Asks for the list to be sent though nothing has changed.
    pub again: watch::Receiver<()>,
    /// How many lists kubelet is following.
    pub streams: watch::Sender<usize>,
    /// The tasks that feed them.
    pub tasks: TaskTracker,
}

/// Why devices are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    /// A pod is admitted: what is marked for it in vain is unmarked again.
    Admission,
    /// A container of a pod that has them is started.
    Start,
}

/// The service, for as long as one socket lasts.
#[derive(Debug)]
pub(crate) struct Service<L: Links> {
    pool: Arc<Pool<L>>,
    /// Ends the streams.
    closing: CancellationToken,
}

impl<L: Links + 'static> Service<L> {
    pub(crate) fn new(pool: Arc<Pool<L>>, closing: CancellationToken) -> Self {
        Self { pool, closing }
    }

    /// The devices of a request, if this pool offers all of them.
    fn devices(&self, ids: &[String]) -> Result<Vec<Device>, Status> {
        let offer = self.pool.offer.borrow();
        ids.iter()
            .map(|id| {
                let address: Option<PciAddress> = id.parse().ok();
                let offered = address.and_then(|address| Some((address, offer.devices.get(&address)?)));
                match offered {
                    None => Err(Status::not_found(format!(
                        "{} has no device {id:?}: the list of its devices has changed, or it never was one",
                        self.pool.config.resource
                    ))),
                    Some((address, offered)) => match &offered.trouble {
                        Some(trouble) => Err(Status::failed_precondition(format!(
                            "device {address} of {} cannot be used: {trouble}",
                            self.pool.config.resource
                        ))),
                        None => Ok(offered.device.clone()),
                    },
                }
            })
            .collect()
    }

    /// Hands the devices of one container out: all of them, or none.
    async fn hand_out(
        &self,
        ids: Vec<String>,
        occasion: Occasion,
    ) -> Result<api::ContainerAllocateResponse, Status> {
        let devices = self.devices(&ids)?;
        let resource = self.pool.config.resource.clone();
        let config = self.pool.config.clone();
        let work = move |node: &Node<L>| {
            let found =
                devices.iter().map(|device| node.given(&config, device)).collect::<Result<Vec<_>, _>>()?;
            for (done, (_, function)) in found.iter().enumerate() {
                if let Err(error) = node.hand_out(&config, function) {
                    if occasion == Occasion::Admission {
                        found
                            .iter()
                            .take(done + 1)
                            .for_each(|(_, function)| node.take_back(function.address));
                    }
                    return Err(error);
                }
            }
            let given: Vec<_> = found.into_iter().map(|(given, _)| given).collect();
            Ok(allocate::response(&config.resource, &given))
        };
        let answer = self.pool.node.work(format!("the allocation of {ids:?} of {resource}"), work).await;
        answer.and_then(|answer| answer).map_err(|error| status(&resource.to_string(), &error))
    }
}

fn status(resource: &str, error: &node::Error) -> Status {
    let message = format!("{resource}: {}", chain(error));
    match error {
        node::Error::Look { .. } => Status::not_found(message),
        node::Error::Missing { .. } | node::Error::Changed { .. } | node::Error::Prepare { .. } => {
            Status::failed_precondition(message)
        }
        node::Error::Describe { .. } => Status::internal(message),
        node::Error::Stuck { .. } => Status::deadline_exceeded(message),
    }
}

#[tonic::async_trait]
impl<L: Links + 'static> DevicePlugin for Service<L> {
    type ListAndWatchStream = Pin<Box<ReceiverStream<Result<api::ListAndWatchResponse, Status>>>>;

    async fn get_device_plugin_options(
        &self,
        _: Request<api::Empty>,
    ) -> Result<Response<api::DevicePluginOptions>, Status> {
        Ok(Response::new(api::DevicePluginOptions {
            pre_start_required: true,
            get_preferred_allocation_available: false,
        }))
    }

    async fn list_and_watch(
        &self,
        _: Request<api::Empty>,
    ) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let (sender, receiver) = mpsc::channel(1);
        let open = Open::new(&self.pool.streams);
        let (mut offer, closing) = (self.pool.offer.clone(), self.closing.clone());
        let mut again = self.pool.again.clone();
        again.mark_unchanged(); // The first list answers all that was asked before.
        let exclude_topology = self.pool.config.exclude_topology;
        self.pool.tasks.spawn(async move {
            let _open = open;
            let mut sent = None;
            loop {
                let list = offer.borrow_and_update().list(exclude_topology);
                if sent.as_ref() != Some(&list) {
                    let message = api::ListAndWatchResponse { devices: list.clone() };
                    tokio::select! {
                        accepted = sender.send(Ok(message)) => if accepted.is_err() { return },
                        () = closing.cancelled() => return,
                    }
                    sent = Some(list);
                }
                tokio::select! {
                    changed = offer.changed() => if changed.is_err() { return },
                    asked = again.changed() => if asked.is_err() { return } else { sent = None },
                    () = sender.closed() => return,
                    () = closing.cancelled() => return,
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_preferred_allocation(
        &self,
        _: Request<api::PreferredAllocationRequest>,
    ) -> Result<Response<api::PreferredAllocationResponse>, Status> {
        Ok(Response::new(api::PreferredAllocationResponse::default()))
    }

    async fn allocate(
        &self,
        request: Request<api::AllocateRequest>,
    ) -> Result<Response<api::AllocateResponse>, Status> {
        let mut container_responses = Vec::new();
        for container in request.into_inner().container_requests {
            let ids = container.devices_ids;
            let resource = self.pool.config.resource.to_string();
            match self.hand_out(ids.clone(), Occasion::Admission).await {
                Ok(response) => {
                    tracing::info!(resource, devices = ids.join(","), "allocated");
                    container_responses.push(response);
                }
                Err(status) => {
                    tracing::error!(
                        resource,
                        devices = ids.join(","),
                        error = status.message(),
                        "not allocated"
                    );
                    return Err(status);
                }
            }
        }
        Ok(Response::new(api::AllocateResponse { container_responses }))
    }

    /// Kubelet answers a container's restart, and a pod's after a reboot, from its checkpoint, without `Allocate`; so
    /// this is where a device that can't be used any more is noticed, and where it's marked after a reboot.
    async fn pre_start_container(
        &self,
        request: Request<api::PreStartContainerRequest>,
    ) -> Result<Response<api::PreStartContainerResponse>, Status> {
        let ids = request.into_inner().devices_ids;
        let resource = self.pool.config.resource.to_string();
        match self.hand_out(ids.clone(), Occasion::Start).await {
            Ok(_) => Ok(Response::new(api::PreStartContainerResponse {})),
            Err(status) => {
                tracing::error!(
                    resource,
                    devices = ids.join(","),
                    error = status.message(),
                    "container not started"
                );
                Err(status)
            }
        }
    }
}

/// Counts a stream for as long as it's open.
#[derive(Debug)]
struct Open(watch::Sender<usize>);

impl Open {
    fn new(streams: &watch::Sender<usize>) -> Self {
        streams.send_modify(|count| *count += 1);
        Self(streams.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}
