//! Running programs: bounded, with all that they said.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How long any program may take; a guest without hardware virtualisation is slow.
pub const DEADLINE: Duration = Duration::from_mins(3);

/// Why a program gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Its state could not be learnt.
    #[error("cannot wait for {program}")]
    Wait {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long, and was killed.
    #[error("{program} took longer than {seconds} s: {said}")]
    Slow {
        /// The program and its arguments.
        program: String,
        /// The limit.
        seconds: u64,
        /// What it had said until then.
        said: String,
    },
    /// It ended with an error.
    #[error("{program} ended with {status}: {said}")]
    Failed {
        /// The program and its arguments.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
}

/// What a program said, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// Both streams, for a person.
    pub fn said(&self) -> String {
        [self.stdout.trim(), self.stderr.trim()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// Runs a program to its end with `input` on its standard input, and kills it with all that it started after
/// `deadline`.
pub fn run(command: &mut Command, input: &[u8], deadline: Duration) -> Result<Output, Error> {
    let program = described(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let (ended, stdout, stderr) = thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(mut stdin) = stdin {
                // One that ends without reading its input says why on its own.
                let _ = stdin.write_all(input);
            }
        });
        let out = scope.spawn(move || text_of(stdout));
        let err = scope.spawn(move || text_of(stderr));
        let ended = ended_by(&mut child, deadline);
        if !matches!(ended, Ok(Some(_))) {
            kill(&mut child);
        }
        (ended, out.join().unwrap_or_default(), err.join().unwrap_or_default())
    });
    match ended.map_err(|source| Error::Wait { program: program.clone(), source })? {
        Some(status) => Ok(Output { status, stdout, stderr }),
        None => Err(Error::Slow { program, seconds: deadline.as_secs(), said: format!("{stdout}{stderr}") }),
    }
}

/// Runs a program that has to succeed, and returns its standard output.
pub fn succeed(program: &str, arguments: &[&str]) -> Result<String, Error> {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = run(&mut command, b"", DEADLINE)?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Failed { program: described(&command), status: output.status, said: output.said() })
    }
}

/// Waits until `done` gives something, and returns nothing when `deadline` passes first.
pub fn until<T>(deadline: Duration, mut done: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(result) = done() {
            return Some(result);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// How a child ended, or nothing when it did not in time.
pub(super) fn ended_by(child: &mut Child, deadline: Duration) -> std::io::Result<Option<ExitStatus>> {
    until(deadline, || child.try_wait().transpose()).transpose()
}

/// Kills a child with its process group, and waits for it.
pub(super) fn kill(child: &mut Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn text_of(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // What was read before an error is still worth showing.
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn described(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn input_goes_in_and_both_streams_and_the_status_come_out() {
        let output = run(&mut sh("cat; echo oops >&2; exit 3"), b"hello", DEADLINE).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(output.said(), "hello\noops");
    }

    #[test]
    fn more_than_a_pipe_holds_does_not_block() {
        let input = vec![b'x'; 1 << 20];
        let output = run(&mut sh("cat"), &input, DEADLINE).unwrap();
        assert_eq!(output.stdout.len(), input.len());
    }

    #[test]
    fn a_slow_program_is_killed_with_what_it_started() {
        let error =
            run(&mut sh("echo begun; sleep 1000 & wait"), b"", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(&error, Error::Slow { said, .. } if said.contains("begun")), "{error}");
    }

    #[test]
    fn a_failure_names_the_program_and_what_it_said() {
        let error = succeed("sh", &["-c", "echo no such link >&2; exit 1"]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c") && text.contains("no such link"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = succeed("/nonexistent/program", &[]).unwrap_err();
        assert_eq!(error.to_string(), "cannot start /nonexistent/program");
    }
}
