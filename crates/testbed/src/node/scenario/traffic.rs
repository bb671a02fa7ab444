//! What containers say about their links, and packets between them.

use std::time::Duration;

use crate::node::cluster::{Node, Running};
use crate::node::{exec, machine};

/// How long an emulated link may take to come up.
const CARRIER: Duration = Duration::from_mins(1);

/// The first container's answer to a command: what it printed, or what went wrong.
pub(super) fn ask(node: &Node, pod: &Running, command: &[&str]) -> Result<String, machine::Error> {
    let Some(container) = pod.containers.first() else { return Ok(String::new()) };
    Ok(node.machine.exec(container, command)?.said())
}

/// The interfaces that a container sees, without the loopback.
pub(super) fn links(node: &Node, pod: &Running) -> Result<Vec<String>, machine::Error> {
    let said = ask(node, pod, &["/bin/busybox", "ls", "/sys/class/net"])?;
    Ok(said.split_whitespace().filter(|name| *name != "lo").map(str::to_owned).collect())
}

/// Waits for the carrier of `net1`.
pub(super) fn carrier(node: &Node, pod: &Running) -> bool {
    exec::until(CARRIER, || {
        let said = ask(node, pod, &["/bin/busybox", "cat", "/sys/class/net/net1/carrier"]).ok()?;
        (said == "1").then_some(())
    })
    .is_some()
}

/// Sends pings; returns how many were answered, and what ping said.
pub(super) fn ping(
    node: &Node,
    pod: &Running,
    to: &str,
    count: usize,
) -> Result<(usize, String), machine::Error> {
    let count = count.to_string();
    let said = ask(node, pod, &["/bin/busybox", "ping", "-c", &count, "-i", "0.2", "-W", "2", to])?;
    Ok((answered(&said).unwrap_or(0), said))
}

fn answered(said: &str) -> Option<usize> {
    let line = said.lines().find(|line| line.contains("packets received"))?;
    line.split(',').find(|part| part.contains("received"))?.split_whitespace().next()?.parse().ok()
}

/// The packets in testpmd's log that came from one MAC address and went to another.
pub(super) fn counted(log: &str, from: &str, to: &str) -> usize {
    let (from, to) = (format!("src={from}").to_lowercase(), format!("dst={to}").to_lowercase());
    log.lines().map(str::to_lowercase).filter(|line| line.contains(&from) && line.contains(&to)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_from_what_ping_says() {
        let said =
            "--- 10.0.0.2 ping statistics ---\n3 packets transmitted, 2 packets received, 33% packet loss\n";
        assert_eq!(answered(said), Some(2));
        assert_eq!(answered("ping: sendto: Network is unreachable"), None);
    }

    #[test]
    fn only_packets_of_that_sender_to_that_receiver_count() {
        let log = "port 0/queue 0: received 2 packets\n  \
                   src=52:54:00:00:00:02 - dst=02:00:00:00:64:01 - pool=mb - type=0x0800 - length=98\n  \
                   src=52:54:00:00:00:02 - dst=33:33:00:00:00:16 - pool=mb - type=0x86dd - length=90\n  \
                   src=52:54:00:00:00:03 - dst=02:00:00:00:64:01 - pool=mb - type=0x0800 - length=98\n";
        assert_eq!(counted(log, "52:54:00:00:00:02", "02:00:00:00:64:01"), 1);
        assert_eq!(counted(log, "52:54:00:00:00:09", "02:00:00:00:64:01"), 0);
    }
}
