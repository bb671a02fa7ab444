use pci::PciAddress;

/// What a device of a pool must be: every list that isn't empty has to hold it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// The vendor's id.
    pub vendors: Vec<u16>,
    /// The device's id.
    pub devices: Vec<u16>,
    /// The driver's name.
    pub drivers: Vec<String>,
    /// Its address.
    pub pci_addresses: Vec<PciAddress>,
    /// Its ACPI index.
    pub acpi_indexes: Vec<String>,
    /// The name of its PF, and which functions of it.
    pub pf_names: Vec<NameSelector>,
    /// The PCI address of its PF, and which functions of it.
    pub root_devices: Vec<NameSelector>,
    /// The kind of its link: `ether` or `infiniband`.
    pub link_types: Vec<String>,
}

/// A PF by name, with the functions that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSelector {
    /// The PF's name or address.
    pub name: String,
    /// The functions; none for all.
    pub functions: Vec<FunctionRange>,
}

/// VFs by their index, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl NameSelector {
    /// Reads `NAME`, `NAME#4` or `NAME#0-3,7`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, functions) = match text.split_once('#') {
            None => (text, Vec::new()),
            Some((name, list)) => (name, list.split(',').map(FunctionRange::parse).collect::<Option<_>>()?),
        };
        (!name.is_empty()).then(|| Self { name: name.to_owned(), functions })
    }

    /// Whether it means the function `index` of the PF `name`. Case doesn't matter in names.
    pub fn matches(&self, name: &str, index: u16) -> bool {
        let within = |range: &FunctionRange| (range.first..=range.last).contains(&index);
        self.name.eq_ignore_ascii_case(name)
            && (self.functions.is_empty() || self.functions.iter().any(within))
    }
}

impl FunctionRange {
    fn parse(text: &str) -> Option<Self> {
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        let (first, last) = match text.split_once('-') {
            None => (number(text)?, number(text)?),
            Some((first, last)) => (number(first)?, number(last)?),
        };
        (first <= last).then_some(Self { first, last })
    }
}
