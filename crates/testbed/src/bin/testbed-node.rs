//! `testbed-node scenario NAME…` plays scenarios on this machine, which has to be one that nobody minds losing: it
//! uses Patchbay's and kubelet's default paths. `hack/demo` runs it in the VM node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use testbed::node::cluster::Settings;
use testbed::node::report::Report;
use testbed::node::scenario;

const USAGE: &str = "usage: testbed-node scenario NAME... \
     --manifests DIR... --programs DIR --image NAME=TAR... --logs DIR";

fn main() -> ExitCode {
    let mut report = Report::to(std::io::stdout());
    match arguments(std::env::args().skip(1)) {
        Err(error) => {
            report.line(&format!("testbed-node: {error:#}"));
            report.line(USAGE);
            ExitCode::from(64)
        }
        Ok((names, settings)) => {
            if scenario::play(&names, settings, &mut report) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> anyhow::Result<(Vec<String>, Settings)> {
    if words.next().as_deref() != Some("scenario") {
        bail!("the first word is `scenario`");
    }
    let mut names = Vec::new();
    let mut manifests = Vec::new();
    let mut images = BTreeMap::new();
    let (mut programs, mut logs) = (None, None);
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            names.push(word);
            continue;
        }
        let value = words.next().with_context(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--manifests" => manifests.push(PathBuf::from(value)),
            "--programs" => programs = Some(PathBuf::from(value)),
            "--logs" => logs = Some(PathBuf::from(value)),
            "--image" => {
                let (name, archive) = value.split_once('=').context("--image takes NAME=TAR")?;
                images.insert(name.to_owned(), PathBuf::from(archive));
            }
            _ => bail!("there is no option {word}"),
        }
    }
    if names.is_empty() {
        bail!("no scenario is named");
    }
    let settings = Settings {
        manifests,
        programs: programs.context("--programs is needed")?,
        images,
        logs: logs.context("--logs is needed")?,
    };
    Ok((names, settings))
}
