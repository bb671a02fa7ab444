//! A node of a cluster: the released programs as processes, between doubles of kubelet and the API server on one side
//! and real namespaces, containers and virtual functions on the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::cni::{self, Sandbox};
use super::container::Grant;
use super::daemon::{self, Daemon};
use super::machine::{self, Machine, device_node};
use super::manifest::{self, Manifests, Pod};
use crate::api::{FakeApiServer, Kind};
use crate::kubelet::{self, FakeKubelet};

/// How long a program may take until it serves; a guest without hardware virtualisation is slow.
const START: Duration = Duration::from_mins(2);

/// Where the node's own parts are. Everything that Patchbay itself uses is at its default path.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folders of manifests.
    pub manifests: Vec<PathBuf>,
    /// The released programs.
    pub programs: PathBuf,
    /// Image name → root file system, as a tar archive.
    pub images: BTreeMap<String, PathBuf>,
    /// Logs of programs and containers.
    pub logs: PathBuf,
}

/// What went wrong on the node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A manifest can't be used.
    #[error("manifests")]
    Manifest(#[from] manifest::Error),
    /// The double of kubelet met an error: its own, or a device plugin's.
    #[error("kubelet")]
    Kubelet(#[from] kubelet::Error),
    /// A program can't be run.
    #[error("programs")]
    Daemon(#[from] daemon::Error),
    /// A sandbox or container can't be had.
    #[error("pods")]
    Machine(#[from] machine::Error),
    /// CNI's configuration can't be used.
    #[error("CNI")]
    Cni(#[from] cni::Error),
    /// The runtime or the API server's double can't be started.
    #[error("cannot start the API server's double")]
    Serve(#[source] std::io::Error),
    /// A file of the node can't be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A configuration in the manifests is no JSON.
    #[error("the configuration {name} in the manifests is no JSON")]
    Configuration {
        /// Its name.
        name: &'static str,
        /// Where it stops being JSON.
        source: serde_json::Error,
    },
}

/// The node.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    /// What is applied.
    pub manifests: Manifests,
    /// The double of kubelet.
    pub kubelet: FakeKubelet,
    /// The double of the API server.
    pub api: FakeApiServer,
    /// The runtime.
    pub machine: Machine,
    device_plugin: Option<Daemon>,
    patchbayd: Option<Daemon>,
    sandboxes: u64,
    /// Serves the API.
    _server: JoinHandle<std::io::Result<()>>,
    /// Runs the doubles; the last to go.
    tokio: Runtime,
}

/// A pod that runs.
#[derive(Debug)]
pub struct Running {
    /// Its manifest.
    pub pod: Pod,
    /// As kubelet names it.
    pub identity: kubelet::Pod,
    /// Its sandbox.
    pub sandbox: Sandbox,
    /// What CNI's ADD answered.
    pub result: Value,
    /// Container IDs, in the order of containers.
    pub containers: Vec<String>,
    /// What each container was granted.
    pub grants: Vec<Grant>,
}

impl Node {
    /// Starts the doubles, applies the networks and writes the node's configuration; no program of ours runs yet.
    pub fn prepare(settings: Settings) -> Result<Self, Error> {
        let folders: Vec<&Path> = settings.manifests.iter().map(PathBuf::as_path).collect();
        let manifests = Manifests::read(&folders)?;
        let tokio = Runtime::new().map_err(Error::Serve)?;
        let kubelet = {
            let _inside = tokio.enter();
            FakeKubelet::start(Path::new("/var/lib/kubelet"))?
        };
        let api = FakeApiServer::new();
        let listener =
            tokio.block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).map_err(Error::Serve)?;
        let port = listener.local_addr().map_err(Error::Serve)?.port();
        let own = api.clone();
        let server = tokio.spawn(async move { own.serve(listener).await });
        for network in manifests.of_kind("NetworkAttachmentDefinition") {
            api.put(Kind::NetworkAttachmentDefinition, network.clone());
        }

        let machine = Machine {
            runtime: cni::Runtime {
                conf_dir: PathBuf::from("/etc/cni/net.d"),
                bin_dirs: vec![PathBuf::from("/opt/cni/bin")],
            },
            images: settings.images.clone(),
            work: PathBuf::from("/var/lib/patchbay-testbed"),
            logs: settings.logs.clone(),
        };
        let node = Self {
            settings,
            manifests,
            kubelet,
            api,
            machine,
            device_plugin: None,
            patchbayd: None,
            sandboxes: 0,
            _server: server,
            tokio,
        };
        node.write_configuration(port)?;
        Ok(node)
    }

    fn write_configuration(&self, port: u16) -> Result<(), Error> {
        let pools = self.manifests.config("patchbay-pools", "config.json")?;
        write("/etc/pcidp/config.json", &pools)?;
        write("/etc/cni/net.d/10-default.conflist", &default_network().to_string())?;
        write("/etc/patchbay/kubeconfig", &kubeconfig(port).to_string())?;
        let shipped = self.manifests.config("patchbayd", "patchbayd.json")?;
        let mut configuration: Value = serde_json::from_str(&shipped)
            .map_err(|source| Error::Configuration { name: "patchbayd.json", source })?;
        if let Some(object) = configuration.as_object_mut() {
            object.insert("kubeconfig".to_owned(), json!("/etc/patchbay/kubeconfig"));
            object.insert("installFrom".to_owned(), json!(self.settings.programs));
        }
        write("/etc/patchbay/patchbayd.json", &configuration.to_string())
    }

    /// Starts the device plugin and waits until each of `resources` is registered.
    pub fn start_device_plugin(&mut self, resources: &[String]) -> Result<(), Error> {
        let mut daemon = Daemon::start(
            &self.program("patchbay-device-plugin"),
            &["--config-file", "/etc/pcidp/config.json"],
            &[],
            &self.log("patchbay-device-plugin"),
        )?;
        daemon.wait_for("registration of every pool with devices", START, || {
            resources.iter().all(|resource| !self.kubelet.allocatable(resource).is_empty()).then_some(())
        })?;
        self.device_plugin = Some(daemon);
        Ok(())
    }

    /// Starts the daemon without waiting for it.
    pub fn launch_patchbayd(&mut self) -> Result<(), Error> {
        self.patchbayd = Some(Daemon::start(
            &self.program("patchbayd"),
            &["--config", "/etc/patchbay/patchbayd.json"],
            &[("NODE_NAME", "testbed")],
            &self.log("patchbayd"),
        )?);
        Ok(())
    }

    /// Starts the daemon and waits until the runtime's own call says that pods can be started.
    pub fn start_patchbayd(&mut self) -> Result<(), Error> {
        self.launch_patchbayd()?;
        let runtime = self.machine.runtime.clone();
        if let Some(daemon) = &mut self.patchbayd {
            daemon.wait_for("00-patchbay.conflist and STATUS without an error", START, || {
                let (file, _) = runtime.configuration().ok()?;
                (file == "00-patchbay.conflist" && runtime.status().is_ok()).then_some(())
            })?;
        }
        Ok(())
    }

    /// Ends kubelet, as for an upgrade: its sockets are dead.
    pub fn stop_kubelet(&self) {
        self.tokio.block_on(self.kubelet.stop());
    }

    /// Starts kubelet again; plugins have to register anew.
    pub fn restart_kubelet(&self) -> Result<(), Error> {
        Ok(self.tokio.block_on(self.kubelet.restart())?)
    }

    /// Kills the daemon in whatever it is doing.
    pub fn kill_patchbayd(&mut self) {
        if let Some(daemon) = self.patchbayd.take() {
            daemon.kill();
        }
    }

    /// Ends both programs as a cluster would; the exit codes say whether they ended well.
    pub fn stop(&mut self) -> Result<Vec<std::process::ExitStatus>, Error> {
        [self.patchbayd.take(), self.device_plugin.take()]
            .into_iter()
            .flatten()
            .map(|daemon| daemon.stop().map_err(Error::from))
            .collect()
    }

    /// A pod as the API server has it.
    pub fn observed(&self, pod: &Pod) -> Value {
        self.api.get(Kind::Pod, &pod.namespace, &pod.name).unwrap_or_default()
    }

    /// What is written in a pod's `network-status`.
    pub fn network_status(&self, pod: &Pod) -> Vec<Value> {
        self.observed(pod)
            .get("metadata")
            .and_then(|metadata| metadata.get("annotations"))
            .and_then(|annotations| annotations.get("k8s.v1.cni.cncf.io/network-status"))
            .and_then(Value::as_str)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// Creates a pod in the API and admits it: every container gets its devices. Its sandbox has no network yet.
    pub fn admit(&mut self, pod: Pod) -> Result<Running, Error> {
        let mut object = pod.object.clone();
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("nodeName".to_owned(), json!("testbed"));
        }
        let stored = self.api.put(Kind::Pod, object);
        let uid = stored.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
        let identity =
            kubelet::Pod { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: uid.to_owned() };
        let mut grants = Vec::new();
        for container in &pod.containers {
            let mut grant = Grant::default();
            for (resource, count) in container.devices() {
                let allocation = self.tokio.block_on(self.kubelet.allocate(
                    &identity,
                    &container.name,
                    &resource,
                    count,
                ))?;
                grant.allocated.insert(resource, allocation.ids);
                grant.env.extend(allocation.response.envs);
                for device in allocation.response.devices {
                    let node = device_node(
                        Path::new(&device.host_path),
                        Path::new(&device.container_path),
                        &device.permissions,
                    )?;
                    grant.devices.push(node);
                }
            }
            grants.push(grant);
        }
        let sandbox = self.make_sandbox(&pod, uid)?;
        Ok(Running { pod, identity, sandbox, result: Value::Null, containers: Vec::new(), grants })
    }

    /// Gives a pod whose sandbox could not be had a new one, as kubelet does: same pod, same devices.
    pub fn replace_sandbox(&mut self, running: &mut Running) -> Result<(), Error> {
        self.machine.remove_namespace(&running.sandbox)?;
        running.sandbox = self.make_sandbox(&running.pod, &running.identity.uid)?;
        Ok(())
    }

    fn make_sandbox(&mut self, pod: &Pod, uid: &str) -> Result<Sandbox, Error> {
        self.sandboxes += 1;
        let id = format!("{:08x}{:056x}", self.sandboxes, std::process::id());
        Ok(self.machine.make_namespace(pod, uid, &id)?)
    }

    /// Gives an admitted pod its networks, then starts its containers.
    pub fn start(&self, running: &mut Running) -> Result<(), Error> {
        running.result = self.machine.add(&running.sandbox)?;
        for (container, grant) in running.pod.containers.iter().zip(&running.grants) {
            self.tokio.block_on(self.kubelet.start_container(&running.identity, &container.name))?;
            let id = self.machine.start(&running.pod, &running.sandbox, container, grant)?;
            running.containers.push(id);
        }
        Ok(())
    }

    /// Ends a pod's containers, takes its networks away, and forgets it everywhere.
    pub fn delete(&self, running: &Running) -> Result<(), Error> {
        for container in &running.containers {
            self.machine.stop(container, running.pod.grace)?;
        }
        let result = (!running.result.is_null()).then_some(&running.result);
        self.machine.del(&running.sandbox, result)?;
        self.forget(running)
    }

    /// What follows a DEL: the namespace, kubelet's devices and the API's object go.
    pub fn forget(&self, running: &Running) -> Result<(), Error> {
        self.machine.remove_namespace(&running.sandbox)?;
        self.kubelet.free(&running.identity)?;
        self.api.delete(Kind::Pod, &running.pod.namespace, &running.pod.name);
        Ok(())
    }

    /// A released program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.settings.programs.join(name)
    }

    fn log(&self, program: &str) -> PathBuf {
        self.settings.logs.join(format!("{program}.log"))
    }
}

fn write(path: &str, text: &str) -> Result<(), Error> {
    cni::place(Path::new(path), text).map_err(|source| Error::Write { path: PathBuf::from(path), source })
}

/// The cluster's own network: a bridge, as simple as they come.
fn default_network() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "default",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isDefaultGateway": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]]},
        }],
    })
}

/// A certificate that nobody has the key of. The client wants one to trust, though it speaks plain HTTP here, and a
/// node may have none.
const AUTHORITY: &str = "\
    LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJlRENDQVIrZ0F3SUJBZ0lVUGc5b3NiOFJxcEdIUGxpZUZ2Zm8xR2Jh\
    QjZzd0NnWUlLb1pJemowRUF3SXcKRVRFUE1BMEdBMVVFQXd3R2JtOWliMlI1TUNBWERUSTJNVEV5TVRBeU1EY3pOVm9ZRHpJ\
    eE1qWXhNREk0TURJdwpOek0xV2pBUk1ROHdEUVlEVlFRRERBWnViMkp2Wkhrd1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqT1BR\
    TUJCd05DCkFBU1hTWnc0NDRQbDFMMFpaNnhyaFFkb0NjbFVQNUc5Vi9PdmlCd29NTFVFN2dkQjY5UGh4c2VmejlXUUFzTHUK\
    T1pBQUNHYVZIaFBsSnB2UTBNcm9sYm1xbzFNd1VUQWRCZ05WSFE0RUZnUVVoOFk4bFJHUEF4VGhwWkdQc0RjLwoweDJ0Q0hj\
    d0h3WURWUjBqQkJnd0ZvQVVoOFk4bFJHUEF4VGhwWkdQc0RjLzB4MnRDSGN3RHdZRFZSMFRBUUgvCkJBVXdBd0VCL3pBS0Jn\
    Z3Foa2pPUFFRREFnTkhBREJFQWlBZHphUW0vVVZsRjExNmVNVGxjZkpIZWo5SHNHZ0QKOWRwa0EvcFBXaXozRFFJZ1BrY05V\
    MWlTV2Vlc3Zna2FTaVlMaElCQ21SaTNWQkdYZG1QQ0owVzdGZkE9Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

fn kubeconfig(port: u16) -> Value {
    let server = format!("http://127.0.0.1:{port}");
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "testbed", "cluster": {"server": server, "certificate-authority-data": AUTHORITY}},
        ],
        "users": [{"name": "testbed", "user": {}}],
        "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": "testbed"}}],
        "current-context": "testbed",
    })
}
