//! Foster, contained as it is by default: its engine's side reads, and enlarges the pipe of who proves to write much.

use std::io::{BufWriter, Write};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use foster::{Captured, Command, Exit, Line, Sink};

use super::{BLOCK, Contender, Job, Load, Null, PREFIX, Taken};
use crate::Result;
use crate::stage::CHILD;

const NAME: &str = "foster";

/// Of the first bytes, and of the last: what a caller keeps who does not want it all.
const ENDS: usize = 512 << 10;

/// A sink that nobody lets go of is an error, not a bench that hangs.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) fn contender(job: Job) -> Contender {
    match job {
        Job::Drop => {
            Contender::new(NAME, "output(), of which the first and the last 512 KiB are kept", |load| {
                Ok(Taken::dropped(capture(load, Sink::captured_within(ENDS, ENDS))?.total()))
            })
        }
        Job::Keep => Contender::new(NAME, "output(), of which all is kept", |load| {
            let captured = capture(load, Sink::captured_within(usize::try_from(load.amount)?, 0))?;
            Ok(Taken::kept(captured.bytes().len(), captured))
        }),
        Job::Prefix => Contender::new(NAME, "Sink::lines, std's BufWriter of 64 KiB", prefix),
    }
}

fn capture(load: Load, sink: Sink) -> Result<Captured> {
    let output = command(load, sink).output()?;
    succeeded(&output.exit)?;
    Ok(output.stdout)
}

fn prefix(load: Load) -> Result<Taken> {
    let (done, taken) = mpsc::channel();
    let mut prefixed = Prefixed { lines: 0, out: BufWriter::with_capacity(BLOCK, Null::open()?), done };
    let sink = Sink::lines(move |line| prefixed.line(&line));
    let exit = command(load, sink).status()?;
    succeeded(&exit)?;
    // The command has let go of the function, and so does the thread that called it.
    Ok(taken.recv_timeout(DEADLINE)?)
}

fn command(load: Load, sink: Sink) -> Command {
    Command::new(CHILD).args(load.args()).stdout(sink)
}

fn succeeded(exit: &Exit) -> Result<()> {
    if exit.success() { Ok(()) } else { Err(format!("the child: {exit:?}").into()) }
}

/// What the function holds: no lock for each line, since it is called by one thread. When it is let go of, it tells
/// what it has taken.
struct Prefixed {
    lines: u64,
    out: BufWriter<Null>,
    done: Sender<Taken>,
}

impl Prefixed {
    fn line(&mut self, line: &Line<'_>) {
        // What could not be written is missing from the count.
        _ = self.out.write_all(PREFIX);
        _ = self.out.write_all(line);
        _ = self.out.write_all(b"\n");
        self.lines += 1;
    }
}

impl Drop for Prefixed {
    fn drop(&mut self) {
        _ = self.out.flush();
        _ = self.done.send(Taken::prefixed(self.lines, self.out.get_ref()));
    }
}
