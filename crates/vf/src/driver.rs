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
    /// What it can't do, whatever the device.
    pub unsupported: &'static [Attribute],
    /// Whether it refuses to remove an admin MAC. The VF's own is set in its place: the VF has that anyhow.
    pub zero_mac_refused: bool,
    /// The least `max_tx_rate` in Mbit/s that it takes, beside 0 for none; 0 where it takes any.
    pub least_max_rate: u32,
    /// How that is known; files of the kernel are below `drivers/net/ethernet`.
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
pub const PF_DRIVERS: [PfDriver; 15] = [
    PfDriver {
        name: "igb",
        unsupported: &[Attribute::LinkState, Attribute::MinTxRate, Attribute::VlanProto8021ad],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "measured on Linux 6.12 with an 82576: EOPNOTSUPP, EINVAL and EPROTONOSUPPORT; igb_main.c, igb_ndo_set_vf_mac: zero removes it",
    },
    PfDriver {
        name: "ixgbe",
        unsupported: &[Attribute::MinTxRate, Attribute::VlanProto8021ad],
        zero_mac_refused: false,
        least_max_rate: 11,
        source: "Linux 6.12, intel/ixgbe/ixgbe_sriov.c: ixgbe_ndo_set_vf_bw, which takes a rate above 10 Mbit/s, and only while the link has 10 Gbit/s; ixgbe_ndo_set_vf_vlan",
    },
    PfDriver {
        name: "i40e",
        unsupported: &[Attribute::MinTxRate, Attribute::VlanProto8021ad],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, intel/i40e/i40e_virtchnl_pf.c: i40e_ndo_set_vf_bw, i40e_ndo_set_vf_port_vlan, i40e_ndo_set_vf_mac",
    },
    PfDriver {
        name: "ice",
        unsupported: &[],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, intel/ice/ice_sriov.c; 802.1ad depends on the VLAN mode that the device is in: ice_is_supported_port_vlan_proto",
    },
    PfDriver {
        name: "mlx5_core",
        unsupported: &[Attribute::VlanProto8021ad],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, mellanox/mlx5/core/en_main.c: mlx5e_set_vf_vlan; mlx5/core/eswitch.c: mlx5_esw_set_vport_mac_locked takes zero",
    },
    PfDriver {
        name: "mlx4_core",
        unsupported: &[Attribute::MinTxRate, Attribute::Trust],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, mellanox/mlx4/cmd.c: mlx4_set_vf_rate; mlx4_set_vf_mac refuses zero while spoofchk is on; mlx4/en_netdev.c: no ndo_set_vf_trust",
    },
    PfDriver {
        name: "bnxt_en",
        unsupported: &[],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, broadcom/bnxt/bnxt_sriov.c; 802.1ad, spoofchk and trust depend on the firmware: bnxt_set_vf_vlan, bnxt_set_vf_spoofchk, bnxt_hwrm_set_trusted_vf",
    },
    PfDriver {
        name: "qede",
        unsupported: &[Attribute::VlanQos, Attribute::VlanProto8021ad],
        zero_mac_refused: true,
        least_max_rate: 0,
        source: "Linux 6.12, qlogic/qede/qede_main.c: qede_set_vf_vlan, which drops the priority; qede_set_vf_mac",
    },
    PfDriver {
        name: "ionic",
        unsupported: &[Attribute::MinTxRate, Attribute::VlanQos, Attribute::VlanProto8021ad],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, pensando/ionic/ionic_lif.c: ionic_set_vf_rate, ionic_set_vf_vlan, ionic_set_vf_mac",
    },
    PfDriver {
        name: "nfp",
        unsupported: &[],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, netronome/nfp/nfp_net_sriov.c: what it can depends on the firmware, nfp_net_sriov_check",
    },
    PfDriver {
        name: "hns3",
        unsupported: &[Attribute::MinTxRate, Attribute::VlanProto8021ad],
        zero_mac_refused: false,
        least_max_rate: 0,
        source: "Linux 6.12, hisilicon/hns3/hns3pf/hclge_main.c: hclge_vf_rate_param_check, hclge_set_vf_vlan_filter, hclge_set_vf_mac",
    },
    PfDriver {
        name: "be2net",
        unsupported: &[Attribute::MinTxRate, Attribute::Trust, Attribute::VlanProto8021ad],
        zero_mac_refused: true,
        least_max_rate: 100,
        source: "Linux 6.12, emulex/benet/be_main.c: be_set_vf_tx_rate, be_set_vf_vlan, be_set_vf_mac; no ndo_set_vf_trust",
    },
    PfDriver {
        name: "bnx2x",
        unsupported: &[
            Attribute::MinTxRate,
            Attribute::MaxTxRate,
            Attribute::Trust,
            Attribute::VlanQos,
            Attribute::VlanProto8021ad,
        ],
        zero_mac_refused: true,
        least_max_rate: 0,
        source: "Linux 6.12, broadcom/bnx2x/bnx2x_main.c: no ndo_set_vf_rate, no ndo_set_vf_trust; bnx2x_sriov.c: bnx2x_set_vf_vlan, which drops the priority; bnx2x_set_vf_mac",
    },
    PfDriver {
        name: "cxgb4",
        unsupported: &[
            Attribute::MinTxRate,
            Attribute::SpoofCheck,
            Attribute::Trust,
            Attribute::VlanQos,
            Attribute::VlanProto8021ad,
        ],
        zero_mac_refused: true,
        least_max_rate: 0,
        source: "Linux 6.12, chelsio/cxgb4/cxgb4_main.c: cxgb4_mgmt_set_vf_rate, cxgb4_mgmt_set_vf_vlan, cxgb4_mgmt_set_vf_mac; no ndo_set_vf_spoofchk, no ndo_set_vf_trust",
    },
    PfDriver {
        name: "hinic",
        unsupported: &[Attribute::VlanProto8021ad],
        zero_mac_refused: true,
        least_max_rate: 0,
        source: "Linux 6.12, huawei/hinic/hinic_sriov.c: hinic_ndo_set_vf_vlan, hinic_ndo_set_vf_mac",
    },
];

/// The drivers of VFs.
pub const VF_DRIVERS: [VfDriver; 8] = [
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
    VfDriver {
        name: "bnxt_en",
        admin_mac: AdminMac::SetTwice,
        outlives_reset: false,
        source: "Linux 6.12, broadcom/bnxt/bnxt_sriov.c: bnxt_update_vf_mac takes it when the VF is opened, and bnxt_approve_mac lets the firmware decide on the same one; bnxt_err_handler has no reset_prepare",
    },
    VfDriver {
        name: "qede",
        admin_mac: AdminMac::TakenLater,
        outlives_reset: false,
        source: "Linux 6.12, qlogic/qede/qede_filter.c: qede_force_mac, from the PF's bulletin; qede_err_handler has no reset_prepare",
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

/// What is known of a PF's driver.
fn of_pf(name: &str) -> Option<&'static PfDriver> {
    PF_DRIVERS.iter().find(|driver| driver.name == name)
}

/// Whether a PF's driver is known to be unable to do something.
pub fn is_unsupported(pf_driver: &str, attribute: Attribute) -> bool {
    of_pf(pf_driver).is_some_and(|driver| driver.unsupported.contains(&attribute))
}

/// Whether a PF's driver is known to refuse to remove an admin MAC.
pub fn refuses_zero_mac(pf_driver: &str) -> bool {
    of_pf(pf_driver).is_some_and(|driver| driver.zero_mac_refused)
}

/// The least `max_tx_rate` in Mbit/s that a PF's driver takes, beside 0, where it's known to refuse smaller ones.
pub fn least_max_rate(pf_driver: &str) -> Option<u32> {
    of_pf(pf_driver).map(|driver| driver.least_max_rate).filter(|least| *least != 0)
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

#[cfg(test)]
mod tests;
