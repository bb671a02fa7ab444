use std::os::unix::fs::PermissionsExt;

use super::*;

/// Plugins that note how they were called, and answer with a result, or an error where the file `fail` is there.
fn runtime(folder: &Path, list: &Value) -> Runtime {
    let bin = folder.join("bin");
    for plugin in ["first", "second"] {
        let script = format!(
            "#!/bin/sh\n\
             cat >{0}/{plugin}.$CNI_COMMAND.stdin\n\
             echo $CNI_COMMAND {plugin} $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS >>{0}/calls\n\
             [ ! -e {0}/fail ] || {{ echo '{{\"code\": 11, \"msg\": \"busy\", \"details\": \"wait\"}}'; exit 1; }}\n\
             echo '{{\"cniVersion\": \"1.0.0\", \"ips\": [{{\"address\": \"10.0.0.2/24\"}}], \"by\": \"{plugin}\"}}'\n",
            folder.display()
        );
        place(&bin.join(plugin), &script).unwrap();
        std::fs::set_permissions(bin.join(plugin), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    place(&folder.join("net.d/10-net.conflist"), &list.to_string()).unwrap();
    Runtime { conf_dir: folder.join("net.d"), bin_dirs: vec![folder.join("nowhere"), bin] }
}

fn list() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "net",
        "plugins": [{"type": "first", "own": 1}, {"type": "second"}],
    })
}

fn sandbox() -> Sandbox {
    Sandbox {
        id: "abc".to_owned(),
        netns: PathBuf::from("/run/netns/x"),
        pod_namespace: "default".to_owned(),
        pod_name: "web".to_owned(),
        pod_uid: "1-2".to_owned(),
    }
}

fn stdin(folder: &Path, call: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(call)).unwrap()).unwrap()
}

#[test]
fn add_chains_results_and_del_goes_backwards() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(folder.path(), &list());
    let result = runtime.add(&sandbox()).unwrap();
    assert_eq!(result["by"], "second");
    assert_eq!(addresses(&result), ["10.0.0.2/24"]);
    runtime.del(&sandbox(), Some(&result)).unwrap();

    let first = stdin(folder.path(), "first.ADD.stdin");
    assert_eq!(first, json!({"type": "first", "own": 1, "name": "net", "cniVersion": "1.0.0"}));
    assert_eq!(stdin(folder.path(), "second.ADD.stdin")["prevResult"]["by"], "first");
    assert_eq!(stdin(folder.path(), "first.DEL.stdin")["prevResult"]["by"], "second");
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    let order: Vec<&str> = calls.lines().filter_map(|line| line.split(" abc ").next()).collect();
    assert_eq!(order, ["ADD first", "ADD second", "DEL second", "DEL first"]);
    assert!(calls.contains(
        "abc /run/netns/x eth0 IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;\
         K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=1-2"
    ));
}

#[test]
fn a_plugin_s_error_keeps_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(folder.path(), &list());
    place(&folder.path().join("fail"), "").unwrap();
    let error = runtime.add(&sandbox()).unwrap_err();
    assert_eq!(error.to_string(), "first ADD: code 11: busy; wait");
}

#[test]
fn the_first_file_by_name_counts_and_a_single_plugin_is_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(folder.path(), &list());
    place(
        &folder.path().join("net.d/00-own.conf"),
        r#"{"cniVersion": "1.0.0", "name": "own", "type": "second"}"#,
    )
    .unwrap();
    place(&folder.path().join("net.d/00-a.txt"), "no configuration").unwrap();
    let (file, own) = runtime.configuration().unwrap();
    assert_eq!(file, "00-own.conf");
    assert_eq!(own["plugins"][0]["type"], "second");
    runtime.status().unwrap();
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls.trim(), "STATUS second");
}

#[test]
fn a_missing_plugin_is_named_with_where_it_was_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    let runtime =
        runtime(folder.path(), &json!({"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "third"}]}));
    let error = runtime.add(&sandbox()).unwrap_err();
    assert!(
        matches!(&error, Error::NoPlugin { kind, folders } if kind == "third" && folders.len() == 2),
        "{error}"
    );
}
