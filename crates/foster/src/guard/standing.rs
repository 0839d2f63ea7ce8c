//! As whom a leader runs and within which bounds, and the one order in which it comes to that between its clone and
//! its exec. Host and guard are both built from this file; what the host wants goes to a guard as one of the strings.
//!
//! `unsafe` for that string, and for the list of groups.
#![expect(unsafe_code, reason = "a string and a list by their addresses")]

use core::ffi::c_char;
use core::ptr;

use super::sys::{self, Ret};
use super::wire::{RESOURCES, Step};

/// What a leader makes of itself. `None` leaves what the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Groups,
    pub(crate) umask: Option<u32>,
    pub(crate) nice: Option<i32>,
    /// A bit for each resource that is limited, by its number.
    pub(crate) limited: u32,
    /// Soft and hard; zeros for the others.
    pub(crate) limits: [[u64; 2]; RESOURCES],
}

/// The supplementary groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    Ours,
    /// None, if we may take them away: else whoever becomes another user kept root's.
    NoneIfAllowed,
    /// So many, from here on; bytes, since in a string they are not aligned.
    Exactly(*const [u8; 4], usize),
}

impl Standing {
    /// Nothing of it differs from the host.
    pub(crate) const OURS: Standing = Standing {
        uid: None,
        gid: None,
        groups: Groups::Ours,
        umask: None,
        nice: None,
        limited: 0,
        limits: [[0; 2]; RESOURCES],
    };

    /// Limits the resource of this number.
    pub(crate) fn limit(&mut self, resource: u8, soft: u64, hard: u64) {
        if let Some(limit) = self.limits.get_mut(usize::from(resource)) {
            *limit = [soft, hard];
            self.limited |= 1 << resource;
        }
    }

    /// Whether it cannot be taken in memory that is the host's as well: with another user or group the kernel marks
    /// the *memory* as one that nobody may trace and that leaves no core dump, `PR_SET_DUMPABLE`. See
    /// `spawn/stepping.rs`.
    pub(crate) fn marks_memory(&self) -> bool {
        self.uid.is_some() || self.gid.is_some()
    }

    /// Takes it. Only a process that is about to execute something does that, in memory that is not the host's if it
    /// [marks](Standing::marks_memory) that.
    ///
    /// What needs a privilege comes before the privileges go, and they go with the user:
    ///
    /// - Limits and niceness first: to raise one is root's.
    /// - Then the groups, the group, and the user last: without its user it may no longer change the others.
    /// - The umask is nobody's privilege.
    ///
    /// The cgroup and the Landlock domain were entered before, by whoever calls this; the directory is entered
    /// afterwards, by the new user.
    pub(crate) fn take(&self) -> Result<(), (Step, Ret)> {
        for (resource, limit) in (0..).zip(&self.limits) {
            if self.limited >> resource & 1 == 1 {
                done(Step::Limit(resource), sys::set_limit(resource.into(), limit))?;
            }
        }
        if let Some(nice) = self.nice {
            done(Step::Nice, sys::set_nice(nice))?;
        }
        match self.groups {
            Groups::Ours => {}
            // As `std` does: who may not is not root, and cannot become much else.
            Groups::NoneIfAllowed => match sys::set_groups(ptr::null(), 0) {
                sys::EPERM => {}
                result => done(Step::Groups, result)?,
            },
            Groups::Exactly(first, len) => done(Step::Groups, sys::set_groups(first, len))?,
        }
        if let Some(gid) = self.gid {
            done(Step::Gid, sys::set_gid(gid))?;
        }
        if let Some(uid) = self.uid {
            done(Step::Uid, sys::set_uid(uid))?;
        }
        if self.marks_memory() {
            // The kernel has just set it to `fs.suid_dumpable`. Where that is not 0 the new user could trace us until
            // we execute, and with us the guard, whose memory this may be, and which stays protected by it.
            sys::prctl(sys::PR_SET_DUMPABLE, 0);
        }
        if let Some(umask) = self.umask {
            sys::set_umask(umask);
        }
        Ok(())
    }

    /// The bytes of a string from which [`unpack`](Standing::unpack) makes it again; without the NUL.
    pub(crate) fn pack(&self, mut put: impl FnMut(u8)) {
        // Seven bits in each, and the eighth so that none is NUL.
        let mut word = |word: u64| (0..5).for_each(|at| put(0x80 | (word >> (7 * at)).to_le_bytes()[0]));
        let there = |is: bool, bit: u32| u64::from(is) << bit;
        let (groups, first, len) = match self.groups {
            Groups::Ours => (0, ptr::null(), 0),
            Groups::NoneIfAllowed => (1, ptr::null(), 0),
            Groups::Exactly(first, len) => (2, first, len),
        };
        word(
            there(self.uid.is_some(), 0)
                | there(self.gid.is_some(), 1)
                | there(self.umask.is_some(), 2)
                | there(self.nice.is_some(), 3)
                | groups << 4,
        );
        word(self.limited.into());
        [self.uid, self.gid, self.umask].iter().flatten().for_each(|number| word((*number).into()));
        self.nice.iter().for_each(|nice| word(nice.cast_unsigned().into()));
        let limited = self.limits.iter().enumerate().filter(|(at, _)| self.limited >> at & 1 == 1);
        for number in limited.flat_map(|(_, limit)| limit) {
            word(*number & u64::from(u32::MAX));
            word(*number >> 32);
        }
        if groups == 2 {
            word(len as u64);
            // SAFETY: there are so many.
            (0..len).for_each(|at| word(u32::from_ne_bytes(unsafe { first.add(at).read() }).into()));
        }
    }

    /// Makes it, of [`OURS`](Standing::OURS), what was packed; `None` if the string was not. The list of groups is
    /// written over the string.
    ///
    /// # Safety
    ///
    /// `text` is a NUL-terminated string that may be written to, and that lives as long as this.
    pub(crate) unsafe fn unpack(&mut self, text: *mut c_char) -> Option<()> {
        let mut at = text.cast::<u8>().cast_const();
        // SAFETY: the caller's; each is read up to the end and no further.
        let mut word = || unsafe { unpack_word(&mut at) };
        let (head, limited) = (word()?, word()?);
        if head >> 6 != 0 || limited >> RESOURCES != 0 {
            return None;
        }
        self.limited = limited;
        let Standing { uid, gid, umask, .. } = self;
        for (bit, number) in [uid, gid, umask].into_iter().enumerate() {
            if head >> bit & 1 == 1 {
                *number = Some(word()?);
            }
        }
        if head >> 3 & 1 == 1 {
            self.nice = Some(word()?.cast_signed());
        }
        for (resource, limit) in self.limits.iter_mut().enumerate() {
            if limited >> resource & 1 == 1 {
                for number in limit {
                    *number = u64::from(word()?) | u64::from(word()?) << 32;
                }
            }
        }
        self.groups = match head >> 4 {
            0 => Groups::Ours,
            1 => Groups::NoneIfAllowed,
            2 => {
                let (first, len) = (text.cast::<[u8; 4]>(), word()? as usize);
                for place in 0..len {
                    let group = word()?;
                    // SAFETY: four bytes for five that were read.
                    unsafe { first.add(place).write(group.to_ne_bytes()) };
                }
                Groups::Exactly(first, len)
            }
            _ => return None,
        };
        // SAFETY: within the string, or its end.
        (unsafe { at.read() } == 0).then_some(())
    }
}

/// The next five bytes; `None` at the end, and for what is no number of 32 bits.
///
/// # Safety
///
/// `at` is within a NUL-terminated string, or at its end.
#[inline(never)]
unsafe fn unpack_word(at: &mut *const u8) -> Option<u32> {
    let mut word = 0_u64;
    for place in 0..5 {
        // SAFETY: the caller's. It ends with the first byte that has no eighth bit, as NUL has none.
        let byte = unsafe { at.read() };
        if byte & 0x80 == 0 {
            return None;
        }
        word |= u64::from(byte & 0x7F) << (7 * place);
        // SAFETY: it was not the end.
        *at = unsafe { at.add(1) };
    }
    u32::try_from(word).ok()
}

fn done(step: Step, result: Ret) -> Result<(), (Step, Ret)> {
    if result < 0 { Err((step, result)) } else { Ok(()) }
}
