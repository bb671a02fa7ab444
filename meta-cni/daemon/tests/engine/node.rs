//! A node: an API server, a kubelet, plugins, and a patchbayd between them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::body::Body;
use kubelet::Kubelet;
use meta_cni_daemon::cluster::Patience;
use meta_cni_daemon::config::{self, Config};
use meta_cni_daemon::daemon::{self, Parts, Timing};
use meta_cni_daemon::plugins::{BuiltIn, Plugins};
use meta_cni_daemon::store::{Record, Store};
use meta_cni_shim::client;
use meta_cni_shim::protocol::{CallReply, CallRequest};
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::api::{FakeApiServer, Kind};
use testbed::kubelet::{FakeKubelet, Pod};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Nothing that a test waits for takes longer, on however slow a machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(3);
pub(crate) const NODE: &str = "node-a";
pub(crate) const BOOT: &str = "boot-1";
const STATUS: &str = "/metadata/annotations/k8s.v1.cni.cncf.io~1network-status";

/// A plugin that writes down how it was called, and does as the files beside it say.
const SCRIPT: &str = r#"#!/bin/sh
dir='DIR'
name=${0##*/}
key="$CNI_COMMAND-$CNI_IFNAME"
cat > "$dir/$key.stdin"
env | sort > "$dir/$key.env"
echo "$CNI_COMMAND $name $CNI_IFNAME" >> "$dir/journal"
echo $$ > "$dir/$key.pid"
if [ -e "$dir/hang-$key" ]; then exec sleep 600; fi
if [ -e "$dir/wait-$key" ]; then while [ -e "$dir/wait-$key" ]; do sleep 0.02; done; fi
if [ -e "$dir/fail-$key" ]; then cat "$dir/fail-$key"; exit 1; fi
if [ "$CNI_COMMAND" = ADD ]; then
    printf '{"cniVersion":"1.0.0","interfaces":[{"name":"%s","mac":"02:00:00:00:00:01","sandbox":"%s"}],' "$CNI_IFNAME" "$CNI_NETNS"
    printf '"ips":[{"address":"10.0.0.5/24","gateway":"10.0.0.1","interface":0}],"kept":1.50}'
fi
"#;

pub(crate) struct Node {
    pub(crate) dir: TempDir,
    pub(crate) api: FakeApiServer,
    pub(crate) kubelet: FakeKubelet,
    /// The configuration as a file has it.
    pub(crate) json: Value,
    pub(crate) config: Config,
    pub(crate) built_in: Option<(String, BuiltIn)>,
    pub(crate) boot_id: String,
    /// How long the API server is waited for.
    pub(crate) answer: Duration,
    /// How long the pod-resources socket is waited for.
    pub(crate) pod_resources: Duration,
    /// How long GC leaves a new sandbox alone.
    pub(crate) gc_grace: Duration,
    running: Option<(CancellationToken, JoinHandle<Result<(), daemon::Error>>)>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// A path below the node's directory, as JSON text.
fn path(dir: &Path, name: &str) -> String {
    dir.join(name).display().to_string()
}

impl Node {
    /// A node whose patchbayd isn't started yet. `more` is added to its configuration.
    pub(crate) fn prepared(more: &Value) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        for sub in ["bin", "net.d", "confdir", "kubelet", "plugins", "devinfo/dp"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        fs::File::create(dir.join("netns")).unwrap();
        let mut json = json!({
            "binDir": path(dir, "bin"), "cniConfigDir": path(dir, "net.d"), "confDir": path(dir, "confdir"),
            "socket": path(dir, "run/patchbayd.sock"), "stateDir": path(dir, "state"),
            "vfDir": path(dir, "run/vf"), "kubeletDir": path(dir, "kubelet"),
            "deviceInfoDir": path(dir, "devinfo"), "pluginSeconds": 60,
        });
        for (key, value) in more.as_object().unwrap() {
            json[key] = value.clone();
        }
        let file = Path::new("test.json");
        let (config, warnings) =
            config::parse(file, json.to_string().as_bytes(), Some(NODE.to_owned())).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        let kubelet = FakeKubelet::start(&dir.join("kubelet")).unwrap();
        let node = Self {
            api: FakeApiServer::new(),
            kubelet,
            json,
            config,
            built_in: None,
            boot_id: BOOT.to_owned(),
            answer: Duration::from_secs(20),
            pod_resources: Duration::from_secs(20),
            gc_grace: Duration::ZERO,
            running: None,
            tasks: Vec::new(),
            dir: temp,
        };
        node.plugin("base");
        node.plugin("vf");
        node.write(
            "net.d/10-cluster.conflist",
            r#"{"cniVersion": "1.0.0", "name": "cluster", "plugins": [
            {"type": "base", "capabilities": {"portMappings": true}}]}"#,
        );
        node
    }

    /// A node with a running patchbayd.
    pub(crate) async fn start() -> Self {
        Self::start_with(&json!({})).await
    }

    pub(crate) async fn start_with(more: &Value) -> Self {
        let mut node = Self::prepared(more);
        node.run().await;
        node
    }

    /// Starts patchbayd.
    pub(crate) async fn run(&mut self) {
        let api = self.api.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            api.router().oneshot(request.map(Body::new))
        });
        let parts = Parts {
            config: self.config.clone(),
            client: kube::Client::new(service, "default"),
            plugins: Plugins {
                prefix: Vec::new(),
                root: PathBuf::from("/"),
                deadline: self.config.plugin_deadline,
                built_in: self.built_in.clone(),
            },
            sweep: None,
            boot_id: self.boot_id.clone(),
            timing: Timing {
                api: Patience { answer: self.answer, appearance: self.answer },
                pod_resources: self.pod_resources,
                gc_grace: self.gc_grace,
            },
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(daemon::run(parts, stop.clone()));
        self.running = Some((stop, task));
        self.until("the socket is there", || self.config.socket.exists()).await;
    }

    /// Stops patchbayd as SIGTERM does.
    pub(crate) async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    }

    /// Waits for something.
    pub(crate) async fn until(&self, what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.dir.path().join(name)).unwrap();
    }

    fn plugin(&self, name: &str) {
        let path = self.dir.path().join("bin").join(name);
        let script = SCRIPT.replace("DIR", &self.plugins().display().to_string());
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn plugins(&self) -> PathBuf {
        self.dir.path().join("plugins")
    }

    /// Has a plugin fail from now on, with this CNI error code.
    pub(crate) fn fail(&self, key: &str, code: u32) {
        let error = json!({"cniVersion": "1.0.0", "code": code, "msg": format!("asked to fail: {key}")});
        self.write(&format!("plugins/fail-{key}"), &error.to_string());
    }

    pub(crate) fn succeed(&self, key: &str) {
        self.remove(&format!("plugins/fail-{key}"));
    }

    /// The plugins' calls so far.
    pub(crate) fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.plugins().join("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn forget_journal(&self) {
        let _absent = fs::remove_file(self.plugins().join("journal"));
    }

    /// What a plugin read last.
    pub(crate) fn stdin(&self, key: &str) -> Value {
        serde_json::from_str(&self.stdin_text(key)).unwrap()
    }

    pub(crate) fn stdin_text(&self, key: &str) -> String {
        fs::read_to_string(self.plugins().join(format!("{key}.stdin"))).unwrap()
    }

    /// A variable of a plugin's last environment.
    pub(crate) fn variable(&self, key: &str, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.plugins().join(format!("{key}.env"))).unwrap();
        text.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).map(str::to_owned)
    }

    /// Makes a pod of namespace `default` that has this networks annotation. Its UID is `uid-NAME`.
    pub(crate) fn pod(&self, name: &str, networks: &str) {
        let mut pod = json!({
            "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "annotations": {}},
            "spec": {"nodeName": NODE, "containers": [{"name": "one"}, {"name": "two"}]},
        });
        if !networks.is_empty() {
            pod["metadata"]["annotations"]["k8s.v1.cni.cncf.io/networks"] = networks.into();
        }
        self.api.put(Kind::Pod, pod);
    }

    pub(crate) fn nad(&self, name: &str, config: &str, resource: Option<&str>) {
        let mut nad = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"config": config}});
        if let Some(resource) = resource {
            nad["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/resourceName": resource});
        }
        self.api.put(Kind::NetworkAttachmentDefinition, nad);
    }

    /// Has kubelet give devices to a pod's container.
    pub(crate) async fn allocate(&mut self, pod: &str, container: &str, resource: &str, ids: &[&str]) {
        if !self.kubelet.registered().contains(resource) {
            let task = crate::plugin::register(self.kubelet.paths(), resource, ids).await;
            self.tasks.push(task);
        }
        let pod = Pod { namespace: "default".to_owned(), name: pod.to_owned(), uid: format!("uid-{pod}") };
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.kubelet.allocate_ids(&pod, container, resource, ids).await.unwrap();
    }

    pub(crate) fn kubelet_paths(&self) -> Kubelet {
        Kubelet::new(self.dir.path().join("kubelet"))
    }

    /// What the runtime sends.
    pub(crate) fn request(&self, command: &str, pod: &str) -> CallRequest {
        let netns = path(self.dir.path(), "netns");
        let args = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};\
             K8S_POD_INFRA_CONTAINER_ID=sandbox-{pod};K8S_POD_UID=uid-{pod}"
        );
        let env = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", &format!("sandbox-{pod}")),
            ("CNI_NETNS", &netns),
            ("CNI_IFNAME", "eth0"),
            ("CNI_ARGS", &args),
            ("CNI_PATH", "/nowhere"),
            ("PATH", &std::env::var("PATH").unwrap()),
        ];
        let env: BTreeMap<_, _> =
            env.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let config = json!({
            "cniVersion": "1.1.0", "name": "patchbay", "type": "patchbay",
            "runtimeConfig": {"portMappings": [{"hostPort": 80, "containerPort": 8080}]},
        });
        CallRequest { env, config: config.to_string().into_bytes() }
    }

    pub(crate) async fn send(&self, request: CallRequest) -> Result<Value, cni::Error> {
        let socket = self.config.socket.clone();
        let patience = client::Patience { connect: PATIENCE, answer: PATIENCE };
        let answered = tokio::task::spawn_blocking(move || client::call(&socket, &request, patience)).await;
        match answered.unwrap() {
            Ok(body) if body.is_empty() => Ok(Value::Null),
            Ok(body) => {
                let CallReply { result } = serde_json::from_slice(&body).unwrap();
                Ok(serde_json::from_str(&result.to_string()).unwrap())
            }
            Err(client::Error::Refused(error)) => Err(error),
            Err(error) => panic!("{error:?}"),
        }
    }

    pub(crate) async fn call(&self, command: &str, pod: &str) -> Result<Value, cni::Error> {
        self.send(self.request(command, pod)).await
    }

    pub(crate) async fn add(&self, pod: &str) -> Value {
        self.call("ADD", pod).await.unwrap()
    }

    pub(crate) async fn del(&self, pod: &str) {
        self.call("DEL", pod).await.unwrap();
    }

    /// The pod's network-status, once it's written.
    pub(crate) async fn written_status(&self, pod: &str) -> Value {
        self.until("the status is written", || self.status(pod).is_some()).await;
        self.status(pod).unwrap()
    }

    /// The pod's network-status as it is now.
    pub(crate) fn status(&self, pod: &str) -> Option<Value> {
        let pod = self.api.get(Kind::Pod, "default", pod)?;
        let text = pod.pointer(STATUS)?.as_str()?;
        Some(serde_json::from_str(text).unwrap())
    }

    /// How often a network-status was written.
    pub(crate) fn status_writes(&self) -> usize {
        let is_write =
            |request: &&testbed::api::Request| request.method == "PATCH" && request.path.contains("/pods/");
        self.api.requests().iter().filter(is_write).count()
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.dir.path().join("state/attachments"), &self.boot_id).unwrap()
    }

    pub(crate) fn record(&self, pod: &str) -> Option<Record> {
        self.store().read(&format!("sandbox-{pod}")).unwrap()
    }

    /// Notes of the events on pods, with their reasons.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        self.api.all(Kind::Event).iter().map(|event| (text(event, "reason"), text(event, "note"))).collect()
    }

    pub(crate) async fn until_event(&self, reason: &str) -> String {
        self.until(reason, || self.events().iter().any(|(r, _)| r == reason)).await;
        self.events().into_iter().find(|(r, _)| r == reason).unwrap().1
    }
}
