//! What the plugin does with a call: hand it over, and decide what it means when that fails.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cni::plugin::Request;
use cni::{AddResult, Command, Error};

use crate::client::{self, Patience};
use crate::intent;
use crate::protocol::{CallRequest, alive_path};
use crate::settings::Settings;

/// How long commands other than ADD and CHECK wait for a daemon that is away: long enough for a restart,
/// short enough for those who wait for them.
const SHORT_WAIT: Duration = Duration::from_secs(2);
/// How long STATUS waits for its answer.
const STATUS_WAIT: Duration = Duration::from_secs(5);
/// How long STATUS takes an absent daemon for one that is being restarted or replaced.
pub const GRACE: Duration = Duration::from_mins(1);

/// Serves one call.
pub fn serve(request: &Request, env: BTreeMap<String, String>) -> Result<Option<AddResult>, Error> {
    let settings = Settings::read(request.conf.object())?;
    let outcome = forward(request, env, &settings);
    if let Err(error) = &outcome {
        log(&settings, request, &error.to_string());
    }
    outcome
}

/// The variables that the daemon is told.
pub fn environment(
    variables: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> BTreeMap<String, String> {
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("CNI_") || name == "PATH")
        .collect()
}

fn forward(
    request: &Request,
    env: BTreeMap<String, String>,
    settings: &Settings,
) -> Result<Option<AddResult>, Error> {
    let command = request.args.command;
    let call = CallRequest { env, config: request.stdin.clone() };
    let patience = match command {
        Command::Add | Command::Check => {
            Patience { connect: settings.daemon_wait, answer: settings.answer_wait }
        }
        Command::Status => Patience { connect: SHORT_WAIT, answer: STATUS_WAIT.min(settings.answer_wait) },
        Command::Del | Command::Gc | Command::Version => {
            Patience { connect: SHORT_WAIT.min(settings.daemon_wait), answer: settings.answer_wait }
        }
    };
    match client::call(&settings.socket, &call, patience) {
        Ok(body) if command == Command::Add => {
            let result = client::result(&settings.socket, &body).map_err(failure)?;
            Ok(Some(AddResult::parse(result.to_string().as_bytes())?))
        }
        Ok(_) => Ok(None),
        Err(error) => match (command, without_answer(&error)) {
            (Command::Del, true) => keep_for_later(request, &call, settings, &error).map(|()| None),
            (Command::Status, true) => status_without_daemon(&settings.socket, &error).map(|()| None),
            _ => Err(failure(error)),
        },
    }
}

/// Whether the daemon has said neither yes nor no.
fn without_answer(error: &client::Error) -> bool {
    match error {
        client::Error::Absent { .. } | client::Error::Broken { .. } | client::Error::Malformed { .. } => true,
        client::Error::NoResult { .. }
        | client::Error::Encode(_)
        | client::Error::Refused(_)
        | client::Error::RefusedText { .. } => false,
    }
}

/// A failed request as the runtime is told.
fn failure(error: client::Error) -> Error {
    let text = cni::error::with_sources(&error);
    match error {
        client::Error::Refused(error) => error,
        client::Error::Absent { .. } | client::Error::Broken { .. } => Error::try_again(text),
        client::Error::Malformed { .. } | client::Error::NoResult { .. } => Error::decode(text),
        client::Error::Encode(_) | client::Error::RefusedText { .. } => Error::internal(text),
    }
}

/// DEL without the daemon: succeeds once the intent is on disk.
fn keep_for_later(
    request: &Request,
    call: &CallRequest,
    settings: &Settings,
    reason: &client::Error,
) -> Result<(), Error> {
    let reason = cni::error::with_sources(reason);
    let path = intent::write(&settings.intents, call)
        .map_err(|error| Error::io(cni::error::with_sources(&error)).with_details(reason.clone()))?;
    log(settings, request, &format!("DEL is kept in {} until patchbayd is back: {reason}", path.display()));
    Ok(())
}

/// STATUS without the daemon: an upgrade must not make the node unready at once.
fn status_without_daemon(socket: &Path, error: &client::Error) -> Result<(), Error> {
    let seen = alive_path(socket).metadata().and_then(|metadata| metadata.modified()).ok();
    let distance = seen.map(|seen| {
        // A clock that was set back makes the difference negative; its size counts all the same.
        SystemTime::now().duration_since(seen).unwrap_or_else(|future| future.duration())
    });
    if distance.is_some_and(|distance| distance <= GRACE) {
        return Ok(());
    }
    Err(Error::not_available(cni::error::with_sources(error)))
}

/// Appends one line where the configuration asks for it. A log that can't be written changes nothing.
fn log(settings: &Settings, request: &Request, text: &str) {
    let args = &request.args;
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let line = format!("{seconds} patchbay {} {} {}: {text}\n", args.command, args.container_id, args.ifname);
    if settings.log_to_stderr {
        let _unwritable = std::io::stderr().write_all(line.as_bytes());
    }
    if let Some(path) = &settings.log_file {
        let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        let _unwritable = opened.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
