//! Announcing addresses.

use std::net::IpAddr;

use netlink::{Errno, Links};

use super::{Bench, link, pair};

/// A link announces those addresses that it has, once it's up.
pub fn what_a_link_has_is_announced<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    let [first, second, others] =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| text.parse::<IpAddr>().expect("an address"));
    for address in [first, second] {
        let net = ipnet::IpNet::new(address, 24).expect("a prefix of its family");
        links.add_address(host, one.index, net).expect("it's new");
    }
    let error = links.announce(host, one.index, &[first]).expect_err("the link is down");
    assert_eq!(error.errno(), Some(Errno::ENETDOWN), "{error:?}");
    links.set_announce(host, one.index).expect("the link is there");
    links.set_up(host, one.index, true).expect("it's there");
    links.set_up(host, link(bench, "two").index, true).expect("it's there");
    let announced = links.announce(host, one.index, &[second, others, first]);
    assert_eq!(announced.expect("the link is up"), [second, first]);
    assert!(links.announce(host, one.index, &[]).expect("the link is up").is_empty());
}

/// A link that isn't there announces nothing.
pub fn nothing_is_announced_by_a_link_that_is_gone<B: Bench>(bench: &B) {
    let links = bench.links();
    assert!(links.announce(links.host(), 9999, &[]).is_err_and(|error| error.is_gone()));
    assert!(links.set_announce(links.host(), 9999).is_err_and(|error| error.is_gone()));
}
