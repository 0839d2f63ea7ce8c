//! How long a stream is listened to once its leader is dead. Pure: no clock, no I/O.
//!
//! What was written before the exit is delivered before the exit is told, however long that takes as long as it gets
//! on. What comes later is somebody else's who holds the pipe: it is listened to until the stream ends, until nothing
//! has come for a while, or until that has lasted too long.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    silence: Duration,
    most: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The leader lives.
    Open,
    /// It is dead, and not all that it wrote is delivered. After `until` nobody waits for that any more.
    CatchingUp { until: Option<Instant>, end: Option<Instant> },
    /// All that it wrote is delivered.
    Draining { quiet: Option<Instant>, end: Option<Instant> },
    /// Nobody waits for more. `ended`: there is no more.
    Over { ended: bool },
}

impl Drain {
    pub(crate) fn new(silence: Duration, most: Duration) -> Drain {
        Drain { silence, most, phase: Phase::Open }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// The leader is dead.
    pub(crate) fn exited(&mut self, now: Instant) {
        if self.phase == Phase::Open {
            let end = now.checked_add(self.most);
            self.phase = Phase::CatchingUp { until: end, end };
        }
    }

    /// Something was delivered.
    pub(crate) fn came(&mut self, now: Instant) {
        match &mut self.phase {
            Phase::CatchingUp { until, .. } => *until = now.checked_add(self.most),
            Phase::Draining { quiet, .. } => *quiet = now.checked_add(self.silence),
            Phase::Open | Phase::Over { .. } => {}
        }
    }

    /// All that was written before the exit was delivered.
    pub(crate) fn caught_up(&mut self, now: Instant) {
        if let Phase::CatchingUp { end, .. } = self.phase {
            let quiet = now.checked_add(self.silence);
            // Who was slow has the silence at least.
            let end = end.zip(quiet).map(|(end, quiet)| if end < now { quiet } else { end });
            self.phase = Phase::Draining { quiet, end };
        }
    }

    /// The stream has ended, and all of it was delivered.
    pub(crate) fn ended(&mut self) {
        self.phase = Phase::Over { ended: true };
    }

    /// When it is over, if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::CatchingUp { until, .. } => until,
            Phase::Draining { quiet: Some(quiet), end: Some(end) } => Some(quiet.min(end)),
            Phase::Draining { quiet, end } => quiet.or(end),
            Phase::Open | Phase::Over { .. } => None,
        }
    }

    /// It is `now`. Says whether it is over with that.
    pub(crate) fn passes(&mut self, now: Instant) -> bool {
        let over = self.deadline().is_some_and(|deadline| deadline <= now);
        if over {
            self.phase = Phase::Over { ended: false };
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_millis(500);
    const MOST: Duration = Duration::from_secs(5);
    const ALMOST: Duration = Duration::from_millis(4_999);
    const OVER: Phase = Phase::Over { ended: false };

    fn started() -> (Drain, Instant) {
        (Drain::new(SILENCE, MOST), Instant::now())
    }

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn while_the_leader_lives_there_is_no_deadline() {
        let (mut drain, now) = started();
        drain.came(now);
        drain.caught_up(now);
        assert_eq!(
            (drain.phase(), drain.deadline(), drain.passes(now + MOST * 100)),
            (Phase::Open, None, false)
        );
    }

    #[test]
    fn silence_ends_it_and_what_comes_breaks_the_silence() {
        let (mut drain, now) = started();
        drain.exited(now);
        drain.caught_up(now + ms(1));
        assert_eq!(drain.deadline(), Some(now + ms(501)));
        drain.came(now + ms(400));
        assert!(!drain.passes(now + ms(501)));
        assert!(drain.passes(now + ms(900)));
        assert_eq!(drain.phase(), OVER);
    }

    #[test]
    fn who_never_stops_talking_is_cut_off() {
        let (mut drain, now) = started();
        drain.exited(now);
        drain.caught_up(now);
        for i in 0..49 {
            drain.came(now + ms(100 * i));
            assert!(!drain.passes(now + ms(100 * i)));
        }
        assert!(drain.passes(now + MOST));
    }

    #[test]
    fn what_was_written_before_the_exit_is_waited_for_as_long_as_it_gets_on() {
        let (mut drain, now) = started();
        drain.exited(now);
        for i in 1..=10 {
            let then = now + ALMOST * i;
            drain.came(then);
            assert!(!drain.passes(then));
        }
        let late = now + MOST * 10;
        drain.caught_up(late);
        assert_eq!(drain.deadline(), Some(late + SILENCE));
    }

    #[test]
    fn one_that_does_not_get_on_is_left_behind() {
        let (mut drain, now) = started();
        drain.exited(now);
        assert!(!drain.passes(now + ALMOST));
        assert!(drain.passes(now + MOST));
        // It comes back later.
        drain.came(now + MOST * 2);
        drain.caught_up(now + MOST * 2);
        assert_eq!(drain.phase(), OVER);
    }

    #[test]
    fn an_end_is_the_end() {
        let (mut drain, now) = started();
        drain.ended();
        drain.exited(now);
        assert_eq!((drain.phase(), drain.deadline()), (Phase::Over { ended: true }, None));
    }

    #[test]
    fn times_too_long_for_the_clock_are_no_limits() {
        let (mut drain, now) = (Drain::new(Duration::MAX, Duration::MAX), Instant::now());
        drain.exited(now);
        assert_eq!(drain.deadline(), None);
        drain.caught_up(now);
        assert_eq!(drain.deadline(), None);
    }
}
