//! Asking a kubelet over its socket.

#![expect(clippy::unwrap_used, reason = "a test ends where it goes wrong, and so do its helpers")]

use std::path::Path;
use std::time::Duration;

use kubelet::podresources::{self, v1};
use kubelet::socket;
use rstest::rstest;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{Request, Response, Status};
use v1::pod_resources_lister_server::{PodResourcesLister, PodResourcesListerServer};

const PATIENCE: Duration = Duration::from_mins(1);

/// Lists that many pods with long names, or fails.
struct Lister(Result<usize, tonic::Code>);

#[tonic::async_trait]
impl PodResourcesLister for Lister {
    async fn list(
        &self,
        _: Request<v1::ListPodResourcesRequest>,
    ) -> Result<Response<v1::ListPodResourcesResponse>, Status> {
        let count = self.0.map_err(|code| Status::new(code, "as told"))?;
        let devices = |place: usize| v1::ContainerDevices {
            resource_name: "intel.com/a".to_owned(),
            device_ids: vec![format!("{place}")],
            topology: None,
        };
        let pods = (0..count).map(|place| v1::PodResources {
            name: format!("pod-{place}-{}", "x".repeat(200)),
            namespace: "default".to_owned(),
            containers: vec![v1::ContainerResources {
                name: "app".to_owned(),
                devices: vec![devices(place)],
                ..v1::ContainerResources::default()
            }],
        });
        Ok(Response::new(v1::ListPodResourcesResponse { pod_resources: pods.collect() }))
    }

    async fn get_allocatable_resources(
        &self,
        _: Request<v1::AllocatableResourcesRequest>,
    ) -> Result<Response<v1::AllocatableResourcesResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn get(
        &self,
        _: Request<v1::GetPodResourcesRequest>,
    ) -> Result<Response<v1::GetPodResourcesResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

fn serve(path: &Path, lister: Lister) -> JoinSet<()> {
    let listener = socket::listen(path).unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let router = tonic::transport::Server::builder().add_service(PodResourcesListerServer::new(lister));
        router.serve_with_incoming(UnixListenerStream::new(listener)).await.unwrap();
    });
    server
}

#[tokio::test]
async fn a_reply_beyond_the_usual_limit_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubelet.sock");
    // More than five MiB, where libraries stop at four.
    let _server = serve(&path, Lister(Ok(20_000)));
    let all = podresources::allocated(&path, PATIENCE).await.unwrap();
    assert_eq!(all["intel.com/a"].len(), 20_000);
    let name = format!("pod-19999-{}", "x".repeat(200));
    let found = podresources::devices_of(&path, "default", &name, PATIENCE).await.unwrap().unwrap();
    assert_eq!(kubelet::ids_by_resource(&found)["intel.com/a"], ["19999"]);
}

#[rstest]
#[case::busy(tonic::Code::ResourceExhausted, true)]
#[case::without_the_service(tonic::Code::Unimplemented, false)]
#[tokio::test]
async fn an_error_of_kubelets_is_kept(#[case] code: tonic::Code, #[case] transient: bool) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kubelet.sock");
    let _server = serve(&path, Lister(Err(code)));
    let error = podresources::allocated(&path, PATIENCE).await.unwrap_err();
    assert_eq!(error.is_transient(), transient);
    assert!(!error.is_absent());
    assert!(error.to_string().contains("kubelet.sock"), "{error}");
}
