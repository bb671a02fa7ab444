#![expect(clippy::disallowed_methods, reason = "a test's own files need no atomic writes")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

/// Far more than anything here takes.
const LONG: Duration = Duration::from_mins(1);

fn args() -> Args {
    Args {
        command: Command::Add,
        container_id: "c1".to_owned(),
        netns: Some("/var/run/netns/blue".into()),
        ifname: "net1".to_owned(),
        args: vec![("K".to_owned(), "V".to_owned())],
        path: vec!["/opt/cni/bin".into()],
    }
}

/// A directory with a plugin in it: a shell script.
fn plugin(directory: &TempDir, script: &str) -> Invocation {
    let plugin = directory.path().join("plugin");
    fs::write(&plugin, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    Invocation {
        plugin,
        args: args(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        prefix: Vec::new(),
        stdin: b"{}".to_vec(),
        deadline: LONG,
    }
}

fn run_script(script: &str) -> Result<Vec<u8>, Error> {
    run(&plugin(&TempDir::new().unwrap(), script))
}

/// Whether the process whose number is in a file still runs.
fn runs(directory: &TempDir) -> bool {
    let number = fs::read_to_string(directory.path().join("pid")).unwrap();
    let stat = fs::read_to_string(format!("/proc/{}/stat", number.trim())).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

fn wait_until_gone(directory: &TempDir) {
    let start = Instant::now();
    while runs(directory) {
        assert!(start.elapsed() < LONG, "the child still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_plugin_sees_the_given_environment_and_nothing_else() {
    let output = String::from_utf8(run_script("env | sort").unwrap()).unwrap();
    let names_of_the_shell = ["PWD", "OLDPWD", "SHLVL", "_"];
    let seen: Vec<&str> = output
        .lines()
        .filter(|line| line.split_once('=').is_none_or(|(name, _)| !names_of_the_shell.contains(&name)))
        .collect();
    assert_eq!(
        seen,
        [
            "CNI_ARGS=K=V",
            "CNI_COMMAND=ADD",
            "CNI_CONTAINERID=c1",
            "CNI_IFNAME=net1",
            "CNI_NETNS=/var/run/netns/blue",
            "CNI_PATH=/opt/cni/bin",
            "PATH=/usr/bin:/bin",
        ]
    );
}

#[test]
fn a_long_configuration_goes_in_and_out_while_the_plugin_writes() {
    let directory = TempDir::new().unwrap();
    let mut invocation = plugin(&directory, "cat; cat /dev/null >&2");
    invocation.stdin = (0..3_000_000u32).map(|number| b'a' + u8::try_from(number % 26).unwrap()).collect();
    assert!(run(&invocation).unwrap() == invocation.stdin);
}

#[test]
fn a_plugin_need_not_read() {
    let directory = TempDir::new().unwrap();
    let mut invocation = plugin(&directory, "exec 0<&-; echo done");
    invocation.stdin = vec![b' '; 1 << 20];
    assert_eq!(run(&invocation).unwrap(), b"done\n");
}

#[test]
fn an_error_object_keeps_its_code_and_names_the_plugin() {
    let error =
        run_script(r#"echo '{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"later"}'; exit 1"#);
    let error = crate::Error::from(error.unwrap_err());
    assert_eq!(error.code, code::TRY_AGAIN);
    assert_eq!((error.msg.as_str(), error.details.as_str()), ("plugin \"plugin\" (ADD): busy", "later"));
}

#[rstest]
#[case("echo cannot open the frobnicator >&2; exit 3", "exit status: 3", "cannot open the frobnicator")]
#[case("echo rubbish; exit 1", "exit status: 1", "rubbish")]
#[case("exit 1", "exit status: 1", "no error object")]
#[case("kill -9 $$", "signal: 9", "no error object")]
#[case("echo '{}'; exit 1", "exit status: 1", "{}")]
fn a_failure_without_an_error_object_shows_what_there_is(
    #[case] script: &str,
    #[case] status: &str,
    #[case] text: &str,
) {
    let error = crate::Error::from(run_script(script).unwrap_err());
    assert_eq!(error.code, code::PLUGIN_FAILED);
    assert!(error.msg.contains(status) && error.msg.contains(text), "{error}");
}

#[test]
fn at_the_deadline_the_plugin_dies_with_its_children() {
    let directory = TempDir::new().unwrap();
    let script = format!("echo waiting >&2; sleep 1000 & echo $! > {}/pid; wait", directory.path().display());
    let mut invocation = plugin(&directory, &script);
    invocation.deadline = Duration::from_secs(2);
    let error = run(&invocation).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    let error = crate::Error::from(error);
    assert_eq!(error.code, code::PLUGIN_DEADLINE);
    assert!(error.msg.contains("waiting"), "{error}");
    wait_until_gone(&directory);
}

#[test]
fn a_plugin_that_ignores_signals_and_floods_its_errors_dies_too() {
    let directory = TempDir::new().unwrap();
    let mut invocation = plugin(&directory, "trap '' TERM INT HUP; yes >&2");
    invocation.deadline = Duration::from_secs(1);
    let error = run(&invocation).unwrap_err();
    assert!(matches!(error, Error::Deadline { .. }), "{error}");
    assert!(error.to_string().len() < 4096);
}

#[test]
fn endless_output_is_cut_off() {
    let error = run_script("yes").unwrap_err();
    assert!(matches!(error, Error::TooMuchOutput { .. }), "{error}");
}

#[test]
fn many_errors_beside_a_result_do_no_harm() {
    assert_eq!(run_script("head -c 1000000 /dev/zero >&2; echo '{}'").unwrap(), b"{}\n");
}

#[test]
fn a_child_left_behind_with_the_pipes_doesnt_hold_up_the_result() {
    let directory = TempDir::new().unwrap();
    let script = format!("sleep 1000 & echo $! > {}/pid; echo '{{}}'", directory.path().display());
    assert_eq!(run(&plugin(&directory, &script)).unwrap(), b"{}\n");
    wait_until_gone(&directory);
}

#[test]
fn a_child_that_let_go_of_the_pipes_may_live_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().display();
    let script = format!("sleep 1000 </dev/null >/dev/null 2>&1 & echo $! > {path}/pid; echo '{{}}'");
    assert_eq!(run(&plugin(&directory, &script)).unwrap(), b"{}\n");
    assert!(runs(&directory));
    let number: i32 = fs::read_to_string(directory.path().join("pid")).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(number), nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_plugin_that_is_being_written_is_tried_again() {
    let directory = TempDir::new().unwrap();
    let invocation = plugin(&directory, "echo '{}'");
    let writer = fs::OpenOptions::new().append(true).open(&invocation.plugin).unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(writer);
    });
    assert_eq!(run(&invocation).unwrap(), b"{}\n");
    closer.join().unwrap();
}

#[test]
fn a_plugin_that_stays_open_for_writing_is_given_up() {
    let directory = TempDir::new().unwrap();
    let mut invocation = plugin(&directory, "echo '{}'");
    invocation.deadline = Duration::from_secs(1);
    let _writer = fs::OpenOptions::new().append(true).open(&invocation.plugin).unwrap();
    let error = run(&invocation).unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert_eq!(crate::Error::from(error).code, code::PLUGIN_NOT_STARTED);
}

#[test]
fn a_prefix_runs_the_plugin() {
    let directory = TempDir::new().unwrap();
    let mut invocation = plugin(&directory, "cat");
    let prefix = directory.path().join("enter");
    fs::write(&prefix, "#!/bin/sh\n[ \"$1\" = -- ] || exit 9\nshift\necho entered\nexec \"$@\"\n").unwrap();
    fs::set_permissions(&prefix, fs::Permissions::from_mode(0o755)).unwrap();
    invocation.prefix = vec![prefix.into(), "--".into()];
    assert_eq!(run(&invocation).unwrap(), b"entered\n{}");
}

#[test]
fn a_file_that_cant_be_executed_is_named() {
    let directory = TempDir::new().unwrap();
    let invocation = plugin(&directory, "");
    fs::set_permissions(&invocation.plugin, fs::Permissions::from_mode(0o644)).unwrap();
    let error = crate::Error::from(run(&invocation).unwrap_err());
    assert_eq!(error.code, code::PLUGIN_NOT_STARTED);
    assert!(error.msg.contains(invocation.plugin.to_str().unwrap()), "{error}");
}

#[test]
fn the_first_directory_that_has_the_program_counts() {
    let (empty, first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::create_dir(empty.path().join("bridge")).unwrap();
    fs::write(first.path().join("bridge"), "").unwrap();
    fs::write(second.path().join("bridge"), "").unwrap();
    let path = [empty.path().to_owned(), first.path().to_owned(), second.path().to_owned()];
    assert_eq!(find("bridge", &path, Path::new("/")).unwrap(), first.path().join("bridge"));
    let error = crate::Error::from(find("tuning", &path, Path::new("/")).unwrap_err());
    assert_eq!(error.code, code::PLUGIN_NOT_STARTED);
    assert!(error.msg.contains("tuning") && error.msg.contains(second.path().to_str().unwrap()), "{error}");
}

#[test]
fn below_another_root_a_link_that_only_leads_somewhere_there_counts() {
    let root = TempDir::new().unwrap();
    let bin = root.path().join("opt/cni/bin");
    fs::create_dir_all(&bin).unwrap();
    std::os::unix::fs::symlink("/nowhere/here/but/there", bin.join("bridge")).unwrap();
    let path = [PathBuf::from("/opt/cni/bin")];
    assert_eq!(find("bridge", &path, root.path()).unwrap(), Path::new("/opt/cni/bin/bridge"));
    assert!(find("tuning", &path, root.path()).is_err());
}

#[rstest]
#[case("")]
#[case(".")]
#[case("..")]
#[case("a/b")]
#[case("../bridge")]
#[case("a\0b")]
fn what_is_no_programs_name_is_refused(#[case] kind: &str) {
    let error = find(kind, &["/bin".into()], Path::new("/")).unwrap_err();
    assert!(matches!(error, Error::InvalidType { .. }));
    assert_eq!(crate::Error::from(error).code, code::INVALID_CONFIG);
}

#[test]
fn a_chain_runs_as_processes() {
    let directory = TempDir::new().unwrap();
    let script = format!(
        "cat > {0}/read.$CNI_COMMAND; echo '{{\"cniVersion\":\"1.1.0\",\"n\":1.50}}'",
        directory.path().display()
    );
    plugin(&directory, &script);
    let list =
        crate::NetConfList::parse(br#"{"cniVersion":"1.1.0","name":"n","type":"plugin","x":1.0}"#).unwrap();
    let chain = Chain::new(&list, &crate::Object::default()).unwrap();
    let runtime = Runtime {
        args: Args { path: vec![directory.path().to_owned()], ..args() },
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        prefix: Vec::new(),
        root: "/".into(),
        deadline: LONG,
    };
    let result = runtime.add(&chain).unwrap();
    runtime.check(&chain, &result).unwrap();
    runtime.status(&chain).unwrap();
    assert!(runtime.gc(&chain, &[]).is_empty());
    runtime.del(&chain, Some(&result)).unwrap();
    let read = |command| fs::read_to_string(directory.path().join(format!("read.{command}"))).unwrap();
    assert_eq!(read("ADD"), r#"{"cniVersion":"1.1.0","name":"n","type":"plugin","x":1.0}"#);
    assert_eq!(read("STATUS"), read("ADD"));
    assert_eq!(
        read("DEL"),
        r#"{"cniVersion":"1.1.0","name":"n","type":"plugin","x":1.0,"prevResult":{"cniVersion":"1.1.0","n":1.50}}"#
    );
    assert_eq!(read("CHECK"), read("DEL"));
}
