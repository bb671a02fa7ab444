//! VFs with no PF in sight, as in a virtual machine that was given them: the PF's interface is in another namespace,
//! or, as for the node's plain NIC, there's nothing that says "VF" at all.

use std::fs;
use std::path::Path;

use pci::{Driver, Sysfs};
use rstest::rstest;
use serde_json::json;

use crate::node::{Call, Pod, Vf, View, add, del, ip, run, vf};

const MAC: &str = "02:00:00:00:1a:01";

/// A PF whose interface is away, until it's dropped.
struct Away {
    name: String,
    namespace: Pod,
}

impl Away {
    fn send(vf: Vf) -> Self {
        let away = Self { name: vf.pf_name(), namespace: Pod::new("away") };
        ip(&["link", "set", &away.name, "netns", away.namespace.path().rsplit('/').next().unwrap()]);
        // As it is on the machine below a virtual one.
        away.namespace.run(&["ip", "link", "set", &away.name, "up"]);
        away
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.namespace.run(&["ip", "link", "set", &self.name, "netns", "1"]);
        ip(&["link", "set", &self.name, "up"]);
    }
}

/// What can be seen of a VF without its PF.
fn look(vf: Vf) -> (Option<serde_json::Value>, Option<String>, Option<String>) {
    let home = vf.home_name().map(|name| {
        let shown: serde_json::Value =
            serde_json::from_str(&ip(&["-j", "-d", "link", "show", "dev", &name])).unwrap();
        json!({"ifname": shown[0]["ifname"], "address": shown[0]["address"], "mtu": shown[0]["mtu"]})
    });
    (home, Sysfs::host().function(&vf.pci).unwrap().driver, vf.state())
}

fn baseline(vf: Vf) -> serde_json::Value {
    let path = vf.state_file().with_extension("baseline");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[rstest]
#[case::nothing("", json!({}))]
#[case::mac(r#","mac":"02:00:00:00:1a:01""#, json!({"mac": MAC}))]
#[case::mtu(r#","mtu":9000"#, json!({"mtu": 9000}))]
#[case::both(r#","mac":"02:00:00:00:1a:01","mtu":1400"#, json!({"mac": MAC, "mtu": 1400}))]
fn an_interface_without_a_pf_in_sight_is_attached_and_given_back(
    #[case] more: &str,
    #[case] asked: serde_json::Value,
) {
    let vf = vf(1, 6).without_admin_mac();
    let whole: View = vf.look();
    let away = Away::send(vf);
    // Moved, the PF was reset, and answers no VF that hasn't been reset since: igbvf is, when it's set down.
    let name = vf.home_name().unwrap();
    ip(&["link", "set", &name, "up"]);
    ip(&["link", "set", &name, "down"]);
    let before = look(vf);
    let home = before.0.clone().unwrap();
    let pod = Pod::new("sight");
    let conf = vf.conf(more);
    let result = add("c1", &pod, &conf).unwrap_or_else(|error| panic!("{more}: {error}"));
    let mac = asked.get("mac").unwrap_or(&home["address"]);
    let mtu = asked.get("mtu").unwrap_or(&home["mtu"]);
    let link = pod.link("net1");
    assert_eq!((&link["address"], &link["mtu"]), (mac, mtu));
    assert_eq!((&result["interfaces"][0]["mac"], &result["interfaces"][0]["mtu"]), (mac, mtu));
    // The ledger says that nothing is known of the PF's side.
    assert_eq!(baseline(vf)["settings"]["admin"], json!(null));
    let mut with_result: serde_json::Value = serde_json::from_str(&conf).unwrap();
    with_result["prevResult"] = result;
    let conf_of_check = with_result.to_string();
    Call { command: "CHECK", container: "c1", netns: &pod.path(), conf: &conf_of_check }.run().unwrap();

    del("c1", &pod.path(), &conf).unwrap();
    assert_eq!(look(vf), before);
    drop(away);
    assert_eq!(vf.look().home, whole.home);
}

#[rstest]
#[case(r#","vlan":5"#, "vlan")]
#[case(r#","vlan":0"#, "vlan")]
#[case(r#","max_tx_rate":100"#, "max_tx_rate")]
#[case(r#","min_tx_rate":10"#, "min_tx_rate")]
#[case(r#","spoofchk":"off""#, "spoofchk")]
#[case(r#","trust":"on""#, "trust")]
#[case(r#","link_state":"auto""#, "link_state")]
fn an_attribute_of_the_pf_is_refused_without_one(#[case] more: &str, #[case] attribute: &str) {
    let vf = vf(1, 6);
    let away = Away::send(vf);
    let before = look(vf);
    let pod = Pod::new("sightless");
    let error = add("c1", &pod, &vf.conf(&format!(r#"{more},"mac":"{MAC}""#))).unwrap_err();
    let after = look(vf);
    drop(away);
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains(attribute) && text.contains(&vf.pci.to_string()) && text.contains("PF"), "{text}");
    assert_eq!(error["code"], 7, "{error}");
    assert_eq!(after, before);
}

#[test]
fn a_vf_for_dpdk_without_a_pf_in_sight_is_attached_and_has_no_mac() {
    let vf = vf(1, 6);
    let away = Away::send(vf);
    Sysfs::host().bind(&vf.pci, &Driver::Named("vfio-pci".to_owned())).unwrap();
    let before = look(vf);
    let pod = Pod::new("sightdpdk");
    let attached = add("c1", &pod, &vf.conf(""));
    let detached = del("c1", &pod.path(), &vf.conf(""));
    let refused = add("c1", &pod, &vf.conf(&format!(r#","mac":"{MAC}""#)));
    let after = look(vf);
    Sysfs::host().bind(&vf.pci, &Driver::Kernel).unwrap();
    drop(away);
    let interface = &attached.unwrap()["interfaces"][0];
    assert_eq!(interface, &json!({"name": "net1", "sandbox": pod.path(), "pciID": vf.pci.to_string()}));
    detached.unwrap();
    let error = refused.unwrap_err();
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains("mac of VF") && text.contains(&vf.pci.to_string()), "{text}");
    assert_eq!(after, before);
}

/// The PF is away between ADD and DEL: nothing says that its side is clean, so the VF stays out of service until it is.
#[test]
fn a_vf_whose_pf_went_away_is_quarantined_until_it_is_back() {
    let vf = vf(1, 6);
    let before = vf.look();
    let pod = Pod::new("gone");
    let conf = vf.conf(r#","vlan":31"#);
    add("c1", &pod, &conf).unwrap();
    let away = Away::send(vf);
    let deleted = del("c1", &pod.path(), &conf);
    let state = vf.state().unwrap_or_default();
    drop(away);
    let error = deleted.unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("PF is out of sight"), "{error}");
    assert!(state.contains("quarantined"), "{state}");
    del("c1", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
}

/// The node's plain NIC, of the shape that a VF has inside a virtual machine: no `physfn`, no VFs of its own.
const PLAIN: &str = "0000:00:1e.0";

fn plain_conf(device: &str, more: &str) -> String {
    format!(r#"{{"cniVersion":"1.1.0","name":"blue","type":"sriov","deviceID":"{device}"{more}}}"#)
}

fn interface_of(device: &str) -> Option<String> {
    let net = fs::read_dir(format!("/sys/bus/pci/devices/{device}/net")).ok()?;
    net.flatten().next().map(|entry| entry.file_name().into_string().unwrap())
}

/// Loads the plain NIC's driver, and waits for its interface.
fn plain_nic() -> String {
    run("modprobe", &["e1000e"]);
    let begun = std::time::Instant::now();
    loop {
        if let Some(name) = interface_of(PLAIN) {
            return name;
        }
        assert!(begun.elapsed() < crate::node::PATIENCE, "the plain NIC has no interface");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn shown(name: &str) -> String {
    let shown: serde_json::Value = serde_json::from_str(&ip(&["-j", "link", "show", "dev", name])).unwrap();
    json!([shown[0]["address"], shown[0]["mtu"], shown[0]["ifname"]]).to_string()
}

#[test]
fn a_nic_that_says_nothing_of_a_pf_is_attached_and_given_back() {
    let name = plain_nic();
    let before = shown(&name);
    let pod = Pod::new("plain");
    for more in ["", r#","mac":"02:00:00:00:1a:02","mtu":1400"#] {
        let conf = plain_conf(PLAIN, more);
        let result = add("c1", &pod, &conf).unwrap_or_else(|error| panic!("{more}: {error}"));
        let link = pod.link("net1");
        assert_eq!(result["interfaces"][0]["mac"], link["address"]);
        assert_eq!(link["mtu"], if more.is_empty() { 1500 } else { 1400 });
        del("c1", &pod.path(), &conf).unwrap();
        assert_eq!(shown(&name), before);
    }
    let error = add("c1", &pod, &plain_conf(PLAIN, r#","vlan":5"#)).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("vlan"), "{error}");
    assert_eq!(shown(&name), before);
    assert!(!Path::new("/run/patchbay/vf").join(format!("{PLAIN}.state")).exists());
}

/// The host's own NICs stay the host's.
#[test]
fn the_hosts_own_way_to_the_network_is_refused() {
    let name = plain_nic();
    let pod = Pod::new("uplink");
    ip(&["link", "set", &name, "up"]);
    ip(&["route", "add", "default", "dev", &name, "metric", "4000"]);
    let by_route = add("c1", &pod, &plain_conf(PLAIN, ""));
    ip(&["route", "del", "default", "dev", &name, "metric", "4000"]);
    ip(&["link", "add", "br9", "type", "bridge"]);
    ip(&["link", "set", &name, "master", "br9"]);
    let by_bridge = add("c1", &pod, &plain_conf(PLAIN, ""));
    ip(&["link", "set", &name, "nomaster"]);
    ip(&["link", "del", "br9"]);
    for error in [by_route.unwrap_err(), by_bridge.unwrap_err()] {
        let text = error["msg"].as_str().unwrap();
        assert!(text.contains(PLAIN) && text.contains(&name), "{text}");
        assert_eq!(error["code"], 7, "{error}");
    }
    assert_eq!(interface_of(PLAIN), Some(name.clone()));
    // The uplink of the node is a virtio NIC, whose interface names no PCI device.
    let uplink = fs::canonicalize("/sys/class/net/eth0/device").unwrap();
    let pci = uplink.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let error = add("c1", &pod, &plain_conf(&pci, "")).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains(&pci), "{error}");
    assert!(ip(&["-br", "link", "show", "dev", "eth0"]).contains("UP"));
    ip(&["link", "set", &name, "down"]);
}
