//! The calls by which a process changes its own user, groups, limits, umask and niceness. They change the calling
//! thread alone; those of the C library would ask each thread of the host to do the same.

use super::{Ret, address, call, int, number, six};

/// Soft and hard, as `prlimit(2)` has them.
pub(crate) fn set_limit(resource: usize, limit: &[u64; 2]) -> Ret {
    call!(number::PRLIMIT64, 0, resource, address(limit), 0)
}

/// For this process, `setpriority(2)`.
pub(crate) fn set_nice(nice: i32) -> Ret {
    const PRIO_PROCESS: usize = 0;
    call!(number::SETPRIORITY, PRIO_PROCESS, 0, int(nice))
}

/// The supplementary groups; `first` may be null if there are none.
pub(crate) fn set_groups(first: *const [u8; 4], len: usize) -> Ret {
    call!(number::SETGROUPS, len, address(first))
}

/// Real, effective, saved, and that of the file system: there is no way back.
pub(crate) fn set_gid(gid: u32) -> Ret {
    let gid = gid as usize;
    call!(number::SETRESGID, gid, gid, gid)
}

/// As [`set_gid`]. From root to another, all capabilities go too, `capabilities(7)`.
pub(crate) fn set_uid(uid: u32) -> Ret {
    let uid = uid as usize;
    call!(number::SETRESUID, uid, uid, uid)
}

pub(crate) fn set_umask(umask: u32) {
    call!(number::UMASK, umask as usize);
}
