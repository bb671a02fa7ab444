use serde_json::json;

use super::*;

const POD: PodName<'_> = PodName { namespace: "ns", name: "web", uid: "u1" };

/// Kubelet's directory with no socket and this checkpoint.
fn kubelet(entries: &serde_json::Value) -> (tempfile::TempDir, Source) {
    let dir = tempfile::tempdir().unwrap();
    let kubelet = Kubelet::new(dir.path());
    std::fs::create_dir_all(kubelet.device_plugins()).unwrap();
    let file = json!({"Data": {"PodDeviceEntries": entries, "RegisteredDevices": {}}, "Checksum": 1});
    ledger::file::write_whole(
        &kubelet.checkpoint(),
        file.to_string().as_bytes(),
        ledger::file::Durability::Tmpfs,
    )
    .unwrap();
    let source = Source::new(&kubelet, Duration::from_secs(1));
    (dir, source)
}

fn entry(uid: &str, container: &str, ids: &[&str]) -> serde_json::Value {
    json!({"PodUID": uid, "ContainerName": container, "ResourceName": "r/a", "DeviceIDs": {"-1": ids}, "AllocResp": ""})
}

fn needed(count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([("r/a".to_owned(), count)])
}

fn order(names: &[&str]) -> std::future::Ready<Result<Vec<String>, cluster::Error>> {
    std::future::ready(Ok(names.iter().map(|name| (*name).to_owned()).collect()))
}

async fn unasked() -> Result<Vec<String>, cluster::Error> {
    panic!("the order of one container needs no API server")
}

#[tokio::test]
async fn the_checkpoint_gives_the_devices_of_this_pod_alone() {
    let (_dir, source) = kubelet(&json!([entry("u0", "one", &["x"]), entry("u1", "one", &["b", "a"])]));
    let devices = source.of_pod(POD, &needed(2), unasked).await.unwrap();
    assert_eq!(devices["r/a"], ["a", "b"]);
}

#[tokio::test]
async fn containers_are_in_the_order_of_the_spec_and_shared_devices_count_once() {
    let entries =
        json!([entry("u1", "app", &["a", "c"]), entry("u1", "setup", &["c"]), entry("u1", "side", &["b"])]);
    let (_dir, source) = kubelet(&entries);
    let devices = source.of_pod(POD, &needed(3), || order(&["setup", "side", "app"])).await.unwrap();
    assert_eq!(devices["r/a"], ["c", "b", "a"]);
}

#[tokio::test]
async fn an_order_that_can_not_be_had_is_an_error() {
    let (_dir, source) = kubelet(&json!([entry("u1", "app", &["a"]), entry("u1", "side", &["b"])]));
    let away = || async {
        Err(cluster::Error::Timeout { what: "the pod".to_owned(), after: Duration::from_secs(1) })
    };
    let error = cni::Error::from(source.of_pod(POD, &needed(2), away).await.unwrap_err());
    assert_eq!(error.code, cni::code::TRY_AGAIN);
    assert!(error.msg.contains("pod ns/web"), "{error}");
}

#[tokio::test]
async fn without_socket_and_file_nobody_knows() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::new(&Kubelet::new(dir.path()), Duration::from_millis(200));
    let error = source.of_pod(POD, &needed(1), unasked).await.unwrap_err();
    assert!(matches!(error, Error::NoSource { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_is_silent_is_left_alone_for_a_while() {
    let (_dir, source) = kubelet(&json!([entry("u1", "one", &["a"])]));
    let _listens_and_says_nothing = {
        std::fs::create_dir_all(source.socket.parent().unwrap()).unwrap();
        std::os::unix::net::UnixListener::bind(&source.socket).unwrap()
    };
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(source.of_pod(POD, &needed(1), unasked).await.unwrap()["r/a"], ["a"]);
    }
    assert!(start.elapsed() < 2 * source.deadline, "asked once, by the paused clock: {:?}", start.elapsed());
    tokio::time::advance(SILENCE).await;
    let start = Instant::now();
    source.of_pod(POD, &needed(1), unasked).await.unwrap();
    assert!(start.elapsed() >= source.deadline, "and then again");
}
