//! The fuzzer's inputs, replayed by ordinary tests.
//!
//! `fuzz/seeds/<target>` holds real inputs by name, `fuzz/corpus/<target>` what the fuzzer made of them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Gives every input of a target to `check`, which panics when a property doesn't hold; returns how many there were.
/// A folder that's missing or empty is an error, and so is a panic: it names the input.
pub fn replay(target: &str, check: impl Fn(&[u8])) -> anyhow::Result<usize> {
    let mut replayed = 0;
    for folder in ["seeds", "corpus"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(folder).join(target);
        let inputs = files(&folder).with_context(|| format!("can't list {}", folder.display()))?;
        ensure!(!inputs.is_empty(), "{} has no inputs", folder.display());
        for path in inputs {
            let bytes = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&bytes)));
            ensure!(outcome.is_ok(), "{} breaks a property of {target}", path.display());
            replayed += 1;
        }
    }
    Ok(replayed)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_inputs_is_an_error() {
        let error = replay("unheard-of", |_| ()).unwrap_err();
        assert!(error.to_string().contains("unheard-of"), "{error}");
    }

    #[test]
    fn an_input_that_breaks_a_property_is_named() {
        let error = replay("netlink", |bytes| assert!(bytes.is_empty())).unwrap_err();
        assert!(error.to_string().contains("fuzz/seeds/netlink/"), "{error}");
    }
}
