//! The call that works on a bare descriptor number.
//!
//! gRPC takes a connection as a number, and does not say when it closes it. So whoever
//! counts connections can only ask the system what stands behind the number now.

#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, RawFd};

/// The inode of what a descriptor number stands for now; `None` when it stands
/// for nothing. No two sockets that are open at the same time share one.
pub(super) fn inode(fd: RawFd) -> Option<u64> {
    if fd < 0 {
        return None;
    }
    // SAFETY: the number is used for one call of the system, which reads no
    // memory through it. Should another thread close it meanwhile, or have
    // another file under it by now, the call fails or tells another inode, and
    // both are answers that the caller asks for.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::fs::fstat(fd).ok().map(|told| told.st_ino)
}
