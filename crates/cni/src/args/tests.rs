use std::collections::HashMap;

use rstest::rstest;

use super::*;

fn env(changes: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let mut variables: HashMap<String, String> = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "3f2a-b.c_d"),
        ("CNI_NETNS", "/var/run/netns/blue"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web;LABEL=a=b"),
        ("CNI_PATH", "/opt/cni/bin:/usr/lib/cni"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect();
    for (name, value) in changes {
        variables.insert((*name).to_owned(), (*value).to_owned());
    }
    move |name| variables.get(name).cloned()
}

#[test]
fn a_complete_call_is_read_and_written() {
    let args = Args::from_env(env(&[])).unwrap();
    assert_eq!(args.command, Command::Add);
    assert_eq!(args.container_id, "3f2a-b.c_d");
    assert_eq!(args.netns.as_deref(), Some("/var/run/netns/blue".as_ref()));
    assert_eq!(args.ifname, "eth0");
    assert_eq!(args.arg("K8S_POD_NAME"), Some("web"));
    assert_eq!(args.arg("LABEL"), Some("a=b"));
    assert_eq!(args.arg("absent"), None);
    assert_eq!(args.path, [PathBuf::from("/opt/cni/bin"), "/usr/lib/cni".into()]);

    let written: HashMap<&str, String> =
        args.to_env().into_iter().map(|(name, value)| (name, value.into_string().unwrap())).collect();
    assert_eq!(Args::from_env(|name| written.get(name).cloned()).unwrap(), args);
    assert_eq!(args.with_command(Command::Del).command, Command::Del);
}

#[test]
fn of_a_repeated_argument_the_last_counts() {
    let args = Args::from_env(env(&[("CNI_ARGS", "K=;K=2;;")])).unwrap();
    assert_eq!(args.arg("K"), Some("2"));
    assert_eq!(args.args.len(), 2);
}

#[rstest]
#[case("ADD", "CNI_CONTAINERID")]
#[case("ADD", "CNI_NETNS")]
#[case("ADD", "CNI_IFNAME")]
#[case("CHECK", "CNI_CONTAINERID")]
#[case("CHECK", "CNI_NETNS")]
#[case("CHECK", "CNI_IFNAME")]
#[case("DEL", "CNI_CONTAINERID")]
#[case("DEL", "CNI_IFNAME")]
fn a_missing_variable_is_named(#[case] command: &'static str, #[case] variable: &'static str) {
    let error = Args::from_env(env(&[("CNI_COMMAND", command), (variable, "")])).unwrap_err();
    assert_eq!(error, InvalidArgs::Missing { variable, command });
    let error = Error::from(error);
    assert_eq!(error.code, crate::code::INVALID_ENVIRONMENT);
    assert!(error.msg.contains(variable) && error.msg.contains(command), "{error}");
}

#[test]
fn del_comes_without_a_namespace() {
    assert_eq!(Args::from_env(env(&[("CNI_COMMAND", "DEL"), ("CNI_NETNS", "")])).unwrap().netns, None);
}

#[rstest]
#[case("GC")]
#[case("STATUS")]
#[case("VERSION")]
fn commands_about_no_container_need_none(#[case] command: &str) {
    let args = Args::from_env(|name| (name == "CNI_COMMAND").then(|| command.to_owned())).unwrap();
    assert_eq!(args.command.as_str(), command);
    assert!(args.container_id.is_empty() && args.ifname.is_empty() && args.netns.is_none());
}

#[rstest]
#[case("CNI_COMMAND", "add", "\"add\"")]
#[case("CNI_COMMAND", "", "CNI_COMMAND")]
#[case("CNI_CONTAINERID", "-x", "\"-x\"")]
#[case("CNI_CONTAINERID", "a/b", "\"a/b\"")]
#[case("CNI_CONTAINERID", "../../etc", "etc")]
#[case("CNI_CONTAINERID", "ä", "ä")]
#[case("CNI_IFNAME", "a-very-long-name", "a-very-long-name")]
#[case("CNI_IFNAME", "..", "\"..\"")]
#[case("CNI_IFNAME", "a/b", "a/b")]
#[case("CNI_IFNAME", "a b", "a b")]
#[case("CNI_IFNAME", "a:b", "a:b")]
#[case("CNI_ARGS", "K=1;novalue", "novalue")]
fn a_wrong_value_is_shown(#[case] variable: &str, #[case] value: &str, #[case] shown: &str) {
    let error = Args::from_env(env(&[(variable, value)])).unwrap_err().to_string();
    assert!(error.contains(shown), "{error}");
}

#[rstest]
#[case("eth0", true)]
#[case("123456789012345", true)]
#[case("my_if", true)]
#[case("1234567890123456", false)]
#[case("", false)]
#[case(".", false)]
#[case("a\tb", false)]
#[case("a\u{2003}b", false)]
#[case("a\0b", false)]
fn interface_names(#[case] text: &str, #[case] valid: bool) {
    assert_eq!(is_interface_name(text), valid);
}
