//! Neighbours learn at once which MAC an address has now.

use std::thread;
use std::time::{Duration, Instant};

use crate::node::{PATIENCE, Pod, Vf, add, del, vf};

const NEW: &str = "02:00:00:00:0c:02";

/// What a neighbour has in its table of a pod that's gone.
const OLD: &str = "02:00:00:00:0c:99";

fn conf(vf: Vf, host: u8, more: &str) -> String {
    let addresses = format!(r#"[{{"address":"10.77.0.{host}/24"}},{{"address":"fd77::{host}/64"}}]"#);
    vf.conf(&format!(r#"{more},"ipam":{{"type":"static","addresses":{addresses}}}"#))
}

/// The MAC that a pod has for an address.
fn known(pod: &Pod, address: &str) -> String {
    let shown = pod.run(&["ip", "neigh", "show", address, "dev", "net1"]);
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "lladdr").and_then(|_| words.next()).unwrap_or_default().to_owned()
}

/// Nothing is sent from there meanwhile, so that only news that nobody asked for can change its stale entries.
#[test]
fn a_neighbours_entry_of_a_pod_that_is_gone_is_renewed_without_its_asking() {
    let (here, there) = (vf(0, 4), vf(1, 4));
    let before = (here.look(), there.look());
    let (neighbour, pod) = (Pod::new("neighbour"), Pod::new("news"));
    let (mine, theirs) = (conf(here, 1, ""), conf(there, 2, &format!(r#","mac":"{NEW}""#)));
    add("c1", &neighbour, &mine).unwrap();
    for address in ["10.77.0.2", "fd77::2"] {
        neighbour.run(&["ip", "neigh", "replace", address, "lladdr", OLD, "dev", "net1", "nud", "stale"]);
        assert_eq!(known(&neighbour, address), OLD);
    }

    add("c2", &pod, &theirs).unwrap();
    let begun = Instant::now();
    for address in ["10.77.0.2", "fd77::2"] {
        while known(&neighbour, address) != NEW {
            let shown = neighbour.run(&["ip", "neigh"]);
            assert!(begun.elapsed() < PATIENCE, "{address} is still where it was: {shown}");
            thread::sleep(Duration::from_millis(100));
        }
    }
    del("c2", &pod.path(), &theirs).unwrap();
    del("c1", &neighbour.path(), &mine).unwrap();
    here.assert_clean(&before.0);
    there.assert_clean(&before.1);
}
