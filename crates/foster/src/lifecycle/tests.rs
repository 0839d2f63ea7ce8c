//! Stories of runs, each named after the promise it tells, on a clock that only the story moves; and the search.

use super::*;

mod ending;
mod search;
mod stopping;

const OK: Status = Status::Exited(0);
const TERMED: Status = Status::Signaled { signal: Signal::TERM, core_dumped: false };
const KILLED: Status = Status::Signaled { signal: Signal::KILL, core_dumped: false };

const LEADER_FIRST: Target = Target::LeaderThenGroup { after: Duration::from_millis(40) };

/// What a stop says at once under [`policy`].
const ASKED: &str = "[asked TERM], TERM to group, CONT to group, wait 100";

/// And what it says where the leader is dead.
const ASKED_ALL: &str = "[asked TERM], TERM to all, CONT to all, wait 100";

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Short numbers, and no two the same, so that one sees which of them a deadline came from.
fn policy() -> Policy {
    Policy { grace: Some(ms(100)), patience: ms(20), ..Policy::default() }
}

fn timeout(millis: u64) -> Policy {
    Policy { timeout: Some(ms(millis)), ..policy() }
}

fn target(target: Target) -> Policy {
    Policy { target, ..policy() }
}

fn leftovers(leftovers: Leftovers) -> Policy {
    Policy { leftovers, ..policy() }
}

/// A machine, its clock, its driver, and everything it ever said.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "what the story has seen")]
struct Script {
    machine: Lifecycle,
    epoch: Instant,
    now: Instant,
    past: Vec<Output>,
    /// Of the policy it began with: a detach changes the machine's.
    leftovers: Leftovers,
    /// What held the tree is given back at once, as a process group is; if not, the story says when.
    at_once: bool,
    /// What the driver knows, and whether it was told to leave the program alone.
    dead: bool,
    empty: bool,
    reaped: bool,
    detached: bool,
}

impl Script {
    fn new(policy: Policy) -> Script {
        let (epoch, leftovers) = (Instant::now(), policy.leftovers);
        Script {
            machine: Lifecycle::new(policy, epoch),
            epoch,
            now: epoch,
            past: Vec::new(),
            leftovers,
            at_once: true,
            dead: false,
            empty: false,
            reaped: false,
            detached: false,
        }
    }

    /// Something has to end before it is given back, as a guard has.
    fn slow(policy: Policy) -> Script {
        Script { at_once: false, ..Script::new(policy) }
    }

    fn at(&mut self, millis: u64) -> &mut Script {
        self.now = self.epoch + ms(millis);
        self
    }

    fn order(&mut self, order: Order) -> &mut Script {
        self.machine.order(order, self.now);
        self
    }

    fn signal(&mut self) -> &mut Script {
        self.order(Order::Signal(Signal::HUP))
    }

    fn stop_after(&mut self, millis: u64) -> &mut Script {
        self.order(Order::Stop { after: ms(millis), signal: None })
    }

    fn stop_now(&mut self) -> &mut Script {
        self.stop_after(0)
    }

    fn stop_by(&mut self, signal: Signal, millis: u64) -> &mut Script {
        self.order(Order::Stop { after: ms(millis), signal: Some(signal) })
    }

    fn kill(&mut self) -> &mut Script {
        self.order(Order::Kill)
    }

    fn pause(&mut self) -> &mut Script {
        self.order(Order::Pause)
    }

    fn resume(&mut self) -> &mut Script {
        self.order(Order::Resume)
    }

    fn detach(&mut self) -> &mut Script {
        self.detached = true;
        self.order(Order::Detach)
    }

    /// The leader dies, the last of its tree.
    fn exits(&mut self, status: Status) -> &mut Script {
        self.empty |= !self.dead;
        self.dead = true;
        self.machine.fact(Fact::Exited { status, alone: true }, self.now);
        self
    }

    /// The leader dies, and something of its tree lives on.
    fn exits_leaving(&mut self, status: Status) -> &mut Script {
        self.dead = true;
        self.machine.fact(Fact::Exited { status, alone: false }, self.now);
        self
    }

    fn empties(&mut self) -> &mut Script {
        self.empty |= self.dead;
        self.machine.fact(Fact::Empty, self.now);
        self
    }

    fn reaped(&mut self) -> &mut Script {
        self.reaped = true;
        self.machine.fact(Fact::Reaped, self.now);
        self
    }

    /// Everything the machine says now: acts in words, news in brackets, and how long it would wait. To wait for
    /// nothing but the next order or fact is to say nothing.
    #[track_caller]
    fn said(&mut self) -> String {
        let mut said = Vec::new();
        loop {
            match self.machine.poll(self.now) {
                Output::Wait(None) => break,
                Output::Wait(Some(until)) => {
                    assert!(!self.has_given_back(), "a deadline of what is being given back: {said:?}");
                    assert!(until > self.now, "rests on a deadline that has passed: {said:?}");
                    said.push(format!("wait {}", (until - self.now).as_millis()));
                    break;
                }
                output => {
                    self.check(output);
                    self.past.push(output);
                    said.push(words(output));
                    if self.at_once && output == Output::Do(Effect::Reap) {
                        self.reaped();
                    }
                }
            }
            assert!(said.len() <= 12, "does not come to rest: {said:?}");
        }
        let (given_back, gone) = (self.has_given_back(), self.is_gone());
        assert_eq!(self.machine.is_gone(), gone);
        assert_eq!(self.machine.is_emptied(), given_back && !gone);
        assert_eq!(self.machine.awaits_empty(), self.has_exited() && !given_back);
        said.join(", ")
    }

    #[track_caller]
    fn says(&mut self, want: &str) -> &mut Script {
        assert_eq!(self.said(), want);
        self
    }

    fn has(&self, what: fn(&Output) -> bool) -> bool {
        self.past.iter().any(what)
    }

    fn has_exited(&self) -> bool {
        self.has(|past| matches!(past, Output::Tell(News::Exited { .. })))
    }

    fn has_given_back(&self) -> bool {
        self.has(|past| matches!(past, Output::Do(Effect::Reap)))
    }

    fn is_gone(&self) -> bool {
        self.has(|past| matches!(past, Output::Tell(News::Gone { .. })))
    }

    /// What must not come after what has been said, whatever the story. HUP stands for the signals without an
    /// intent.
    #[track_caller]
    fn check(&self, output: Output) {
        let soft = |signal| signal != Signal::HUP && signal != Signal::CONT;
        let asked = |part| {
            self.past.iter().any(|past| {
                matches!(past, Output::Do(Effect::Signal(reach, signal))
                    if soft(*signal) && parts(*reach).contains(part))
            })
        };
        assert!(!self.is_gone(), "{output:?} after the end");
        match output {
            Output::Do(effect) => {
                assert!(!self.has_given_back(), "{effect:?} after what held the tree was given back");
                match effect {
                    Effect::Signal(reach, signal) => {
                        let dead = self.has_exited();
                        assert!(reach != Reach::Leader || !dead, "{signal} to a dead leader");
                        for part in parts(reach) {
                            assert!(dead || *part != "strays", "{signal} to strays whose leader lives");
                            assert!(!soft(signal) || !asked(part), "the {part} asked twice");
                        }
                    }
                    Effect::Reap => assert!(self.has_exited(), "reaps a leader that has not exited"),
                    Effect::Detach => assert!(self.may_leave(), "lets go of what is to end"),
                    Effect::KillTree => {}
                }
            }
            Output::Tell(News::Exited { .. }) => assert!(!self.has_exited(), "exits twice"),
            Output::Tell(News::Gone { left }) => {
                assert!(self.has_given_back() && self.reaped, "gone and not reaped");
                let let_go =
                    matches!(self.past[..], [.., Output::Do(Effect::Detach), Output::Do(Effect::Reap)]);
                assert!(!left || let_go && self.may_leave(), "left, and not to be left");
                assert!(left || self.empty, "gone, and neither left nor empty");
            }
            Output::Tell(News::Asked(_) | News::TimedOut | News::Forced | News::Stuck) => {
                let twice = self.past.iter().any(|past| words(*past) == words(output));
                assert!(!twice, "{} twice", words(output));
                assert!(!self.has_given_back(), "{output:?} of what is being given back");
            }
            Output::Tell(News::Signalled(_) | News::Splaying(_)) | Output::Wait(_) => {}
        }
    }

    /// Nobody was asked or killed, and somebody said that it may stay.
    fn may_leave(&self) -> bool {
        let ending = |past: &Output| matches!(past, Output::Tell(News::Asked(_) | News::Forced));
        (self.detached || self.leftovers == Leftovers::Leave) && !self.has(ending)
    }
}

/// Who may be asked once.
fn parts(reach: Reach) -> &'static [&'static str] {
    match reach {
        Reach::Leader => &["leader"],
        Reach::Group => &["leader", "rest"],
        Reach::Rest => &["rest"],
        Reach::Strays => &["strays"],
        Reach::All => &["leader", "rest", "strays"],
    }
}

fn words(output: Output) -> String {
    match output {
        Output::Do(Effect::Signal(reach, signal)) => {
            format!("{} to {}", signal.name(), format!("{reach:?}").to_lowercase())
        }
        Output::Do(Effect::KillTree) => "kill tree".into(),
        Output::Do(Effect::Detach) => "detach".into(),
        Output::Do(Effect::Reap) => "reap".into(),
        Output::Tell(News::Signalled(signal)) => format!("[signalled {}]", signal.name()),
        Output::Tell(News::Splaying(splay)) => format!("[splaying {}]", splay.as_millis()),
        Output::Tell(News::Asked(signal)) => format!("[asked {}]", signal.name()),
        Output::Tell(News::TimedOut) => "[timed out]".into(),
        Output::Tell(News::Exited { status, cause, forced }) => {
            let status = match status {
                Status::Exited(code) => code.to_string(),
                Status::Signaled { signal, .. } => signal.name(),
                Status::Unknown => "unknown".into(),
            };
            let forced = if forced { ", forced" } else { "" };
            format!("[exit {status}: {}{forced}]", format!("{cause:?}").to_lowercase())
        }
        Output::Tell(News::Gone { left }) => if left { "[gone, left]" } else { "[gone]" }.into(),
        Output::Tell(news @ (News::Forced | News::Stuck)) => {
            format!("[{}]", format!("{news:?}").to_lowercase())
        }
        Output::Wait(_) => "wait".into(),
    }
}
