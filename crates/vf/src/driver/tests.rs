use std::collections::BTreeSet;

use super::*;

#[test]
fn every_entry_has_a_source_and_no_driver_is_there_twice() {
    let pf = PF_DRIVERS.iter().map(|driver| (driver.name, driver.source));
    let vf = VF_DRIVERS.iter().map(|driver| (driver.name, driver.source));
    for table in [pf.collect::<Vec<_>>(), vf.collect()] {
        let names: BTreeSet<&str> = table.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), table.len());
        for (name, source) in table {
            assert!(!name.is_empty() && source.len() > 10, "{name}: {source:?}");
        }
    }
}

/// Nothing would be left to try.
#[test]
fn who_has_no_rates_at_all_has_no_least_one_and_no_guaranteed_one() {
    for driver in PF_DRIVERS.iter().filter(|driver| driver.unsupported.contains(&Attribute::MaxTxRate)) {
        assert!(driver.unsupported.contains(&Attribute::MinTxRate), "{}", driver.name);
        assert_eq!(driver.least_max_rate, 0, "{}", driver.name);
    }
}

#[test]
fn an_unknown_driver_is_asked() {
    assert!(!is_unsupported("unheard", Attribute::Trust) && !refuses_zero_mac("unheard"));
    assert_eq!(least_max_rate("unheard"), None);
    assert_eq!(admin_mac(Some("unheard")), AdminMac::SetTwice);
    assert!(!outlives_reset(Some("unheard")));
}
