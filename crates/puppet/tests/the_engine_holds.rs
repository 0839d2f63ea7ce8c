//! The thread that all runs share holds whatever comes: it forgets no deadline, no run takes its time from the
//! others, and somebody else's code neither ends nor blocks it.
#![expect(unsafe_code, reason = "ptrace(2), which no crate of the workspace wraps")]

use std::future::Future;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::Command as Process;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use foster::{Cause, Child, Command, Containment, Exit, Input, Leftovers, Signal, Sink, Status, Supervisor};
use puppet::{Actor, DEADLINE, Feature, Stage, alone, alone_under, needs, puppet, scratch, within};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

const KILLED: Status = Status::Signaled { signal: Signal::KILL, core_dumped: false };

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A program that ends at its timeout or not at all.
fn overdue_after(timeout: Duration) -> Child {
    let command = Command::new("sleep").arg("60").stdin(Input::Null).stdout(Sink::Null).stderr(Sink::Null);
    command.timeout(timeout).timeout_kills(true).spawn().unwrap_or_else(|error| panic!("{error}"))
}

/// Four at a time, so many children time out. Half of them are asked all the time, which enforces a deadline that
/// has passed as well as the engine does; the others are only waited for.
fn each_times_out(children: usize) {
    let far = overdue_after(Duration::from_secs(3600));
    let next = AtomicUsize::new(0);
    let lost = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !lost.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= children {
                        break;
                    }
                    // A thread of its own, as in a host that has one for each request.
                    let told = scope.spawn(move || times_out(i)).join().expect("a wait does not panic");
                    if !told {
                        lost.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert!(!lost.into_inner(), "a timeout was not enforced within {DEADLINE:?}");
    for _ in 0..3 {
        let exit = overdue_after(ms(100)).wait_timeout(DEADLINE).expect("timeouts still come");
        assert_eq!(exit.cause, Cause::TimedOut);
    }
    assert_eq!(far.try_wait(), None);
    assert_eq!(within(&far.kill()).cause, Cause::Killed);
}

/// Whether it is told in time.
fn times_out(i: usize) -> bool {
    let child = overdue_after([ms(50), ms(150), ms(75), ms(125), ms(100)][i % 5]);
    let exit = if i.is_multiple_of(2) { asked_for(&child) } else { child.wait_timeout(DEADLINE) };
    let Some(exit) = exit else { return false };
    assert_eq!((exit.status, exit.cause), (KILLED, Cause::TimedOut));
    true
}

fn asked_for(child: &Child) -> Option<Exit> {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if let Some(exit) = child.try_wait().or_else(|| child.wait_timeout(ms(1))) {
            return Some(exit);
        }
    }
    None
}

#[test]
fn no_timeout_is_lost() {
    alone(|| each_times_out(300));
}

#[test]
fn no_timeout_is_lost_by_an_engine_that_is_slow_to_set_its_timer() {
    if !needs(Feature::Program("strace")) {
        return;
    }
    // From a thread's second call on it takes long. So it is the engine's thread that is slow, and who starts a
    // child comes before it.
    let slow = "inject=timerfd_settime:delay_enter=20000:when=2+";
    let calls = "trace=timerfd_settime";
    alone_under(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", calls, "-e", slow], || {
        each_times_out(60);
    });
}

#[test]
fn runs_that_linger_take_no_time_from_others() {
    const PROMPT: Duration = Duration::from_secs(10);

    alone(|| {
        let supervisor = Supervisor::new();
        let command = Command::shell("sleep 60 & exit 0").stdin(Input::Null).stdout(Sink::Null);
        let command = command.stderr(Sink::Null).leftovers(Leftovers::Wait { max: None });
        let start = || supervisor.spawn(&command).unwrap_or_else(|error| panic!("{error}"));
        let runs: Vec<Child> = (0..100).map(|_| start()).collect();
        let sleeps: Vec<Actor> = runs
            .iter()
            .map(|run| {
                let exit = run.wait_timeout(4 * DEADLINE).expect("the shell exits");
                let [sleep] = exit.leftovers[..] else { panic!("{exit:?}") };
                Actor::of(sleep)
            })
            .collect();

        // They have lingered for a while, so that whoever looks after them is at it.
        thread::sleep(ms(500));
        for _ in 0..3 {
            let other =
                Command::new("true").stdin(Input::Null).spawn().unwrap_or_else(|error| panic!("{error}"));
            assert!(other.wait_timeout(PROMPT).expect("the exit is told").success());
            let exit = overdue_after(ms(100)).wait_timeout(PROMPT).expect("the timeout is enforced");
            assert_eq!(exit.cause, Cause::TimedOut);
        }
        assert!(sleeps.iter().all(Actor::alive), "they linger");

        supervisor.close().expect("nobody is stuck");
        for (run, sleep) in runs.iter().zip(&sleeps) {
            assert!(matches!(run.gone().wait_timeout(Duration::ZERO), Some(Ok(_))));
            assert!(!sleep.alive());
        }
    });
}

/// Calls this for each of the library's events.
struct Hook<F>(F);

impl<F: Fn() + Send + Sync + 'static> Hook<F> {
    fn install(act: F) {
        tracing::subscriber::set_global_default(Hook(act)).expect("the first");
    }
}

impl<F: Fn() + Send + Sync + 'static> Subscriber for Hook<F> {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target().starts_with("foster") {
            (self.0)();
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn on_the_engines_thread() -> bool {
    thread::current().name() == Some("foster")
}

/// A play that is never dropped: were the library at fault, then dropping a child might block for ever, and the test
/// could not even fail.
fn forgotten(script: &str) -> &'static Stage {
    Box::leak(Box::new(Stage::play(script)))
}

#[test]
fn a_subscriber_that_panics_does_not_end_the_engine() {
    static PANICKED: AtomicBool = AtomicBool::new(false);

    alone(|| {
        Hook::install(|| {
            let first = on_the_engines_thread() && !PANICKED.swap(true, Ordering::Relaxed);
            assert!(!first, "on purpose, by a subscriber");
        });
        for _ in 0..2 {
            let stage = forgotten("trap-exit USR1 3 wait");
            stage.leader().signal(Signal::USR1);
            assert_eq!(stage.exit().status, Status::Exited(3));
            within(&stage.child().gone());
            let late = overdue_after(ms(100));
            let exit = late.wait_timeout(DEADLINE).expect("the timeout is enforced");
            assert_eq!(exit.cause, Cause::TimedOut);
            assert!(PANICKED.load(Ordering::Relaxed));
        }
    });
}

#[test]
fn a_subscriber_may_use_the_child() {
    static CHILDREN: Mutex<Vec<&'static Child>> = Mutex::new(Vec::new());
    static CALLS: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        /// A signal is an event too.
        static AT_IT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    alone(|| {
        Hook::install(|| {
            if AT_IT.replace(true) {
                return;
            }
            let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for child in children {
                _ = child.signal(Signal::CONT);
                _ = child.try_wait();
                _ = child.pid();
            }
            CALLS.fetch_add(usize::from(on_the_engines_thread()), Ordering::Relaxed);
            AT_IT.set(false);
        });
        let enlist = |child| CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).push(child);

        // What the engine tells: an exit, a timeout.
        let stage = forgotten("trap-exit USR1 3 wait");
        let leader = stage.leader();
        enlist(stage.child());
        leader.signal(Signal::USR1);
        assert_eq!(stage.exit().status, Status::Exited(3));
        within(&stage.child().gone());
        let late: &Child = Box::leak(Box::new(overdue_after(ms(200))));
        enlist(late);
        let exit = late.wait_timeout(DEADLINE).expect("the timeout is enforced");
        assert_eq!(exit.cause, Cause::TimedOut);
        assert!(CALLS.load(Ordering::Relaxed) > 0);

        // And what a caller's own order brings about. Elsewhere, since it may hang.
        let stage = forgotten("trap USR1 heard wait");
        stage.leader();
        enlist(stage.child());
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            stage.child().signal(Signal::USR1).expect("it is ours");
            stage.expect("leader: heard");
            stage.child().stop_now();
            tell.send(()).expect("somebody listens");
        });
        told.recv_timeout(DEADLINE).expect("the orders return");
        within(&stage.child().gone());
    });
}

#[test]
fn a_waker_that_output_wakes_may_use_the_child() {
    struct Busy(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

    impl Wake for Busy {
        fn wake(self: Arc<Self>) {
            self.0.send(()).expect("somebody listens");
            _ = self.1.lock().expect("no panic").recv_timeout(2 * DEADLINE);
        }
    }

    struct Asks(Child, mpsc::Sender<()>);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            _ = self.0.signal(Signal::USR1);
            _ = self.0.try_wait();
            drop(self.0.stop_now());
            self.1.send(()).expect("somebody listens");
        }
    }

    alone(|| {
        let command = Command::shell("read line; echo $line").containment(Containment::Group);
        let child = command.stdin(Input::Piped).stdout(Sink::Streamed).spawn().expect("it starts");
        let leader = Actor::of(child.pid().expect("it runs"));
        let chunks = Box::leak(Box::new(child.take_chunks().expect("streamed")));
        let (tell, told) = mpsc::channel();
        leave(chunks.next_chunk(), &Arc::new(Asks(child.clone(), tell)).into());

        // Nobody but the order can learn of the output and of the exit.
        let (tell_busy, busy) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let first = forgotten("trap-exit USR1 0 wait");
        leave(first.child().exited(), &Arc::new(Busy(tell_busy, Mutex::new(released))).into());
        first.leader().signal(Signal::USR1);
        busy.recv_timeout(DEADLINE).expect("the engine wakes who waits");
        child.take_stdin().expect("piped").write_all(b"hello\n").expect("it reads");
        leader.dies();

        let (tell_back, back) = mpsc::channel();
        let ours = child.clone();
        thread::spawn(move || {
            drop(ours.kill());
            tell_back.send(()).expect("somebody listens");
        });
        told.recv_timeout(DEADLINE).expect("the waker returns");
        back.recv_timeout(DEADLINE).expect("the order returns");
        release.send(()).expect("the engine listens");
        assert_eq!(within(&child.gone()).status, Status::Exited(0));
    });
}

/// Polls once with this waker, which the library then has.
fn leave<F: Future>(future: F, waker: &Waker) {
    let mut future = Box::pin(future);
    assert!(matches!(future.as_mut().poll(&mut Context::from_waker(waker)), Poll::Pending));
    // A future that is dropped takes its waker back.
    std::mem::forget(future);
}

/// Keeps the engine busy until it is told to end, or nobody is left who could.
struct Busy(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

impl Wake for Busy {
    fn wake(self: Arc<Self>) {
        assert!(on_the_engines_thread());
        self.0.send(()).expect("somebody listens");
        _ = self.1.lock().expect("no panic").recv_timeout(2 * DEADLINE);
    }
}

/// Silence is when nobody says anything, and not when nobody listens: this once took what was said while the engine's
/// thread had no processor for as long as the drain for nothing, and its end for no end.
#[test]
fn what_comes_while_the_engine_is_held_up_breaks_the_silence() {
    alone(|| {
        let drain = ms(300);
        let place = scratch("late");
        let line = "mkfifo fifo; (read go; echo late) <fifo & echo $! >pid; echo hi";
        let command = Command::shell(line).current_dir(&place).containment(Containment::Group);
        let command = command.leftovers(Leftovers::Wait { max: None }).drain(drain).drain_max(2 * DEADLINE);
        let (tell_busy, busy) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let child = command.stdout(Sink::captured()).spawn().unwrap_or_else(|error| panic!("{error}"));
        leave(child.exited(), &Arc::new(Busy(tell_busy, Mutex::new(released))).into());
        busy.recv_timeout(DEADLINE).expect("the engine wakes who waits");

        let late = std::fs::read_to_string(place.join("pid")).expect("it was written");
        let late = Actor::of(late.trim().parse().expect("a pid"));
        std::fs::write(place.join("fifo"), "go\n").expect("it is read");
        late.dies();
        // The engine is held up for as long as silence may last.
        thread::sleep(drain);
        release.send(()).expect("the engine listens");
        let output = child.output().wait_timeout(DEADLINE).expect("the drain has an end");
        assert_eq!((output.stdout.bytes(), output.stdout.drained()), (&b"hi\nlate\n"[..], true));
    });
}

#[test]
fn a_waker_that_an_order_wakes_may_use_the_child() {
    struct Asks(&'static Child, mpsc::Sender<Option<Exit>>);

    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            _ = self.0.signal(Signal::USR1);
            let exit = self.0.try_wait();
            drop(self.0.stop_now());
            self.1.send(exit).expect("somebody listens");
        }
    }

    const ORDERS: [fn(&Child); 4] = [
        |child| drop(child.stop_now()),
        |child| drop(child.kill()),
        |child| child.signal(Signal::USR1).expect("to the dead is no error"),
        |child| drop(child.try_wait()),
    ];

    // The engine is everybody's.
    alone(|| {
        // Not through a guard, whose word of the end may come after the order.
        let command = puppet("wait").containment(Containment::Group);
        let stages = ORDERS.map(|_| &*Box::leak(Box::new(Stage::start(&command))));
        let leaders = stages.map(Stage::leader);
        let (tell_busy, busy) = mpsc::channel();
        let (release, released) = mpsc::channel();
        let first = forgotten("trap-exit USR1 0 wait");
        let first_leader = first.leader();
        leave(first.child().exited(), &Arc::new(Busy(tell_busy, Mutex::new(released))).into());
        first_leader.signal(Signal::USR1);
        busy.recv_timeout(DEADLINE).expect("the engine wakes who waits");

        for (i, (stage, leader)) in stages.iter().zip(&leaders).enumerate() {
            let (tell, told) = mpsc::channel();
            leave(stage.child().exited(), &Arc::new(Asks(stage.child(), tell)).into());
            leader.signal(Signal::KILL);
            leader.dies();
            // Nobody but the order can learn of it. Elsewhere, since it may hang.
            let (tell_back, back) = mpsc::channel();
            let child = stage.child();
            thread::spawn(move || {
                ORDERS[i](child);
                tell_back.send(()).expect("somebody listens");
            });
            let exit = told.recv_timeout(DEADLINE).expect("the waker returns");
            assert_eq!(exit.map(|exit| exit.status), Some(KILLED), "order {i}");
            back.recv_timeout(DEADLINE).expect("the order returns");
        }
        release.send(()).expect("the engine listens");
        for stage in stages {
            within(&stage.child().gone());
        }
        // It works on.
        assert_eq!(
            overdue_after(ms(100)).wait_timeout(DEADLINE).map(|exit| exit.cause),
            Some(Cause::TimedOut)
        );
    });
}

#[test]
fn leftovers_are_killed_though_proc_shows_others() {
    if !needs(Feature::PidNamespace) {
        return;
    }
    // No `--mount-proc`: what is in `/proc` are the processes outside, by their numbers there. The shell is pid 1 and
    // reaps the orphans: nobody here could tell a zombie for ever from a process.
    let init = ["unshare", "-p", "-f", "--kill-child", "sh", "-c", r#""$0" "$@"; exit $?"#];
    alone_under(&init, || {
        let proc_self = std::fs::read_link("/proc/self").expect("/proc is mounted");
        assert_ne!(proc_self.to_str(), Some(&*std::process::id().to_string()), "this `/proc` is not ours");
        // With the group alone, which is searched for in `/proc`, and with whatever holds it otherwise.
        for containment in [Containment::Group, Containment::Auto, Containment::Group] {
            let command = Command::shell("sleep 60 & exit 0").stdin(Input::Null).stdout(Sink::Piped);
            let command = command.containment(containment);
            let child = command.spawn().unwrap_or_else(|error| panic!("{error}"));
            let mut output = child.take_stdout().expect("it is piped");
            let (tell, told) = mpsc::channel();
            thread::spawn(move || tell.send(output.read_to_end(&mut Vec::new())));
            let exit = child.wait_timeout(DEADLINE).expect("the exit is told");
            assert_eq!((exit.status, exit.cause), (Status::Exited(0), Cause::Own));
            // The pipe ends with its last holder, which is the sleep.
            let end = told.recv_timeout(DEADLINE).expect("what was left is killed");
            assert_eq!(end.expect("a pipe can be read"), 0);
            assert_eq!(within(&child.gone()), exit);
        }
    });
}

/// A process that traces this one and does not look what becomes of it.
fn trace(pid: u32) -> std::process::Child {
    let seize = move || {
        let nothing = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: no memory is passed; the system call is all there is between fork and exec.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid.cast_signed(), nothing, nothing) };
        if seized == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    let mut process = Process::new("sleep");
    // SAFETY: the closure does nothing but a system call and reads errno: no memory is allocated, no lock taken.
    let process = unsafe { process.arg("60").pre_exec(seize) };
    process.spawn().unwrap_or_else(|error| panic!("cannot trace {pid}: {error}"))
}

/// The ticks of processor time that the engine's thread has had.
fn ticks_of_the_engine() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is mounted").flatten();
    let stat = tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .find(|stat| stat.contains("(foster)"))
        .expect("the engine runs");
    let fields: Vec<&str> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    // `utime` and `stime`, fields 14 and 15 of proc_pid_stat(5).
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

#[test]
fn a_tracer_that_keeps_the_dead_does_not_make_the_engine_spin() {
    // Who is not may trace its descendants only, on many machines.
    if !needs(Feature::Root) {
        return;
    }
    alone(|| {
        // It is from us, who would reap it, that the tracer keeps it.
        let stage = Stage::start(&puppet("wait").containment(Containment::Group));
        let leader = stage.leader();
        let mut tracer = trace(leader.pid());
        leader.signal(Signal::KILL);
        leader.dies();
        let before = ticks_of_the_engine();
        let begun = Instant::now();
        let told = stage.child().wait_timeout(ms(1000));
        let spent = ticks_of_the_engine() - before;
        tracer.kill().expect("it is ours");
        tracer.wait().expect("it is ours");
        assert_eq!(told, None, "its tracer has to look first");
        assert!(spent < 20, "{spent} ticks in {:?}", begun.elapsed());
        assert_eq!(stage.exit().status, KILLED);
        within(&stage.child().gone());
    });
}
