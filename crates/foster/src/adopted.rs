//! A guard that lives on with a tree that was left alone: it is reaped when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::EventFlags;

use crate::engine::{Engine, Look};
use crate::guard::Guards;
use crate::watch::Collect;

/// Somebody may stop it, and what dies below it stays a zombie then. Seldom: there may be thousands.
const URGE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Adopted {
    id: u64,
    engine: &'static Engine,
    guards: Guards,
}

impl Adopted {
    pub(crate) fn start(engine: &'static Engine, guards: Guards) {
        let adopted = engine.register(|id| Arc::new(Adopted { id, engine, guards }));
        // Where there is no memory for a watch, it is looked at now and then all the same.
        _ = engine.watch(&adopted.guards.ours, adopted.id, EventFlags::IN | EventFlags::ONESHOT);
        adopted.look_later();
    }

    /// An entry that outlives it finds nobody.
    fn look_later(&self) {
        self.engine.requeue(self.id, None, Instant::now().checked_add(URGE));
    }
}

impl Look for Adopted {
    fn id(&self) -> u64 {
        self.id
    }

    fn look(self: Arc<Adopted>, ready: bool) {
        if self.guards.ours.ended(Collect::Reap).is_some() {
            self.engine.unregister(self.id);
            self.engine.unwatch(&self.guards.ours);
        } else if !ready {
            self.guards.urge();
            self.look_later();
        }
    }
}
