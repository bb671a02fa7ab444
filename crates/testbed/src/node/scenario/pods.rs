//! The pods of `examples/`, from their creation to their end: *web* and *peer* reach each other over the wire, *other*
//! on its own VLAN reaches nobody, and *dpdk* counts what *web* sends to it.

use std::time::Duration;

use serde_json::Value;

use super::{Error, row, traffic};
use crate::node::cluster::{Node, Running};
use crate::node::exec;
use crate::node::hardware::{self, Nic};
use crate::node::report::Report;

/// What the pools of `deployments/pools.yaml` offer, and how much of it.
pub(super) const OFFERED: [(&str, usize); 3] =
    [("intel.com/sriov_a", 3), ("intel.com/sriov_b", 3), ("intel.com/sriov_dpdk", 2)];

/// The MAC address that the DPDK example asks for.
const DPDK_MAC: &str = "02:00:00:00:64:01";

/// An address of the VLAN's subnet that nobody has.
const DPDK_ADDRESS: &str = "10.100.0.250";

/// How many packets are sent to the DPDK pod.
const PACKETS: usize = 20;

pub(super) fn play(node: &mut Node, _nics: &[Nic], report: &mut Report) -> Result<(), Error> {
    let mut pods = Vec::new();
    for (name, vlan) in [("web", 100), ("peer", 100), ("other", 200)] {
        let running = start(node, name, report)?;
        check_kernel_pod(node, &running, vlan, report)?;
        pods.push(running);
    }
    let dpdk = start(node, "dpdk", report)?;
    check_dpdk_pod(node, &dpdk, report)?;
    if let [web, peer, other] = pods.as_slice() {
        exchange(node, [web, peer, other], report)?;
        count(node, web, &dpdk, report)?;
    }
    pods.push(dpdk);
    delete(node, &pods, report)
}

/// Starts both programs and shows what kubelet and the runtime see of them.
pub(super) fn start_programs(node: &mut Node, report: &mut Report) -> Result<(), Error> {
    report.title("Pools, as patchbay-device-plugin registers them with kubelet");
    node.start_device_plugin(&OFFERED.map(|(resource, _)| resource.to_owned()))?;
    let mut rows = vec![row(&["resource", "allocatable", "devices"])];
    let mut counts = Vec::new();
    for (resource, _) in OFFERED {
        let devices: Vec<String> = node.kubelet.devices(resource).into_keys().collect();
        let allocatable = node.kubelet.allocatable(resource).len();
        counts.push(allocatable);
        rows.push(row(&[resource, &format!("{allocatable} of {}", devices.len()), &devices.join(" ")]));
    }
    report.table(&rows);
    report.check(
        "each pool has the VFs that its selectors name",
        counts == OFFERED.map(|(_, offered)| offered),
        &format!("{counts:?}"),
    );

    report.title("patchbayd installs the CNI plugins and their configuration");
    node.start_patchbayd()?;
    let (file, list) = node.machine.runtime.configuration().map_err(crate::node::cluster::Error::from)?;
    report.line(&format!("/etc/cni/net.d/{file}: {list}"));
    report.check("STATUS says that pods can be started", true, "");
    Ok(())
}

/// Takes a pod of the examples to where its containers run, and shows its networks.
pub(super) fn start(node: &mut Node, name: &str, report: &mut Report) -> Result<Running, Error> {
    let pod = node.manifests.pod(name).map_err(crate::node::cluster::Error::from)?;
    report.title(&format!("Pod {name}: {}", pod.networks().trim()));
    let mut running = node.admit(pod)?;
    for (resource, devices) in running.grants.iter().flat_map(|grant| &grant.allocated) {
        report.line(&format!("kubelet allocated {} of {resource}", devices.join(", ")));
    }
    node.start(&mut running)?;
    let mut rows = vec![row(&["network", "interface", "addresses", "MAC", "device"])];
    for entry in node.network_status(&running.pod) {
        rows.push(row(&[
            &text(&entry, "/name"),
            &text(&entry, "/interface"),
            &addresses(&entry),
            &text(&entry, "/mac"),
            &text(&entry, "/device-info/pci/pci-address"),
        ]));
    }
    report.table(&rows);
    Ok(running)
}

fn check_kernel_pod(node: &Node, pod: &Running, vlan: u64, report: &mut Report) -> Result<(), Error> {
    let name = &pod.pod.name;
    let links = traffic::links(node, pod)?;
    report.check(&format!("{name} has eth0 and net1"), links == ["eth0", "net1"], &links.join(" "));
    let device = device_of(pod)?;
    let status = node.network_status(&pod.pod);
    let second = status.get(1).cloned().unwrap_or_default();
    report.check(
        &format!("{name}'s network-status has net1 with an address and with {device}"),
        status.len() == 2
            && text(&second, "/interface") == "net1"
            && !addresses(&second).is_empty()
            && text(&second, "/device-info/pci/pci-address") == device,
        &Value::from(status).to_string(),
    );
    let nics = hardware::nics()?;
    let vf = hardware::vf(&nics, &device);
    report.check(
        &format!("the PF has {device} on VLAN {vlan}, and the host no longer has its interface"),
        vf.is_some_and(|vf| vf.vlan() == vlan && vf.link.is_none()),
        &format!("{vf:?}"),
    );
    Ok(())
}

fn check_dpdk_pod(node: &Node, pod: &Running, report: &mut Report) -> Result<(), Error> {
    let device = device_of(pod)?;
    let nics = hardware::nics()?;
    let vf = hardware::vf(&nics, &device);
    report.check(
        &format!("the PF has {device} on VLAN 100 with the MAC that the pod asked for, on vfio-pci"),
        vf.is_some_and(|vf| {
            vf.vlan() == 100 && vf.admin_mac() == DPDK_MAC && vf.driver.as_deref() == Some("vfio-pci")
        }),
        &format!("{vf:?}"),
    );
    let group = vf.and_then(|vf| vf.group.clone()).unwrap_or_default();
    let said = traffic::ask(node, pod, &["/bin/sh", "-c", "cd /dev/vfio && echo *"])?;
    report.check(
        &format!("the container has /dev/vfio/{group} and no other group"),
        said == format!("{group} vfio"),
        &said,
    );
    let container = pod.containers.first().cloned().unwrap_or_default();
    let mut log = String::new();
    let ready = exec::until(Duration::from_mins(2), || {
        log = node.machine.log(&container);
        let ended = node.machine.state(&container).as_deref() != Some("running");
        (ended || (log.contains(&device) && log.contains("rxonly packet forwarding"))).then_some(!ended)
    });
    report.check(
        &format!("dpdk-testpmd takes {device} from its environment and receives on it"),
        ready == Some(true),
        &log,
    );
    Ok(())
}

fn exchange(node: &Node, [web, peer, other]: [&Running; 3], report: &mut Report) -> Result<(), Error> {
    report.title("Packets between the pods");
    for pod in [web, peer, other] {
        let up = traffic::carrier(node, pod);
        report.check(&format!("net1 of {} has its carrier", pod.pod.name), up, "no carrier");
    }
    let to = address_of(node, peer)?;
    let (answered, said) = traffic::ping(node, web, &to, 5)?;
    report.check(
        &format!("web reaches peer at {to} over the wire: {answered} of 5 pings answered"),
        answered == 5,
        &said,
    );
    let to = address_of(node, web)?;
    let (answered, said) = traffic::ping(node, other, &to, 3)?;
    report.check(
        &format!("other on VLAN 200 does not reach web at {to}: {answered} of 3 pings answered"),
        answered == 0 && said.contains("3 packets transmitted"),
        &said,
    );
    let to = default_address_of(node, peer)?;
    let (answered, said) = traffic::ping(node, web, &to, 3)?;
    report.check(
        &format!("web reaches peer at {to} over the default network too: {answered} of 3"),
        answered == 3,
        &said,
    );
    Ok(())
}

fn count(node: &Node, web: &Running, dpdk: &Running, report: &mut Report) -> Result<(), Error> {
    report.title(&format!("{PACKETS} packets from web to {DPDK_MAC}"));
    let from = traffic::ask(node, web, &["/bin/busybox", "cat", "/sys/class/net/net1/address"])?;
    traffic::ask(node, web, &["/bin/busybox", "arp", "-i", "net1", "-s", DPDK_ADDRESS, DPDK_MAC])?;
    let container = dpdk.containers.first().cloned().unwrap_or_default();
    let tally = || traffic::counted(&node.machine.log(&container), &from, DPDK_MAC);
    let before = tally();
    let (answered, said) = traffic::ping(node, web, DPDK_ADDRESS, PACKETS)?;
    exec::until(Duration::from_secs(20), || (tally() >= before + PACKETS).then_some(()));
    // One too many would come late.
    std::thread::sleep(Duration::from_secs(1));
    let counted = tally() - before;
    report.check(
        &format!("testpmd counted {counted} of {PACKETS}, and answered {answered}"),
        before == 0 && counted == PACKETS && answered == 0,
        &said,
    );
    Ok(())
}

/// Deletes pods, and looks at each VF as soon as its pod is gone.
fn delete(node: &Node, pods: &[Running], report: &mut Report) -> Result<(), Error> {
    report.title("The pods are deleted");
    for pod in pods {
        let device = device_of(pod)?;
        node.delete(pod)?;
        let nics = hardware::nics()?;
        let vf = hardware::vf(&nics, &device);
        report.check(
            &format!("{}: DEL has put {device} back: no VLAN, its driver, its interface", pod.pod.name),
            vf.is_some_and(|vf| {
                vf.vlan() == 0 && (vf.link.is_some() != (vf.driver.as_deref() == Some("vfio-pci")))
            }),
            &format!("{vf:?}"),
        );
    }
    Ok(())
}

/// The device of a pod that has one.
pub(super) fn device_of(pod: &Running) -> Result<String, Error> {
    pod.grants
        .iter()
        .flat_map(|grant| grant.allocated.values().flatten())
        .next()
        .cloned()
        .ok_or_else(|| Error::Missing { what: format!("the device of pod {}", pod.pod.name) })
}

fn address_of(node: &Node, pod: &Running) -> Result<String, Error> {
    status_address(node, pod, 1)
}

fn default_address_of(node: &Node, pod: &Running) -> Result<String, Error> {
    status_address(node, pod, 0)
}

fn status_address(node: &Node, pod: &Running, index: usize) -> Result<String, Error> {
    node.network_status(&pod.pod)
        .get(index)
        .and_then(|entry| entry.pointer("/ips/0"))
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| Error::Missing { what: format!("address {index} of pod {}", pod.pod.name) })
}

fn addresses(entry: &Value) -> String {
    let addresses = entry.get("ips").and_then(Value::as_array);
    let texts: Vec<&str> = addresses.into_iter().flatten().filter_map(Value::as_str).collect();
    texts.join(" ")
}

fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}
