//! The double as a bench of the contract.

use std::path::{Path, PathBuf};

use super::FakeLinks;
use super::contract::Bench;

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

    fn add_altname(&self, name: &str, altname: &str) {
        let mut world = self.world();
        let host = world.host;
        let id = world.named(host, name).expect("the link is there");
        world.ports.get_mut(&id).expect("it was just found").altnames.push(altname.into());
    }
}
