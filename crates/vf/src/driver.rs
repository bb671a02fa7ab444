//! What drivers do differently, as data with its sources.
//!
//! A driver that isn't listed is asked, and its answer counts: what it refuses as unsupported becomes the same
//! error that the table gives beforehand.

use pci::{TrunkDialect, USERSPACE_DRIVERS};

use crate::wanted::Attribute;

/// How an admin MAC comes to be the MAC of the VF's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminMac {
    /// It doesn't, until the VF is reset; and while there is one, the PF refuses whatever an untrusted VF sets. So
    /// it's removed, the MAC is set on the interface, and then it's set as admin MAC.
    SetBetween,
    /// The VF's driver takes it by itself, a moment later.
    TakenLater,
    /// The interface keeps its own until it's set there too.
    SetTwice,
}

/// What is known of a PF's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PfDriver {
    /// Its name.
    pub name: &'static str,
    /// What it can't do.
    pub unsupported: &'static [Attribute],
    /// How that is known.
    pub source: &'static str,
}

/// What is known of a VF's driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VfDriver {
    /// Its name.
    pub name: &'static str,
    /// How an admin MAC reaches its interface.
    pub admin_mac: AdminMac,
    /// Whether it takes part when its VF is reset, up or down, so that the interface stays and works after it.
    pub outlives_reset: bool,
    /// How that is known.
    pub source: &'static str,
}

/// The drivers of PFs.
pub const PF_DRIVERS: [PfDriver; 2] = [
    PfDriver {
        name: "igb",
        unsupported: &[Attribute::LinkState, Attribute::MinTxRate, Attribute::VlanProto8021ad],
        source: "measured on Linux 6.12 with an 82576: EOPNOTSUPP, EINVAL and EPROTONOSUPPORT",
    },
    PfDriver {
        name: "ixgbe",
        unsupported: &[Attribute::MinTxRate],
        source: "Linux, ixgbe_ndo_set_vf_bw: EINVAL for a min_tx_rate other than 0",
    },
];

/// The drivers of VFs.
pub const VF_DRIVERS: [VfDriver; 6] = [
    VfDriver {
        name: "igbvf",
        admin_mac: AdminMac::SetBetween,
        outlives_reset: false,
        source: "measured on Linux 6.12 with an 82576: set before the interface is up, it isn't taken at up; setting the same on the interface is EADDRNOTAVAIL; a trusted VF that is reset sets its former one over it; a reset while the interface is down hangs in igbvf_io_prepare for good, and with it whoever asked",
    },
    VfDriver {
        name: "ixgbevf",
        admin_mac: AdminMac::SetTwice,
        outlives_reset: false,
        source: "Linux 6.12, ixgbe_set_vf_mac_addr: beside an admin MAC, a VF may set the same; ixgbevf_err_handler has no reset_prepare",
    },
    VfDriver {
        name: "iavf",
        admin_mac: AdminMac::TakenLater,
        outlives_reset: false,
        source: "k8snetworkplumbingwg/sriov-cni#232 and #239: setting it on the interface meanwhile fails; Linux 6.12, iavf_driver has no err_handler",
    },
    VfDriver {
        name: "i40evf",
        admin_mac: AdminMac::TakenLater,
        outlives_reset: false,
        source: "the former name of iavf",
    },
    VfDriver {
        name: "mlx5_core",
        admin_mac: AdminMac::SetTwice,
        outlives_reset: false,
        source: "k8snetworkplumbingwg/sriov-cni: an existing interface keeps its MAC, both are set there; Linux 6.12, mlx5_err_handler has no reset_prepare",
    },
    VfDriver {
        name: "hns3",
        admin_mac: AdminMac::TakenLater,
        outlives_reset: true,
        source: "Linux 6.12, hclge_set_vf_mac: a VF that is alive is reinitialized with it; hns3_err_handler stops the interface before a reset and rebuilds it after",
    },
];

/// What is known of how a PF's driver restricts the VLANs that a VF may tag itself. Linux itself has no way to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trunk {
    /// The driver's name.
    pub pf_driver: &'static str,
    /// How it writes and shows them.
    pub dialect: TrunkDialect,
    /// How that is known.
    pub source: &'static str,
}

/// The drivers of PFs that have a file `trunk` for each VF, in their makers' editions.
pub const TRUNKS: [Trunk; 2] = [
    Trunk {
        pf_driver: "mlx5_core",
        dialect: TrunkDialect::Spans,
        source: "NVIDIA's driver package (MLNX_OFED), trunk_show and trunk_store: each VLAN in a line of at most a page; EPERM beside a VLAN",
    },
    Trunk {
        pf_driver: "i40e",
        dialect: TrunkDialect::Lists,
        source: "Intel's own edition of i40e, its README and vfd_trunk_store: lists as the kernel's bitmaps have them; what isn't there to remove is passed over",
    },
];

/// How a PF's driver restricts a VF's VLANs, if it's known to.
pub fn trunk(pf_driver: &str) -> Option<TrunkDialect> {
    TRUNKS.iter().find(|trunk| trunk.pf_driver == pf_driver).map(|trunk| trunk.dialect)
}

/// Whether a PF's driver is known to be unable to do something.
pub fn is_unsupported(pf_driver: &str, attribute: Attribute) -> bool {
    PF_DRIVERS.iter().any(|driver| driver.name == pf_driver && driver.unsupported.contains(&attribute))
}

/// How an admin MAC reaches the interface. An unknown driver's is set there too: if it has taken it by itself,
/// nothing changes.
pub fn admin_mac(vf_driver: Option<&str>) -> AdminMac {
    VF_DRIVERS
        .iter()
        .find(|driver| Some(driver.name) == vf_driver)
        .map_or(AdminMac::SetTwice, |driver| driver.admin_mac)
}

/// Whether a VF with this driver, or with none, can be reset under it. Under a driver for user space there's no
/// interface to outlive it. An unknown driver is left alone: one that isn't told of a reset doesn't notice it.
pub fn outlives_reset(vf_driver: Option<&str>) -> bool {
    vf_driver.is_none_or(|name| {
        USERSPACE_DRIVERS.contains(&name)
            || VF_DRIVERS.iter().any(|driver| driver.name == name && driver.outlives_reset)
    })
}
