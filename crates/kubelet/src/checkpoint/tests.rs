use rstest::rstest;

use super::*;
use crate::ids_by_resource;

const POD: &str = "7a1c9d5e-0000-4000-8000-000000000001";

fn checkpoint(entries: &str) -> Checkpoint {
    let file =
        format!(r#"{{"Data":{{"PodDeviceEntries":{entries},"RegisteredDevices":{{}}}},"Checksum":1}}"#);
    Checkpoint::parse(file.as_bytes()).unwrap()
}

fn entry(uid: &str, container: &str, resource: &str, ids: &str) -> String {
    format!(
        r#"{{"PodUID":"{uid}","ContainerName":"{container}","ResourceName":"{resource}","DeviceIDs":{ids},"AllocResp":"CgA="}}"#
    )
}

#[rstest]
#[case::no_node(r#"{"-1":["0000:01:10.2","0000:01:10.0"]}"#)]
#[case::two_nodes(r#"{"1":["0000:01:10.2"],"0":["0000:01:10.0"]}"#)]
#[case::before_kubelet_1_20(r#"["0000:01:10.2","0000:01:10.0"]"#)]
#[case::a_node_without_devices(r#"{"0":null,"1":["0000:01:10.2","0000:01:10.0"]}"#)]
fn ids_are_read_in_every_form_and_sorted(#[case] ids: &str) {
    let devices =
        checkpoint(&format!("[{}]", entry(POD, "app", "intel.com/a", ids))).devices_of(POD, &["app"]);
    assert_eq!(
        devices,
        [ContainerDevices {
            container: "app".into(),
            resources: vec![crate::ResourceDevices {
                resource: "intel.com/a".into(),
                ids: vec!["0000:01:10.0".into(), "0000:01:10.2".into()]
            }]
        }]
    );
}

#[rstest]
#[case::init_container_first(&["setup", "app", "side"], &["setup", "app", "side"])]
#[case::another_order(&["side", "app", "setup"], &["side", "app", "setup"])]
#[case::an_unnamed_one_is_last(&["side", "setup"], &["side", "setup", "app"])]
#[case::none_named(&[], &["app", "setup", "side"])]
fn containers_come_as_the_pod_names_them(#[case] order: &[&str], #[case] expected: &[&str]) {
    let entries =
        ["side", "app", "setup"].map(|name| entry(POD, name, "intel.com/a", r#"{"0":["x"]}"#)).join(",");
    let devices = checkpoint(&format!("[{entries}]")).devices_of(POD, order);
    assert_eq!(devices.iter().map(|devices| devices.container.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn the_entry_of_a_dead_pod_is_not_the_new_pods() {
    let old = entry("a-uid-of-before", "app", "intel.com/a", r#"{"0":["0000:01:10.0"]}"#);
    let new = entry(POD, "app", "intel.com/a", r#"{"0":["0000:01:10.2"]}"#);
    let checkpoint = checkpoint(&format!("[{old},{new}]"));
    let ids = ids_by_resource(&checkpoint.devices_of(POD, &["app"]));
    assert_eq!(ids["intel.com/a"], ["0000:01:10.2"]);
    assert!(checkpoint.devices_of("a-uid-of-after", &["app"]).is_empty());
    assert_eq!(checkpoint.allocated()["intel.com/a"].len(), 2);
}

#[test]
fn an_id_shared_by_init_and_app_container_counts_once_and_order_is_per_container() {
    let entries = [
        entry(POD, "app", "intel.com/a", r#"{"0":["0000:01:10.0","0000:02:10.0"]}"#),
        entry(POD, "init", "intel.com/a", r#"{"0":["0000:02:10.0"]}"#),
    ];
    let checkpoint = checkpoint(&format!("[{}]", entries.join(",")));
    let ids = ids_by_resource(&checkpoint.devices_of(POD, &["init", "app"]));
    assert_eq!(ids["intel.com/a"], ["0000:02:10.0", "0000:01:10.0"]);
}

#[rstest]
#[case::no_entries(r#"{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{}},"Checksum":1}"#, None)]
#[case::a_boot_id(r#"{"Data":{"PodDeviceEntries":[]},"Checksum":1,"BootID":"b"}"#, Some("b"))]
#[case::an_empty_boot_id(r#"{"Data":{},"BootID":""}"#, None)]
fn a_file_without_entries_is_fine(#[case] file: &str, #[case] boot: Option<&str>) {
    let checkpoint = Checkpoint::parse(file.as_bytes()).unwrap();
    assert!(checkpoint.allocated().is_empty());
    assert_eq!(checkpoint.boot_id.as_deref(), boot);
}

#[rstest]
#[case::empty("")]
#[case::torn(r#"{"Data":{"PodDeviceEntries":[{"PodUID":"#)]
#[case::another_shape(r#"{"Data":{"PodDeviceEntries":[{"PodUID":"u","ContainerName":"c","ResourceName":"r","DeviceIDs":"x"}]}}"#)]
#[case::not_a_checkpoint("[]")]
fn a_file_of_another_form_is_an_error(#[case] file: &str) {
    assert!(matches!(Checkpoint::parse(file.as_bytes()), Err(Error::Parse(_))));
}

#[test]
fn a_missing_file_is_told_from_a_broken_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Checkpoint::read(&dir.path().join("none")).unwrap_err().is_absent());
    assert!(!Checkpoint::read(dir.path()).unwrap_err().is_absent());
}
