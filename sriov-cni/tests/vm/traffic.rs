//! Packets go where they should, and nowhere else.

use std::fs;

use serde_json::json;

use crate::node::{Pod, add, del, vf};

fn static_address(vlan: u16, address: &str) -> String {
    format!(r#","vlan":{vlan},"ipam":{{"type":"static","addresses":[{{"address":"{address}/24"}}]}}"#)
}

#[test]
fn vfs_on_one_vlan_reach_each_other_and_no_other_vlan() {
    let vfs = [vf(0, 0), vf(1, 0), vf(1, 1)];
    let before = vfs.map(crate::node::Vf::look);
    let pods = [Pod::new("web"), Pod::new("peer"), Pod::new("other")];
    let confs = [
        vfs[0].conf(&static_address(100, "10.9.1.1")),
        vfs[1].conf(&static_address(100, "10.9.1.2")),
        vfs[2].conf(&static_address(200, "10.9.1.3")),
    ];
    for (index, (pod, conf)) in pods.iter().zip(&confs).enumerate() {
        let result = add(&format!("c{index}"), pod, conf).unwrap_or_else(|error| panic!("{conf}: {error}"));
        let address = format!("10.9.1.{}/24", index + 1);
        assert_eq!(result["ips"], json!([{"address": address, "interface": 0}]));
    }
    pods[0].assert_pings("10.9.1.2");
    pods[1].assert_pings("10.9.1.1");
    assert!(!pods[0].pings("10.9.1.3", "3"), "VLAN 100 reaches VLAN 200");
    assert!(!pods[2].pings("10.9.1.1", "3"), "VLAN 200 reaches VLAN 100");
    for (index, (pod, conf)) in pods.iter().zip(&confs).enumerate() {
        del(&format!("c{index}"), &pod.path(), conf).unwrap();
        vfs[index].assert_clean(&before[index]);
    }
}

#[test]
fn an_admin_mac_carries_traffic() {
    let vfs = [vf(0, 3), vf(1, 3)];
    let before = vfs.map(crate::node::Vf::look);
    let pods = [Pod::new("one"), Pod::new("two")];
    let confs: Vec<String> = vfs
        .iter()
        .enumerate()
        .map(|(index, vf)| {
            let address = static_address(0, &format!("10.9.2.{}", index + 1));
            vf.conf(&format!(r#","mac":"02:00:00:00:0c:0{index}"{address}"#))
        })
        .collect();
    for (pod, conf) in pods.iter().zip(&confs) {
        add("c1", pod, conf).unwrap_or_else(|error| panic!("{conf}: {error}"));
    }
    pods[0].assert_pings("10.9.2.2");
    let neighbours = pods[0].run(&["ip", "neigh", "show", "10.9.2.2"]);
    assert!(neighbours.contains("02:00:00:00:0c:01"), "{neighbours}");
    for (index, (pod, conf)) in pods.iter().zip(&confs).enumerate() {
        del("c1", &pod.path(), conf).unwrap();
        vfs[index].assert_clean(&before[index]);
    }
}

#[test]
fn an_address_of_host_local_is_set_and_given_back() {
    let vf = vf(0, 4);
    let before = vf.look();
    let leases = "/tmp/leases";
    let conf = vf.conf(&format!(
        r#","ipam":{{"type":"host-local","dataDir":"{leases}","ranges":[[{{"subnet":"10.9.3.0/24"}}],[{{"subnet":"fd00:9::/64"}}]],"routes":[{{"dst":"10.10.0.0/16"}},{{"dst":"fd00:10::/64","gw":"fd00:9::1"}}]}}"#
    ));
    let taken = || {
        fs::read_dir(format!("{leases}/blue")).map_or(0, |files| {
            files.flatten().filter(|file| file.file_name().to_string_lossy().starts_with("10.9.3.")).count()
        })
    };
    for _ in 0..2 {
        let pod = Pod::new("leases");
        let result = add("c1", &pod, &conf).unwrap();
        let address = result["ips"][0]["address"].as_str().unwrap();
        let addresses = pod.link("net1")["addr_info"].to_string();
        assert!(addresses.contains(address.split('/').next().unwrap()), "{addresses}");
        assert!(addresses.contains("fd00:9::"), "{addresses}");
        let routes = pod.run(&["ip", "route"]);
        assert!(routes.contains("10.10.0.0/16 via 10.9.3.1 dev net1"), "{routes}");
        let routes = pod.run(&["ip", "-6", "route"]);
        assert!(routes.contains("fd00:10::/64 via fd00:9::1 dev net1"), "{routes}");
        assert_eq!(taken(), 1);
        // The address goes back also where the namespace is gone.
        pod.delete();
        del("c1", &pod.path(), &conf).unwrap();
        assert_eq!(taken(), 0);
        vf.assert_clean(&before);
    }
}

#[test]
fn an_ipam_that_fails_leaves_nothing_behind() {
    let vf = vf(0, 5);
    let before = vf.look();
    let pod = Pod::new("ipamless");
    for ipam in [r#"{"type":"static","addresses":[]}"#, r#"{"type":"nowhere"}"#, r#"{"type":"host-local"}"#] {
        let conf = vf.conf(&format!(r#","vlan":9,"mtu":1400,"ipam":{ipam}"#));
        add("c1", &pod, &conf).unwrap_err();
        vf.assert_clean(&before);
    }
}
