//! The program's log: what is done to the VF, in lines that a person can read and a tool can split.
//!
//! ```text
//! time=2026-11-25T16:00:00.123Z level=debug plugin=sriov command=ADD network=blue container=3f0c… ifname=net1 vf=0000:01:10.0 msg="done: set vlan 100 qos 3 proto 802.1q"
//! ```
//!
//! A network's configuration says how much (`logLevel`) and where to (`logFile`; standard error if there's none).
//! Nothing here can fail a call: what can't be written to the file goes to standard error.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use cni::plugin::Request;
use cni::{AddResult, Object};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use pci::PciAddress;
use vf::Witness;

/// How much a line matters, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The call failed.
    Error,
    /// Somebody should look at it.
    Warning,
    /// How the call ended.
    Info,
    /// Each step.
    Debug,
}

impl Level {
    /// A level of the existing plugin's. Whatever isn't one is `info` there too; `panic` is what it never reaches.
    fn parse(text: &str) -> Self {
        match text.trim().to_ascii_lowercase().as_str() {
            "debug" => Self::Debug,
            "warning" => Self::Warning,
            "error" | "panic" => Self::Error,
            _ => Self::Info,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

/// The log of one call.
#[derive(Debug)]
pub struct Log {
    level: Level,
    file: Option<File>,
    call: String,
}

impl Log {
    /// As the request's configuration wants it.
    pub fn new(request: &Request) -> Self {
        let conf = request.conf.object();
        let key = |key: &str| text(conf, key);
        let level = key("logLevel").map_or(Level::Info, |text| Level::parse(&text));
        let path = key("logFile");
        let opened = path.as_deref().map(|path| open(Path::new(path)));
        let args = &request.args;
        let call = format!(
            "plugin=sriov command={} network={} container={} ifname={}",
            args.command,
            quoted(request.conf.name()),
            quoted(&args.container_id),
            quoted(&args.ifname)
        );
        let log = |file| Self { level, file, call };
        match (opened, path) {
            (Some(Err(error)), Some(path)) => {
                let log = log(None);
                log.line(Level::Warning, None, &format!("logFile {path} can't be used: {error}"));
                log
            }
            (opened, _) => log(opened.and_then(Result::ok)),
        }
    }

    /// Tells what is done to VFs.
    pub fn witness(self: &Arc<Self>) -> Witness {
        let log = Arc::clone(self);
        Witness::new(move |pci, deed| {
            let level = if deed.is_noteworthy() { Level::Warning } else { Level::Debug };
            log.line(level, Some(pci), &deed.to_string());
        })
    }

    /// Tells how the call ended.
    pub fn outcome(&self, outcome: &Result<Option<AddResult>, cni::Error>) {
        match outcome {
            Ok(Some(result)) => {
                let ips: Vec<String> = result.ips.iter().map(|ip| ip.address.to_string()).collect();
                let (mac, pci) = result
                    .interfaces
                    .first()
                    .map_or(("", None), |interface| (interface.mac.as_str(), interface.pci_id.parse().ok()));
                self.line(Level::Info, pci, &format!("attached, mac {mac:?}, addresses {}", ips.join(", ")));
            }
            Ok(None) => self.line(Level::Info, None, "done"),
            Err(error) => self.line(Level::Error, None, &error.to_string()),
        }
    }

    fn line(&self, level: Level, pci: Option<PciAddress>, message: &str) {
        if level > self.level {
            return;
        }
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let vf = pci.map(|pci| format!(" vf={pci}")).unwrap_or_default();
        // One write a line: others append to the same file.
        let line = format!("time={now} level={level} {}{vf} msg={}\n", self.call, quoted(message));
        let written = self.file.as_ref().map(|mut file| file.write_all(line.as_bytes()));
        if !matches!(written, Some(Ok(()))) {
            // Where nobody listens there's nobody to tell.
            drop(io::stderr().write_all(line.as_bytes()));
        }
    }
}

/// A logging key that's no text says nothing: it's not what a pod should fail for.
fn text(conf: &Object, key: &str) -> Option<String> {
    conf.read::<String>(key).ok().flatten().filter(|text| !text.is_empty())
}

/// Opens a log file for appending. We're root, and who writes a network's configuration may not be: whatever lies
/// there that isn't a plain file, a link to one included, is left alone.
fn open(path: &Path) -> io::Result<File> {
    if !path.is_absolute() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has to be an absolute path"));
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(O_NOFOLLOW | O_NONBLOCK)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it isn't a plain file"))
    }
}

/// A value as it is, or in quotes with everything escaped that could end it or the line.
fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'=' && byte != b'\\';
    if !text.is_empty() && text.bytes().all(plain) { text.to_owned() } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests;
