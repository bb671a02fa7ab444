//! Properties of what a runtime hands to the plugin, for the fuzzer and for the replay of its corpus.

use cni::result::{AddResult, Interface, Ip, Route};
use cni::{Args, Command, NetConf, Object, Version, code};
use netlink::{IfName, VlanProto};

use crate::config::Config;

/// The text up to the first line break, and what follows it.
fn first_line(input: &[u8]) -> (String, &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (line, rest) = input.split_at(end);
    (String::from_utf8_lossy(line).into_owned(), rest.get(1..).unwrap_or_default())
}

/// Reads a line as `CNI_ARGS` and all behind it as a network's configuration.
///
/// # Panics
/// If a property doesn't hold.
pub fn configuration(input: &[u8]) {
    let (line, bytes) = first_line(input);
    let args = cni::args::parse_cni_args(&line).unwrap_or_default();
    let args = Args {
        command: Command::Add,
        container_id: "c1".to_owned(),
        netns: None,
        ifname: "net1".to_owned(),
        args,
        path: Vec::new(),
    };
    let conf = match NetConf::parse(bytes) {
        Ok(conf) => conf,
        Err(error) => {
            let error = cni::Error::from(error);
            assert!(matches!(error.code, code::DECODE | code::INCOMPATIBLE_VERSION), "{error}");
            assert!(error.msg.contains("CNI configuration"), "{error}");
            return;
        }
    };
    assert_eq!(NetConf::parse(conf.object().to_string().as_bytes()).ok().as_ref(), Some(&conf));
    if let Some(text) = conf.prev_result() {
        result(text.as_bytes());
    }

    let config = Config::new(&conf, &args);
    let again = Config::new(&conf, &args);
    match (config, again) {
        (Ok(config), Ok(again)) => {
            assert_eq!(config, again);
            in_range(&config);
        }
        (Err(error), Err(again)) => {
            assert_eq!(error.to_string(), again.to_string());
            names_what_is_wrong(&cni::Error::from(error), &conf);
        }
        (config, again) => unreachable!("{config:?} and {again:?}"),
    }
}

/// As the documentation of the keys has it.
fn in_range(config: &Config) {
    let wanted = &config.wanted;
    assert_eq!(config.device.to_string().parse(), Ok(config.device));
    assert!(wanted.mac.is_none_or(netlink::MacAddr::is_unicast));
    if let Some(vlan) = wanted.vlan {
        assert!(vlan.id <= 4094 && vlan.qos <= 7, "{vlan:?}");
        assert!(vlan.id != 0 || (vlan.qos == 0 && vlan.proto == VlanProto::Dot1q), "{vlan:?}");
    }
    assert!(wanted.guid.is_none_or(netlink::Guid::is_usable));
    assert!(wanted.mtu.is_none_or(|mtu| (68..=65535).contains(&mtu)));
    assert!(wanted.rate.is_none_or(|rate| rate.max == 0 || rate.min <= rate.max));
}

/// One of the words that the error quotes is a key that's there, at the top or up to two levels below, or the one
/// that's missing.
fn names_what_is_wrong(error: &cni::Error, conf: &NetConf) {
    if error.code == code::INVALID_ENVIRONMENT || error.msg.contains("CNI_ARGS") {
        return;
    }
    let mut keys = vec!["deviceID".to_owned()];
    add_keys(&mut keys, conf.object(), "", 2);
    let named = error
        .msg
        .split('"')
        .skip(1)
        .step_by(2)
        .any(|word| keys.iter().any(|key| key.eq_ignore_ascii_case(word)));
    assert!(named, "none of {keys:?} in {error}");
}

/// The keys of an object and of those in it, with and without the names of those that they're in.
fn add_keys(keys: &mut Vec<String>, object: &Object, of: &str, levels: usize) {
    for (key, value) in object.iter() {
        keys.extend([key.to_owned(), format!("{of}{key}")]);
        if let (1.., Ok(inner)) = (levels, Object::parse(value.as_bytes())) {
            add_keys(keys, &inner, &format!("{of}{key}."), levels - 1);
        }
    }
}

/// Reads a result, and writes it in every version.
///
/// # Panics
/// If a property doesn't hold.
pub fn result(bytes: &[u8]) {
    let result = match AddResult::parse(bytes) {
        Ok(result) => result,
        Err(error) => {
            let error = cni::Error::from(error);
            assert_eq!(error.code, code::DECODE, "{error}");
            return;
        }
    };
    for version in cni::version::SUPPORTED {
        let text = result.to_version(version).to_string();
        let read = AddResult::parse(text.as_bytes());
        assert_eq!(read.ok().as_ref(), Some(&held(&result, version)), "{version}: {text}");
    }
}

/// What a version has a place for.
fn held(result: &AddResult, version: Version) -> AddResult {
    if version >= Version::V1_0_0 {
        return result.clone();
    }
    let bare = |route: &Route| Route { other: route.other.clone(), ..Route::new(route.dst, route.gw) };
    let mut held = AddResult { dns: result.dns.clone(), other: result.other.clone(), ..AddResult::default() };
    if version >= Version::V0_3_0 {
        held.interfaces = result.interfaces.iter().map(shown).collect();
        held.ips.clone_from(&result.ips);
        held.routes = result.routes.iter().map(bare).collect();
        return held;
    }
    for ipv4 in [true, false] {
        let Some(ip) = result.ips.iter().find(|ip| ip.address.addr().is_ipv4() == ipv4) else { continue };
        held.ips.push(Ip { interface: None, ..ip.clone() });
        held.routes.extend(result.routes.iter().filter(|it| it.dst.addr().is_ipv4() == ipv4).map(bare));
    }
    held
}

/// An interface before 1.0.0.
fn shown(interface: &Interface) -> Interface {
    Interface {
        name: interface.name.clone(),
        mac: interface.mac.clone(),
        sandbox: interface.sandbox.clone(),
        other: interface.other.clone(),
        ..Interface::default()
    }
}

/// Reads lines as the variables of a call.
///
/// # Panics
/// If a property doesn't hold.
pub fn environment(input: &[u8]) {
    let names = ["CNI_COMMAND", "CNI_IFNAME", "CNI_ARGS", "CNI_CONTAINERID", "CNI_NETNS", "CNI_PATH"];
    let mut variables = Vec::new();
    let mut rest = input;
    for name in names {
        let (line, behind) = first_line(rest);
        variables.push((name, line));
        rest = behind;
    }
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let args = match Args::from_env(variable) {
        Ok(args) => args,
        Err(error) => {
            assert!(names.iter().any(|name| error.to_string().contains(name)), "{error}");
            return;
        }
    };
    if args.command.is_about_an_attachment() {
        assert!(cni::args::is_identifier(&args.container_id));
        assert!(args.netns.is_some() || args.command == Command::Del);
        // What a runtime may ask for, the kernel takes, but for a pattern and a byte that it has for white space.
        let special = args.ifname.contains('%') || args.ifname.bytes().any(|byte| byte == 0xa0);
        assert_eq!(args.ifname.parse::<IfName>().is_ok(), !special, "{:?}", args.ifname);
    }
    let env = args.to_env();
    let handed_on = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, value)| value.to_str().map(str::to_owned))
    };
    assert_eq!(Args::from_env(handed_on), Ok(args));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_configurations_is_replayed() {
        testbed::corpus::replay("configuration", super::configuration).unwrap();
    }

    #[test]
    fn the_corpus_of_results_is_replayed() {
        testbed::corpus::replay("result", super::result).unwrap();
    }

    #[test]
    fn the_corpus_of_environments_is_replayed() {
        testbed::corpus::replay("environment", super::environment).unwrap();
    }
}
