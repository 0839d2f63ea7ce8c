//! What a program is fed, while its output is read.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use crate::engine::{Engine, Look};

#[derive(Debug)]
pub(crate) struct Feed {
    id: u64,
    engine: &'static Engine,
    rest: Mutex<Option<Rest>>,
}

/// What is still to be written, and to where.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) to: OwnedFd,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) written: usize,
}

impl Rest {
    /// Writes what can be written now. `false` once there is nothing left, or nobody reads.
    pub(crate) fn write(&mut self) -> bool {
        self.write_at_most(usize::MAX)
    }

    fn write_at_most(&mut self, most: usize) -> bool {
        let end = self.written.saturating_add(most).min(self.bytes.len());
        while self.written < end {
            match rustix::io::write(&self.to, &self.bytes[self.written..end]) {
                Ok(n) => self.written += n,
                Err(Errno::INTR) => {}
                Err(error) => return error == Errno::AGAIN,
            }
        }
        end < self.bytes.len()
    }
}

impl Feed {
    /// Feeds a pipe that does not block.
    pub(crate) fn start(engine: &'static Engine, rest: Rest) -> io::Result<Arc<Feed>> {
        let feed = engine.register(|id| Arc::new(Feed { id, engine, rest: Mutex::new(None) }));
        let mut place = feed.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = engine.watch(&rest.to, feed.id, ONCE) {
            engine.unregister(feed.id);
            return Err(error);
        }
        *place = Some(rest);
        drop(place);
        Ok(feed)
    }

    /// Whoever was fed is dead.
    pub(crate) fn close(&self) {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rest) = rest {
            self.engine.unwatch(&rest.to);
            self.engine.unregister(self.id);
        }
    }
}

impl Look for Feed {
    fn id(&self) -> u64 {
        self.id
    }

    fn look(self: Arc<Feed>, _ready: bool) {
        let mut place = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rest) = place.as_mut() else { return };
        if rest.write_at_most(TURN) {
            self.engine.rearm(&rest.to, self.id, ONCE);
        } else {
            drop(place);
            self.close();
        }
    }
}

/// How much in one turn on the engine's thread: who reads as fast as we write must not keep it from the others.
const TURN: usize = 256 << 10;

const ONCE: EventFlags = EventFlags::OUT.union(EventFlags::ONESHOT);
