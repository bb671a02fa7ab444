//! The life of a VF on a double of the kernel, which has the contract of the kernel's own links.

#[cfg(test)]
mod attach;
#[cfg(test)]
mod detach;
#[cfg(test)]
mod existing;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod infiniband;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod prepare;
#[cfg(test)]
mod rdma;
#[cfg(test)]
mod reset;
#[cfg(test)]
mod sight;
#[cfg(test)]
mod trunk;
#[cfg(test)]
mod waits;
#[cfg(test)]
mod witness;
