//! What the plugin itself reads of its configuration. Everything else is the daemon's.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cni::Object;

use crate::protocol::{DEFAULT_INTENTS, DEFAULT_SOCKET};

/// The longest that any wait may be set to.
const LONGEST: f64 = 600.0;

/// The plugin's own keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `socket`: the daemon's socket. With `daemonSocketDir` alone it is `patchbayd.sock` there.
    pub socket: PathBuf,
    /// `intents`: the directory for DEL intents.
    pub intents: PathBuf,
    /// `daemonWaitSeconds`: how long ADD and CHECK wait for a daemon that is away.
    pub daemon_wait: Duration,
    /// `answerSeconds`: how long a daemon that is there may take.
    pub answer_wait: Duration,
    /// `logFile`: a file to which failures are appended.
    pub log_file: Option<PathBuf>,
    /// `logToStderr`: failures go to standard error too.
    pub log_to_stderr: bool,
}

/// What is wrong with the plugin's own keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of the wrong kind.
    #[error("the plugin's configuration can't be read")]
    Read(#[from] cni::object::Error),
    /// A wait that is no time.
    #[error("key {key:?} is {value}; give seconds, more than 0 and at most {LONGEST}")]
    Wait {
        /// The key.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A path that depends on where the plugin is started.
    #[error("key {key:?} is {path:?}; give an absolute path")]
    Relative {
        /// The key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
    },
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        cni::Error::invalid_config(cni::error::with_sources(&error))
    }
}

impl Settings {
    /// Reads the keys from the plugin's configuration.
    pub fn read(conf: &Object) -> Result<Self, Error> {
        let socket = match path(conf, "socket")? {
            Some(socket) => socket,
            None => path(conf, "daemonSocketDir")?
                .map_or_else(|| DEFAULT_SOCKET.into(), |directory| directory.join("patchbayd.sock")),
        };
        Ok(Settings {
            socket,
            intents: path(conf, "intents")?.unwrap_or_else(|| DEFAULT_INTENTS.into()),
            daemon_wait: seconds(conf, "daemonWaitSeconds", 60.0)?,
            answer_wait: seconds(conf, "answerSeconds", 180.0)?,
            log_file: path(conf, "logFile")?,
            log_to_stderr: conf.read("logToStderr")?.unwrap_or(false),
        })
    }
}

fn path(conf: &Object, key: &'static str) -> Result<Option<PathBuf>, Error> {
    match conf.read::<PathBuf>(key)?.filter(|path| path != Path::new("")) {
        Some(path) if path.is_relative() => Err(Error::Relative { key, path }),
        path => Ok(path),
    }
}

fn seconds(conf: &Object, key: &'static str, default: f64) -> Result<Duration, Error> {
    let value = conf.read::<f64>(key)?.unwrap_or(default);
    if value > 0.0 && value <= LONGEST {
        // Within these bounds it can't fail.
        Ok(Duration::try_from_secs_f64(value).unwrap_or_default())
    } else {
        Err(Error::Wait { key, value })
    }
}

#[cfg(test)]
mod tests;
