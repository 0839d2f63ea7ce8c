//! F34: what is kept is bounded, what was written is counted, and the program never waits because the bound is reached.

use std::fs;

use foster::{Captured, Cause, Command, Output, Sink, Status};
use puppet::{DEADLINE, Pattern, alone, eventually, puppet, scratch, status_field, within};

const MIB: usize = 1 << 20;

/// Of this process, in KiB: the most it ever held, or what it holds now.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    status_field(&status, field).trim_end_matches(" kB").parse().expect("KiB")
}

/// Head and tail are those of the pattern, of so many bytes.
#[track_caller]
fn is_pattern(captured: &Captured, total: u64) {
    assert_eq!(captured.total(), total);
    Pattern::default().check(captured.head());
    Pattern::from(total - captured.tail().len() as u64).check(captured.tail());
    assert_eq!(captured.bytes().len() as u64 + captured.omitted(), total);
}

/// Runs it until it has written so many bytes; `proc_pid_io(5)`. What was captured would be copied to be looked at.
#[track_caller]
fn stopped_after(command: &Command, bytes: u64) -> Output {
    let child = command.spawn().expect("it starts");
    let io = format!("/proc/{}/io", child.pid().expect("it runs"));
    let written = || status_field(&fs::read_to_string(&io).expect("it runs"), "wchar");
    eventually("it writes", written, |written| written.parse::<u64>().expect("a number") >= bytes);
    within(&child.stop());
    child.output().wait_timeout(DEADLINE).expect("it has ended")
}

#[test]
fn f34_a_flood_takes_no_memory_and_every_byte_is_counted() {
    alone(|| {
        let written = scratch("flood").join("written");
        let script = format!("on TERM [ ] quiet flood {}", written.display());
        let command = puppet(&script).stdout(Sink::captured_within(MIB / 2, MIB / 2));
        // The allocator, the engine and the pattern have their memory before.
        Pattern::default().check(&[]);
        stopped_after(&command, 1);
        let before = memory("VmHWM");
        // It is not slowed down to nothing by the bound.
        let output = stopped_after(&command, 512 * MIB as u64);
        assert_eq!((output.exit.status, output.exit.cause), (Status::Exited(0), Cause::Stopped));
        let total = fs::read_to_string(written).expect("it says").parse().expect("a number");
        is_pattern(&output.stdout, total);
        assert_eq!((output.stdout.head().len(), output.stdout.tail().len()), (MIB / 2, MIB / 2));
        assert!(output.stdout.drained());
        let grown = memory("VmHWM") - before;
        eprintln!("{} MiB written, {grown} KiB more memory", total >> 20);
        assert!(grown < 8 << 10, "{grown} KiB");
    });
}

#[test]
fn f34_yes_is_bounded_by_default() {
    alone(|| {
        let before = memory("VmHWM");
        let yes = Command::new("yes").stdout(Sink::captured());
        let output = stopped_after(&yes, 32 * MIB as u64);
        assert_eq!(output.exit.cause, Cause::Stopped);
        assert_eq!(output.stdout.head(), b"y\n".repeat(2 * MIB));
        assert_eq!(output.stdout.tail().len(), 4 * MIB);
        assert!(output.stdout.omitted() > 0);
        // What was kept, and no second copy of it.
        let grown = memory("VmHWM") - before;
        assert!(grown < 16 << 10, "{grown} KiB");
    });
}

#[test]
fn f34_head_and_tail_are_the_first_and_the_last() {
    let bounds =
        [(0, 0), (0, 1), (1, 0), (10, 10), (1000, 0), (0, 1000), (70_000, 3), (3, 70_000), (65_536, 65_536)];
    for (head, tail) in bounds {
        let kept: usize = head + tail;
        let totals = [0, 1, kept.saturating_sub(1), kept, kept + 1, 2 * kept + 7, 300_000];
        for total in totals.map(|total| total as u64) {
            for sink in [
                Sink::captured_within(head, tail),
                Sink::captured_within(head, tail).and(Sink::chunks(|_| ())),
            ] {
                let output =
                    puppet(&format!("quiet pattern {total}")).stdout(sink).output().expect("it starts");
                is_pattern(&output.stdout, total);
                let whole = total <= kept as u64;
                assert_eq!(output.stdout.omitted() == 0, whole);
                let lengths = (output.stdout.head().len() as u64, output.stdout.tail().len() as u64);
                let expected = if whole { (total, 0) } else { (head as u64, tail as u64) };
                assert_eq!(lengths, expected, "{total} bytes within {head} and {tail}");
            }
        }
    }
}

#[test]
fn f34_the_streams_are_bounded_apart() {
    let line = "head -c 3000000 /dev/zero; head -c 5000 /dev/zero >&2";
    let output = Command::shell(line)
        .stdout(Sink::captured_within(1000, 1000))
        .stderr(Sink::captured_within(10_000, 0))
        .output()
        .expect("it starts");
    assert_eq!((output.stdout.total(), output.stdout.omitted()), (3_000_000, 2_998_000));
    assert_eq!((output.stderr.total(), output.stderr.omitted()), (5000, 0));
}

#[test]
fn f34_many_that_write_little_take_little() {
    alone(|| {
        let before = memory("VmHWM");
        let outputs: Vec<_> =
            (0..200).map(|_| Command::new("echo").arg("x").output().expect("it starts")).collect();
        assert!(outputs.iter().all(|output| output.stdout.bytes() == b"x\n"));
        // By default 16 MiB could be kept of each.
        let grown = memory("VmHWM") - before;
        eprintln!("{grown} KiB for 200");
        assert!(grown < 40 << 10, "{grown} KiB");
    });
}

#[test]
fn f34_what_no_memory_can_hold_is_no_bound() {
    let sink = Sink::captured_within(usize::MAX, usize::MAX);
    let child = puppet("quiet pattern 3000000").stdout(sink).spawn().expect("it starts");
    let output = child.output().wait_timeout(DEADLINE).expect("it ends");
    is_pattern(&output.stdout, 3_000_000);
    assert_eq!(output.stdout.omitted(), 0);
}
