use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use cni::{Args, Command, NetConf};
use rstest::rstest;

use super::*;

fn request(more: &str) -> Request {
    let stdin = format!(r#"{{"cniVersion":"1.1.0","name":"blue","type":"sriov"{more}}}"#).into_bytes();
    let args = Args {
        command: Command::Add,
        container_id: "sandbox1".to_owned(),
        netns: None,
        ifname: "net1".to_owned(),
        args: Vec::new(),
        path: Vec::new(),
    };
    Request { args, conf: NetConf::parse(&stdin).unwrap(), stdin }
}

fn vf() -> PciAddress {
    "0000:01:10.0".parse().unwrap()
}

/// Everything that can be told, at a level.
fn told_at(level: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sriov.log");
    let file = path.display();
    let log = Arc::new(Log::new(&request(&format!(r#","LogLevel":"{level}","logfile":"{file}""#))));
    for level in [Level::Debug, Level::Info, Level::Warning, Level::Error] {
        log.line(level, Some(vf()), &format!("a line of {level}"));
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::read_to_string(path).unwrap()
}

#[rstest]
#[case("debug", 4)]
#[case("INFO", 3)]
#[case("warning", 2)]
#[case("error", 1)]
#[case("panic", 1)]
#[case("verbose", 3)]
fn a_level_has_what_matters_more_too(#[case] level: &str, #[case] lines: usize) {
    let told = told_at(level);
    assert_eq!(told.lines().count(), lines, "{told}");
    let last = told.lines().last().unwrap();
    assert!(
        last.starts_with("time=20")
            && last.ends_with(
                r#"Z level=error plugin=sriov command=ADD network=blue container=sandbox1 ifname=net1 vf=0000:01:10.0 msg="a line of error""#
            ),
        "{last}"
    );
}

#[test]
fn nothing_in_a_line_can_begin_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sriov.log");
    let log = Log::new(&request(&format!(r#","logFile":"{}""#, path.display())));
    log.line(Level::Error, None, "one\ntime=2026 level=error msg=\"two\"\u{1b}[2J");
    let told = fs::read_to_string(&path).unwrap();
    assert_eq!(told.lines().count(), 1);
    assert!(told.ends_with("msg=\"one\\ntime=2026 level=error msg=\\\"two\\\"\\u{1b}[2J\"\n"), "{told}");
}

#[test]
fn what_is_no_plain_file_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (target, link) = (directory.path().join("target"), directory.path().join("link"));
    symlink(&target, &link).unwrap();
    for path in [link.to_str().unwrap(), directory.path().to_str().unwrap(), "relative.log", "/dev/null"] {
        let log = Log::new(&request(&format!(r#","logFile":"{path}""#)));
        assert!(log.file.is_none(), "{path}");
    }
    assert!(!target.exists());
}

#[test]
fn a_logging_key_of_another_type_fails_nothing() {
    let log = Log::new(&request(r#","logFile":7,"logLevel":{}"#));
    assert_eq!((log.file.is_none(), log.level), (true, Level::Info));
}
