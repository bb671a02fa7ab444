//! IPAM plugins that are missing, fail, die, or don't answer.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{assert_error, with};
use crate::life::MORE;
use crate::node::{Call, PATIENCE, Pod, Vf, outcome, run, vf};

/// An IPAM plugin of the name `sham`: a script, which has `host-local` at hand.
struct Sham {
    directory: TempDir,
}

impl Sham {
    fn new(script: &str) -> Self {
        let sham = Self { directory: tempfile::tempdir().unwrap() };
        let header =
            format!("#!/bin/bash\nhere={}\nreal=/opt/cni/bin/host-local\n", sham.path(".").display());
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o755)
            .open(sham.path("sham"))
            .unwrap();
        file.write_all((header + script).as_bytes()).unwrap();
        sham
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn conf(&self, vf: Vf) -> String {
        let ipam =
            json!({"type": "sham", "dataDir": self.path("leases"), "ranges": [[{"subnet": "10.9.7.0/24"}]]});
        with(&vf.conf(MORE), "ipam", &ipam)
    }

    fn leases(&self) -> usize {
        super::leases(&self.path("leases"), "blue")
    }

    fn start(&self, command: &str, netns: &str, conf: &str) -> Child {
        let call = Call { command, container: "c1", netns, conf };
        let mut command: Command = call.command();
        command.env("CNI_PATH", format!("{}:/opt/cni/bin", self.directory.path().display()));
        call.start(command)
    }

    fn call(&self, command: &str, netns: &str, conf: &str) -> Result<Value, Value> {
        outcome(self.start(command, netns, conf))
    }

    /// The process number of a plugin that hangs, once it does.
    fn hangs(&self) -> String {
        let begun = Instant::now();
        loop {
            if let Ok(pid) = fs::read_to_string(self.path("hangs")) {
                fs::remove_file(self.path("hangs")).unwrap();
                return pid.trim().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "IPAM wasn't asked");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What a script does to hang, once it has done what it was asked.
const HANG: &str = "$real >/dev/null; echo $$ >$here/new; mv $here/new $here/hangs; exec sleep 600\n";

#[rstest]
#[case::fails("[ $CNI_COMMAND = DEL ] || { echo '{\"code\":777,\"msg\":\"no address left\"}'; exit 1; }", &["777", "no address left"])]
#[case::fails_silently("[ $CNI_COMMAND = DEL ] || exit 3", &["sham"])]
#[case::answers_nonsense("[ $CNI_COMMAND = DEL ] || { echo nonsense; exit 0; }", &["sham"])]
#[case::answers_nothing("[ $CNI_COMMAND = DEL ] || exit 0", &["sham"])]
#[case::gives_no_address("[ $CNI_COMMAND = DEL ] || { echo '{\"cniVersion\":\"1.1.0\"}'; exit 0; }", &["sham", "no address"])]
#[case::dies("[ $CNI_COMMAND = DEL ] || kill -9 $$", &["sham"])]
#[case::dies_with_an_address("[ $CNI_COMMAND = DEL ] || { $real >/dev/null; kill -9 $$; }", &["sham"])]
#[case::fails_with_an_address("[ $CNI_COMMAND = DEL ] || { $real >/dev/null; exit 1; }", &["sham"])]
fn an_ipam_that_fails_an_add_leaves_neither_vf_nor_address(#[case] script: &str, #[case] words: &[&str]) {
    let vf = vf(0, 5);
    let before = vf.look();
    let sham = Sham::new(&format!("{script}\nexec $real\n"));
    let (pod, conf) = (Pod::new("ipam"), sham.conf(vf));
    let error = sham.call("ADD", &pod.path(), &conf).unwrap_err();
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    vf.assert_clean(&before);
    assert_eq!(sham.leases(), 0);
    sham.call("DEL", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
}

#[test]
fn without_its_ipam_plugin_add_and_del_fail_and_the_vf_is_clean() {
    let vf = vf(0, 5);
    let before = vf.look();
    let sham = Sham::new("exec $real\n");
    let (pod, conf) = (Pod::new("ipam"), sham.conf(vf));
    let aside = sham.path("aside");
    fs::rename(sham.path("sham"), &aside).unwrap();
    let error = sham.call("ADD", &pod.path(), &conf).unwrap_err();
    assert!(error.to_string().contains("sham"), "{error}");
    vf.assert_clean(&before);

    fs::rename(&aside, sham.path("sham")).unwrap();
    sham.call("ADD", &pod.path(), &conf).unwrap();
    fs::rename(sham.path("sham"), &aside).unwrap();
    let error = sham.call("DEL", &pod.path(), &conf).unwrap_err();
    assert!(error.to_string().contains("sham"), "{error}");
    vf.assert_clean(&before);
    assert_eq!(sham.leases(), 1);

    fs::rename(&aside, sham.path("sham")).unwrap();
    sham.call("DEL", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
    assert_eq!(sham.leases(), 0);
}

#[test]
fn an_ipam_that_fails_one_del_is_asked_again_by_the_next() {
    let vf = vf(0, 5);
    let before = vf.look();
    let once = "if [ $CNI_COMMAND = DEL ] && mkdir $here/failed; then echo '{\"code\":778,\"msg\":\"not now\"}'; exit 1; fi\nexec $real\n";
    for delete in [false, true] {
        let sham = Sham::new(once);
        let (pod, conf) = (Pod::new("ipam"), sham.conf(vf));
        sham.call("ADD", &pod.path(), &conf).unwrap();
        if delete {
            pod.delete();
        }
        let error = sham.call("DEL", &pod.path(), &conf).unwrap_err();
        assert_error(&error, 778, &["not now"]);
        vf.assert_clean(&before);
        assert_eq!(sham.leases(), 1);
        sham.call("DEL", &pod.path(), &conf).unwrap();
        assert_eq!(sham.leases(), 0);
    }
}

fn kill_with(mut child: Child, ipam: &str) {
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    run("kill", &["-9", ipam]);
}

#[derive(Clone, Copy, Debug)]
enum Rescue {
    Del,
    DelOfTheDead,
    Gc,
    SameAdd,
}

#[rstest]
fn killed_while_ipam_hangs_an_add_is_undone_by_whoever_comes_next(
    #[values(Rescue::Del, Rescue::DelOfTheDead, Rescue::Gc, Rescue::SameAdd)] rescue: Rescue,
) {
    let vf = vf(0, 5);
    let before = vf.look();
    let sham = Sham::new(&format!(
        "if [ $CNI_COMMAND = ADD ] && mkdir $here/once; then {HANG}fi\n[ $CNI_COMMAND != GC ] || touch $here/collected\nexec $real\n"
    ));
    let (pod, conf) = (Pod::new("ipam"), sham.conf(vf));
    let add = sham.start("ADD", &pod.path(), &conf);
    let ipam = sham.hangs();
    kill_with(add, &ipam);
    assert_ne!((vf.look(), vf.state()), (before.clone(), None));
    assert_eq!(sham.leases(), 1);
    match rescue {
        Rescue::Del => drop(sham.call("DEL", &pod.path(), &conf).unwrap()),
        Rescue::DelOfTheDead => {
            pod.delete();
            sham.call("DEL", "", &conf).unwrap();
        }
        Rescue::Gc => {
            let with_list = with(&conf, "cni.dev/valid-attachments", &json!([]));
            sham.call("GC", "", &with_list).unwrap_or_else(|error| panic!("{error}"));
            assert!(sham.path("collected").exists(), "IPAM wasn't told");
            vf.assert_clean(&before);
            // host-local knows no GC: a runtime calls DEL for what it remembers, too.
            sham.call("DEL", "", &conf).unwrap();
        }
        Rescue::SameAdd => {
            // host-local refuses an address twice, so the runtime deletes before it adds again.
            sham.call("DEL", &pod.path(), &conf).unwrap();
            sham.call("ADD", &pod.path(), &conf).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(pod.link("net1")["mtu"], 1400);
            sham.call("DEL", &pod.path(), &conf).unwrap();
        }
    }
    vf.assert_clean(&before);
    assert_eq!(sham.leases(), 0);
}

/// The VF comes first: it's clean while IPAM still hangs, and whose address it had stays his until DEL is repeated.
#[test]
fn killed_while_ipam_hangs_a_del_has_given_the_vf_back_and_is_repeated_for_the_address() {
    let vf = vf(0, 5);
    let before = vf.look();
    let hangs = HANG.replace("$real >/dev/null; ", "");
    let sham =
        Sham::new(&format!("if [ $CNI_COMMAND = DEL ] && mkdir $here/once; then {hangs}fi\nexec $real\n"));
    let (pod, conf) = (Pod::new("ipam"), sham.conf(vf));
    sham.call("ADD", &pod.path(), &conf).unwrap();
    let del = sham.start("DEL", &pod.path(), &conf);
    let ipam = sham.hangs();
    vf.assert_clean(&before);
    kill_with(del, &ipam);
    assert_eq!(sham.leases(), 1);
    sham.call("DEL", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
    assert_eq!(sham.leases(), 0);
}

/// A minute is what IPAM is given. Meanwhile its VF is nobody else's, and other VFs come and go.
#[test]
fn an_ipam_that_hangs_is_ended_and_the_add_undone() {
    let (hung, free) = (vf(0, 5), vf(0, 4));
    let before = [hung.look(), free.look()];
    let sham = Sham::new(&format!("if [ $CNI_COMMAND = ADD ]; then {HANG}fi\nexec $real\n"));
    let (pod, conf) = (Pod::new("hung"), sham.conf(hung));
    let begun = Instant::now();
    let add = sham.start("ADD", &pod.path(), &conf);
    let ipam = sham.hangs();
    let other = Pod::new("other");
    crate::node::add("c2", &other, &free.conf(MORE)).unwrap();
    crate::node::del("c2", &other.path(), &free.conf(MORE)).unwrap();
    let refused = crate::node::add("c2", &other, &hung.conf("")).unwrap_err();
    assert_error(&refused, 11, &["c1"]);
    assert!(begun.elapsed() < Duration::from_mins(1), "this machine is too slow to tell");

    let error = outcome(add).unwrap_err();
    assert_error(&error, 100, &["sham", "60000 ms"]);
    assert!(!Path::new("/proc").join(ipam).exists(), "IPAM lives on");
    hung.assert_clean(&before[0]);
    free.assert_clean(&before[1]);
    assert_eq!(sham.leases(), 0);
}
