//! Sandboxes and containers on this machine: a network namespace and CNI for the pod, runc for what is in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::stat::{major, minor, stat};
use serde_json::Value;

use super::cni::{self, Sandbox};
use super::container::{self, DeviceNode, Grant, Place};
use super::exec::{self, Output};
use super::manifest::{Container, Pod};
use super::terminal;

/// Why a sandbox or container could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that this needs did not do its work.
    #[error("cannot {act} for pod {pod}")]
    Program {
        /// What it was to do.
        act: &'static str,
        /// The pod.
        pod: String,
        /// Why not.
        source: exec::Error,
    },
    /// A CNI call failed.
    #[error("the network of pod {pod}")]
    Network {
        /// The pod.
        pod: String,
        /// Why.
        source: cni::Error,
    },
    /// A file of a container could not be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nobody said what is in an image.
    #[error("there is no root file system for the image {image}")]
    NoImage {
        /// The image.
        image: String,
    },
    /// A device that was granted is not there.
    #[error("the device {path} was granted and is not there")]
    NoDevice {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: nix::Error,
    },
}

/// This machine as a container runtime has it.
#[derive(Debug)]
pub struct Machine {
    /// CNI's folders.
    pub runtime: cni::Runtime,
    /// Image name → root file system, as a tar archive.
    pub images: BTreeMap<String, PathBuf>,
    /// Root file systems and configurations of containers.
    pub work: PathBuf,
    /// What containers print.
    pub logs: PathBuf,
}

impl Machine {
    /// Makes a pod's network namespace; CNI has not been called yet.
    pub fn make_namespace(&self, pod: &Pod, uid: &str, id: &str) -> Result<Sandbox, Error> {
        let name = format!("cni-{}", id.get(..12).unwrap_or(id));
        let failed =
            |source| Error::Program { act: "make a network namespace", pod: pod.name.clone(), source };
        exec::succeed("ip", &["netns", "add", &name]).map_err(failed)?;
        exec::succeed("ip", &["-netns", &name, "link", "set", "lo", "up"]).map_err(failed)?;
        Ok(Sandbox {
            id: id.to_owned(),
            netns: Path::new("/run/netns").join(name),
            pod_namespace: pod.namespace.clone(),
            pod_name: pod.name.clone(),
            pod_uid: uid.to_owned(),
        })
    }

    /// Gives the sandbox its networks.
    pub fn add(&self, sandbox: &Sandbox) -> Result<Value, Error> {
        self.runtime.add(sandbox).map_err(|source| Error::Network { pod: sandbox.pod_name.clone(), source })
    }

    /// Takes the sandbox's networks away.
    pub fn del(&self, sandbox: &Sandbox, result: Option<&Value>) -> Result<(), Error> {
        self.runtime
            .del(sandbox, result)
            .map_err(|source| Error::Network { pod: sandbox.pod_name.clone(), source })
    }

    /// Removes the sandbox's network namespace; one that is gone already is fine.
    pub fn remove_namespace(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let Some(name) = sandbox.netns.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        if !sandbox.netns.exists() {
            return Ok(());
        }
        exec::succeed("ip", &["netns", "del", name]).map(drop).map_err(|source| Error::Program {
            act: "remove the network namespace",
            pod: sandbox.pod_name.clone(),
            source,
        })
    }

    /// Starts a container in a sandbox; what it prints goes to [`Machine::log`].
    pub fn start(
        &self,
        pod: &Pod,
        sandbox: &Sandbox,
        container: &Container,
        grant: &Grant,
    ) -> Result<String, Error> {
        let image = self
            .images
            .get(&container.image)
            .ok_or_else(|| Error::NoImage { image: container.image.clone() })?;
        let sandboxed = sandbox.id.get(..12).unwrap_or(&sandbox.id);
        let id = format!("{}-{}-{sandboxed}", sandbox.pod_name, container.name);
        let bundle = self.work.join(&id);
        let rootfs = bundle.join("rootfs");
        let failed = |act| move |source| Error::Program { act, pod: pod.name.clone(), source };
        make_folder(&rootfs)?;
        exec::succeed("tar", &["-x", "-f", &text(image), "-C", &text(&rootfs)])
            .map_err(failed("unpack the image"))?;

        let cgroup = format!("/patchbay-testbed/{id}");
        let place = Place { rootfs: &rootfs, netns: &sandbox.netns, cgroup: &cgroup, hostname: &pod.name };
        let oci = container::oci(container, &pod.hugepage_volumes, grant, place);
        let config = bundle.join("config.json");
        cni::place(&config, &oci.to_string()).map_err(|source| Error::Write { path: config, source })?;

        make_folder(&self.logs)?;
        let mut command = Command::new("runc");
        command.args(["run", "--detach", "--bundle", &text(&bundle)]);
        let path = self.log_of(&id);
        let wrote = |source| Error::Write { path: path.clone(), source };
        let log = File::create(&path).map_err(wrote)?;
        if container.tty {
            let socket = bundle.join("terminal");
            terminal::into_log(&socket, log.try_clone().map_err(wrote)?).map_err(wrote)?;
            command.args(["--console-socket", &text(&socket)]);
        }
        let own = log.try_clone().map_err(wrote)?;
        run_into(command.arg(&id), (own, log)).map_err(failed("start a container"))?;
        Ok(id)
    }

    /// Runs a command in a container, to its end.
    pub fn exec(&self, id: &str, arguments: &[&str]) -> Result<Output, Error> {
        let mut command = Command::new("runc");
        command.args(["exec", id]).args(arguments);
        exec::run(&mut command, b"", exec::DEADLINE).map_err(|source| Error::Program {
            act: "run a command",
            pod: id.to_owned(),
            source,
        })
    }

    /// What a container has printed so far.
    pub fn log(&self, id: &str) -> String {
        // A container that never started has printed nothing.
        std::fs::read_to_string(self.log_of(id)).unwrap_or_default()
    }

    /// Ends a container, kindly first, and removes it.
    pub fn stop(&self, id: &str, grace: Duration) -> Result<(), Error> {
        // One that has ended on its own can't be signalled, and is removed all the same.
        let _ = exec::succeed("runc", &["kill", id, "TERM"]);
        exec::until(grace, || (self.state(id).as_deref() != Some("running")).then_some(()));
        exec::succeed("runc", &["delete", "--force", id]).map_err(|source| Error::Program {
            act: "remove a container",
            pod: id.to_owned(),
            source,
        })?;
        // Left behind, it costs only space of a machine that goes with the scenario.
        let _ = std::fs::remove_dir_all(self.work.join(id));
        Ok(())
    }

    /// What runc says about a container: `created`, `running`, `stopped`; nothing when there is none.
    pub fn state(&self, id: &str) -> Option<String> {
        let text = exec::succeed("runc", &["state", id]).ok()?;
        let state: Value = serde_json::from_str(&text).ok()?;
        Some(state.get("status")?.as_str()?.to_owned())
    }

    fn log_of(&self, id: &str) -> PathBuf {
        self.logs.join(format!("{id}.log"))
    }
}

/// Looks up what `/dev` says about a granted device.
pub fn device_node(host: &Path, container: &Path, permissions: &str) -> Result<DeviceNode, Error> {
    let found = stat(host).map_err(|source| Error::NoDevice { path: host.to_owned(), source })?;
    Ok(DeviceNode {
        path: container.to_owned(),
        major: major(found.st_rdev),
        minor: minor(found.st_rdev),
        permissions: permissions.to_owned(),
    })
}

fn make_folder(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::Write { path: path.to_owned(), source })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Runs a program whose children keep its output open, so that it can't be read to an end.
fn run_into(command: &mut Command, (out, err): (File, File)) -> Result<(), exec::Error> {
    let program = "runc run".to_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|source| exec::Error::Start { program: program.clone(), source })?;
    match exec::ended_by(&mut child, exec::DEADLINE) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => {
            Err(exec::Error::Failed { program, status, said: "see the container's log".to_owned() })
        }
        Ok(None) => {
            exec::kill(&mut child);
            Err(exec::Error::Slow { program, seconds: exec::DEADLINE.as_secs(), said: String::new() })
        }
        Err(source) => Err(exec::Error::Wait { program, source }),
    }
}
