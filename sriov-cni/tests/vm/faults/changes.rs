//! What was changed behind an attachment is what CHECK names, and DEL puts it right.

use rstest::rstest;

use super::{assert_error, check};
use crate::node::{Pod, Vf, add, del, ip, vf};

const CONF: &str = r#","mac":"02:00:00:00:0e:01","vlan":100,"vlanQoS":3,"max_tx_rate":100,"spoofchk":"off","trust":"on","mtu":1400,"ipam":{"type":"static","addresses":[{"address":"10.9.6.1/24"}]}"#;

/// The code of a difference.
const DIFFERS: u32 = 113;

fn set_vf(vf: Vf, attribute: &[&str]) {
    let (name, index) = (vf.pf_name(), vf.index.to_string());
    ip(&[&["link", "set", "dev", &name, "vf", &index], attribute].concat());
}

fn in_pod(pod: &Pod, change: &[&str]) {
    pod.run(&[&["ip"], change].concat());
}

#[rstest]
#[case::vlan(|vf: Vf, _: &Pod| set_vf(vf, &["vlan", "7", "qos", "3"]), &["vlan"])]
#[case::qos(|vf: Vf, _: &Pod| set_vf(vf, &["vlan", "100", "qos", "1"]), &["vlan"])]
#[case::admin_mac(|vf: Vf, _: &Pod| set_vf(vf, &["mac", "02:00:00:00:0e:77"]), &["mac", "02:00:00:00:0e:77"])]
#[case::rate(|vf: Vf, _: &Pod| set_vf(vf, &["max_tx_rate", "50"]), &["50"])]
#[case::spoofchk(|vf: Vf, _: &Pod| set_vf(vf, &["spoofchk", "on"]), &["spoofchk"])]
#[case::trust(|vf: Vf, _: &Pod| set_vf(vf, &["trust", "off"]), &["trust"])]
#[case::mtu(|_: Vf, pod: &Pod| in_pod(pod, &["link", "set", "net1", "mtu", "1300"]), &["mtu", "1300"])]
#[case::down(|_: Vf, pod: &Pod| in_pod(pod, &["link", "set", "net1", "down"]), &["down"])]
#[case::address(|_: Vf, pod: &Pod| in_pod(pod, &["addr", "flush", "dev", "net1"]), &["10.9.6.1/24"])]
#[case::renamed(
    |_: Vf, pod: &Pod| {
        in_pod(pod, &["link", "set", "net1", "down"]);
        in_pod(pod, &["link", "set", "net1", "name", "data0", "up"]);
        in_pod(pod, &["addr", "replace", "10.9.6.1/24", "dev", "data0"]);
    },
    &["data0"]
)]
#[case::moved_home(|_: Vf, pod: &Pod| in_pod(pod, &["link", "set", "net1", "netns", "1"]), &["namespace", "host"])]
fn a_change_behind_an_attachment_is_named_by_check(#[case] change: fn(Vf, &Pod), #[case] words: &[&str]) {
    let vf = vf(0, 3);
    let before = vf.look();
    let pod = Pod::new("changed");
    let conf = vf.conf(CONF);
    let result = add("c1", &pod, &conf).unwrap();
    check("c1", &pod, &conf, &result).unwrap_or_else(|error| panic!("{error}"));
    change(vf, &pod);
    let error = check("c1", &pod, &conf, &result).unwrap_err();
    del("c1", &pod.path(), &conf).unwrap_or_else(|error| panic!("{error}"));
    vf.assert_clean(&before);
    assert_error(&error, DIFFERS, words);
    assert!(error.to_string().contains(&vf.pci.to_string()), "{error}");
}

#[test]
fn check_of_what_was_never_attached_or_is_anothers_fails() {
    let vf = vf(0, 3);
    let before = vf.look();
    let pod = Pod::new("checked");
    let conf = vf.conf(CONF);
    let result = add("c1", &pod, &conf).unwrap();
    let of_another = check("c2", &pod, &conf, &result).unwrap_err();
    del("c1", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
    let of_none = check("c1", &pod, &conf, &result).unwrap_err();
    assert_error(&of_another, 112, &[&vf.pci.to_string(), "c2"]);
    assert_error(&of_none, 112, &[&vf.pci.to_string(), "c1"]);
}
