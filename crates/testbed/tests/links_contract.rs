//! The double and the kernel pass the same checks.

use netlink::{Links, Route};
use testbed::links::contract::Bench;
use testbed::links::netns::{KernelBench, NetnsError};
use testbed::{large_contract, links_contract, rdma_contract, sriov_contract};

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
rdma_contract!(fake_rdma, Some(testbed::links::FakeLinks::with_rxe()));
large_contract!(fake_large, Some(testbed::links::FakeLinks::with_many_vfs()));
links_contract!(real, crate::kernel().unwrap());

/// The text that the kernel gives with its error number reaches who reads the error.
#[test]
fn the_kernels_words_are_kept() {
    let Some(bench) = kernel().unwrap() else { return };
    bench.add_veth("one", "two");
    let links = bench.links();
    let one = links.link_named(links.host(), "one").unwrap().unwrap();
    links.set_up(links.host(), one.index, true).unwrap();
    let gateway = "203.0.113.1".parse().unwrap();
    let route = Route::new("10.0.0.0/8".parse().unwrap(), Some(gateway), one.index);
    let error = links.add_route(links.host(), &route).unwrap_err().to_string();
    assert!(error.contains("kernel: Nexthop has invalid gateway"), "{error}");
}

/// One namespace is spoken to by many threads at once, each of which gets its own answers.
#[test]
fn threads_do_not_get_each_others_answers() {
    let Some(bench) = kernel().unwrap() else { return };
    let names: Vec<(String, String)> = (0..8).map(|pair| (format!("a{pair}"), format!("b{pair}"))).collect();
    for (one, two) in &names {
        bench.add_veth(one, two);
    }
    let links = bench.links();
    let count = links.links(links.host()).unwrap().len();
    std::thread::scope(|scope| {
        for (one, _) in &names {
            scope.spawn(move || {
                for round in 0..50 {
                    let link = links.link_named(links.host(), one).unwrap().unwrap();
                    assert_eq!(&link.name, one);
                    links.set_mtu(links.host(), link.index, 1400 + round).unwrap();
                    assert_eq!(links.link(links.host(), link.index).unwrap().unwrap().mtu, 1400 + round);
                    assert_eq!(links.links(links.host()).unwrap().len(), count);
                }
            });
        }
    });
}
