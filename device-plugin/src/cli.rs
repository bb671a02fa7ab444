//! The command line: our options, and those of the existing plugin that daemon sets pass.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

#[cfg(test)]
mod tests;

/// Offers virtual functions to kubelet as extended resources.
#[derive(Debug, Clone, Parser)]
#[command(name = "patchbay-device-plugin", version, args_override_self = true)]
pub struct Cli {
    /// The pool file.
    #[arg(long, value_name = "FILE", default_value = "/etc/pcidp/config.json")]
    pub config_file: PathBuf,

    /// The prefix of resources whose pool names none.
    #[arg(long, value_name = "DOMAIN", default_value = "intel.com")]
    pub resource_prefix: String,

    /// Kubelet's directory.
    #[arg(long, value_name = "DIR", default_value = kubelet::Kubelet::DEFAULT_DIR)]
    pub kubelet_dir: PathBuf,

    /// Where sysfs is mounted.
    #[arg(long, value_name = "DIR", default_value = "/sys")]
    pub sysfs: PathBuf,

    /// The VFs' ledger.
    #[arg(long, value_name = "DIR", default_value = "/run/patchbay/vf")]
    pub ledger_dir: PathBuf,

    /// Where device-info files go (into `dp` in it).
    #[arg(long, value_name = "DIR", default_value = multinet::deviceinfo::ROOT)]
    pub devinfo_dir: PathBuf,

    /// The state of the existing SR-IOV plugin: its pods' VFs are left alone.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/cni/sriov")]
    pub existing_state_dir: PathBuf,

    /// What is logged: error, warn, info, debug or trace, or a number as the existing plugin has it.
    #[arg(long, value_name = "LEVEL", default_value = "info", env = "PATCHBAY_LOG")]
    pub log_level: String,

    #[command(flatten)]
    existing: Existing,
}

/// What the existing plugin and the script around it take. The log goes to standard error whatever they say.
#[derive(Debug, Clone, clap::Args)]
struct Existing {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    use_cdi: Option<String>,
    #[arg(short = 'v', long = "v", hide = true, value_name = "N")]
    verbosity: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    logtostderr: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    alsologtostderr: Option<String>,
    #[arg(long, hide = true)]
    stderrthreshold: Option<String>,
    #[arg(long, hide = true, alias = "log_dir")]
    log_dir: Option<String>,
    #[arg(long, hide = true)]
    vmodule: Option<String>,
    #[arg(long, hide = true, alias = "log_backtrace_at")]
    log_backtrace_at: Option<String>,
}

impl Cli {
    /// Reads a command line, the program's name first.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments.into_iter().map(two_dashes))
    }

    /// The filter for the log.
    pub fn log_filter(&self) -> &str {
        let level = self.existing.verbosity.as_deref().unwrap_or(&self.log_level);
        match level.parse::<u32>() {
            Err(_word) => level,
            Ok(0..=3) => "info",
            Ok(_) => "debug",
        }
    }

    /// What the command line asks for that has no effect here.
    pub fn warnings(&self) -> Vec<String> {
        let Existing {
            use_cdi,
            verbosity: _,
            logtostderr: _,
            alsologtostderr: _,
            stderrthreshold,
            log_dir,
            vmodule,
            log_backtrace_at,
        } = &self.existing;
        let mut warnings = Vec::new();
        if use_cdi.as_deref().is_some_and(|value| value != "false") {
            warnings.push(
                "--use-cdi has no effect in this version: containers get their device nodes from kubelet"
                    .to_owned(),
            );
        }
        let log = [
            ("stderrthreshold", stderrthreshold),
            ("log-dir", log_dir),
            ("vmodule", vmodule),
            ("log-backtrace-at", log_backtrace_at),
        ];
        let given = log.into_iter().filter(|(_, value)| value.is_some());
        warnings
            .extend(given.map(|(name, _)| format!("--{name} has no effect: the log goes to standard error")));
        warnings
    }
}

/// The existing plugin takes its options with one dash as well as with two.
fn two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text) if text.starts_with('-') && !text.starts_with("--") && text.len() > 2 => {
            let name = text.trim_start_matches('-');
            let is_word =
                name.as_bytes().get(1).is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
            if is_word { format!("--{name}").into() } else { argument }
        }
        _ => argument,
    }
}
