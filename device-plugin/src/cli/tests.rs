use rstest::rstest;

use super::*;

fn read(line: &str) -> Result<Cli, clap::Error> {
    Cli::read(["patchbay-device-plugin"].into_iter().chain(line.split_whitespace()).map(OsString::from))
}

#[rstest]
#[case("")]
#[case("--config-file /c --resource-prefix=p.q")]
#[case("-config-file=/c -resource-prefix p.q")]
#[case("-v 10 -logtostderr --alsologtostderr=true -stderrthreshold=INFO -vmodule a=1 --log_backtrace_at=x:1")]
#[case("--log-level=10 --log-dir=sriovdp --use-cdi")]
#[case("--log-level 7 -log_dir /var/log -use-cdi=false -v=5")]
fn what_daemon_sets_pass_is_taken(#[case] line: &str) {
    let cli = read(line).unwrap();
    let (file, prefix) =
        if line.contains("/c") { ("/c", "p.q") } else { ("/etc/pcidp/config.json", "intel.com") };
    assert_eq!((cli.config_file.to_str().unwrap(), cli.resource_prefix.as_str()), (file, prefix));
}

#[rstest]
#[case("", "info")]
#[case("--log-level=warn", "warn")]
#[case("--log-level=10", "debug")]
#[case("-v 2", "info")]
#[case("-v=5", "debug")]
fn numbers_of_the_existing_plugin_are_levels(#[case] line: &str, #[case] filter: &str) {
    assert_eq!(read(line).unwrap().log_filter(), filter);
}

#[rstest]
#[case("", 0)]
#[case("--use-cdi=false --logtostderr", 0)]
#[case("--use-cdi --log-dir=a", 2)]
fn what_has_no_effect_is_told(#[case] line: &str, #[case] warnings: usize) {
    assert_eq!(read(line).unwrap().warnings().len(), warnings);
}

#[rstest]
#[case("--no-such-option")]
#[case("config.json")]
fn what_is_unknown_is_refused(#[case] line: &str) {
    assert!(read(line).is_err());
}
