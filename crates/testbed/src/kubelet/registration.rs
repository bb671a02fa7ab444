//! The registration socket, and the streams of those that registered.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use kubelet::deviceplugin::v1beta1 as api;
use kubelet::deviceplugin::v1beta1::device_plugin_client::DevicePluginClient;
use kubelet::deviceplugin::v1beta1::registration_server::Registration;
use kubelet::{deviceplugin, socket};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{CALL, Core, checkpoint, timed};

#[derive(Debug)]
pub(super) struct RegistrationService {
    core: Arc<Core>,
    /// Weak, so that a stopped kubelet's connections don't keep its streams.
    tasks: Weak<Mutex<JoinSet<()>>>,
}

impl RegistrationService {
    pub(super) fn new(core: Arc<Core>, tasks: Weak<Mutex<JoinSet<()>>>) -> Self {
        Self { core, tasks }
    }
}

#[tonic::async_trait]
impl Registration for RegistrationService {
    async fn register(&self, request: Request<api::RegisterRequest>) -> Result<Response<api::Empty>, Status> {
        self.core.suffer().await?;
        let api::RegisterRequest { version, endpoint, resource_name, .. } = request.into_inner();
        if version != deviceplugin::VERSION {
            return Err(Status::unknown(format!(
                "requested API version {version:?} is not supported by kubelet"
            )));
        }
        if !is_extended_resource(&resource_name) {
            return Err(Status::unknown(format!("the ResourceName {resource_name:?} is invalid")));
        }
        let path = self.core.kubelet.device_plugins().join(endpoint);
        let failed = |error: &dyn Error| Status::unknown(format!("failed to dial device plugin: {error}"));
        let channel = socket::connect(&path, CALL).await.map_err(|error| failed(&error))?;
        let mut client = DevicePluginClient::new(channel);
        let options = client.get_device_plugin_options(timed(api::Empty {})).await?.into_inner();
        self.core.state().connected(&resource_name, client.clone(), options);
        self.core.changed();
        let Some(tasks) = self.tasks.upgrade() else {
            return Err(Status::unavailable("kubelet is stopping"));
        };
        let core = Arc::clone(&self.core);
        tasks.lock().unwrap_or_else(PoisonError::into_inner).spawn(async move {
            receive(&core, &resource_name, client).await;
            // Whatever is connected under this name now: kubelet doesn't look which connection has ended.
            core.state().disconnected(&resource_name);
            core.changed();
        });
        Ok(Response::new(api::Empty {}))
    }
}

async fn receive(core: &Core, resource: &str, mut client: DevicePluginClient<Channel>) {
    let Ok(stream) = client.list_and_watch(api::Empty {}).await else { return };
    let mut stream = stream.into_inner();
    while let Ok(Some(list)) = stream.message().await {
        core.state().listed(resource, list.devices);
        // Kubelet goes on without a checkpoint, too.
        drop(checkpoint::write(&core.kubelet.checkpoint(), &core.state()));
        core.changed();
    }
}

/// Kubernetes' rule for the names that plugins may use: a domain of one's own, and a label of at most 63 characters.
fn is_extended_resource(name: &str) -> bool {
    let Some((domain, label)) = name.split_once('/') else { return false };
    let edge = |text: &str| {
        let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        alphanumeric(text.bytes().next()) && alphanumeric(text.bytes().last())
    };
    let of = |text: &str, extra: &[u8]| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || extra.contains(&byte))
    };
    let own =
        domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io") && !name.starts_with("requests.");
    let domain_is_valid =
        edge(domain) && of(domain, b"-.") && !domain.bytes().any(|byte| byte.is_ascii_uppercase());
    own && domain_is_valid && edge(label) && of(label, b"-_.") && label.len() <= 63
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    #[rstest]
    #[case("intel.com/sriov_net_A", true)]
    #[case("example.org/x", true)]
    #[case("sriov", false)]
    #[case("kubernetes.io/x", false)]
    #[case("a.kubernetes.io/x", false)]
    #[case("Intel.com/x", false)]
    #[case("intel.com/-x", false)]
    #[case("intel.com/x/y", false)]
    fn kubelet_takes_extended_resources_alone(#[case] name: &str, #[case] taken: bool) {
        assert_eq!(super::is_extended_resource(name), taken);
    }
}
