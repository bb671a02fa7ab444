#![expect(clippy::disallowed_methods, reason = "a test's own files need no atomic writes")]

use std::os::unix::fs::MetadataExt;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

fn info() -> DeviceInfo {
    DeviceInfo::pci(&PciInfo {
        address: "0000:3b:02.1",
        pf_address: Some("0000:3b:00.0"),
        vhost_net: Some("/dev/vhost-net"),
        rdma_device: Some("mlx5_3"),
        representor: Some("pf0vf1"),
    })
}

#[test]
fn a_pci_device_is_described_as_the_specification_says() {
    assert_eq!(
        info().object().to_string(),
        r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.1","vhost-net":"/dev/vhost-net","rdma-device":"mlx5_3","pf-pci-address":"0000:3b:00.0","representor-device":"pf0vf1"}}"#
    );
    assert_eq!(
        (info().kind().as_deref(), info().pci_address().as_deref()),
        (Some("pci"), Some("0000:3b:02.1"))
    );
}

#[test]
fn the_paths_are_those_that_others_look_at() {
    let root = Path::new(ROOT);
    assert_eq!(
        dp_path(root, "intel.com/sriov_net_A", "0000:3b:02.1"),
        Path::new("/var/run/k8s.cni.cncf.io/devinfo/dp/intel.com-sriov_net_A-0000:3b:02.1-device.json")
    );
    assert_eq!(
        cni_path(root, "net/blue", "c1", "net1"),
        Path::new("/var/run/k8s.cni.cncf.io/devinfo/cni/net-blue-c1_net1")
    );
    for path in [dp_path(root, "../..", "/.."), cni_path(root, "../../etc", "..", "..")] {
        assert!(path.parent().is_some_and(|parent| parent.parent() == Some(root)), "{path:?}");
    }
}

#[test]
fn a_file_is_written_whole_read_and_removed() {
    let root = TempDir::new().unwrap();
    let path = dp_path(root.path(), "intel.com/sriov", "0000:3b:02.1");
    assert_eq!(read(&path).unwrap(), None);
    remove(&path).unwrap();
    write(&path, &DeviceInfo::default()).unwrap();
    write(&path, &info()).unwrap();
    assert_eq!(read(&path).unwrap(), Some(info()));
    let file = path.metadata().unwrap();
    let directory = path.parent().unwrap().metadata().unwrap();
    assert_eq!((file.mode() & 0o777, directory.mode() & 0o755), (0o444, 0o755));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");
    remove(&path).unwrap();
    remove(&path).unwrap();
    assert_eq!(read(&path).unwrap(), None);
}

#[test]
fn what_another_program_wrote_keeps_its_text() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("x");
    let text = r#"{"type":"vdpa","version":"9.0.0","vdpa":{"pci-address":"0000:3b:02.1","new":1.50}}"#;
    fs::write(&path, text).unwrap();
    let read = read(&path).unwrap().unwrap();
    assert_eq!(read.pci_address().as_deref(), Some("0000:3b:02.1"));
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

#[rstest]
#[case(r#"{"type":"memif","memif":{"path":"/x"}}"#)]
#[case(r#"{"type":"pci","pci":"text"}"#)]
#[case(r#"{"type":5}"#)]
#[case("{}")]
fn a_description_without_a_pci_address_has_none(#[case] text: &str) {
    let info: DeviceInfo = serde_json::from_str(text).unwrap();
    assert_eq!(info.pci_address(), None);
}

#[test]
fn damaged_and_huge_files_are_named() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("x");
    fs::write(&path, "{\"type\":").unwrap();
    let error = cni::Error::from(read(&path).unwrap_err());
    assert!(error.msg.contains(path.to_str().unwrap()), "{error}");
    fs::write(&path, vec![b' '; 1 << 20]).unwrap();
    assert!(matches!(read(&path), Err(Error::Read { .. })));
}

#[test]
fn a_failed_write_leaves_nothing_behind() {
    let root = TempDir::new().unwrap();
    let path = root.path().join("dp/x");
    fs::create_dir_all(path.join("a directory in the way")).unwrap();
    let error = write(&path, &info()).unwrap_err();
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    assert_eq!(fs::read_dir(root.path().join("dp")).unwrap().count(), 1);
}
