//! RDMA devices: the double in every test run, `rdma_rxe`'s in the VM node.

use netlink::{Errno, Links, RdmaDevice, RdmaMode};

use super::Bench;

/// A machine with two RDMA devices in the host namespace, whose driver doesn't let them go.
pub trait RdmaBench: Bench {
    /// Sets the mode, while there's no namespace but the host's.
    fn set_rdma_mode(&self, mode: RdmaMode);

    /// The names of the two devices, in the order in which they were made.
    fn rdma_names(&self) -> [String; 2];
}

fn devices<L: Links>(links: &L, namespace: &L::Namespace) -> Vec<RdmaDevice> {
    links.rdma_devices(namespace).expect("RDMA devices can be read")
}

/// RDMA can be asked after on any kernel, and what isn't there is gone.
pub fn rdma_is_read_also_where_there_is_none<B: Bench>(bench: &B) {
    let links = bench.links();
    let mode = links.rdma_mode().expect("the mode can be read");
    let listed = devices(links, links.host());
    assert!(mode.is_some() || listed.is_empty(), "{listed:?}");
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let error = links.move_rdma(links.host(), 9999, &pod).expect_err("there's no such device");
    assert!(error.is_gone(), "{error:?}");
}

/// The two devices, as the host namespace shows them.
fn both<B: RdmaBench>(bench: &B) -> [RdmaDevice; 2] {
    let links = bench.links();
    let listed = devices(links, links.host());
    bench.rdma_names().map(|name| {
        let found = listed.iter().find(|device| device.name == name);
        found.expect("the device is in the host namespace").clone()
    })
}

/// The mode is read back, and devices are listed where they're seen.
pub fn rdma_devices_are_seen_as_the_mode_says<B: RdmaBench>(bench: &B) {
    let links = bench.links();
    bench.set_rdma_mode(RdmaMode::Exclusive);
    assert_eq!(links.rdma_mode().expect("the mode can be read"), Some(RdmaMode::Exclusive));
    let [one, two] = both(bench);
    assert!(one.index < two.index && one.node_guid != 0, "{one:?} {two:?}");
    let path = bench.add_namespace();
    let pod = links.open(&path).expect("it was just made");
    assert_eq!(devices(links, &pod), []);
    drop(pod);
    bench.remove_namespace(&path);

    bench.set_rdma_mode(RdmaMode::Shared);
    assert_eq!(links.rdma_mode().expect("the mode can be read"), Some(RdmaMode::Shared));
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let seen = devices(links, &pod);
    assert!([one, two].iter().all(|device| seen.contains(device)), "{seen:?}");
}

/// A device is renamed, but not to a name that another has.
pub fn an_rdma_device_is_renamed<B: RdmaBench>(bench: &B) {
    let links = bench.links();
    let [one, two] = both(bench);
    let error = links.rename_rdma(links.host(), one.index, &two.name).expect_err("the name is taken");
    assert!(error.is_taken() && error.to_string().contains(&one.name), "{error:?}");
    links.rename_rdma(links.host(), one.index, "other").expect("the name is free");
    let renamed = RdmaDevice { name: "other".to_owned(), ..one.clone() };
    assert!(devices(links, links.host()).contains(&renamed));
    links.rename_rdma(links.host(), one.index, &one.name).expect("it's free again");
    assert_eq!(both(bench), [one, two]);
}

/// In neither mode does a device leave a driver that doesn't let it go.
pub fn an_rdma_device_that_is_held_stays<B: RdmaBench>(bench: &B) {
    let links = bench.links();
    for mode in [RdmaMode::Shared, RdmaMode::Exclusive] {
        bench.set_rdma_mode(mode);
        let before = both(bench);
        let [one, _] = &before;
        let path = bench.add_namespace();
        let pod = links.open(&path).expect("it was just made");
        let error = links.move_rdma(links.host(), one.index, &pod).expect_err("it's held");
        assert_eq!(error.errno(), Some(Errno::EOPNOTSUPP), "{error:?}");
        let text = error.to_string();
        assert!(error.is_unsupported() && text.contains(&one.name) && text.contains("RDMA"), "{text}");
        assert_eq!(both(bench), before, "{mode}");
        drop(pod);
        bench.remove_namespace(&path);
    }
}

/// Whatever is asked of a device that isn't there says that it's gone.
pub fn nothing_can_be_changed_of_an_rdma_device_that_is_gone<B: RdmaBench>(bench: &B) {
    let links = bench.links();
    bench.set_rdma_mode(RdmaMode::Exclusive);
    let [one, _] = both(bench);
    let pod = links.open(&bench.add_namespace()).expect("it was just made");
    let host = links.host();
    for outcome in [
        links.rename_rdma(host, 9999, "other"),
        links.move_rdma(host, 9999, &pod),
        links.rename_rdma(&pod, one.index, "other"),
        links.move_rdma(&pod, one.index, host),
    ] {
        let error = outcome.expect_err("there's no such device there");
        assert!(error.is_gone(), "{error:?}");
    }
}

/// Makes a test of each check on RDMA devices, where `make` is an expression for an `Option<impl RdmaBench>`.
#[macro_export]
macro_rules! rdma_contract {
    ($module:ident, $make:expr) => {
        $crate::links_contract!(@module $module, $make,
            rdma_devices_are_seen_as_the_mode_says, an_rdma_device_is_renamed,
            an_rdma_device_that_is_held_stays, nothing_can_be_changed_of_an_rdma_device_that_is_gone
        );
    };
}
