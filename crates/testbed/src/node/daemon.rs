//! A resident program under test, as a process of its own, with its log in a file.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exec;

/// Why a program could not be started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its log can't be opened.
    #[error("cannot open the log {path}")]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended though it should run.
    #[error("{name} ended with {status}; the end of its log:\n{log}")]
    Died {
        /// The program.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// It did not end when told to, and was killed.
    #[error("{name} did not end within {seconds} s of SIGTERM")]
    Stuck {
        /// The program.
        name: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// It runs and does not do what is waited for.
    #[error("{name} runs, but after {seconds} s there is still no {what}; the end of its log:\n{log}")]
    NotReady {
        /// The program.
        name: String,
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
}

/// A running program; dropped, it is killed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts `program`, its output appended to `log`.
    pub fn start(
        program: &Path,
        arguments: &[&str],
        env: &[(&str, &str)],
        log: &Path,
    ) -> Result<Self, Error> {
        let open = || -> std::io::Result<(File, File)> {
            let file = OpenOptions::new().create(true).append(true).open(log)?;
            Ok((file.try_clone()?, file))
        };
        let (out, err) = open().map_err(|source| Error::Log { path: log.to_owned(), source })?;
        let child = Command::new(program)
            .args(arguments)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Start { program: program.to_owned(), source })?;
        Ok(Self {
            name: program
                .file_name()
                .map_or_else(|| program.display().to_string(), |name| name.to_string_lossy().into_owned()),
            log: log.to_owned(),
            child,
        })
    }

    /// Waits until `ready` gives something, and fails early when the program ends.
    pub fn wait_for<T>(
        &mut self,
        what: &str,
        deadline: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T, Error> {
        let outcome = exec::until(deadline, || {
            if let Some(result) = ready() {
                return Some(Ok(result));
            }
            self.child.try_wait().ok().flatten().map(Err)
        });
        match outcome {
            Some(Ok(result)) => Ok(result),
            Some(Err(status)) => Err(Error::Died { name: self.name.clone(), status, log: self.last_lines() }),
            None => Err(Error::NotReady {
                name: self.name.clone(),
                what: what.to_owned(),
                seconds: deadline.as_secs(),
                log: self.last_lines(),
            }),
        }
    }

    /// Asks it to end, and waits for that.
    pub fn stop(mut self) -> Result<ExitStatus, Error> {
        const PATIENCE: Duration = Duration::from_secs(90);
        if let Ok(id) = i32::try_from(self.child.id()) {
            // One that is gone already is found so below.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        match exec::ended_by(&mut self.child, PATIENCE) {
            Ok(Some(status)) => Ok(status),
            Ok(None) | Err(_) => Err(Error::Stuck { name: self.name.clone(), seconds: PATIENCE.as_secs() }),
        }
    }

    /// Kills it at once and alone, as the kernel's out-of-memory killer would: what it started lives on.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its log.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of its log, for a person.
    pub fn last_lines(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(15)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        exec::kill(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Daemon {
        Daemon::start(Path::new("/bin/sh"), &["-c", script], &[("WORD", "hello")], &folder.join("log"))
            .unwrap()
    }

    const LONG: Duration = Duration::from_mins(1);

    #[test]
    fn what_it_says_is_in_its_log_and_it_ends_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = start("trap 'exit 0' TERM; echo $WORD; while :; do sleep 0.05; done", folder.path());
        let log = daemon.log().to_owned();
        daemon
            .wait_for("greeting", LONG, || {
                std::fs::read_to_string(&log).ok().filter(|text| text.contains("hello"))
            })
            .unwrap();
        assert!(daemon.stop().unwrap().success());
    }

    #[test]
    fn one_that_dies_early_is_reported_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = start("echo no such pool; exit 7", folder.path());
        let error = daemon.wait_for("socket", LONG, || None::<()>).unwrap_err();
        assert!(
            matches!(&error, Error::Died { status, log, .. } if status.code() == Some(7) && log == "no such pool"),
            "{error}"
        );
    }

    #[test]
    fn one_that_never_gets_ready_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let mut daemon = start("exec sleep 1000", folder.path());
        let error = daemon.wait_for("socket", Duration::from_millis(100), || None::<()>).unwrap_err();
        assert!(matches!(&error, Error::NotReady { what, .. } if what == "socket"), "{error}");
        daemon.kill();
    }
}
