//! A device plugin that gives whatever it's asked for, so that kubelet has something to allocate.

use std::path::{Path, PathBuf};

use kubelet::deviceplugin::v1beta1 as api;
use kubelet::deviceplugin::v1beta1::device_plugin_server::{DevicePlugin, DevicePluginServer};
use kubelet::deviceplugin::v1beta1::registration_client::RegistrationClient;
use kubelet::{Kubelet, deviceplugin, socket};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use crate::node::PATIENCE;

struct Plugin {
    ids: Vec<String>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl DevicePlugin for Plugin {
    type ListAndWatchStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<api::ListAndWatchResponse, Status>> + Send>>;

    async fn get_device_plugin_options(&self, _: Request<api::Empty>) -> Answer<api::DevicePluginOptions> {
        Ok(Response::new(api::DevicePluginOptions::default()))
    }

    async fn list_and_watch(&self, _: Request<api::Empty>) -> Answer<Self::ListAndWatchStream> {
        let device = |id: &String| api::Device {
            id: id.clone(),
            health: deviceplugin::HEALTHY.to_owned(),
            topology: None,
        };
        let list = api::ListAndWatchResponse { devices: self.ids.iter().map(device).collect() };
        let stream = tokio_stream::once(Ok(list)).chain(tokio_stream::pending());
        Ok(Response::new(Box::pin(stream)))
    }

    async fn get_preferred_allocation(
        &self,
        _: Request<api::PreferredAllocationRequest>,
    ) -> Answer<api::PreferredAllocationResponse> {
        Ok(Response::new(api::PreferredAllocationResponse::default()))
    }

    async fn allocate(&self, request: Request<api::AllocateRequest>) -> Answer<api::AllocateResponse> {
        let containers = request.into_inner().container_requests.len();
        let container_responses = vec![api::ContainerAllocateResponse::default(); containers];
        Ok(Response::new(api::AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        _: Request<api::PreStartContainerRequest>,
    ) -> Answer<api::PreStartContainerResponse> {
        Ok(Response::new(api::PreStartContainerResponse::default()))
    }
}

/// Serves a resource's devices and registers them.
pub(crate) async fn register(kubelet: &Kubelet, resource: &str, ids: &[&str]) -> JoinHandle<()> {
    let endpoint = resource.replace('/', "_");
    let path: PathBuf = kubelet.device_plugins().join(&endpoint);
    let plugin = Plugin { ids: ids.iter().map(|id| (*id).to_owned()).collect() };
    let task = serve(&path, plugin);
    let channel = socket::connect(&kubelet.registration_socket(), PATIENCE).await.unwrap();
    let request = api::RegisterRequest {
        version: deviceplugin::VERSION.to_owned(),
        endpoint,
        resource_name: resource.to_owned(),
        options: None,
    };
    RegistrationClient::new(channel).register(request).await.unwrap();
    task
}

fn serve(path: &Path, plugin: Plugin) -> JoinHandle<()> {
    let listener = socket::listen(path).unwrap();
    let server = tonic::transport::Server::builder().add_service(DevicePluginServer::new(plugin));
    tokio::spawn(async move { server.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap() })
}
