//! What a parent bears, which a start must not pay for: memory, whose page tables a fork would copy, and descriptors,
//! whose table it does.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::OwnedFd;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Result;

/// How many descriptors are many.
pub(crate) const DESCRIPTORS: usize = 5000;

/// What others have open: the standard streams, the runtimes, the libraries.
const OTHERS: usize = 200;

pub(crate) enum Burden {
    Nothing,
    Memory { _touched: Vec<u8> },
    Descriptors { _open: Vec<OwnedFd>, _room: Room },
}

impl Burden {
    /// So many bytes, every page touched.
    pub(crate) fn memory(bytes: usize) -> Burden {
        // Zeroes would come untouched.
        Burden::Memory { _touched: black_box(vec![1; bytes]) }
    }

    pub(crate) fn descriptors(count: usize) -> Result<Burden> {
        let room = Room::for_descriptors(count)?;
        let null = File::open("/dev/null")?;
        let open: rustix::io::Result<Vec<OwnedFd>> =
            (0..count).map(|_| fcntl_dupfd_cloexec(&null, 0)).collect();
        Ok(Burden::Descriptors { _open: open?, _room: room })
    }
}

/// While it lives, we may have more descriptors open than we were given; then the soft limit is again what it was.
pub(crate) struct Room(Rlimit);

impl Room {
    /// # Errors
    ///
    /// The hard limit (`RLIMIT_NOFILE`, getrlimit(2)) is lower, and we may not raise it.
    pub(crate) fn for_descriptors(count: usize) -> Result<Room> {
        let before = getrlimit(Resource::Nofile);
        let wanted = (count + OTHERS) as u64;
        if before.current.is_some_and(|current| current < wanted) {
            let maximum = before.maximum.map(|maximum| maximum.max(wanted));
            setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
                .map_err(|error| format!("{wanted} descriptors are needed; see `ulimit -Hn`: {error}"))?;
        }
        Ok(Room(before))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // The hard limit stays where it is when it was raised: lowering it again could be final.
        let maximum = getrlimit(Resource::Nofile).maximum;
        _ = setrlimit(Resource::Nofile, Rlimit { current: self.0.current, maximum });
    }
}
