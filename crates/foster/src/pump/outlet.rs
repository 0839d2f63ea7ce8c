//! Who is handed what a stream brings, and may take his time.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};

use crate::board::survives;
use crate::output::lines::Splitter;
use crate::output::log_file::Rotating;
use crate::output::{OnChunk, OnLine};

#[derive(Debug)]
pub(crate) enum Outlet {
    Lines(OnLine, Splitter),
    Chunks(OnChunk),
    Descriptor(File),
    /// Both streams of a run may go to one file.
    Log(Arc<Mutex<Rotating>>),
    /// Its function has panicked. What comes is dropped; the program does not have to suffer for it.
    Deaf,
}

impl Outlet {
    pub(crate) fn to(descriptor: OwnedFd) -> Outlet {
        Outlet::Descriptor(descriptor.into())
    }

    /// Hands it on, and says so after each line. `false`: it takes no more.
    pub(crate) fn take(&mut self, bytes: &[u8], took: impl Fn()) -> bool {
        match self {
            Outlet::Lines(function, splitter) => {
                let hand_on = || {
                    let function = &mut *locked(&function.0);
                    splitter.split(bytes, |line| {
                        function(line);
                        took();
                    });
                };
                if !survives(hand_on) {
                    self.deafen();
                }
                true
            }
            Outlet::Chunks(function) => {
                if !survives(|| locked(&function.0)(bytes)) {
                    self.deafen();
                }
                true
            }
            Outlet::Descriptor(file) => {
                write(file, bytes).map_or_else(|error| may_have_room_again(&error), |()| true)
            }
            Outlet::Log(log) => {
                _ = locked(log).write(bytes);
                true
            }
            Outlet::Deaf => true,
        }
    }

    /// Nobody waits for the rest of a line any more: it is told as far as it has come.
    pub(crate) fn break_line(&mut self) {
        if let Outlet::Lines(function, splitter) = self
            && !survives(|| splitter.finish(&mut *locked(&function.0)))
        {
            self.deafen();
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(mut self) {
        self.break_line();
        self.deafen();
    }

    /// What the function owns may be dropped with that, and is somebody else's.
    fn deafen(&mut self) {
        let was = std::mem::replace(self, Outlet::Deaf);
        survives(|| drop(was));
    }
}

/// A disk that is full; a reader that has gone away never comes back.
fn may_have_room_again(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

fn locked<T: ?Sized>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All of it, also to what somebody has made non-blocking.
fn write(file: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file, PollFlags::OUT)], None)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
