//! While the program runs: signals in, events out, the terminal between them, and the exit code at the end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use foster::{Cause, Child, EventKind, Events, Exit, Leftovers, Mechanism, Signal, Status, Stuck};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::process::Pid;
use rustix::time::Timespec;

use crate::args::{FAILED, Run};
use crate::duration;
use crate::forward::{self, Arrived, Meaning, Origin, Rules, Start};
use crate::records::EventWriter;
use crate::run::Prepared;
use crate::say::{self, Volume};
use crate::streams;
use crate::terminal::Terminal;
use crate::typist::{self, Typist};

/// What rings when the library has news: an eventfd that is a waker.
#[derive(Clone, Debug)]
pub(crate) struct Bell(Arc<Ring>);

#[derive(Debug)]
struct Ring(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Bell(Arc::new(Ring(eventfd(0, flags)?))))
    }

    fn waker(&self) -> Waker {
        self.0.clone().into()
    }

    pub(crate) fn ring(&self) {
        self.0.wake_by_ref();
    }

    fn silence(&self) {
        _ = rustix::io::read(&self.0.0, &mut [0; 8]);
    }
}

impl Wake for Ring {
    fn wake(self: Arc<Ring>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Ring>) {
        _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

/// How long those are listened to whom the program has left behind and who never stop talking.
const LEFTOVERS_TALK: Duration = Duration::from_secs(6);

pub(crate) struct Watch<'a> {
    args: &'a Run,
    start: &'a Start,
    child: Child,
    pid: u32,
    prepared: Prepared,
    events: Events,
    writer: Option<EventWriter>,
    volume: Volume,
    rules: Rules,
    ledger: Ledger,
    /// We stopped ourselves because the program was stopped by this.
    suspended: Option<Signal>,
    /// The program is stopped, and its timers with it.
    paused: bool,
    other_sides: OtherSides,
    /// Who types what we are typed, where the program has a terminal of its own.
    typist: Option<Typist>,
}

/// Who was told what.
#[derive(Debug, Default)]
struct Ledger {
    /// How many times the end was asked for.
    stops: u32,
    /// The tree was asked, by anybody's stop.
    asked: bool,
    /// What we sent the program.
    sent: Vec<Signal>,
    /// The terminal's Ctrl-C or Ctrl-\ came to us too.
    typed: bool,
    /// Whoever we work for went away. A window that is closed tells so by up to three ways, and is one wish.
    abandoned: bool,
}

impl Ledger {
    fn note(&mut self, signal: Signal) {
        if !self.sent.contains(&signal) {
            self.sent.push(signal);
        }
    }
}

/// Whose other side may go away, and is watched for that.
#[derive(Debug)]
struct OtherSides {
    stdin: bool,
    /// Of a program in a terminal of its own, which no SIGPIPE reaches.
    stdout: bool,
    terminal: bool,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        args: &'a Run,
        start: &'a Start,
        child: Child,
        prepared: Prepared,
        writer: Option<EventWriter>,
    ) -> Watch<'a> {
        let mut events = child.events();
        let pid = match events.try_next().map(|event| event.kind) {
            Some(EventKind::Started { pid }) => pid,
            _ => 0,
        };
        let rules = Rules {
            same_group: args.same_group,
            own_stop_signal: args.stop_signal.is_some(),
            rewrites: args.rewrite.clone(),
        };
        let volume = args.volume();
        volume.say(Volume::Verbose, format_args!("started {}, pid {pid}", say::name(child.label())));
        let held = child.containment();
        // A fall to the group alone is worth a line: foster's death would then not be the program's.
        let fell = held.mechanism == Mechanism::ProcessGroup && !held.tried.is_empty();
        let from = if fell { Volume::Normal } else { Volume::Verbose };
        if volume >= from {
            let mut how = format!("held by {}, level {}", held.mechanism, held.level);
            for tried in &held.tried {
                how = format!("{how}; {tried} ({})", tried.hint);
            }
            volume.say(from, how);
        }
        let keys = child.take_stdin().filter(|_| args.pty);
        let typist = keys.and_then(|keys| Typist::new(keys).ok());
        Watch {
            args,
            start,
            pid,
            typist,
            events,
            writer,
            volume,
            rules,
            ledger: Ledger::default(),
            suspended: None,
            paused: false,
            other_sides: OtherSides {
                stdin: args.stop_on_stdin_eof,
                stdout: true,
                // Under nohup a hang-up is no order.
                terminal: prepared.terminal.is_some() && !start.signals.ignores(Signal::HUP),
            },
            child,
            prepared,
        }
    }

    /// Until the tree is gone, or stuck. Returns foster's exit code.
    pub(crate) fn run(mut self) -> u8 {
        let waker = self.prepared.bell.waker();
        let mut gone = self.child.gone();
        if let Some(missed) = self.prepared.missed {
            self.arrived(missed);
        }
        let end = loop {
            self.prepared.bell.silence();
            // First the waker is left, then the events are read, so that none falls between.
            let end = Pin::new(&mut gone).poll(&mut Context::from_waker(&waker));
            self.read_events();
            if let Poll::Ready(end) = end {
                break end;
            }
            if self.ends_without_reader() && self.child.pid().is_none() {
                // There is nothing left to wait for but who reads.
                self.prepared.show.drop_the_rest();
            }
            // A stop of ours is over when we get here; who continued us has left word.
            if self.suspended.is_none() {
                self.sleep();
            }
            while let Some(arrived) = self.prepared.inbox.next() {
                self.arrived(arrived);
            }
            // Nobody continued us, so nothing stopped us: there is no job control above us, and nobody else would
            // continue a program that Ctrl-Z stopped. One that must not use the terminal waits for its end.
            match self.suspended.take() {
                Some(Signal::TSTP) => self.continued(),
                Some(_) => {
                    self.hand_back();
                    self.child.resume();
                }
                None => {}
            }
        };
        drop(gone);
        self.finish(end.as_ref().err().map_or(&[], Stuck::pids))
    }

    /// Whether what is typed at our terminal is for the program's. Who comes back in front takes its keys again.
    fn is_at_work(&mut self) -> bool {
        let (Some(typist), Some(terminal)) = (&mut self.typist, &mut self.prepared.terminal) else {
            return false;
        };
        let front = terminal.is_ours();
        if front && !std::mem::replace(&mut typist.in_front, front) {
            terminal.make_raw();
            self.resize();
        } else {
            typist.in_front = front;
        }
        front
    }

    /// Whether the end was asked for, and the program may be gone before somebody has read what it showed.
    fn ends_without_reader(&self) -> bool {
        self.args.pty && self.ledger.stops > 0
    }

    /// There is nobody any more to type for.
    fn retire(&mut self) {
        self.typist = None;
        if let Some(terminal) = &mut self.prepared.terminal {
            terminal.make_cooked();
        }
    }

    /// Until a signal arrives, the library has news, or the other side of stdin or of the terminal has gone.
    fn sleep(&mut self) {
        let front = self.is_at_work();
        let stdin = rustix::stdio::stdin();
        let mut watched = vec![
            PollFd::new(&self.prepared.inbox, PollFlags::IN),
            PollFd::new(&self.prepared.bell.0.0, PollFlags::IN),
        ];
        // Only the hang-up is asked for: what is to be read is the program's.
        let other_side = PollFlags::RDHUP;
        let stdin_at = self.other_sides.stdin.then(|| {
            watched.push(PollFd::new(&stdin, other_side));
            watched.len() - 1
        });
        let terminal = self
            .prepared
            .terminal
            .as_ref()
            .filter(|terminal| self.other_sides.terminal && (terminal.was_handed() || self.args.pty));
        let terminal_at = terminal.map(|terminal| {
            watched.push(PollFd::new(terminal, PollFlags::empty()));
            watched.len() - 1
        });
        let at_work = self.typist.as_ref().zip(self.prepared.terminal.as_ref());
        let (typed_at, typing_at) = at_work.map_or((None, None), |(typist, terminal)| {
            let mut add = |wanted: bool, descriptor, flags| {
                wanted.then(|| {
                    watched.push(PollFd::from_borrowed_fd(descriptor, flags));
                    watched.len() - 1
                })
            };
            let typed = add(typist.reads() && front, terminal.as_fd(), PollFlags::IN);
            (typed, add(typist.has_more(), typist.as_fd(), PollFlags::OUT))
        });
        // Nobody tells us that a job that ran on in the background is in front again.
        let patience = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        let behind = !front && at_work.is_some_and(|(typist, _)| typist.reads());
        // Nor that the program has ended, while somebody has yet to read what it showed.
        let asks = behind || self.ends_without_reader();
        if poll(&mut watched, asks.then_some(&patience)).is_err() {
            return;
        }
        let happened = |at: Option<usize>| at.is_some_and(|at| !watched[at].revents().is_empty());
        let (typed, types) = (happened(typed_at), happened(typing_at));
        let closed = PollFlags::HUP | PollFlags::ERR | PollFlags::RDHUP;
        let is_closed = |at: Option<usize>| at.is_some_and(|at| watched[at].revents().intersects(closed));
        let (stdin_closed, terminal_closed) = (is_closed(stdin_at), is_closed(terminal_at));
        let stdout_closed = self.other_sides.stdout && self.prepared.show.is_unread();
        if let (true, Some(typist), Some(terminal)) = (typed, &mut self.typist, &self.prepared.terminal) {
            typist.read(terminal);
            if self.child.pid().is_none() {
                // Whoever types means us: from now on a Ctrl-C is one.
                self.retire();
            }
        }
        if typed {
            // Who types after a change of the size types at a terminal of that size: we have WINCH then, but unread.
            self.resize();
        }
        if let Some(typist) = self.typist.as_mut().filter(|_| typed || types) {
            typist.write();
        }
        if stdin_closed {
            self.other_sides.stdin = false;
            self.volume.say(Volume::Verbose, "standard input was closed");
            self.abandoned(None);
        }
        if stdout_closed {
            self.other_sides.stdout = false;
            self.volume.say(Volume::Verbose, "nobody reads the output any more");
            // As when a window is closed.
            self.abandoned(Some(Signal::HUP));
        }
        if terminal_closed {
            self.other_sides.terminal = false;
            self.volume.say(Volume::Verbose, "the terminal went away");
            self.abandoned(None);
        }
    }

    fn arrived(&mut self, arrived: Arrived) {
        let typed = arrived.origin == Origin::Kernel && [Signal::INT, Signal::QUIT].contains(&arrived.signal);
        self.ledger.typed |= typed;
        if self.suspended.is_some() && arrived.signal == Signal::TSTP && arrived.origin == Origin::Kernel {
            // Ctrl-Z right behind `fg`: a stop signal takes a CONT back that nobody has read yet, `signal(7)`, and is
            // all that is left of both.
            self.continued();
        }
        if arrived.signal == Signal::WINCH && self.args.pty {
            return self.resize();
        }
        match forward::decide(arrived, &self.rules, &self.start.signals) {
            Meaning::Nothing => {}
            // It was the program's to answer; without it, it is for what is left and for us.
            Meaning::Pass(signal) if typed && self.child.pid().is_none() => self.stop(Some(signal)),
            Meaning::Pass(signal) => self.pass(signal),
            Meaning::Stop(signal) if arrived.signal == Signal::HUP && arrived.origin == Origin::Kernel => {
                self.abandoned(signal);
            }
            Meaning::Stop(signal) => self.stop(signal),
            Meaning::Child => self.child_changed(),
            Meaning::Continue => self.continued(),
        }
    }

    /// The program's terminal gets the size of ours, and the program hears of it from there.
    fn resize(&self) {
        let foster::Pty { rows, cols, .. } = typist::size(self.prepared.terminal.as_ref());
        _ = self.child.resize(rows, cols);
    }

    fn pass(&mut self, signal: Signal) {
        self.ledger.note(signal);
        if let Err(error) = self.child.signal(signal) {
            self.volume.say(Volume::Normal, error);
        }
    }

    /// There is nobody any more for whom the program runs.
    fn abandoned(&mut self, signal: Option<Signal>) {
        if !std::mem::replace(&mut self.ledger.abandoned, true) {
            self.stop(signal);
        }
    }

    /// The first asks, the second asks again, the third kills.
    fn stop(&mut self, signal: Option<Signal>) {
        self.ledger.stops += 1;
        let signal_or_policy = signal.or(self.args.stop_signal).unwrap_or(Signal::TERM);
        match self.ledger.stops {
            1 => {
                self.ledger.note(signal_or_policy);
                drop(self.child.stop_with(signal_or_policy));
            }
            2 => {
                // A splay that runs is cut short: that is when it is asked. Else the signal is passed on again.
                self.read_events();
                if self.ledger.asked {
                    self.pass(signal_or_policy);
                } else {
                    // It asks with this one, since nobody has been asked yet.
                    self.ledger.note(signal_or_policy);
                    drop(self.child.stop_now_with(signal_or_policy));
                }
                self.volume.say_to_person("asked again; once more kills");
            }
            _ => {
                self.volume.say_to_person("asked for the third time: killing");
                drop(self.child.kill());
            }
        }
    }

    fn read_events(&mut self) {
        while let Some(event) = self.events.try_next() {
            self.happened(&event.kind);
        }
    }

    fn child_changed(&mut self) {
        if self.child.containment().mechanism == Mechanism::Init {
            foster::init::reap_strangers(self.pid);
        }
        let Some(signal) = self.child.stopped() else {
            if std::mem::take(&mut self.paused) {
                // Somebody continued it past us.
                self.child.resume();
            }
            return;
        };
        if std::mem::replace(&mut self.paused, true) {
            return;
        }
        let program = self.leader();
        if let Some(terminal) = &mut self.prepared.terminal {
            // It wanted the terminal, which our job has and it has not: give it, and let it go on.
            let wants =
                matches!(signal, Signal::TTIN | Signal::TTOU) && !self.args.same_group && !self.args.pty;
            if wants && program.is_some_and(|program| terminal.give_to(program)) {
                self.paused = false;
                self.pass(Signal::CONT);
                return;
            }
        }
        // `top` and `bash` answer Ctrl-Z and `suspend` with STOP: for who is in front, that is one of them.
        let in_front = self.prepared.terminal.as_ref().is_some_and(|terminal| {
            if self.args.same_group || self.args.pty {
                terminal.is_ours()
            } else {
                program.is_some_and(|it| terminal.is_of(it))
            }
        });
        let suspends = match signal {
            Signal::TSTP | Signal::TTIN | Signal::TTOU => true,
            Signal::STOP => in_front,
            _ => false,
        };
        if !suspends {
            // Not the terminal's business: a debugger, a person with `kill -STOP` who will continue it, or, without a
            // terminal, the program itself. Its time runs on: whoever could stop that could outlive it.
            self.volume
                .say(Volume::Verbose, format_args!("the program was stopped by {signal}; its time runs on"));
            return;
        }
        self.child.pause();
        if let Some(terminal) = &mut self.prepared.terminal {
            terminal.make_cooked();
            if let Some(program) = program {
                terminal.take_from(program);
            }
        }
        self.volume.say(Volume::Verbose, format_args!("the program was stopped by {signal}; stopping too"));
        self.suspended = Some(signal);
        // As the terminal would: our whole job stops, so that the shell takes over. Without a job-control shell
        // above us the kernel lets nothing happen.
        forward::raise_default(Signal::TSTP, true);
    }

    /// We were continued, by `fg`, by `bg`, or by a signal.
    fn continued(&mut self) {
        self.suspended = None;
        self.paused = false;
        self.hand_back();
        self.child.resume();
        self.pass(Signal::CONT);
    }

    /// Puts the program in front again, if it was there and our job is.
    fn hand_back(&mut self) {
        if let (Some(_), Some(terminal)) = (&self.typist, &mut self.prepared.terminal) {
            terminal.make_raw();
            return self.resize();
        }
        let program = self.leader();
        if !self.args.same_group
            && let (Some(terminal), Some(program)) = (&mut self.prepared.terminal, program)
            && terminal.was_handed()
        {
            terminal.give_to(program);
        }
    }

    fn leader(&self) -> Option<Pid> {
        self.child.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()))
    }

    fn happened(&mut self, event: &EventKind) {
        let name = say::name(self.child.label());
        match event {
            EventKind::Signalled(signal) => {
                self.volume.say(Volume::Verbose, format_args!("sent {signal} to {name}"));
            }
            EventKind::Suspended(_) | EventKind::Continued => self.child_changed(),
            EventKind::GuardLost => {
                self.volume.say(Volume::Normal, format_args!("the guard of {name} was killed; ending it"));
            }
            EventKind::Splaying(delay) => {
                self.volume
                    .say(Volume::Verbose, format_args!("stopping {name} in {}", duration::show(*delay)));
            }
            EventKind::TimedOut => self.volume.say(Volume::Normal, format_args!("timed out: {name}")),
            EventKind::Asked(signal) => {
                self.ledger.asked = true;
                let grace = match self.args.grace.0 {
                    Some(grace) => format!("killing in {}", duration::show(grace)),
                    None => "waiting".to_string(),
                };
                self.volume.say(Volume::Verbose, format_args!("stopping {name} with {signal}, {grace}"));
            }
            EventKind::Forced => {
                self.volume.say(Volume::Verbose, format_args!("killing what is left of {name}"));
            }
            EventKind::Stuck(stuck) => self.volume.say(Volume::Quiet, stuck),
            EventKind::Exited(exit) => {
                if exit.status == Status::Unknown {
                    self.volume.say(
                        Volume::Quiet,
                        format_args!("nobody knows how {name} ended: its parent was killed"),
                    );
                }
                self.exited(exit);
            }
            _ => {}
        }
    }

    fn exited(&mut self, exit: &Exit) {
        if self.args.pty {
            self.retire();
        }
        let name = say::name(self.child.label());
        let program = Pid::from_raw(self.pid.cast_signed());
        if let (Some(terminal), Some(program)) = (&self.prepared.terminal, program) {
            terminal.restore(program);
        }
        self.volume.say(Volume::Verbose, format_args!("{name} {exit}"));
        if exit.forced {
            self.volume.say(Volume::Normal, format_args!("killed after its grace: {name}"));
        }
        // Who dies of a signal of the terminal's dies at the same time as the rest.
        if exit.cause == Cause::Own && matches!(exit.status, Status::Exited(_)) && !exit.leftovers.is_empty()
        {
            let pids: Vec<String> = exit.leftovers.iter().map(u32::to_string).collect();
            let what = match self.prepared.leftovers {
                Leftovers::Stop => "stopping",
                Leftovers::Kill => "killing",
                Leftovers::Wait { .. } => "waiting for",
                Leftovers::Leave => "leaving",
            };
            let pids = pids.join(", ");
            self.volume.say(Volume::Normal, format_args!("left behind by {name}, {what}: pid {pids}"));
        }
    }

    fn finish(mut self, stuck: &[u32]) -> u8 {
        let exit = self.child.try_wait();
        let code = exit.as_ref().map_or(FAILED, |exit| self.code(exit));
        // What was written to us is on its way, or kept, until then.
        let output = exit.as_ref().and_then(|_| self.child.output().wait_timeout(LEFTOVERS_TALK));
        self.retire();
        if let Some(report) = &self.prepared.report {
            report.end(&self.child, self.pid, code, exit.as_ref(), stuck);
        }
        if let Some(writer) = self.writer {
            writer.finish();
        }
        if let Some(output) = output.filter(|_| streams::has_tail(self.args, code)) {
            // What came until now was meant for the program.
            while self.prepared.inbox.next().is_some() {}
            Start::mortally(|| streams::show_tail(self.args, &output));
        }
        if let Some(exit) = exit
            && let Status::Signaled { signal: signal @ (Signal::INT | Signal::QUIT), .. } = exit.status
            && exit.cause == Cause::Own
        {
            // It was the terminal's: we got it too, or the program was in front and we sent none.
            let handed = self.args.pty || self.prepared.terminal.as_ref().is_some_and(Terminal::was_handed);
            if self.ledger.typed || handed && !self.ledger.sent.contains(&signal) {
                forward::die_of(signal);
            }
        }
        code
    }

    fn code(&self, exit: &Exit) -> u8 {
        if exit.cause == Cause::TimedOut && !self.args.preserve_status {
            return 124;
        }
        match exit.status {
            Status::Exited(code) if self.args.ok_code.contains(&code) => 0,
            status => status.shell_code().unwrap_or(FAILED),
        }
    }
}
