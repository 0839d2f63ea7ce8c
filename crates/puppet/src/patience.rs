//! [`long_enough`]: for what must come before a time is over that is short so that the test is.

use std::time::{Duration, Instant};

/// Plays it with a short time, and with a longer one each time it says, by `None`, that on this machine the time may have
/// been over too soon. Whether it may is to be measured, and not told by what the test is about.
#[track_caller]
pub fn long_enough<T>(play: impl Fn(Duration) -> Option<T>) -> T {
    let times = [300, 1_500, 6_000, 24_000].map(Duration::from_millis);
    let played = times.into_iter().find_map(play);
    played.unwrap_or_else(|| panic!("{times:?}: none of them is long enough"))
}

/// A clock that was started before a time began, and that says whether this may be over.
#[derive(Debug)]
pub struct Before(Instant, Duration);

impl Before {
    /// The time begins after this.
    pub fn begins(time: Duration) -> Before {
        Before(Instant::now(), time)
    }

    /// `None` if the time may be over by now.
    pub fn still(&self) -> Option<()> {
        (self.0.elapsed() < self.1).then_some(())
    }
}
