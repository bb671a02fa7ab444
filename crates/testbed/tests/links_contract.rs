//! The double and the kernel pass the same checks.

use testbed::links::netns::{KernelBench, NetnsError};
use testbed::{links_contract, sriov_contract};

/// A bench on the kernel. Without the privilege to make namespaces there's none, unless `REQUIRE_NETNS=1` makes
/// that a failure.
#[expect(clippy::print_stderr, reason = "who runs the tests is told what wasn't run")]
fn kernel() -> Result<Option<KernelBench>, NetnsError> {
    let required = std::env::var_os("REQUIRE_NETNS").is_some_and(|value| value == "1");
    match KernelBench::make() {
        Err(error) if !required => {
            eprintln!("skipped: no network namespaces here: {error}");
            Ok(None)
        }
        made => made.map(Some),
    }
}

links_contract!(fake, Some(testbed::links::FakeLinks::new()));
sriov_contract!(fake_igb, Some(testbed::links::FakeLinks::with_igb()));
links_contract!(real, crate::kernel().unwrap());
