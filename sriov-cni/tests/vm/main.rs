//! The plugin's program on real VFs: run in the VM node with seven VFs on each PF, one test at a time.
//!
//! `ip` is what tells how a VF looks, before ADD, after ADD and after DEL: nothing of ours takes part in that.

#[cfg(test)]
mod announce;
#[cfg(test)]
mod attributes;
#[cfg(test)]
mod existing;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod life;
#[cfg(test)]
mod log;
#[cfg(test)]
mod node;
#[cfg(test)]
mod peer;
#[cfg(test)]
mod reset;
#[cfg(test)]
mod sight;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod versions;
