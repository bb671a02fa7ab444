//! What a runtime is told about a container: the OCI configuration, made from the pod and from what the device plugins
//! granted it. Plain data in, JSON out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::manifest::Container;

/// What device plugins gave to a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Device nodes.
    pub devices: Vec<DeviceNode>,
    /// Resource name → device IDs, as kubelet accounts for them.
    pub allocated: BTreeMap<String, Vec<String>>,
}

/// A device node, with what the node's `/dev` says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNode {
    /// Its path in the container.
    pub path: PathBuf,
    /// Major number.
    pub major: u64,
    /// Minor number.
    pub minor: u64,
    /// A mix of `r`, `w` and `m`.
    pub permissions: String,
}

/// Where a container runs.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its root file system.
    pub rootfs: &'a Path,
    /// The pod's network namespace.
    pub netns: &'a Path,
    /// Its cgroup, below the root of the hierarchy.
    pub cgroup: &'a str,
    /// Its host name: the pod's name.
    pub hostname: &'a str,
}

/// Capabilities that runtimes give to every container.
const CAPABILITIES: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// Character devices that every container may use: null, zero, full, random, urandom, tty, ptmx and the pseudo
/// terminals.
const COMMON_DEVICES: [(u64, Option<u64>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

/// The OCI configuration of a container; `hugepage_volumes` are the pod's volumes on huge pages.
pub fn oci(container: &Container, hugepage_volumes: &[String], grant: &Grant, place: Place<'_>) -> Value {
    let capabilities: Vec<String> = CAPABILITIES
        .iter()
        .copied()
        .chain(container.security_context.capabilities.add.iter().map(String::as_str))
        .map(|name| format!("CAP_{name}"))
        .collect();
    let mut env = vec![
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("HOSTNAME={}", place.hostname),
        "HOME=/root".to_owned(),
    ];
    env.extend(grant.env.iter().map(|(name, value)| format!("{name}={value}")));

    json!({
        "ociVersion": "1.0.2",
        "hostname": place.hostname,
        "root": {"path": place.rootfs},
        "process": {
            "terminal": container.tty,
            "cwd": "/",
            "user": {"uid": 0, "gid": 0},
            "args": container.command.iter().chain(&container.args).collect::<Vec<_>>(),
            "env": env,
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 65536, "hard": 65536}],
            "noNewPrivileges": false,
        },
        "mounts": mounts(container, hugepage_volumes),
        "linux": {
            "namespaces": [
                {"type": "pid"},
                {"type": "ipc"},
                {"type": "uts"},
                {"type": "mount"},
                {"type": "cgroup"},
                {"type": "network", "path": place.netns},
            ],
            "cgroupsPath": place.cgroup,
            "devices": grant.devices.iter().map(node).collect::<Vec<_>>(),
            "resources": resources(container, grant),
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn node(device: &DeviceNode) -> Value {
    json!({
        "path": device.path,
        "type": "c",
        "major": device.major,
        "minor": device.minor,
        "fileMode": 0o600,
        "uid": 0,
        "gid": 0,
    })
}

fn resources(container: &Container, grant: &Grant) -> Value {
    let mut devices =
        vec![json!({"allow": false, "access": "rwm"}), json!({"allow": true, "type": "c", "access": "m"})];
    for (major, minor) in COMMON_DEVICES {
        let mut rule = json!({"allow": true, "type": "c", "major": major, "access": "rwm"});
        if let (Some(minor), Some(object)) = (minor, rule.as_object_mut()) {
            object.insert("minor".to_owned(), json!(minor));
        }
        devices.push(rule);
    }
    devices.extend(grant.devices.iter().map(|device| {
        json!({
            "allow": true,
            "type": "c",
            "major": device.major,
            "minor": device.minor,
            "access": device.permissions,
        })
    }));
    // Without a limit of its own a container gets no huge pages at all, as with kubelet.
    let mut resources = json!({
        "devices": devices,
        "hugepageLimits": [
            {"pageSize": "2MB", "limit": container.bytes("hugepages-2Mi").unwrap_or(0)},
        ],
    });
    if let (Some(limit), Some(object)) = (container.bytes("memory"), resources.as_object_mut()) {
        object.insert("memory".to_owned(), json!({"limit": limit}));
    }
    resources
}

fn mounts(container: &Container, hugepage_volumes: &[String]) -> Vec<Value> {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let mut mounts = vec![
        mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
        mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        mount("/sys/fs/cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
    ];
    mounts.extend(
        container
            .volume_mounts
            .iter()
            .filter(|volume| hugepage_volumes.contains(&volume.name))
            .map(|volume| mount(&volume.mount_path, "hugetlbfs", &["nosuid", "nodev", "pagesize=2M"])),
    );
    mounts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::manifest::Manifests;

    fn dpdk(grant: &Grant) -> Value {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
        let pod = Manifests::read(&[&examples]).unwrap().pod("dpdk").unwrap();
        let place = Place {
            rootfs: Path::new("/rootfs"),
            netns: Path::new("/run/netns/dpdk"),
            cgroup: "/patchbay/dpdk",
            hostname: "dpdk",
        };
        oci(&pod.containers[0], &pod.hugepage_volumes, grant, place)
    }

    fn granted() -> Grant {
        Grant {
            env: BTreeMap::from([("PCIDEVICE_INTEL_COM_SRIOV_DPDK".to_owned(), "0000:01:11.4".to_owned())]),
            devices: vec![DeviceNode {
                path: PathBuf::from("/dev/vfio/7"),
                major: 240,
                minor: 3,
                permissions: "rw".to_owned(),
            }],
            ..Grant::default()
        }
    }

    #[test]
    fn granted_devices_are_made_and_allowed_and_no_others() {
        let oci = dpdk(&granted());
        assert_eq!(oci["linux"]["devices"].as_array().unwrap().len(), 1);
        assert_eq!(oci["linux"]["devices"][0]["path"], "/dev/vfio/7");
        let rules = oci["linux"]["resources"]["devices"].as_array().unwrap();
        assert_eq!(rules[0], json!({"allow": false, "access": "rwm"}));
        assert!(rules.contains(&json!({
            "allow": true, "type": "c", "major": 240, "minor": 3, "access": "rw"
        })));
        let without = dpdk(&Grant::default());
        assert_eq!(without["linux"]["resources"]["devices"].as_array().unwrap().len(), rules.len() - 1);
    }

    #[test]
    fn the_environment_holds_what_was_granted() {
        let oci = dpdk(&granted());
        let env = oci["process"]["env"].as_array().unwrap();
        assert!(env.contains(&json!("PCIDEVICE_INTEL_COM_SRIOV_DPDK=0000:01:11.4")));
    }

    #[test]
    fn huge_pages_are_mounted_and_limited() {
        let oci = dpdk(&granted());
        let mounts = oci["mounts"].as_array().unwrap();
        assert!(
            mounts
                .iter()
                .any(|mount| mount["destination"] == "/dev/hugepages" && mount["type"] == "hugetlbfs")
        );
        assert_eq!(
            oci["linux"]["resources"]["hugepageLimits"],
            json!([{"pageSize": "2MB", "limit": 64 << 20}])
        );
        assert_eq!(oci["linux"]["resources"]["memory"]["limit"], 256 << 20);
    }

    #[test]
    fn a_container_gets_only_the_capabilities_that_it_asks_for_besides_the_usual() {
        let effective = dpdk(&granted())["process"]["capabilities"]["effective"].clone();
        let effective = effective.as_array().unwrap();
        assert!(effective.contains(&json!("CAP_IPC_LOCK")));
        assert!(!effective.contains(&json!("CAP_NET_ADMIN")));
        assert!(!effective.contains(&json!("CAP_SYS_ADMIN")));
    }
}
