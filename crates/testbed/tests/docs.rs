//! The documentation names every key that the programs read, and every file that it leads to is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rstest::rstest;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> std::io::Result<String> {
    std::fs::read_to_string(top().join(path))
}

/// What stands between backquotes in the first column of a source's table.
fn keys_of_table(source: &str) -> BTreeSet<String> {
    source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .flat_map(|row| row.split('|').next().unwrap_or_default().split(", "))
        .map(|key| key.trim().trim_matches('`').to_owned())
        .collect()
}

#[rstest]
#[case("meta-cni/daemon/src/config.rs", 30)]
#[case("sriov-cni/src/config.rs", 12)]
fn every_key_is_documented(#[case] source: &str, #[case] at_least: usize) {
    let documentation = read("docs/configuration.md").unwrap();
    let keys = keys_of_table(&read(source).unwrap());
    assert!(keys.len() >= at_least, "{source} has {keys:?}");
    for key in keys.iter().filter(|key| *key != "runtimeConfig.deviceID") {
        assert!(documentation.contains(&format!("`{key}`")), "docs/configuration.md lacks {key}");
    }
}

#[rstest]
#[case("README.md")]
#[case("docs/install.md")]
#[case("docs/configuration.md")]
#[case("docs/compatibility.md")]
#[case("docs/troubleshooting.md")]
fn links_lead_somewhere(#[case] page: &str) {
    let folder = Path::new(page).parent().unwrap_or(Path::new(""));
    let text = read(page).unwrap();
    for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { PathBuf::from(page) } else { folder.join(file) };
        assert!(top().join(&file).exists(), "{page} leads to {target}");
        if !heading.is_empty() {
            let words = heading.replace('-', " ");
            let found = read(&file).unwrap().lines().any(|line| {
                line.trim_start_matches('#').trim().to_lowercase() == words && line.starts_with('#')
            });
            assert!(found, "{page} leads to the heading {target}");
        }
    }
}

#[test]
fn readme_is_short() {
    assert!(read("README.md").unwrap().lines().count() < 100);
}
