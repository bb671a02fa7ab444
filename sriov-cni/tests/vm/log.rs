//! What a network's log tells of its VFs.

use std::fs;
use std::path::PathBuf;

use crate::node::{Pod, add, del, vf};

/// A log file, removed at the end.
struct LogFile(PathBuf);

impl LogFile {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sriov-{name}-{}.log", std::process::id()));
        drop(fs::remove_file(&path));
        Self(path)
    }

    fn keys(&self, level: &str) -> String {
        format!(r#","vlan":100,"logLevel":"{level}","logFile":"{}""#, self.0.display())
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.0).unwrap_or_default().lines().map(str::to_owned).collect()
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[test]
fn at_debug_each_step_is_told_with_its_vf_and_attachment() {
    let vf = vf(0, 3);
    let (pod, log) = (Pod::new("log"), LogFile::new("debug"));
    let conf = vf.conf(&log.keys("debug"));
    add("c-log", &pod, &conf).unwrap();
    del("c-log", &pod.path(), &conf).unwrap();
    let lines = log.lines();
    let of = |command: &str, text: &str| {
        let call = format!("command={command} network=blue container=c-log ifname=net1");
        let pci = format!("vf={}", vf.pci);
        lines.iter().any(|line| line.contains(&call) && line.contains(&pci) && line.contains(text))
    };
    assert!(of("ADD", "done: set vlan 100") && of("ADD", "it's attached"), "{lines:#?}");
    assert!(of("DEL", "done: set vlan 0") && of("DEL", "it's free"), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("level=info") && line.contains("attached, mac")),
        "{lines:#?}"
    );
}

#[test]
fn what_is_refused_is_in_the_log_too_and_at_error_nothing_else() {
    let vf = vf(0, 3);
    let before = vf.look();
    let (pod, log) = (Pod::new("log"), LogFile::new("error"));
    let conf = vf.conf(&format!(r#"{},"link_state":"enable""#, log.keys("error")));
    let error = add("c-log", &pod, &conf).unwrap_err();
    let lines = log.lines();
    let [line] = lines.as_slice() else { panic!("{lines:#?}") };
    assert!(line.contains("level=error") && line.contains("link_state"), "{line}");
    assert!(error["msg"].as_str().unwrap().contains("link_state"), "{error}");
    vf.assert_clean(&before);
}
