use rstest::rstest;

use super::*;
use crate::ids_by_resource;

/// A container's name, and its devices' ids by resource.
type Container<'a> = (&'a str, &'a [(&'a str, &'a [&'a str])]);

fn pod(name: &str, containers: &[Container<'_>]) -> v1::PodResources {
    let devices = |(resource, ids): &(&str, &[&str])| v1::ContainerDevices {
        resource_name: (*resource).to_owned(),
        device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        topology: None,
    };
    let containers = containers.iter().map(|(name, all)| v1::ContainerResources {
        name: (*name).to_owned(),
        devices: all.iter().map(devices).collect(),
        ..Default::default()
    });
    v1::PodResources { name: name.into(), namespace: "default".into(), containers: containers.collect() }
}

#[test]
fn containers_keep_their_order_and_ids_are_sorted_within_each() {
    let web =
        pod("web", &[("b", &[("r/a", &["2"]), ("r/b", &["9"]), ("r/a", &["1"])]), ("a", &[("r/a", &["0"])])]);
    let containers =
        select(vec![pod("other", &[("b", &[("r/a", &["7"])])]), web], "default", "web").unwrap().unwrap();
    assert_eq!(containers.iter().map(|found| found.container.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    let ids = ids_by_resource(&containers);
    assert_eq!(ids["r/a"], ["1", "2", "0"]);
    assert_eq!(ids["r/b"], ["9"]);
}

#[rstest]
#[case::another_name("default", "we")]
#[case::another_namespace("kube-system", "web")]
fn only_the_very_pod_is_found(#[case] namespace: &str, #[case] name: &str) {
    assert_eq!(select(vec![pod("web", &[])], namespace, name).unwrap(), None);
}

#[rstest]
#[case::an_ended_pod_without_devices(&["1"], &[], Some(1))]
#[case::the_same_twice(&["1"], &["1"], Some(1))]
#[case::two_that_differ(&["1"], &["2"], None)]
#[case::neither_has_devices(&[], &[], Some(0))]
fn a_pod_listed_twice(#[case] first: &[&str], #[case] second: &[&str], #[case] devices: Option<usize>) {
    let one = |ids: &[&str]| {
        if ids.is_empty() { pod("web", &[("a", &[])]) } else { pod("web", &[("a", &[("r", ids)])]) }
    };
    match (select(vec![one(first), one(second)], "default", "web"), devices) {
        (Ok(found), Some(count)) => {
            let ids = ids_by_resource(&found.unwrap_or_default());
            assert_eq!(ids.values().map(Vec::len).sum::<usize>(), count);
        }
        (Err(error), None) => {
            assert!(error.is_transient());
            assert!(error.to_string().contains("default/web"), "{error}");
        }
        (result, _) => panic!("{result:?}"),
    }
}

#[rstest]
#[case::busy(Code::ResourceExhausted, true)]
#[case::away(Code::Unavailable, true)]
#[case::late(Code::DeadlineExceeded, true)]
#[case::unknown_service(Code::Unimplemented, false)]
#[case::inner(Code::Internal, false)]
fn transient_answers_are_marked(#[case] code: Code, #[case] transient: bool) {
    let status = Box::new(tonic::Status::new(code, "x"));
    assert_eq!(Error::List { socket: "s".into(), status }.is_transient(), transient);
}

#[tokio::test]
async fn a_missing_socket_is_told_from_a_dead_one() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kubelet.sock");
    let deadline = Duration::from_secs(15);
    let absent = devices_of(&socket, "default", "web", deadline).await.unwrap_err();
    assert!(absent.is_absent() && !absent.is_transient(), "{absent:?}");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let dead = devices_of(&socket, "default", "web", deadline).await.unwrap_err();
    assert!(!dead.is_absent() && dead.is_transient(), "{dead:?}");
}

#[tokio::test]
async fn a_socket_that_accepts_and_says_nothing_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("kubelet.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let error = allocated(&socket, Duration::from_millis(200)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}
