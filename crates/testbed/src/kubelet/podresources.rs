//! The pod-resources socket.

use std::collections::BTreeMap;
use std::sync::Arc;

use kubelet::podresources::v1 as api;
use kubelet::podresources::v1::pod_resources_lister_server::{PodResourcesLister, PodResourcesListerServer};
use tonic::{Request, Response, Status};

use super::Core;
use super::state::{Pod, Record};

pub(super) fn service(core: Arc<Core>) -> PodResourcesListerServer<Lister> {
    PodResourcesListerServer::new(Lister { core })
}

#[derive(Debug)]
pub(super) struct Lister {
    core: Arc<Core>,
}

#[tonic::async_trait]
impl PodResourcesLister for Lister {
    async fn list(
        &self,
        _: Request<api::ListPodResourcesRequest>,
    ) -> Result<Response<api::ListPodResourcesResponse>, Status> {
        self.core.suffer().await?;
        let pod_resources = pods(self.core.state().records());
        Ok(Response::new(api::ListPodResourcesResponse { pod_resources }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<api::AllocatableResourcesRequest>,
    ) -> Result<Response<api::AllocatableResourcesResponse>, Status> {
        self.core.suffer().await?;
        let state = self.core.state();
        let resources =
            state.registered_devices().into_iter().map(|(resource, ids)| (resource.to_owned(), ids));
        let devices =
            resources.map(|(resource, ids)| devices(resource, ids.into_iter().map(ToOwned::to_owned)));
        let devices = devices.collect();
        Ok(Response::new(api::AllocatableResourcesResponse { devices, ..Default::default() }))
    }

    async fn get(
        &self,
        request: Request<api::GetPodResourcesRequest>,
    ) -> Result<Response<api::GetPodResourcesResponse>, Status> {
        self.core.suffer().await?;
        let api::GetPodResourcesRequest { pod_name, pod_namespace } = request.into_inner();
        let found = pods(self.core.state().records())
            .into_iter()
            .find(|pod| pod.name == pod_name && pod.namespace == pod_namespace);
        let pod =
            found.ok_or_else(|| Status::not_found(format!("pod {pod_namespace}/{pod_name} not found")))?;
        Ok(Response::new(api::GetPodResourcesResponse { pod_resources: Some(pod) }))
    }
}

fn devices(resource_name: String, ids: impl Iterator<Item = String>) -> api::ContainerDevices {
    api::ContainerDevices { resource_name, device_ids: ids.collect(), topology: None }
}

/// One entry per pod, its containers in the order in which they were allocated to; one entry per NUMA node for the
/// devices of a container, as kubelet has it.
fn pods(records: &[Record]) -> Vec<api::PodResources> {
    let mut pods: BTreeMap<&Pod, Vec<api::ContainerResources>> = BTreeMap::new();
    for Record { pod, allocation, nodes } in records {
        let containers = pods.entry(pod).or_default();
        let place = containers.iter().position(|container| container.name == allocation.container);
        let place = place.unwrap_or_else(|| {
            containers
                .push(api::ContainerResources { name: allocation.container.clone(), ..Default::default() });
            containers.len() - 1
        });
        if let Some(container) = containers.get_mut(place) {
            container.devices.extend(nodes.iter().map(|(node, ids)| {
                let nodes = vec![api::NumaNode { id: *node }];
                let topology = (*node >= 0).then_some(api::TopologyInfo { nodes });
                api::ContainerDevices {
                    topology,
                    ..devices(allocation.resource.clone(), ids.iter().cloned())
                }
            }));
        }
    }
    pods.into_iter()
        .map(|(pod, containers)| api::PodResources {
            name: pod.name.clone(),
            namespace: pod.namespace.clone(),
            containers,
        })
        .collect()
}
