//! PCI addresses.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The address of a PCI function, always in full: `dddd:bb:dd.f`, lower case.
///
/// Domains above `ffff` (Intel VMD makes them) have more digits, as in sysfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress {
    domain: u32,
    bus: u8,
    device: u8,
    function: u8,
}

/// A text that isn't a full PCI address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no full PCI address: write domain, bus, device and function in lower case, like 0000:3b:02.1"
)]
pub struct InvalidAddress(pub String);

impl PciAddress {
    /// The address of these numbers, if there can be one: devices go to 31, functions to 7.
    pub const fn new(domain: u32, bus: u8, device: u8, function: u8) -> Option<Self> {
        if device > 0x1f || function > 7 {
            return None;
        }
        Some(Self { domain, bus, device, function })
    }

    /// The PCI domain (segment).
    pub const fn domain(&self) -> u32 {
        self.domain
    }

    /// The bus in the domain.
    pub const fn bus(&self) -> u8 {
        self.bus
    }

    /// The device on the bus, 0 to 31.
    pub const fn device(&self) -> u8 {
        self.device
    }

    /// The function of the device, 0 to 7.
    pub const fn function(&self) -> u8 {
        self.function
    }

    fn parse(text: &str) -> Option<Self> {
        let (domain, rest) = text.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        // One spelling per address: addresses are compared and used as file names in many places.
        let padded = domain.len() == 4 || ((5..=8).contains(&domain.len()) && !domain.starts_with('0'));
        if !padded || bus.len() != 2 || device.len() != 2 || function.len() != 1 {
            return None;
        }
        let hex = |digits: &str| {
            let lower = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
            lower.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
        };
        let byte = |digits| hex(digits).and_then(|number| u8::try_from(number).ok());
        Self::new(hex(domain)?, byte(bus)?, byte(device)?, byte(function)?)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for PciAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or_else(|| InvalidAddress(text.to_owned()))
    }
}

impl TryFrom<String> for PciAddress {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests;
