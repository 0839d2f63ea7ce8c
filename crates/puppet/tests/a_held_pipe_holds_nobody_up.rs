//! F3: somebody whom the leader left holds its output. Nobody waits for him: not the exit, and not the output for
//! longer than the drain; and nobody kills him by closing the pipe.

use std::fs;
use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;
use std::time::Duration;

use foster::{Captured, Cause, Child, Command, Exit, Leftovers, Output, Signal, Sink, Stream, Target};
use puppet::{
    Actor, Before, DEADLINE, Feature, alive, eventually, long_enough, named_from, needs, scratch, within,
};

/// The shapes in which this was seen, and who then holds stdout and stderr. What must be in the foreground ends the
/// leader itself, as a timeout would. Nobody is left who has yet to turn his streams elsewhere: of a pipe, he who writes
/// to it says that he does.
const SHAPES: [Shape; 4] = [
    Shape { line: "sleep 50 & echo hi", stdout: &["sleep"], stderr: &["sleep"] },
    Shape { line: "echo hi; (kill -KILL $$; exec sleep 50); :", stdout: &["sleep"], stderr: &["sleep"] },
    Shape {
        line: "echo hi; { echo; exec sleep 50; } | { read _; kill -KILL $$; exec cat; }; :",
        stdout: &["cat"],
        stderr: &["cat", "sleep"],
    },
    Shape {
        line: "sleep 50 >/dev/null & until [ /proc/$!/fd/1 -ef /dev/null ]; do :; done; echo hi",
        stdout: &[],
        stderr: &["sleep"],
    },
];

/// Here what it writes goes by way of somebody else, who writes it to the file after he has written it to the pipe.
const TEE: Shape = Shape {
    line: "exec > >(tee \"$FILE\"); sleep 50 & echo hi; until [ -s \"$FILE\" ]; do :; done",
    stdout: &["tee"],
    stderr: &["sleep", "tee"],
};

#[derive(Clone, Copy, Debug)]
struct Shape {
    line: &'static str,
    stdout: &'static [&'static str],
    stderr: &'static [&'static str],
}

impl Shape {
    fn command(self) -> Command {
        let command = if self.line.contains(">(") {
            Command::new("bash").arg("-c").arg(self.line).env("FILE", scratch("tee").join("f"))
        } else {
            Command::shell(self.line)
        };
        command.drain(Duration::from_millis(300)).drain_max(Duration::from_secs(20))
    }
}

fn shapes() -> Vec<Shape> {
    let mut shapes = SHAPES.to_vec();
    shapes.extend(needs(Feature::Program("bash")).then_some(TEE));
    shapes
}

/// Those who were left, who must all live still, and end with this.
struct Left(Vec<Actor>);

impl Left {
    #[track_caller]
    fn by(exit: &Exit) -> Left {
        let left = Left(exit.leftovers.iter().map(|pid| Actor::of(*pid)).collect());
        assert!(!left.0.is_empty() && left.0.iter().all(Actor::alive), "they were waited for: {exit:?}");
        left
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.0.iter().for_each(|actor| actor.signal(Signal::KILL));
    }
}

/// Whoever holds it is named, and nobody else.
#[track_caller]
fn held_by(captured: &Captured, names: &[&str], exit: &Exit, line: &str) {
    assert_eq!(captured.drained(), names.is_empty(), "{line}: {captured:?}");
    assert!(
        captured.holders().iter().all(|pid| exit.leftovers.contains(pid)),
        "{line}: {captured:?} {exit:?}"
    );
    let called = || {
        let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let mut called: Vec<String> =
            captured.holders().iter().map(|pid| name(pid).trim().to_string()).collect();
        called.sort();
        called
    };
    // A fork has another name before it executes.
    eventually("the holders' names", called, |called| called == names);
}

#[test]
fn f3_what_was_captured_comes_when_the_drain_is_over() {
    for shape in shapes() {
        let output = shape.command().leftovers(Leftovers::Leave).output().expect("it starts");
        let _left = Left::by(&output.exit);
        assert_eq!(output.stdout.bytes(), b"hi\n", "{shape:?}");
        assert_eq!(output.stderr.bytes(), b"", "{shape:?}");
        for (captured, names) in [(&output.stdout, shape.stdout), (&output.stderr, shape.stderr)] {
            held_by(captured, names, &output.exit, shape.line);
        }
    }
}

#[test]
fn f3_lines_are_told_before_the_exit_and_the_exit_at_once() {
    for shape in shapes() {
        let (send, lines) = channel();
        let sink = Sink::lines(move |line| _ = send.send(line.to_string()));
        // A drain for which nobody would wait.
        let command = shape.command().leftovers(Leftovers::Leave).drain(2 * DEADLINE).drain_max(2 * DEADLINE);
        let child = command.stdout(sink).stderr(Sink::captured()).spawn().expect("it starts");
        let exit = exit_of(&child);
        let _left = Left::by(&exit);
        if shape.stdout == TEE.stdout {
            assert_eq!(lines.recv_timeout(DEADLINE).as_deref(), Ok("hi"), "{shape:?}");
        } else {
            assert_eq!(lines.try_iter().collect::<Vec<_>>(), ["hi"], "{shape:?}");
        }
    }
}

#[test]
fn f3_streamed_lines_end_when_the_drain_is_over() {
    for shape in shapes() {
        let command = shape.command().leftovers(Leftovers::Leave);
        let child = command.stdout(Sink::Streamed).stderr(Sink::Streamed).spawn().expect("it starts");
        let lines = child.take_lines().expect("streamed");
        assert_eq!(lines.map(|line| line.to_string()).collect::<Vec<_>>(), ["hi"], "{shape:?}");
        Left::by(&exit_of(&child));
    }
}

#[test]
fn f3_whoever_is_ended_by_the_policy_holds_nothing() {
    for shape in SHAPES {
        // Longer than this test may take: it is the end of the holders that ends it.
        let command = shape.command().drain(2 * DEADLINE).drain_max(2 * DEADLINE);
        let output = command.output().expect("it starts");
        assert_eq!(output.stdout.bytes(), b"hi\n", "{shape:?}");
        assert!(output.stdout.drained() && output.stderr.drained(), "{shape:?} {output:?}");
        assert_eq!(output.stdout.holders(), [0; 0]);

        let child = command.stdout(Sink::Streamed).stderr(Sink::Null).spawn().expect("it starts");
        let lines = child.take_lines().expect("streamed");
        assert_eq!(lines.map(|line| line.to_string()).collect::<Vec<_>>(), ["hi"], "{shape:?}");
    }
}

#[test]
fn f3_a_timeout_of_the_leader_is_kept_though_the_pipe_is_held() {
    for line in ["echo hi; (sleep 50); :", "echo hi; sleep 50 | cat; :"] {
        let command = Command::shell(line).drain(Duration::from_millis(300));
        // Only the leader hears it; the others live as long as their grace.
        let output = times_out(&command.clone().target(Target::Leader).grace(None));
        let collected = output.output().wait_timeout(DEADLINE).expect("the drain has an end");
        assert_eq!((collected.exit.cause, collected.stdout.bytes()), (Cause::TimedOut, &b"hi\n"[..]));
        assert!(!collected.stdout.drained());
        let _left = Left::by(&collected.exit);
        within(&output.kill());

        let whole = times_out(&command).output().wait_timeout(DEADLINE).expect("the drain has an end");
        assert_eq!((whole.exit.cause, whole.stdout.bytes()), (Cause::TimedOut, &b"hi\n"[..]));
    }
}

/// The time stands still until it has said «hi» and its sleep sleeps.
#[track_caller]
fn times_out(command: &Command) -> Child {
    let child = long_enough(|timeout| {
        let before = Before::begins(timeout);
        let child = command.clone().timeout(timeout).captured_child();
        child.pause();
        before.still()?;
        Some(child)
    });
    let pid = child.pid().expect("it is paused");
    eventually("its sleep sleeps", || named_from(pid, "sleep").len(), |sleeps| *sleeps == 1);
    let said = || child.captured(Stream::Stdout).map_or(0, |captured| captured.total());
    eventually("it says hi", said, |said| *said == 3);
    child.resume();
    child
}

#[test]
fn f3_the_exit_is_told_at_once_whatever_the_sink() {
    let sinks: [fn() -> Sink; 6] = [
        || Sink::Piped,
        Sink::captured,
        || Sink::Streamed,
        || Sink::lines(|_| ()),
        || Sink::chunks(|_| ()),
        || Sink::captured().and(Sink::Null),
    ];
    for sink in sinks {
        let command = SHAPES[0].command().leftovers(Leftovers::Leave);
        let command = command.drain(2 * DEADLINE).drain_max(2 * DEADLINE);
        let child = command.stdout(sink()).stderr(sink()).spawn().expect("it starts");
        let _left = Left::by(&exit_of(&child));
        // And the run is over: what is left was to be left.
        within(&child.gone());
    }
}

#[test]
fn f3_who_goes_on_talking_is_cut_off() {
    let directory = scratch("talker");
    let log = directory.join("log");
    let line = "while :; do echo more; echo more >>\"$LOG\"; sleep 0.01; done & echo hi";
    let command = Command::shell(line).env("LOG", &log).leftovers(Leftovers::Leave);
    let command = command.drain(2 * DEADLINE).drain_max(Duration::from_millis(200));
    for sink in [Sink::captured(), Sink::captured().and(Sink::chunks(|_| ()))] {
        let child = command.clone().stdout(sink).stderr(Sink::Null).spawn().expect("it starts");
        let Output { exit, stdout, .. } = child.output().wait_timeout(DEADLINE).expect("it is cut off");
        let talker = talker(&exit);
        assert!(!stdout.drained() && stdout.to_string().contains("hi\n"), "{stdout:?}");
        assert!(stdout.holders().contains(&talker.0[0].pid()), "{stdout:?} {exit:?}");
        // He talks on, to nobody, and nobody minds, with a handle or without.
        let so_far = || fs::read_to_string(&log).map_or(0, |text| text.len());
        let before = so_far();
        eventually("he talks on", so_far, |now| *now > before + 50);
        drop(child);
        let before = so_far();
        eventually("he talks on", so_far, |now| *now > before + 50);
        assert!(talker.0[0].alive());
    }

    let child = command.stdout(Sink::Streamed).stderr(Sink::Null).spawn().expect("it starts");
    let lines: Vec<String> = child.take_lines().expect("streamed").map(|line| line.to_string()).collect();
    let talker = talker(&exit_of(&child));
    assert!(lines.contains(&"hi".to_string()), "{lines:?}");
    let so_far = || fs::read_to_string(&log).map_or(0, |text| text.len());
    let before = so_far();
    eventually("he talks on", so_far, |now| *now > before + 50);
    assert!(talker.0[0].alive());
}

/// Of those who were left, the one that is not there just to sleep for a moment: that one is his child, or gone.
#[track_caller]
fn talker(exit: &Exit) -> Left {
    let begets = |pid: &&u32| {
        let children = || fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        eventually("he sleeps, or it is not he", children, |children| !children.is_empty() || !alive(**pid));
        alive(**pid)
    };
    let talker = exit.leftovers.iter().find(begets).expect("it was left");
    Left(vec![Actor::of(*talker)])
}

#[test]
fn f3_a_daemon_that_writes_faster_than_anybody_reads_holds_nobody_up() {
    let line = "for i in 1 2 3 4; do dd if=/dev/zero bs=256k 2>/dev/null & done; printf hi >&2";
    let command = Command::shell(line).drain(2 * DEADLINE).drain_max(Duration::from_millis(200));
    let (head, tail) = (1 << 20, 1 << 20);
    for leftovers in [Leftovers::Kill, Leftovers::Leave] {
        for round in 0..4 {
            let sink = match round % 2 {
                0 => Sink::captured_within(head, tail),
                _ => Sink::captured_within(head, tail).and(Sink::chunks(|_| ())),
            };
            let command = command.clone().leftovers(leftovers).stdout(sink).stderr(Sink::captured());
            let child = command.spawn().expect("it starts");
            let output = child.output().wait_timeout(DEADLINE).expect("the drain has an end");
            let left: Vec<Actor> = output.exit.leftovers.iter().map(|pid| Actor::of(*pid)).collect();
            assert!(output.stderr.bytes().ends_with(b"hi"));
            if leftovers == Leftovers::Leave {
                assert!(left.len() == 4 && left.iter().all(Actor::alive), "{:?}", output.exit);
            }
            for actor in left {
                actor.signal(Signal::KILL);
                actor.dies();
            }
        }
    }
}

#[test]
fn whoever_holds_it_still_does_not_die_of_a_sink_that_has_ended() {
    for kept in [Sink::captured(), Sink::Null] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let log = scratch("ended-sink").join("log");
        let line = "while :; do echo more || exit; echo more >>\"$LOG\"; sleep 0.01; done & echo hi";
        let command = Command::shell(line).env("LOG", &log).leftovers(Leftovers::Leave);
        let sink = kept.and(Sink::from(OwnedFd::from(writer)));
        let command = command.drain_max(Duration::from_millis(200)).stdout(sink).stderr(Sink::Null);
        let child = command.spawn().expect("it starts");
        let output = child.output().wait_timeout(DEADLINE).expect("it is cut off");
        let talker = talker(&output.exit);
        let so_far = || fs::read_to_string(&log).map_or(0, |text| text.len());
        let before = so_far();
        eventually("he talks on", so_far, |now| *now > before + 50);
        assert!(output.success() && talker.0[0].alive());
    }
}

#[test]
fn who_ends_in_time_is_heard_to_the_end() {
    // It talks on for a while after the leader's exit, never silent for as long as the drain.
    let line = "for i in 1 2 3 4 5; do sleep 0.05; echo $i; done & echo 0";
    let command = Command::shell(line).leftovers(Leftovers::Wait { max: None });
    let command = command.drain(DEADLINE).drain_max(2 * DEADLINE);
    let output = command.output().expect("it starts");
    assert_eq!(output.stdout.to_string(), "0\n1\n2\n3\n4\n5\n");
    assert!(output.stdout.drained());
    let child = command.stdout(Sink::Streamed).spawn().expect("it starts");
    let lines: Vec<String> = child.take_lines().expect("streamed").map(|line| line.to_string()).collect();
    assert_eq!(lines, ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn what_is_captured_can_be_seen_while_it_is_held() {
    let command = SHAPES[0].command().leftovers(Leftovers::Leave).drain(2 * DEADLINE).drain_max(2 * DEADLINE);
    let child = command.captured_child();
    let _left = Left::by(&exit_of(&child));
    let seen = child.captured(Stream::Stdout).expect("it is still listened to");
    assert_eq!((seen.bytes(), seen.drained()), (&b"hi\n"[..], false));
    assert!(child.output().wait_timeout(Duration::ZERO).is_none());
}

#[track_caller]
fn exit_of(child: &Child) -> Exit {
    child.wait_timeout(DEADLINE).expect("the exit is told, whoever holds the pipe")
}

trait Capturing {
    fn captured_child(self) -> Child;
}

impl Capturing for Command {
    fn captured_child(self) -> Child {
        self.stdout(Sink::captured()).stderr(Sink::captured()).spawn().expect("it starts")
    }
}
