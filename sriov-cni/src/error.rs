//! The code of each error on the CNI's wire.

use cni::code;

/// Ours: the VF can't be used as it is; someone has to look at it.
pub const VF_UNUSABLE: u32 = 110;

/// Ours: the kernel or the driver didn't do what was asked of the VF.
pub const VF_REFUSED: u32 = 111;

/// Ours: the VF isn't this attachment's.
pub const VF_NOT_OWNED: u32 = 112;

/// Ours: CHECK found a difference.
pub const CHECK_DIFFERS: u32 = 113;

/// Ours: something in the pod's namespace couldn't be set.
pub const POD_REFUSED: u32 = 114;

/// The error of a VF as the runtime is told it.
pub fn of_vf(error: &vf::Error) -> cni::Error {
    cni::Error::new(code_of(error), error.chain())
}

fn code_of(error: &vf::Error) -> u32 {
    if error.is_transient() {
        return code::TRY_AGAIN;
    }
    match error {
        // The VF is another's, or being restored, and that may end.
        vf::Error::Busy { .. }
        | vf::Error::Quarantined { .. }
        | vf::Error::NotUndone { .. }
        | vf::Error::NotInPartition { .. }
        | vf::Error::OfExistingPlugin { .. }
        | vf::Error::Existing(vf::ExistingError::Locked { .. })
        | vf::Error::NotAtHome { .. } => code::TRY_AGAIN,
        vf::Error::Namespace { .. } | vf::Error::HostNamespace { .. } | vf::Error::Name { .. } => {
            code::INVALID_ENVIRONMENT
        }
        vf::Error::BootId { .. }
        | vf::Error::Incarnation { .. }
        | vf::Error::Ledger { .. }
        | vf::Error::Existing(vf::ExistingError::Lock { .. } | vf::ExistingError::File { .. })
        | vf::Error::List(_) => code::IO,
        vf::Error::Device { .. }
        | vf::Error::NoVf { .. }
        | vf::Error::Uplink { .. }
        | vf::Error::Rdma(_)
        | vf::Error::Unable(_) => code::INVALID_CONFIG,
        vf::Error::LeftByExistingPlugin { .. }
        | vf::Error::Existing(vf::ExistingError::Unusable { .. })
        | vf::Error::NoDriver { .. } => VF_UNUSABLE,
        vf::Error::Links { .. }
        | vf::Error::Step { .. }
        | vf::Error::Bind { .. }
        | vf::Error::Trunk { .. }
        | vf::Error::Reset { .. }
        | vf::Error::ReadBack { .. } => VF_REFUSED,
        vf::Error::NotOwned { .. } => VF_NOT_OWNED,
    }
}

/// The first of several errors, with the others in its details.
pub(crate) fn all(errors: Vec<cni::Error>) -> Result<(), cni::Error> {
    let mut errors = errors.into_iter();
    match errors.next() {
        None => Ok(()),
        Some(first) => Err(errors.fold(first, |first, other| also(first, &other))),
    }
}

/// An error, with another one in its details.
pub(crate) fn also(mut error: cni::Error, other: &cni::Error) -> cni::Error {
    if !error.details.is_empty() {
        error.details.push_str("; ");
    }
    error.details.push_str("also: ");
    error.details.push_str(&other.to_string());
    error
}
