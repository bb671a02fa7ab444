//! Addresses, routes and carrier.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink::{Errno, Links, Route};

use super::{Bench, link, pair};

fn net(text: &str) -> IpNet {
    text.parse().expect("an address with its prefix")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Addresses of both families are read back; the same can't be added twice.
pub fn addresses_are_read_back<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    links.set_up(host, one.index, true).expect("it's there");
    for address in [net("192.0.2.1/24"), net("198.51.100.7/32"), net("2001:db8::1/64")] {
        links.add_address(host, one.index, address).expect("it's new");
        assert!(links.addresses(host, one.index).expect("addresses can be read").contains(&address));
        let error = links.add_address(host, one.index, address).expect_err("it's there already");
        assert!(error.is_taken(), "{error:?}");
    }
    let other = link(bench, "two");
    assert!(
        !links.addresses(host, other.index).expect("addresses can be read").contains(&net("192.0.2.1/24"))
    );
}

/// Routes of both families are read back with all that was asked for, and removed.
pub fn routes_are_read_back<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    links.set_up(host, one.index, true).expect("it's there");
    links.add_address(host, one.index, net("192.0.2.1/24")).expect("it's new");
    links.add_address(host, one.index, net("2001:db8::1/64")).expect("it's new");
    let v4 = Some(ip("192.0.2.254"));
    let v6 = Some(ip("2001:db8::fe"));
    for route in [
        Route::new(net("0.0.0.0/0"), v4, one.index),
        Route::new(net("10.0.0.0/8"), None, one.index),
        Route { priority: Some(7), mtu: Some(1400), ..Route::new(net("10.0.0.0/8"), v4, one.index) },
        Route { table: Some(1000), ..Route::new(net("172.16.0.0/12"), v4, one.index) },
        Route::new(net("::/0"), v6, one.index),
        Route { advmss: Some(1300), ..Route::new(net("2001:db8:1::/48"), v6, one.index) },
    ] {
        links.add_route(host, &route).expect("it's new");
        let read = links.routes(host).expect("routes can be read");
        let table = route.table.unwrap_or(Route::MAIN_TABLE);
        let found = read.iter().find(|other| {
            (other.dst, other.gateway, other.ifindex) == (route.dst, route.gateway, route.ifindex)
                && other.table == Some(table)
        });
        let found = found.expect("the route is read back");
        assert_eq!(found.is_default(), route.dst.prefix_len() == 0);
        assert_eq!((found.mtu, found.advmss), (route.mtu, route.advmss), "{found:?}");
        assert!(route.priority.is_none_or(|priority| found.priority == Some(priority)), "{found:?}");
        let error = links.add_route(host, &route).expect_err("it's there already");
        assert!(error.is_taken(), "{error:?}");
        links.remove_route(host, &route).expect("it's there");
        let error = links.remove_route(host, &route).expect_err("it's gone");
        assert_eq!(error.errno(), Some(Errno::ESRCH), "{error:?}");
        links.add_route(host, &route).expect("it's new again");
    }
    let error = links.add_route(host, &Route::new(net("10.1.0.0/16"), Some(ip("203.0.113.1")), one.index));
    assert!(error.is_err_and(|error| error.errno() == Some(Errno::ENETUNREACH)));
}

/// No route goes through a link that's down, and setting it down removes those that did.
pub fn routes_need_a_link_that_is_up<B: Bench>(bench: &B) {
    let one = pair(bench);
    let links = bench.links();
    let host = links.host();
    let route = Route::new(net("10.0.0.0/8"), None, one.index);
    let error = links.add_route(host, &route).expect_err("the link is down");
    assert_eq!(error.errno(), Some(Errno::ENETDOWN), "{error:?}");
    links.set_up(host, one.index, true).expect("it's there");
    links.add_route(host, &route).expect("the link is up");
    links.set_up(host, one.index, false).expect("it's there");
    assert!(links.routes(host).expect("routes can be read").iter().all(|route| route.ifindex != one.index));
}

/// A link that's up has its carrier once its peer is up, and who waits is told.
pub fn carrier_comes_with_the_peer<B: Bench>(bench: &B)
where
    B::Links: Sync,
{
    let one = pair(bench);
    let two = link(bench, "two");
    let links = bench.links();
    let host = links.host();
    links.set_up(host, one.index, true).expect("it's there");
    assert!(link(bench, "one").up && !link(bench, "one").carrier);
    let soon = Instant::now() + Duration::from_millis(50);
    assert!(!links.wait_carrier(host, one.index, soon).expect("it can be waited for"));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let late = Instant::now() + Duration::from_mins(1);
            links.wait_carrier(host, one.index, late)
        });
        // So that it's the event that tells it, and not its first look.
        thread::sleep(Duration::from_millis(200));
        links.set_up(host, two.index, true).expect("it's there");
        assert!(waiter.join().expect("it doesn't panic").expect("it can be waited for"));
    });
    assert!(link(bench, "one").carrier);
    assert!(links.wait_carrier(host, one.index, Instant::now()).expect("it's there already"));
}

/// A link that isn't there is not waited for.
pub fn carrier_of_nothing_is_gone<B: Bench>(bench: &B) {
    let links = bench.links();
    let late = Instant::now() + Duration::from_mins(1);
    let outcome = links.wait_carrier(links.host(), 9999, late);
    assert!(outcome.is_err_and(|error| error.is_gone()));
}
