//! The file `trunk` that some PF drivers have for each VF.

use std::fs;
use std::path::PathBuf;

use pci::{PciAddress, TrunkDialect, Vlans};

use super::SysfsTree;

/// A VF's trunk, as its PF's driver keeps it.
#[derive(Debug)]
pub(super) struct Trunk {
    pf: PciAddress,
    vf: u16,
    dialect: TrunkDialect,
    vlans: Vlans,
    /// What the file says since the driver last looked; what follows it was written by others.
    shown: String,
}

impl SysfsTree {
    /// Gives each VF of a PF a file `trunk`. What's written there is taken with the next call of the
    /// [`FakeLinks`](crate::links::FakeLinks) that mirror this tree.
    pub fn add_trunks(&self, pf: &PciAddress, vfs: u16, dialect: TrunkDialect) {
        let mut made = self.shared.made.lock().expect("no test panics with the tree locked");
        for vf in 0..vfs {
            fs::create_dir_all(self.trunk_file(*pf, vf).with_file_name("")).expect("the tree is writable");
            self.put_file(&self.trunk_file(*pf, vf), "");
            let (vlans, shown) = (Vlans::default(), String::new());
            made.trunks.push(Trunk { pf: *pf, vf, dialect, vlans, shown });
        }
    }

    /// Lets drivers take what was written to their files, and show what they have. `vlan` is the VLAN that a VF is
    /// in, 0 for none.
    pub(crate) fn settle_trunks(&self, vlan: impl Fn(&PciAddress, u16) -> u16) {
        let mut made = self.shared.made.lock().expect("no test panics with the tree locked");
        for trunk in &mut made.trunks {
            let path = self.trunk_file(trunk.pf, trunk.vf);
            let text = fs::read_to_string(&path).expect("the file is there");
            let written = text.strip_prefix(&trunk.shown).expect("a driver's file is only appended to");
            let vlan = vlan(&trunk.pf, trunk.vf);
            written.lines().for_each(|line| trunk.take(line, vlan));
            let shown = trunk.show(vlan);
            if shown != text {
                self.put_file(&path, &shown);
                trunk.shown = shown;
            }
        }
    }

    /// Whether a VF has a trunk beside which its driver takes no VLAN.
    pub(crate) fn excludes_vlan(&self, pf: &str, vf: u16) -> bool {
        let made = self.shared.made.lock().expect("no test panics with the tree locked");
        made.trunks.iter().any(|trunk| {
            trunk.pf.to_string() == pf
                && trunk.vf == vf
                && trunk.dialect == TrunkDialect::Spans
                && !trunk.vlans.is_empty()
        })
    }

    fn trunk_file(&self, pf: PciAddress, vf: u16) -> PathBuf {
        self.device(pf).join(format!("sriov/{vf}/trunk"))
    }
}

impl Trunk {
    fn take(&mut self, line: &str, vlan: u16) {
        let (verb, ids) = line.split_once(' ').expect("a verb and VLANs");
        let vlans: Vlans = match (self.dialect, ids.split_once(' ')) {
            (TrunkDialect::Spans, Some((first, last))) => format!("{first}-{last}").parse(),
            (TrunkDialect::Lists, None) => ids.parse(),
            (TrunkDialect::Spans | TrunkDialect::Lists, _) => Err(pci::InvalidVlans::Text(line.to_owned())),
        }
        .expect("VLANs in the driver's dialect");
        self.vlans = match verb {
            "add" => {
                let refused = self.dialect == TrunkDialect::Spans && vlan != 0;
                assert!(!refused, "mlx5 refuses a trunk beside VLAN {vlan}");
                self.vlans.with(&vlans)
            }
            "rem" => self.vlans.without(&vlans),
            verb => unreachable!("no driver knows {verb}"),
        };
    }

    /// i40e shows the VLAN that a VF is in.
    fn show(&self, vlan: u16) -> String {
        let mut of_vf = Vlans::default();
        if vlan == 0 || self.dialect == TrunkDialect::Spans {
            return self.dialect.shown(&self.vlans);
        }
        of_vf.insert(vlan.into(), vlan.into()).expect("a VF's VLAN is one");
        self.dialect.shown(&of_vf)
    }
}
