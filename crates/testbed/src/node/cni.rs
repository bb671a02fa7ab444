//! What a container runtime does with CNI: takes the first configuration of its folder and executes its plugins as the
//! CNI specification says. Written against the specification alone, so that it can judge our own plugins.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use super::exec;

/// Why a CNI call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder of configurations, or one in it, could not be read.
    #[error("cannot read {path}")]
    Read {
        /// Folder or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// There is no configuration.
    #[error("{folder} holds no CNI configuration")]
    NoConfiguration {
        /// The folder.
        folder: PathBuf,
    },
    /// A configuration, or a plugin's answer, is no JSON.
    #[error("{what} is no JSON: {text}")]
    Json {
        /// The file or plugin.
        what: String,
        /// What there was instead.
        text: String,
        /// Where it stops being JSON.
        source: serde_json::Error,
    },
    /// A plugin is in none of the folders.
    #[error("no plugin {kind} in {folders:?}")]
    NoPlugin {
        /// Its type.
        kind: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// A plugin could not be executed.
    #[error("cannot execute the plugin {kind}")]
    Execute {
        /// Its type.
        kind: String,
        /// Why.
        source: exec::Error,
    },
    /// A plugin answered with an error.
    #[error("{kind} {command}: code {code}: {text}")]
    Plugin {
        /// Its type.
        kind: String,
        /// ADD, DEL, ….
        command: &'static str,
        /// CNI's error code.
        code: u64,
        /// Message and details.
        text: String,
    },
}

/// The runtime's folders.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Configurations.
    pub conf_dir: PathBuf,
    /// Plugins.
    pub bin_dirs: Vec<PathBuf>,
}

/// One sandbox, as plugins are told about it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// Its ID.
    pub id: String,
    /// Path of its network namespace.
    pub netns: PathBuf,
    /// Namespace of its pod.
    pub pod_namespace: String,
    /// Name of its pod.
    pub pod_name: String,
    /// UID of its pod.
    pub pod_uid: String,
}

impl Runtime {
    /// The configuration that counts: the first by name, as a list. Returns its file name too.
    pub fn configuration(&self) -> Result<(String, Value), Error> {
        let read = |source| Error::Read { path: self.conf_dir.clone(), source };
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(&self.conf_dir).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(extension, Some("conf" | "conflist" | "json")) {
                files.push(path);
            }
        }
        files.sort();
        let path = files
            .into_iter()
            .next()
            .ok_or_else(|| Error::NoConfiguration { folder: self.conf_dir.clone() })?;
        let text =
            std::fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
        let list = as_list(parse(&path.display().to_string(), &text)?);
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        Ok((name, list))
    }

    /// ADD on every plugin in order; the last result is the sandbox's.
    pub fn add(&self, sandbox: &Sandbox) -> Result<Value, Error> {
        let (_, list) = self.configuration()?;
        let mut result = None;
        for plugin in plugins(&list) {
            let said = self.execute("ADD", sandbox, &request(&list, plugin, result.as_ref()))?;
            result = Some(parse("the result", &said)?);
        }
        Ok(result.unwrap_or(Value::Null))
    }

    /// DEL on every plugin in reverse, with what ADD returned; stops at the first error, as runtimes do.
    pub fn del(&self, sandbox: &Sandbox, result: Option<&Value>) -> Result<(), Error> {
        let (_, list) = self.configuration()?;
        for plugin in plugins(&list).rev() {
            self.execute("DEL", sandbox, &request(&list, plugin, result))?;
        }
        Ok(())
    }

    /// STATUS on every plugin: can pods be started?
    pub fn status(&self) -> Result<(), Error> {
        let (_, list) = self.configuration()?;
        let nobody = Sandbox {
            id: String::new(),
            netns: PathBuf::new(),
            pod_namespace: String::new(),
            pod_name: String::new(),
            pod_uid: String::new(),
        };
        for plugin in plugins(&list) {
            self.execute("STATUS", &nobody, &request(&list, plugin, None))?;
        }
        Ok(())
    }

    /// The process that a call would start, for those who want to interfere with it.
    pub fn command(
        &self,
        command: &'static str,
        sandbox: &Sandbox,
        request: &Value,
    ) -> Result<Command, Error> {
        let kind = kind_of(request);
        let program = self
            .bin_dirs
            .iter()
            .map(|folder| folder.join(&kind))
            .find(|path| path.is_file())
            .ok_or_else(|| Error::NoPlugin { kind, folders: self.bin_dirs.clone() })?;
        let folders: Vec<String> = self.bin_dirs.iter().map(|folder| folder.display().to_string()).collect();
        let mut process = Command::new(program);
        process
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", command)
            .env("CNI_PATH", folders.join(":"));
        if command != "STATUS" {
            process
                .env("CNI_CONTAINERID", &sandbox.id)
                .env("CNI_NETNS", &sandbox.netns)
                .env("CNI_IFNAME", "eth0")
                .env("CNI_ARGS", arguments(sandbox));
        }
        Ok(process)
    }

    fn execute(&self, command: &'static str, sandbox: &Sandbox, request: &Value) -> Result<String, Error> {
        let kind = kind_of(request);
        let mut process = self.command(command, sandbox, request)?;
        let output = exec::run(&mut process, request.to_string().as_bytes(), exec::DEADLINE)
            .map_err(|source| Error::Execute { kind: kind.clone(), source })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let object = parse(&kind, &output.stdout).unwrap_or(Value::Null);
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let message = [text("msg"), text("details")]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        Err(Error::Plugin {
            kind,
            command,
            code: object.get("code").and_then(Value::as_u64).unwrap_or(0),
            text: if message.is_empty() { output.said() } else { message },
        })
    }

    /// The first plugin's request for a call, for those who want to interfere with it.
    pub fn first_request(&self, result: Option<&Value>) -> Result<Value, Error> {
        let (_, list) = self.configuration()?;
        let first = plugins(&list).next().cloned().unwrap_or(Value::Null);
        Ok(request(&list, &first, result))
    }
}

/// What a plugin reads: its own configuration with what the list and the chain add.
fn request(list: &Value, plugin: &Value, previous: Option<&Value>) -> Value {
    let mut object: Map<String, Value> = plugin.as_object().cloned().unwrap_or_default();
    for key in ["name", "cniVersion"] {
        if let Some(value) = list.get(key) {
            object.insert(key.to_owned(), value.clone());
        }
    }
    if let Some(previous) = previous {
        object.insert("prevResult".to_owned(), previous.clone());
    }
    Value::Object(object)
}

fn as_list(configuration: Value) -> Value {
    if configuration.get("plugins").is_some() {
        return configuration;
    }
    json!({
        "cniVersion": configuration.get("cniVersion"),
        "name": configuration.get("name"),
        "plugins": [configuration],
    })
}

fn plugins(list: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    list.get("plugins").and_then(Value::as_array).into_iter().flatten()
}

fn kind_of(request: &Value) -> String {
    request.get("type").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn arguments(sandbox: &Sandbox) -> String {
    format!(
        "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID={};K8S_POD_UID={}",
        sandbox.pod_namespace, sandbox.pod_name, sandbox.id, sandbox.pod_uid
    )
}

fn parse(what: &str, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|source| Error::Json {
        what: what.to_owned(),
        text: text.to_owned(),
        source,
    })
}

/// The addresses of a result.
pub fn addresses(result: &Value) -> Vec<String> {
    result
        .get("ips")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|ip| Some(ip.get("address")?.as_str()?.to_owned()))
        .collect()
}

/// Writes a file whole, with the folders above it.
pub fn place(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::File::create(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests;
