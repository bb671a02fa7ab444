//! The commands on a double of the kernel, with an IPAM plugin that is a script.

#[cfg(test)]
mod add;
#[cfg(test)]
mod del;
#[cfg(test)]
mod existing;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod others;
