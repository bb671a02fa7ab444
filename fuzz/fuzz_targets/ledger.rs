#![no_main]

use std::sync::LazyLock;

/// The fuzzer ends without running any destructor: whoever starts it chooses `TMPDIR`, and clears it away.
static DIRECTORY: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a directory"));

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vf::fuzz::ledger_file(DIRECTORY.path(), bytes));
