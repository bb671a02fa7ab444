//! The command and the environment of a CNI call.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::Error;

/// What a plugin is asked to do (`CNI_COMMAND`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Attach the container to the network.
    Add,
    /// Undo ADD.
    Del,
    /// Verify what ADD did.
    Check,
    /// Free what belongs to attachments that aren't valid any more.
    Gc,
    /// Say whether ADD can be served.
    Status,
    /// List the versions supported.
    Version,
}

impl Command {
    /// As in `CNI_COMMAND`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Gc => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }

    /// ADD, DEL and CHECK are about one container and one interface.
    pub const fn is_about_an_attachment(self) -> bool {
        matches!(self, Command::Add | Command::Del | Command::Check)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Command {
    type Err = InvalidArgs;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "ADD" => Command::Add,
            "DEL" => Command::Del,
            "CHECK" => Command::Check,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            _ => return Err(InvalidArgs::Command(text.to_owned())),
        })
    }
}

/// A CNI call without its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// `CNI_COMMAND`.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for GC, STATUS and VERSION.
    pub container_id: String,
    /// `CNI_NETNS`, the path of a network namespace. There for ADD and CHECK; DEL may come without.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`; empty for GC, STATUS and VERSION.
    pub ifname: String,
    /// `CNI_ARGS`, in order. A value may hold `=`.
    pub args: Vec<(String, String)>,
    /// `CNI_PATH`: where to look for plugins.
    pub path: Vec<PathBuf>,
}

/// What is wrong with the environment of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArgs {
    /// A variable that the command needs isn't set.
    #[error("environment variable {variable} is not set; the container runtime sets it for {command}")]
    Missing {
        /// The variable's name.
        variable: &'static str,
        /// For which command.
        command: &'static str,
    },
    /// `CNI_COMMAND` is none of the commands.
    #[error("CNI_COMMAND {0:?} is unknown; it is one of ADD, DEL, CHECK, GC, STATUS, VERSION")]
    Command(String),
    /// `CNI_CONTAINERID` holds something else than it may.
    #[error(
        "CNI_CONTAINERID {0:?} is not valid; it starts with a letter or digit and holds only letters, digits, '_', '.' and '-'"
    )]
    ContainerId(String),
    /// `CNI_IFNAME` can't be an interface's name.
    #[error(
        "CNI_IFNAME {0:?} is not an interface name; it has 1 to 15 bytes without '/', ':' and white space, and is not '.' or '..'"
    )]
    IfName(String),
    /// An element of `CNI_ARGS` has no `=`.
    #[error("CNI_ARGS element {0:?} is not of the form KEY=VALUE")]
    Arg(String),
}

impl From<InvalidArgs> for Error {
    fn from(error: InvalidArgs) -> Self {
        Error::invalid_environment(error.to_string())
    }
}

impl Args {
    /// Reads and validates the variables of a call through `variable`, which returns a variable's value.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, InvalidArgs> {
        let get = |name: &str| variable(name).filter(|value| !value.is_empty());
        let command: Command = get("CNI_COMMAND")
            .ok_or(InvalidArgs::Missing { variable: "CNI_COMMAND", command: "every call" })?
            .parse()?;
        let need = |name: &'static str, needed: bool| match get(name) {
            None if needed => Err(InvalidArgs::Missing { variable: name, command: command.as_str() }),
            value => Ok(value),
        };

        let attachment = command.is_about_an_attachment();
        let container_id = need("CNI_CONTAINERID", attachment)?.unwrap_or_default();
        if !container_id.is_empty() && !is_identifier(&container_id) {
            return Err(InvalidArgs::ContainerId(container_id));
        }
        let ifname = need("CNI_IFNAME", attachment)?.unwrap_or_default();
        if !ifname.is_empty() && !is_interface_name(&ifname) {
            return Err(InvalidArgs::IfName(ifname));
        }
        let netns = need("CNI_NETNS", attachment && command != Command::Del)?.map(PathBuf::from);
        let path = get("CNI_PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
        Ok(Args {
            command,
            container_id,
            netns,
            ifname,
            args: parse_cni_args(&get("CNI_ARGS").unwrap_or_default())?,
            path,
        })
    }

    /// The last value of a key of `CNI_ARGS`.
    pub fn arg(&self, key: &str) -> Option<&str> {
        self.args.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The same call with another command.
    #[must_use]
    pub fn with_command(&self, command: Command) -> Args {
        Args { command, ..self.clone() }
    }

    /// The variables of the call, for a plugin's environment. `CNI_NETNS` and `CNI_ARGS` are there even
    /// when they are empty, so that none is inherited from elsewhere.
    pub fn to_env(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let args: Vec<String> = self.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut path = std::ffi::OsString::new();
        for (index, directory) in self.path.iter().enumerate() {
            if index > 0 {
                path.push(":");
            }
            path.push(directory);
        }
        vec![
            ("CNI_COMMAND", self.command.as_str().into()),
            ("CNI_CONTAINERID", self.container_id.clone().into()),
            ("CNI_NETNS", self.netns.clone().unwrap_or_default().into_os_string()),
            ("CNI_IFNAME", self.ifname.clone().into()),
            ("CNI_ARGS", args.join(";").into()),
            ("CNI_PATH", path),
        ]
    }
}

/// Takes `CNI_ARGS` apart: `KEY=VALUE` separated by `;`. A value may hold `=`; empty elements are skipped.
pub fn parse_cni_args(text: &str) -> Result<Vec<(String, String)>, InvalidArgs> {
    text.split(';')
        .filter(|element| !element.is_empty())
        .map(|element| match element.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(InvalidArgs::Arg(element.to_owned())),
        })
        .collect()
}

/// What container IDs and network names are made of: a letter or digit, then letters, digits, `_`, `.`, `-`.
pub fn is_identifier(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// What Linux takes as an interface's name: 1 to 15 bytes, no `/`, `:` or white space, not `.` or `..`.
pub fn is_interface_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_whitespace())
}

#[cfg(test)]
mod tests;
