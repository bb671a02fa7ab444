//! The frame of our own plugins: environment and standard input in, one JSON document on standard output,
//! an exit code. Nothing else in a plugin writes to standard output.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use crate::args::{Args, Command};
use crate::conf::NetConf;
use crate::error::Error;
use crate::object::Object;
use crate::result::AddResult;
use crate::version::{SUPPORTED, Version};

/// The most that is read from standard input, in bytes.
pub const MAX_STDIN: u64 = 1 << 20;

/// A call to one of our plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The environment.
    pub args: Args,
    /// What was read.
    pub stdin: Vec<u8>,
    /// The same, taken apart.
    pub conf: NetConf,
}

/// What a plugin prints and how it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// For standard output; may be empty.
    pub stdout: Vec<u8>,
    /// Whether the call succeeded.
    pub success: bool,
}

/// A plugin's `main`: answers `--version`, VERSION and malformed calls, gives the others to `serve`, and
/// prints its result in the version that the configuration asks for, or its error.
///
/// `about` is the program's name and version, as `--version` prints it.
pub fn run(about: &str, serve: impl FnOnce(&Request) -> Result<Option<AddResult>, Error>) -> ExitCode {
    let answer = if std::env::args_os().nth(1) == Some(OsString::from("--version")) {
        Answer { stdout: about.into(), success: true }
    } else {
        answer(|name| std::env::var(name).ok(), std::io::stdin().lock(), serve)
    };
    let mut stdout = answer.stdout;
    if !stdout.is_empty() {
        stdout.push(b'\n');
    }
    let written = std::io::stdout().lock().write_all(&stdout);
    if answer.success && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Answers a call: `variable` gives environment variables, `stdin` the configuration.
pub fn answer(
    variable: impl Fn(&str) -> Option<String>,
    stdin: impl Read,
    serve: impl FnOnce(&Request) -> Result<Option<AddResult>, Error>,
) -> Answer {
    // Until the configuration has been read, errors go out in the newest version.
    let mut version = Version::LATEST;
    let outcome = (|| {
        let args = Args::from_env(variable)?;
        let stdin = read_bounded(stdin)?;
        if args.command == Command::Version {
            return Ok(Some(version_reply(&stdin)));
        }
        let conf = NetConf::parse(&stdin)?;
        version = conf.cni_version();
        conf.require_name()?;
        let result = serve(&Request { args, stdin, conf })?;
        Ok::<_, Error>(result.map(|result| result.to_version(version)))
    })();
    match outcome {
        Ok(Some(object)) => Answer { stdout: object.to_string().into_bytes(), success: true },
        Ok(None) => Answer { stdout: Vec::new(), success: true },
        Err(error) => Answer { stdout: error.to_json(version), success: false },
    }
}

/// All of `input`; an error when it is longer than [`MAX_STDIN`].
pub fn read_bounded(input: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    input
        .take(MAX_STDIN + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::io(format!("standard input can't be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= MAX_STDIN) {
        Ok(bytes)
    } else {
        Err(Error::decode(format!(
            "the CNI configuration on standard input is longer than {MAX_STDIN} bytes"
        )))
    }
}

/// The answer to VERSION, under the version that the question names.
pub fn version_reply(stdin: &[u8]) -> Object {
    let asked =
        Object::parse(stdin).ok().and_then(|object| object.read::<String>("cniVersion").ok().flatten());
    let mut reply = Object::default();
    reply.set(
        "cniVersion",
        asked.as_deref().filter(|version| !version.is_empty()).unwrap_or(Version::LATEST.as_str()),
    );
    reply.set("supportedVersions", SUPPORTED.map(Version::as_str).as_slice());
    reply
}

#[cfg(test)]
mod tests;
