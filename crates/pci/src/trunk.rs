//! The file in which some PF drivers have the VLANs that a VF may tag itself: `sriov/<VF>/trunk` below the PF.
//!
//! Linux has no interface of its own for more than one VLAN of a VF, so each of these drivers has its way of
//! writing and showing them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::address::PciAddress;
use crate::sysfs::Sysfs;
use crate::vlans::Vlans;

/// A driver shows at most this many bytes: a page of the smallest size, less the zero at its end.
const PAGE: usize = 4095;

/// What the kernel says of something that a driver can't do.
const EOPNOTSUPP: i32 = 95;

/// How a driver writes VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkDialect {
    /// A range is written as `10 12`, and each VLAN is shown: `Allowed 802.1Q VLANs: 10 11 12`.
    Spans,
    /// A range is written as `10-12`, and shown like that: `2,10-12`.
    Lists,
}

/// What introduces the VLANs in the dialect of spans.
const INTRODUCTION: &str = "Allowed 802.1Q VLANs:";

/// Why a VF's VLANs can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TrunkError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file doesn't say which VLANs.
    #[error("{} says {text:?} in place of VLANs", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it says.
        text: String,
    },
    /// There are more VLANs than the file can show.
    #[error("{} is cut off, since it holds more VLANs than fit into a page of memory: take some away (rem)", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
    },
    /// The file doesn't take what's written.
    #[error("can't write {text:?} to {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        text: String,
        /// Why it wasn't taken: a driver's own error comes out here.
        source: io::Error,
    },
}

impl TrunkError {
    /// Whether the driver can't do it at all, whatever the VLANs.
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Write { source, .. } if source.raw_os_error() == Some(EOPNOTSUPP))
    }
}

impl TrunkDialect {
    /// Whether a driver can show these VLANs, so that they can be read back.
    pub fn can_show(self, vlans: &Vlans) -> bool {
        self.shown(vlans).len() < PAGE
    }

    /// What a driver shows for these VLANs.
    pub fn shown(self, vlans: &Vlans) -> String {
        match self {
            Self::Spans | Self::Lists if vlans.is_empty() => String::new(),
            Self::Spans => {
                let ids: Vec<String> = vlans.iter().map(|id| id.to_string()).collect();
                format!("{INTRODUCTION} {}\n", ids.join(" "))
            }
            Self::Lists => format!("{vlans}\n"),
        }
    }

    /// What a driver shows, understood; `None` when it isn't in this dialect.
    pub fn read(self, text: &str) -> Option<Vlans> {
        match self {
            Self::Spans | Self::Lists if text.trim().is_empty() => Some(Vlans::default()),
            Self::Spans => {
                let mut vlans = Vlans::default();
                for id in text.trim().strip_prefix(INTRODUCTION)?.split_ascii_whitespace() {
                    let id = id.parse().ok()?;
                    vlans.insert(id, id).ok()?;
                }
                Some(vlans)
            }
            Self::Lists => text.parse().ok(),
        }
    }

    fn line(self, verb: &str, (first, last): (u16, u16)) -> String {
        match self {
            Self::Spans => format!("{verb} {first} {last}"),
            Self::Lists if first == last => format!("{verb} {first}"),
            Self::Lists => format!("{verb} {first}-{last}"),
        }
    }
}

impl Sysfs {
    /// The VLANs that a VF may tag itself; `None` when its PF's driver has no way to say that. Where there are none
    /// in it, drivers don't restrict the VF.
    pub fn trunk(
        &self,
        pf: &PciAddress,
        vf: u16,
        dialect: TrunkDialect,
    ) -> Result<Option<Vlans>, TrunkError> {
        let path = self.trunk_directory(*pf, vf).join("trunk");
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(EOPNOTSUPP) => return Ok(None),
            Err(source) => return Err(TrunkError::Read { path, source }),
            Ok(text) => text,
        };
        if text.len() >= PAGE {
            return Err(TrunkError::CutOff { path });
        }
        dialect.read(&text).map(Some).ok_or(TrunkError::Malformed { path, text })
    }

    /// Adds to the VLANs that a VF may tag itself, a range at a time.
    pub fn allow_vlans(
        &self,
        pf: &PciAddress,
        vf: u16,
        dialect: TrunkDialect,
        vlans: &Vlans,
    ) -> Result<(), TrunkError> {
        self.write_trunk(*pf, vf, dialect, "add", vlans)
    }

    /// Takes from the VLANs that a VF may tag itself, a range at a time.
    pub fn forbid_vlans(
        &self,
        pf: &PciAddress,
        vf: u16,
        dialect: TrunkDialect,
        vlans: &Vlans,
    ) -> Result<(), TrunkError> {
        self.write_trunk(*pf, vf, dialect, "rem", vlans)
    }

    fn write_trunk(
        &self,
        pf: PciAddress,
        vf: u16,
        dialect: TrunkDialect,
        verb: &str,
        vlans: &Vlans,
    ) -> Result<(), TrunkError> {
        let path = self.trunk_directory(pf, vf).join("trunk");
        let refused = |text, source| TrunkError::Write { path: path.clone(), text, source };
        // The kernel takes each write by itself, wherever in the file; where a plain file plays sysfs, none is lost.
        let opened = OpenOptions::new().append(true).open(&path);
        let mut file = opened.map_err(|source| refused(verb.to_owned(), source))?;
        for text in vlans.ranges().into_iter().map(|range| dialect.line(verb, range)) {
            file.write_all(format!("{text}\n").as_bytes()).map_err(|source| refused(text, source))?;
        }
        Ok(())
    }

    fn trunk_directory(&self, pf: PciAddress, vf: u16) -> PathBuf {
        self.devices().join(pf.to_string()).join("sriov").join(vf.to_string())
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;

    const PF: PciAddress = match PciAddress::new(0, 1, 0, 0) {
        Some(address) => address,
        None => unreachable!(),
    };

    /// A PF with one VF, whose file says `text`.
    #[expect(clippy::disallowed_methods, reason = "a tree of plain files plays sysfs")]
    fn tree(text: &str) -> (TempDir, Sysfs, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("bus/pci/devices/0000:01:00.0/sriov/0");
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("trunk");
        fs::write(&path, text).unwrap();
        let sysfs = Sysfs::new(root.path());
        (root, sysfs, path)
    }

    #[rstest]
    #[case(TrunkDialect::Spans, "", "")]
    #[case(TrunkDialect::Spans, "\n", "")]
    #[case(TrunkDialect::Spans, "Allowed 802.1Q VLANs: 2 10 11 12\n", "2,10-12")]
    #[case(TrunkDialect::Lists, "", "")]
    #[case(TrunkDialect::Lists, "\n", "")]
    #[case(TrunkDialect::Lists, "2,10-12\n", "2,10-12")]
    fn what_a_driver_shows_is_understood(
        #[case] dialect: TrunkDialect,
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        let (_root, sysfs, _path) = tree(text);
        let vlans = sysfs.trunk(&PF, 0, dialect).unwrap().unwrap();
        assert_eq!(vlans.to_string(), expected);
        assert_eq!(dialect.read(&dialect.shown(&vlans)), Some(vlans));
    }

    #[rstest]
    #[case(TrunkDialect::Spans, "2,10-12\n")]
    #[case(TrunkDialect::Spans, "Allowed 802.1Q VLANs: 2 x\n")]
    #[case(TrunkDialect::Spans, "Allowed 802.1Q VLANs: 4095\n")]
    #[case(TrunkDialect::Lists, "Allowed 802.1Q VLANs: 2 10 11 12\n")]
    #[case(TrunkDialect::Lists, "0\n")]
    fn what_a_driver_of_another_dialect_shows_is_an_error_with_its_words(
        #[case] dialect: TrunkDialect,
        #[case] text: &str,
    ) {
        let (_root, sysfs, path) = tree(text);
        let error = sysfs.trunk(&PF, 0, dialect).unwrap_err();
        assert!(matches!(&error, TrunkError::Malformed { text: said, .. } if said == text), "{error:?}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }

    #[test]
    fn a_driver_without_the_file_has_no_trunks() {
        let (_root, sysfs, _path) = tree("");
        assert_eq!(sysfs.trunk(&PF, 1, TrunkDialect::Spans).unwrap(), None);
        let error = sysfs.allow_vlans(&PF, 1, TrunkDialect::Spans, &"5".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("sriov/1/trunk") && !error.is_unsupported(), "{error:?}");
    }

    #[rstest]
    #[case(TrunkDialect::Spans, "5", "add 5 5\n", "rem 5 5\n")]
    #[case(TrunkDialect::Spans, "10-12", "add 10 12\n", "rem 10 12\n")]
    #[case(TrunkDialect::Lists, "5", "add 5\n", "rem 5\n")]
    #[case(TrunkDialect::Lists, "10-12", "add 10-12\n", "rem 10-12\n")]
    fn a_range_is_written_as_the_driver_takes_it(
        #[case] dialect: TrunkDialect,
        #[case] vlans: &str,
        #[case] added: &str,
        #[case] removed: &str,
    ) {
        let vlans: Vlans = vlans.parse().unwrap();
        let (_root, sysfs, path) = tree("");
        sysfs.allow_vlans(&PF, 0, dialect, &vlans).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), added);
        let (_root, sysfs, path) = tree("");
        sysfs.forbid_vlans(&PF, 0, dialect, &vlans).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), removed);
    }

    /// mlx5 shows each VLAN, so a page holds about a thousand.
    #[test]
    fn more_than_fits_into_a_page_is_noticed() {
        let all: Vlans = "1-4094".parse().unwrap();
        assert!(TrunkDialect::Lists.can_show(&all) && !TrunkDialect::Spans.can_show(&all));
        assert!(TrunkDialect::Spans.can_show(&"1-1000".parse().unwrap()));
        let (_root, sysfs, _path) = tree(TrunkDialect::Spans.shown(&all).get(..PAGE).unwrap());
        let error = sysfs.trunk(&PF, 0, TrunkDialect::Spans).unwrap_err();
        assert!(matches!(error, TrunkError::CutOff { .. }), "{error:?}");
    }
}
