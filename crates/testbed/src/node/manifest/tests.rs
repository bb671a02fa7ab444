use rstest::rstest;

use super::*;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn shipped() -> Manifests {
    Manifests::read(&[&top().join("examples"), &top().join("deployments")]).unwrap()
}

#[rstest]
#[case("64Mi", Some(64 << 20))]
#[case("4096", Some(4096))]
#[case("1Gi", Some(1 << 30))]
#[case("1.5Gi", None)]
#[case("100m", None)]
#[case("", None)]
#[case("20000000000Gi", None)]
fn quantities(#[case] text: &str, #[case] bytes: Option<u64>) {
    assert_eq!(quantity(text), bytes);
}

#[test]
fn the_dpdk_example_asks_for_huge_pages_and_one_device() {
    let pod = shipped().pod("dpdk").unwrap();
    let [container] = pod.containers.as_slice() else { panic!("one container: {:?}", pod.containers) };
    assert_eq!(container.devices(), [("intel.com/sriov_dpdk".to_owned(), 1)]);
    assert_eq!(container.bytes("hugepages-2Mi"), Some(64 << 20));
    assert_eq!(container.security_context.capabilities.add, ["IPC_LOCK"]);
    assert_eq!(pod.hugepage_volumes, ["hugepages"]);
    assert!(container.args[0].contains("$PCIDEVICE_INTEL_COM_SRIOV_DPDK"));
}

#[test]
fn each_resource_that_an_example_uses_has_a_pool() {
    let shipped = shipped();
    let pools: Value =
        serde_json::from_str(&shipped.config("patchbay-pools", "config.json").unwrap()).unwrap();
    let pools: Vec<String> = pools["resourceList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pool| format!("intel.com/{}", pool["resourceName"].as_str().unwrap()))
        .collect();
    let mut asked = 0;
    for object in shipped.of_kind("Pod") {
        for container in Pod::from_object(object.clone()).unwrap().containers {
            for (resource, _) in container.devices() {
                assert!(pools.contains(&resource), "{resource} is in none of {pools:?}");
                asked += 1;
            }
        }
    }
    for object in shipped.of_kind("NetworkAttachmentDefinition") {
        let resource = object["metadata"]["annotations"]["k8s.v1.cni.cncf.io/resourceName"].as_str().unwrap();
        assert!(pools.contains(&resource.to_owned()), "{resource} is in none of {pools:?}");
        serde_json::from_str::<Value>(object["spec"]["config"].as_str().unwrap()).unwrap();
        asked += 1;
    }
    assert!(asked >= 8, "{asked}");
}

#[test]
fn each_network_that_an_example_selects_is_there() {
    let shipped = shipped();
    let networks: Vec<&str> = shipped
        .of_kind("NetworkAttachmentDefinition")
        .filter_map(|object| object["metadata"]["name"].as_str())
        .collect();
    for object in shipped.of_kind("Pod") {
        let pod = Pod::from_object(object.clone()).unwrap();
        let selected = pod.networks();
        assert!(
            networks.iter().any(|network| selected.contains(network)),
            "{}: {selected} is none of {networks:?}",
            pod.name
        );
    }
}

#[test]
fn each_volume_that_a_container_of_the_daemon_set_mounts_is_defined() {
    let shipped = shipped();
    let set = shipped.named("DaemonSet", "patchbay").unwrap();
    let spec = &set["spec"]["template"]["spec"];
    let volumes: Vec<&str> =
        spec["volumes"].as_array().unwrap().iter().filter_map(|volume| volume["name"].as_str()).collect();
    let mut used = Vec::new();
    for container in spec["containers"].as_array().unwrap() {
        for mount in container["volumeMounts"].as_array().unwrap() {
            let name = mount["name"].as_str().unwrap();
            assert!(volumes.contains(&name), "{name} is no volume");
            used.push(name);
        }
    }
    for volume in volumes {
        assert!(used.contains(&volume), "{volume} is mounted nowhere");
    }
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(
        shipped().pod("nobody").unwrap_err().to_string(),
        "there is no Pod named nobody in the manifests"
    );
}

#[test]
fn a_pod_without_containers_is_refused_by_name() {
    let object = serde_json::json!({"kind": "Pod", "metadata": {"name": "empty"}, "spec": {}});
    assert_eq!(Pod::from_object(object).unwrap_err().to_string(), "Pod empty cannot be used");
}

#[test]
fn a_broken_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("a.yaml"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"kind: [Pod\n"))
        .unwrap();
    let error = Manifests::read(&[folder.path()]).unwrap_err();
    assert!(error.to_string().ends_with("a.yaml is no YAML"), "{error}");
}
