//! What becomes of the three streams, and the terminal.

use std::ffi::c_int;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::{Command, Stdio};

/// The child's streams: what to place, what must stay open until then, and our ends.
pub(super) struct Streams {
    pub(super) theirs: [Option<OwnedFd>; 3],
    pub(super) ours: [Option<OwnedFd>; 3],
}

impl Streams {
    pub(super) fn new(command: &Command) -> io::Result<Streams> {
        let mut streams = Streams { theirs: [None, None, None], ours: [None, None, None] };
        for (i, stdio) in [&command.stdin, &command.stdout, &command.stderr].into_iter().enumerate() {
            let (theirs, ours) = match stdio {
                Stdio::Inherit => (None, None),
                Stdio::Null => {
                    let null = OpenOptions::new().read(i == 0).write(i != 0).open("/dev/null")?;
                    (Some(above_2(null.into())?), None)
                }
                Stdio::Piped => {
                    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                    let (theirs, ours) = if i == 0 { (read, write) } else { (write, read) };
                    (Some(above_2(theirs)?), Some(ours))
                }
                Stdio::Descriptor(descriptor) => (Some(fcntl_dupfd_cloexec(descriptor, 3)?), None),
            };
            streams.theirs[i] = theirs;
            streams.ours[i] = ours;
        }
        Ok(streams)
    }

    pub(super) fn sources(&self) -> [c_int; 3] {
        self.theirs.each_ref().map(|theirs| theirs.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }
}

/// A host that closed its own streams gets low numbers; placing one of ours must not overwrite another.
pub(super) fn above_2(descriptor: OwnedFd) -> io::Result<OwnedFd> {
    if descriptor.as_raw_fd() > 2 { Ok(descriptor) } else { Ok(fcntl_dupfd_cloexec(descriptor, 3)?) }
}

pub(super) fn open_terminal() -> Option<OwnedFd> {
    let terminal =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/tty").ok()?;
    above_2(terminal.into()).ok()
}
