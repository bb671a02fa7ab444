//! Sets of VLANs.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A set of VLANs, each 1 to 4094. As text it's sorted and merged, as `100,200-210`; empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Vlans(BTreeSet<u16>);

/// What can't be a set of VLANs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidVlans {
    /// Something else than ids and ranges.
    #[error("{0:?} is neither a VLAN nor a range of them: write them like 100,200-210")]
    Text(String),
    /// An id that no VLAN has.
    #[error("there's no VLAN {0}: they go from 1 to 4094")]
    Id(i64),
    /// A range whose end comes first.
    #[error("the range {first}-{last} ends before it begins")]
    Backwards {
        /// Its first id.
        first: u16,
        /// Its last id.
        last: u16,
    },
}

impl Vlans {
    /// The highest id; 4095 is reserved.
    pub const HIGHEST: u16 = 4094;

    /// Adds a range, its ends included.
    pub fn insert(&mut self, first: i64, last: i64) -> Result<(), InvalidVlans> {
        let id = |id: i64| {
            let known = u16::try_from(id).ok().filter(|id| (1..=Self::HIGHEST).contains(id));
            known.ok_or(InvalidVlans::Id(id))
        };
        let (first, last) = (id(first)?, id(last)?);
        if first > last {
            return Err(InvalidVlans::Backwards { first, last });
        }
        self.0.extend(first..=last);
        Ok(())
    }

    /// Whether there's none in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().copied()
    }

    /// First and last id of each range, ascending; ranges neither overlap nor touch.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for &id in &self.0 {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == id => *last = id,
                _ => ranges.push((id, id)),
            }
        }
        ranges
    }

    /// Those that `other` hasn't.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        Self(self.0.difference(&other.0).copied().collect())
    }

    /// These, and those of `other`.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0).copied().collect())
    }
}

impl fmt::Display for Vlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.ranges().into_iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Vlans {
    type Err = InvalidVlans;

    fn from_str(text: &str) -> Result<Self, InvalidVlans> {
        let mut vlans = Self::default();
        if text.trim().is_empty() {
            return Ok(vlans);
        }
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| {
                let digits = digits.trim();
                let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
                number.ok_or_else(|| InvalidVlans::Text(part.trim().to_owned()))
            };
            vlans.insert(number(first)?, number(last)?)?;
        }
        Ok(vlans)
    }
}

impl TryFrom<String> for Vlans {
    type Error = InvalidVlans;

    fn try_from(text: String) -> Result<Self, InvalidVlans> {
        text.parse()
    }
}

impl From<Vlans> for String {
    fn from(vlans: Vlans) -> Self {
        vlans.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "")]
    #[case("100", "100")]
    #[case("100,200-210", "100,200-210")]
    #[case(" 200 - 210 , 100 ", "100,200-210")]
    #[case("3,1,2,5,4-6,9-9", "1-6,9")]
    #[case("1-4094", "1-4094")]
    fn a_set_is_sorted_and_merged(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(text.parse::<Vlans>().unwrap().to_string(), expected);
    }

    #[rstest]
    #[case("0", InvalidVlans::Id(0))]
    #[case("4095", InvalidVlans::Id(4095))]
    #[case("1-4095", InvalidVlans::Id(4095))]
    #[case("70000", InvalidVlans::Id(70000))]
    #[case("210-200", InvalidVlans::Backwards { first: 210, last: 200 })]
    #[case("1,", InvalidVlans::Text(String::new()))]
    #[case("1,x", InvalidVlans::Text("x".to_owned()))]
    #[case("-5", InvalidVlans::Text("-5".to_owned()))]
    #[case("+5", InvalidVlans::Text("+5".to_owned()))]
    #[case("1-2-3", InvalidVlans::Text("1-2-3".to_owned()))]
    #[case("1 2", InvalidVlans::Text("1 2".to_owned()))]
    #[case("99999999999999999999", InvalidVlans::Text("99999999999999999999".to_owned()))]
    fn what_is_no_set_is_refused(#[case] text: &str, #[case] expected: InvalidVlans) {
        assert_eq!(text.parse::<Vlans>().unwrap_err(), expected);
    }

    proptest! {
        #[test]
        fn any_set_is_read_back_as_written(ids in proptest::collection::btree_set(1..=4094_u16, 0..60)) {
            let mut vlans = Vlans::default();
            for &id in &ids {
                vlans.insert(id.into(), id.into()).unwrap();
            }
            prop_assert_eq!(&vlans.to_string().parse::<Vlans>().unwrap(), &vlans);
            prop_assert!(vlans.iter().eq(ids.iter().copied()));
            let ranges = vlans.ranges();
            prop_assert!(ranges.iter().all(|(first, last)| first <= last));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }

        #[test]
        fn whatever_text_is_taken_has_ids_that_vlans_have(text in "[0-9, -]{0,16}") {
            if let Ok(vlans) = text.parse::<Vlans>() {
                prop_assert!(vlans.iter().all(|id| (1..=4094).contains(&id)));
                prop_assert_eq!(vlans.to_string().parse::<Vlans>().unwrap(), vlans);
            }
        }

        #[test]
        fn what_is_taken_out_and_put_back_makes_the_same_set(
            one in proptest::collection::btree_set(1..40_u16, 0..20),
            other in proptest::collection::btree_set(1..40_u16, 0..20),
        ) {
            let (one, other) = (Vlans(one), Vlans(other));
            let missing = other.without(&one);
            let surplus = one.without(&other);
            prop_assert_eq!(one.without(&surplus).with(&missing), other);
        }
    }
}
