//! A kubelet, as far as device plugins and readers of pod resources can see one.
//!
//! It's driven at its protocols: real gRPC servers on real sockets below a directory, kubelet's own checkpoint file,
//! and gRPC clients to the plugins that register. Where kubelet has habits that plugins must live with, it has them
//! too: it empties its directory when it starts, it connects back to a plugin before it answers the registration,
//! it takes all devices of a plugin for unhealthy once their stream ends, and when the stream of a plugin ends that
//! has registered again meanwhile, it drops the new registration with the old.

mod checkpoint;
mod error;
mod podresources;
mod registration;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kubelet::deviceplugin::v1beta1 as api;
use kubelet::{Kubelet, socket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::Server;

use registration::RegistrationService;
use state::State;

pub use error::Error;
pub use state::{Allocation, Device, Pod};

/// How long a plugin may take to answer. Kubelet itself has no limit for most calls; a test wants one.
const CALL: Duration = Duration::from_mins(1);

/// What shared tasks see of the fake.
#[derive(Debug)]
struct Core {
    kubelet: Kubelet,
    state: Mutex<State>,
    /// Counts changes of `state`.
    changes: watch::Sender<u64>,
    faults: Mutex<Faults>,
    /// Kubelet admits one pod at a time.
    admission: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default, Clone)]
struct Faults {
    stalled: bool,
    refusal: Option<String>,
}

impl Core {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What a call does before it answers.
    async fn suffer(&self) -> Result<(), tonic::Status> {
        let faults = self.faults().clone();
        if faults.stalled {
            std::future::pending::<()>().await;
        }
        match faults.refusal {
            Some(reason) => Err(tonic::Status::unknown(reason)),
            None => Ok(()),
        }
    }
}

/// A kubelet on a directory of its own.
///
/// It runs until it's dropped or [stopped](FakeKubelet::stop), on the runtime that started it.
#[derive(Debug)]
pub struct FakeKubelet {
    core: Arc<Core>,
    /// The servers and the plugins' streams; empty while kubelet is stopped.
    tasks: Arc<Mutex<JoinSet<()>>>,
    pod_resources: bool,
}

impl FakeKubelet {
    /// A running kubelet whose directory is `dir`. What an earlier one allocated is read from its checkpoint.
    pub fn start(dir: &Path) -> Result<Self, Error> {
        Self::start_with(dir, true)
    }

    /// The same with no pod-resources socket, so that the checkpoint is all that a reader has.
    pub fn start_without_pod_resources(dir: &Path) -> Result<Self, Error> {
        Self::start_with(dir, false)
    }

    fn start_with(dir: &Path, pod_resources: bool) -> Result<Self, Error> {
        let kubelet = Kubelet::new(dir);
        let fake = Self {
            core: Arc::new(Core {
                state: Mutex::new(State::default()),
                kubelet,
                changes: watch::Sender::new(0),
                faults: Mutex::default(),
                admission: tokio::sync::Mutex::default(),
            }),
            tasks: Arc::default(),
            pod_resources,
        };
        fake.serve()?;
        Ok(fake)
    }

    /// The directory and the paths in it.
    pub fn paths(&self) -> &Kubelet {
        &self.core.kubelet
    }

    /// The devices that the resource's plugin listed, by id.
    pub fn devices(&self, resource: &str) -> BTreeMap<String, Device> {
        self.core.state().devices(resource)
    }

    /// The ids of the resource's healthy devices, whether allocated or not: what the node's status calls allocatable.
    pub fn allocatable(&self, resource: &str) -> BTreeSet<String> {
        self.devices(resource).into_iter().filter(|(_, device)| device.healthy).map(|(id, _)| id).collect()
    }

    /// The resources that plugins have registered and not lost.
    pub fn registered(&self) -> BTreeSet<String> {
        self.core.state().registered()
    }

    /// How often the resource has been registered.
    pub fn registrations(&self, resource: &str) -> usize {
        self.core.state().registrations(resource)
    }

    /// What the pod has, in the order in which it was allocated.
    pub fn allocations(&self, pod: &Pod) -> Vec<Allocation> {
        self.core.state().allocations(pod)
    }

    /// Waits until `done` says so; `what` says in an error what was waited for.
    pub async fn until(
        &self,
        what: &str,
        deadline: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<(), Error> {
        let mut changes = self.core.changes.subscribe();
        let waiting = async {
            while !done(self) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(deadline, waiting)
            .await
            .map_err(|_elapsed| Error::Timeout { what: what.to_owned(), after: deadline })
    }

    /// Allocates `count` devices of `resource` to a container, as the admission of its pod does.
    pub async fn allocate(
        &self,
        pod: &Pod,
        container: &str,
        resource: &str,
        count: usize,
    ) -> Result<Allocation, Error> {
        let _admission = self.core.admission.lock().await;
        let choice = self.core.state().choose(resource, count)?;
        let ids = if choice.options.get_preferred_allocation_available {
            self.preferred(resource, &choice, count).await?
        } else {
            choice.free.iter().take(count).cloned().collect()
        };
        self.allocate_ids(pod, container, resource, ids).await
    }

    /// Allocates these very devices, known to kubelet or not.
    pub async fn allocate_ids(
        &self,
        pod: &Pod,
        container: &str,
        resource: &str,
        ids: Vec<String>,
    ) -> Result<Allocation, Error> {
        let mut client = self.core.state().client(resource)?;
        let request = api::AllocateRequest {
            container_requests: vec![api::ContainerAllocateRequest { devices_ids: ids.clone() }],
        };
        let failed = |status| call_error(resource, "Allocate", &ids, status);
        let response = client.allocate(timed(request)).await.map_err(failed)?.into_inner();
        let response = response
            .container_responses
            .into_iter()
            .next()
            .ok_or_else(|| failed(tonic::Status::internal("no response for the container")))?;
        let (container, resource) = (container.to_owned(), resource.to_owned());
        let allocation = Allocation { container, resource, ids, response };
        self.core.state().insert(pod, allocation.clone());
        self.write_checkpoint()?;
        Ok(allocation)
    }

    /// What kubelet does before each start of a container: `PreStartContainer`, where the plugin wants it.
    pub async fn start_container(&self, pod: &Pod, container: &str) -> Result<(), Error> {
        for Allocation { resource, ids, .. } in
            self.allocations(pod).into_iter().filter(|allocation| allocation.container == container)
        {
            let (mut client, options) = {
                let state = self.core.state();
                (state.client(&resource)?, state.options(&resource))
            };
            if options.pre_start_required {
                let request = api::PreStartContainerRequest { devices_ids: ids.clone() };
                let answer = client.pre_start_container(timed(request)).await;
                answer.map_err(|status| call_error(&resource, "PreStartContainer", &ids, status))?;
            }
        }
        Ok(())
    }

    /// A pod has ended. Its devices are free, and pod resources don't show them; the checkpoint does until kubelet
    /// writes it again, with the next allocation or list of devices.
    pub fn end(&self, pod: &Pod) {
        self.core.state().free(pod);
    }

    /// Forgets a pod at once, in the checkpoint too, as when something else follows its end. Plugins aren't told; that is kubelet's way.
    pub fn free(&self, pod: &Pod) -> Result<(), Error> {
        self.core.state().free(pod);
        self.write_checkpoint()
    }

    /// Ends kubelet: its sockets answer no more, the plugins' streams break. Its files stay.
    pub async fn stop(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
        self.core.state().disconnect_all();
        self.core.changed();
    }

    /// Ends kubelet and starts it again: it empties its directory, and knows only what its checkpoint says.
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await;
        self.serve()
    }

    /// Removes the plugins' sockets from under them while kubelet goes on.
    pub fn wipe(&self) -> Result<(), Error> {
        empty(&self.core.kubelet.device_plugins(), &["kubelet.sock", "kubelet_internal_checkpoint"])
    }

    /// Lets calls to kubelet hang without an answer, or answers again. Calls that hang already go on hanging.
    pub fn stall(&self, stalled: bool) {
        self.core.faults().stalled = stalled;
    }

    /// Answers calls to kubelet with an error, or properly again.
    pub fn refuse(&self, refusal: Option<&str>) {
        self.core.faults().refusal = refusal.map(ToOwned::to_owned);
    }

    async fn preferred(
        &self,
        resource: &str,
        choice: &state::Choice,
        count: usize,
    ) -> Result<Vec<String>, Error> {
        let request = api::PreferredAllocationRequest {
            container_requests: vec![api::ContainerPreferredAllocationRequest {
                available_device_i_ds: choice.free.clone(),
                must_include_device_i_ds: Vec::new(),
                allocation_size: i32::try_from(count).unwrap_or(i32::MAX),
            }],
        };
        let mut client = choice.client.clone();
        let answer = client.get_preferred_allocation(timed(request)).await;
        let answer =
            answer.map_err(|status| call_error(resource, "GetPreferredAllocation", &choice.free, status))?;
        let preferred = answer.into_inner().container_responses.into_iter().next();
        let mut ids: Vec<String> = preferred.map(|answer| answer.device_i_ds).unwrap_or_default();
        ids.retain(|id| choice.free.contains(id));
        // The answer is advice: what it leaves open is filled up.
        let rest = choice.free.iter().filter(|id| !ids.contains(id)).cloned().collect::<Vec<_>>();
        ids.extend(rest);
        ids.truncate(count);
        Ok(ids)
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) -> Result<(), Error> {
        let kubelet = &self.core.kubelet;
        let pod_resources = kubelet.pod_resources_socket();
        for directory in
            [Some(kubelet.device_plugins().as_path()), pod_resources.parent()].into_iter().flatten()
        {
            let failed = |source| Error::Directory { path: directory.to_owned(), source };
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        empty(&kubelet.device_plugins(), &["kubelet_internal_checkpoint"])?;
        let remembered = checkpoint::read(&kubelet.checkpoint());
        self.core.state().remember(remembered);

        let registration = RegistrationService::new(Arc::clone(&self.core), Arc::downgrade(&self.tasks));
        let registration = api::registration_server::RegistrationServer::new(registration);
        self.run(&kubelet.registration_socket(), Server::builder().add_service(registration))?;
        if self.pod_resources {
            let lister = podresources::service(Arc::clone(&self.core));
            self.run(&pod_resources, Server::builder().add_service(lister))
        } else {
            socket::remove(&pod_resources).map_err(Error::Serve)
        }
    }

    fn run(&self, path: &Path, router: tonic::transport::server::Router) -> Result<(), Error> {
        let listener = socket::listen(path).map_err(Error::Serve)?;
        let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
        self.tasks().spawn(async move {
            // It ends with the task; an error of its own would show as a socket that answers no more.
            drop(router.serve_with_incoming(incoming).await);
        });
        Ok(())
    }

    fn write_checkpoint(&self) -> Result<(), Error> {
        let path = self.core.kubelet.checkpoint();
        let written = checkpoint::write(&path, &self.core.state());
        self.core.changed();
        written.map_err(|source| Error::Checkpoint { path, source })
    }
}

fn timed<T>(message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(CALL);
    request
}

fn call_error(resource: &str, method: &'static str, ids: &[String], status: tonic::Status) -> Error {
    Error::Call { resource: resource.to_owned(), method, ids: ids.to_vec(), status: Box::new(status) }
}

/// Removes what is in a directory, but for some names.
fn empty(directory: &Path, keep: &[&str]) -> Result<(), Error> {
    let failed = |source| Error::Directory { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !keep.iter().any(|name| entry.file_name() == *name) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}
