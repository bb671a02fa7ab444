//! InfiniBand partitions: which of them a function's ports are in.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::PciAddress;
use crate::sysfs::{Error, SriovExt, Sysfs};

/// The bit that makes a member a full one; the others name the partition.
const FULL: u16 = 0x8000;

/// The key of a partition. Whether as a full or as a limited member makes no difference here: that's the subnet
/// manager's to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pkey(u16);

/// A text that isn't the key of a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no partition key: write it as 0x0001 to 0x7fff, or 0x8001 to 0xffff")]
pub struct InvalidPkey(pub String);

impl Pkey {
    /// Whether both name one partition.
    pub const fn is_same_partition(self, other: Self) -> bool {
        self.0 & !FULL == other.0 & !FULL
    }
}

impl fmt::Display for Pkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl FromStr for Pkey {
    type Err = InvalidPkey;

    /// Hexadecimal, with or without `0x`.
    fn from_str(text: &str) -> Result<Self, InvalidPkey> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number =
            u16::from_str_radix(digits, 16).ok().filter(|number| is_hexadecimal && number & !FULL != 0);
        number.map(Self).ok_or_else(|| InvalidPkey(text.to_owned()))
    }
}

impl TryFrom<String> for Pkey {
    type Error = InvalidPkey;

    fn try_from(text: String) -> Result<Self, InvalidPkey> {
        text.parse()
    }
}

impl From<Pkey> for String {
    fn from(pkey: Pkey) -> Self {
        pkey.to_string()
    }
}

impl Sysfs {
    /// The partitions that a function's ports are in, as the subnet manager has told them. `None` when sysfs doesn't
    /// show its RDMA device: a program in user space drives it, or the device is in a pod.
    pub fn pkeys(&self, address: &PciAddress) -> Result<Option<BTreeSet<Pkey>>, Error> {
        let function = self.device(*address);
        let devices = function.names(Path::new("infiniband"))?;
        let mut pkeys = None;
        for device in devices {
            let ports = PathBuf::from("infiniband").join(device).join("ports");
            for port in function.names(&ports)? {
                let table = ports.join(port).join("pkeys");
                let found = pkeys.get_or_insert_with(BTreeSet::new);
                for place in function.names(&table)? {
                    let text = function.attribute(&table.join(place).to_string_lossy())?;
                    // Places without a partition are zero.
                    found.extend(text.and_then(|text| text.parse::<Pkey>().ok()));
                }
            }
        }
        Ok(pkeys)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0x0006", "0x0006")]
    #[case("0x6", "0x0006")]
    #[case("0X223F", "0x223f")]
    #[case("8001", "0x8001")]
    #[case("0xffff", "0xffff")]
    fn a_key_is_read(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Pkey>().unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("")]
    #[case("0x")]
    #[case("0x0000")]
    #[case("0x8000")]
    #[case("0x10000")]
    #[case("0x+6")]
    #[case("six")]
    fn what_is_no_key_is_refused_with_the_range(#[case] text: &str) {
        let error = text.parse::<Pkey>().unwrap_err().to_string();
        assert!(error.contains("0x0001"), "{error}");
    }

    #[expect(clippy::disallowed_methods, reason = "a tree of plain files plays sysfs")]
    #[test]
    fn a_table_is_read_without_its_empty_places() {
        let root = tempfile::tempdir().unwrap();
        let address: PciAddress = "0000:01:00.2".parse().unwrap();
        let function = root.path().join("bus/pci/devices/0000:01:00.2");
        fs::create_dir_all(&function).unwrap();
        let sysfs = Sysfs::new(root.path());
        assert_eq!(sysfs.pkeys(&address).unwrap(), None);
        let table = function.join("infiniband/mlx5_2/ports/1/pkeys");
        fs::create_dir_all(&table).unwrap();
        for (place, text) in [("0", "0xffff\n"), ("1", "0x0006\n"), ("2", "0x0000\n")] {
            fs::write(table.join(place), text).unwrap();
        }
        let pkeys: Vec<String> =
            sysfs.pkeys(&address).unwrap().unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(pkeys, ["0x0006", "0xffff"]);
        let asked: Pkey = "0x8006".parse().unwrap();
        assert!(asked.is_same_partition("0x6".parse().unwrap()));
    }
}
