//! What a network asks for is what the kernel shows, and after DEL it shows what it showed before.

use pci::{Driver, Sysfs};
use rstest::rstest;
use serde_json::{Value, json};

use crate::node::{Pod, Vf, add, del, vf};

const MAC: &str = "02:00:00:00:0a:01";

/// What changes in the PF's line.
fn expected(before: &Value, changes: &Value) -> Value {
    let mut line = before.clone();
    for (key, value) in changes.as_object().unwrap() {
        line[key] = value.clone();
    }
    line
}

#[rstest]
#[case::nothing("", json!({}), json!({"mtu": 1500}))]
#[case::mac(r#","mac":"02:00:00:00:0A:01""#, json!({"address": MAC}), json!({"address": MAC}))]
#[case::vlan(r#","vlan":100"#, json!({"vlan_list": [{"vlan": 100}]}), json!({}))]
#[case::qos(r#","vlan":100,"vlanQoS":5"#, json!({"vlan_list": [{"vlan": 100, "qos": 5}]}), json!({}))]
#[case::proto(r#","vlan":7,"vlanProto":"802.1q""#, json!({"vlan_list": [{"vlan": 7}]}), json!({}))]
#[case::vlan_0(r#","vlan":0"#, json!({}), json!({}))]
#[case::max_rate(r#","max_tx_rate":200"#, json!({"tx_rate": 200, "rate": {"max_tx": 200, "min_tx": 0}}), json!({}))]
#[case::no_min_rate(r#","min_tx_rate":0"#, json!({}), json!({}))]
#[case::spoofchk(r#","spoofchk":"off""#, json!({"spoofchk": false}), json!({}))]
#[case::trust(r#","trust":"on""#, json!({"trust": true}), json!({}))]
#[case::mtu(r#","mtu":1400"#, json!({}), json!({"mtu": 1400}))]
#[case::everything(
    r#","mac":"02:00:00:00:0a:01","vlan":4094,"vlanQoS":7,"max_tx_rate":100,"spoofchk":"off","trust":"on","mtu":1300"#,
    json!({
        "address": MAC, "vlan_list": [{"vlan": 4094, "qos": 7}], "spoofchk": false, "trust": true,
        "tx_rate": 100, "rate": {"max_tx": 100, "min_tx": 0},
    }),
    json!({"address": MAC, "mtu": 1300})
)]
fn an_attribute_is_set_and_given_back(#[case] more: &str, #[case] of_pf: Value, #[case] in_pod: Value) {
    for vf in [vf(0, 0), vf(1, 6)] {
        let before = vf.look();
        let home = before.home.clone().expect("it's at home");
        let pod = Pod::new("attributes");
        let conf = vf.conf(more);
        let result = add("c1", &pod, &conf).unwrap_or_else(|error| panic!("{conf}: {error}"));

        let after = vf.look();
        assert_eq!(after.pf, expected(&before.pf, &of_pf), "{conf}");
        assert_eq!(after.home, None);
        let link = pod.link("net1");
        let address = in_pod.get("address").unwrap_or(&home["address"]);
        assert_eq!(
            (&link["address"], link["flags"].to_string().contains("\"UP\"")),
            (address, true),
            "{link}"
        );
        assert_eq!(&link["mtu"], in_pod.get("mtu").unwrap_or(&home["mtu"]));
        let interface = json!({
            "name": "net1", "mac": address, "mtu": link["mtu"], "sandbox": pod.path(), "pciID": vf.pci.to_string(),
        });
        assert_eq!(result["interfaces"], json!([interface]));
        assert!(vf.state().unwrap().contains("\"attached\""));

        del("c1", &pod.path(), &conf).unwrap();
        vf.assert_clean(&before);
    }
}

#[rstest]
#[case::promisc(r#","promisc":"on""#, true, false)]
#[case::allmulti(r#","allmulti":true"#, false, true)]
#[case::both(r#","promisc":true,"allmulti":"on","trust":"on""#, true, true)]
#[case::neither(r#","promisc":"off","allmulti":false"#, false, false)]
fn what_an_interface_takes_is_set_and_given_back(
    #[case] more: &str,
    #[case] promisc: bool,
    #[case] allmulti: bool,
) {
    let vf = vf(0, 0);
    let before = vf.look();
    let pod = Pod::new("takes");
    let conf = vf.conf(more);
    add("c1", &pod, &conf).unwrap_or_else(|error| panic!("{conf}: {error}"));
    let link = pod.link("net1");
    let flags = link["flags"].to_string();
    assert_eq!(
        (flags.contains("\"PROMISC\""), flags.contains("\"ALLMULTI\"")),
        (promisc, allmulti),
        "{link}"
    );
    assert_eq!(link["promiscuity"], u8::from(promisc), "{link}");
    del("c1", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
}

/// One after the other on one VF: what one network asked for doesn't show in the next one's.
#[test]
fn networks_on_one_vf_leave_no_traces_for_each_other() {
    let vf = vf(0, 1);
    let before = vf.look();
    for more in [
        r#","mac":"02:00:00:00:0a:02","vlan":5"#,
        "",
        r#","trust":"on","mtu":1200"#,
        r#","mac":"02:00:00:00:0a:03""#,
    ] {
        let pod = Pod::new("traces");
        let result = add("c1", &pod, &vf.conf(more)).unwrap();
        let own = &before.home.as_ref().unwrap()["address"];
        let mac = &result["interfaces"][0]["mac"];
        if more.contains("mac") {
            assert!(more.contains(mac.as_str().unwrap()), "{mac}");
        } else {
            assert_eq!(mac, own);
        }
        del("c1", &pod.path(), &vf.conf(more)).unwrap();
        vf.assert_clean(&before);
    }
}

#[rstest]
#[case(r#","link_state":"auto""#, "link_state")]
#[case(r#","link_state":"enable""#, "link_state")]
#[case(r#","min_tx_rate":10"#, "min_tx_rate")]
#[case(r#","vlan":5,"vlanProto":"802.1ad""#, "802.1ad")]
#[case(r#","vlanTrunk":"100,200-210""#, "vlanTrunk")]
#[case(r#","rdmaIsolation":true"#, "rdmaIsolation")]
fn what_igb_cannot_do_is_refused_by_name(#[case] more: &str, #[case] named: &str) {
    let vf = vf(0, 0);
    let before = vf.look();
    let pod = Pod::new("refused");
    let conf = vf.conf(more);
    let error = add("c1", &pod, &conf).unwrap_err();
    assert_eq!(error["code"], 7, "{error}");
    let text = error["msg"].as_str().unwrap();
    assert!(text.contains(named) && text.contains("igb") && text.contains(&vf.pci.to_string()), "{text}");
    vf.assert_clean(&before);
    del("c1", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
}

/// The kernel refuses these, in the middle of the steps.
#[rstest]
#[case(r#","mac":"02:00:00:00:0a:01","vlan":5,"max_tx_rate":2000"#, "max_tx_rate 2000")]
fn what_the_kernel_refuses_undoes_everything_before_it(#[case] more: &str, #[case] named: &str) {
    let vf = vf(0, 0);
    let before = vf.look();
    let pod = Pod::new("undone");
    let error = add("c1", &pod, &vf.conf(more)).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains(named), "{error}");
    vf.assert_clean(&before);
}

#[test]
fn an_mtu_above_the_pfs_is_refused() {
    let vf = vf(0, 0);
    let pod = Pod::new("mtu");
    let error = add("c1", &pod, &vf.conf(r#","mtu":9000"#)).unwrap_err();
    assert!(error["msg"].as_str().unwrap().contains("1500"), "{error}");
}

fn with_driver(vf: Vf, driver: &Driver) {
    Sysfs::host().bind(&vf.pci, driver).unwrap();
}

#[test]
fn a_vf_for_user_space_gets_its_attributes_and_stays_under_its_driver() {
    let vf = vf(1, 3);
    let at_first = vf.look();
    with_driver(vf, &Driver::Named("vfio-pci".to_owned()));
    let before = vf.look();
    assert_eq!((before.driver.as_deref(), &before.home), (Some("vfio-pci"), &None));
    let pod = Pod::new("vfio");
    let conf = vf.conf(
        r#","mac":"02:00:00:00:0a:01","vlan":100,"trust":"on","ipam":{"type":"static","addresses":[{"address":"10.9.0.9/24"}]}"#,
    );
    let result = add("c1", &pod, &conf).unwrap();
    assert_eq!(result["interfaces"][0]["mac"], MAC);
    assert_eq!(result["ips"], json!([{"address": "10.9.0.9/24", "interface": 0}]));
    let changes = json!({"address": MAC, "vlan_list": [{"vlan": 100}], "trust": true});
    assert_eq!(vf.look().pf, expected(&before.pf, &changes));
    assert_eq!(vf.look().driver.as_deref(), Some("vfio-pci"));
    del("c1", &pod.path(), &conf).unwrap();
    vf.assert_clean(&before);
    with_driver(vf, &Driver::Kernel);
    assert_eq!(vf.look().driver, at_first.driver);
}

#[rstest]
#[case("mtu", "1400")]
#[case("promisc", r#""on""#)]
#[case("allmulti", "true")]
fn what_only_an_interface_has_is_refused_for_a_vf_for_user_space(#[case] key: &str, #[case] value: &str) {
    let vf = vf(1, 3);
    let at_first = vf.look();
    with_driver(vf, &Driver::Named("vfio-pci".to_owned()));
    let before = vf.look();
    let pod = Pod::new("interfaceless");
    let error = add("c1", &pod, &vf.conf(&format!(r#","{key}":{value}"#)));
    let after = (vf.look(), vf.state());
    with_driver(vf, &Driver::Kernel);
    let error = error.unwrap_err();
    let text = error["msg"].as_str().unwrap();
    assert!(text.starts_with(key) && text.contains("vfio-pci"), "{text}");
    assert_eq!((&error["code"], after), (&7.into(), (before, None)));
    assert_eq!(vf.look().driver, at_first.driver);
}

#[test]
fn a_pf_is_not_given_away() {
    let any = vf(0, 0);
    let pod = Pod::new("pf");
    let conf = any.conf("").replace(&any.pci.to_string(), &any.pf.to_string());
    let error = add("c1", &pod, &conf).unwrap_err();
    assert_eq!(error["code"], 7, "{error}");
    del("c1", &pod.path(), &conf).unwrap();
    assert!(!any.pf_name().is_empty());
}
