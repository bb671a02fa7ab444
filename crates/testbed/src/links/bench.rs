//! The double as a bench of the contract.

use std::path::{Path, PathBuf};

use netlink::{Links, RdmaMode};

use super::contract::{Bench, LargeBench, MANY, RdmaBench, SriovBench};
use super::{DriverModel, FakeLinks};

/// The PF that the checks on VFs get.
const PF: &str = "0000:01:00.0";
/// Its first VF.
const VF: &str = "0000:01:10.0";

impl FakeLinks {
    /// A machine with an 82576, for [`SriovBench`].
    pub fn with_igb() -> Self {
        let links = Self::new();
        let vfs = [VF, "0000:01:10.2"].map(str::to_owned);
        links.add_pf(PF, "eth1", &vfs, DriverModel::igb());
        links
    }

    /// A machine with a PF of many VFs and every attribute, for [`LargeBench`].
    pub fn with_many_vfs() -> Self {
        let links = Self::new();
        let vfs: Vec<String> =
            (0..MANY).map(|vf| format!("0000:01:{:02x}.{}", 16 + vf / 8, vf % 8)).collect();
        links.add_pf(PF, "eth1", &vfs, DriverModel::mlx5());
        links
    }
}

impl LargeBench for FakeLinks {
    fn pf(&self) -> u32 {
        SriovBench::pf(self)
    }
}

impl SriovBench for FakeLinks {
    fn pf(&self) -> u32 {
        let pf = self.link_of_device(self.host(), PF).expect("no fault is set");
        pf.expect("it was made with the machine").index
    }

    fn vf(&self) -> (u16, String) {
        (0, VF.to_owned())
    }
}

impl FakeLinks {
    /// A machine with two RDMA devices that stay where they are, for [`RdmaBench`].
    pub fn with_rxe() -> Self {
        let links = Self::new();
        for name in ["rxe0", "rxe1"] {
            links.add_rdma(name, name);
            links.hold_rdma(name);
        }
        links
    }
}

impl RdmaBench for FakeLinks {
    fn set_rdma_mode(&self, mode: RdmaMode) {
        self.set_rdma_mode(Some(mode));
    }

    fn rdma_names(&self) -> [String; 2] {
        ["rxe0", "rxe1"].map(str::to_owned)
    }
}

impl Bench for FakeLinks {
    type Links = Self;

    fn links(&self) -> &Self {
        self
    }

    fn add_namespace(&self) -> PathBuf {
        let count = self.world().paths.len();
        let path = PathBuf::from(format!("/run/netns/made-{count}"));
        self.add_namespace(&path);
        path
    }

    fn remove_namespace(&self, path: &Path) {
        self.remove_namespace(path);
    }

    fn add_plain_file(&self) -> PathBuf {
        let path = PathBuf::from("/run/netns/plain");
        self.add_plain_file(&path);
        path
    }

    fn add_veth(&self, name: &str, peer: &str) {
        self.add_veth(Path::new("/proc/1/ns/net"), name, peer);
    }

    fn add_macvlan(&self, on: &str, name: &str) {
        let mut world = self.world();
        let host = world.host;
        let lower = world.named(host, on).expect("the link is there");
        world.add_port(name, host).1.lower = Some(lower);
    }

    fn add_altname(&self, name: &str, altname: &str) {
        let mut world = self.world();
        let host = world.host;
        let id = world.named(host, name).expect("the link is there");
        world.ports.get_mut(&id).expect("it was just found").altnames.push(altname.into());
    }
}
