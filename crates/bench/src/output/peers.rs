//! The peers, as their users would write it. Their pipes are of the default size, 64 KiB.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;

use duct::Expression;
use tokio::io::{AsyncBufReadExt, AsyncReadExt};
use tokio::runtime::Runtime;

use super::{BLOCK, Contender, Job, Load, Null, PREFIX, Taken, drain, succeeded};
use crate::Result;
use crate::rates::STD;
use crate::stage::CHILD;

const TOKIO: &str = "tokio::process";
const DUCT: &str = "duct";

pub(super) fn contenders(job: Job, runtime: &Rc<Runtime>) -> Vec<Contender> {
    match job {
        Job::Drop => vec![
            Contender::new(STD, "read(), blocks of 64 KiB", |load| {
                let mut child = command(load).spawn()?;
                let bytes = drain(child.stdout.take().ok_or("it is piped")?)?;
                succeeded(child.wait()?)?;
                Ok(Taken::dropped(bytes))
            }),
            on(runtime, "read().await, blocks of 64 KiB", async |load| {
                let mut child = tokio_command(load).spawn()?;
                let mut stdout = child.stdout.take().ok_or("it is piped")?;
                let mut block = vec![0; BLOCK];
                let mut bytes = 0;
                loop {
                    match stdout.read(&mut block).await? {
                        0 => break,
                        read => bytes += read as u64,
                    }
                }
                succeeded(child.wait().await?)?;
                Ok(Taken::dropped(bytes))
            }),
            Contender::new(DUCT, "reader(), blocks of 64 KiB", |load| {
                // It waits at the end of what it reads, and a child that fails is an error.
                Ok(Taken::dropped(drain(expression(load).reader()?)?))
            }),
        ],
        Job::Keep => vec![
            Contender::new(STD, "output()", |load| {
                let output = command(load).output()?;
                succeeded(output.status)?;
                Ok(Taken::kept(output.stdout.len(), output))
            }),
            on(runtime, "output().await", async |load| {
                let output = tokio_command(load).output().await?;
                succeeded(output.status)?;
                Ok(Taken::kept(output.stdout.len(), output))
            }),
            Contender::new(DUCT, "stdout_capture().run()", |load| {
                let output = expression(load).stdout_capture().run()?;
                Ok(Taken::kept(output.stdout.len(), output))
            }),
        ],
        Job::Prefix => vec![
            Contender::new(STD, "BufReader::read_until, BufWriter, 64 KiB each", |load| {
                let mut child = command(load).spawn()?;
                let taken = prefix(child.stdout.take().ok_or("it is piped")?)?;
                succeeded(child.wait()?)?;
                Ok(taken)
            }),
            on(runtime, "AsyncBufReadExt::lines, which are strings; std's BufWriter", async |load| {
                let mut child = tokio_command(load).spawn()?;
                let stdout = child.stdout.take().ok_or("it is piped")?;
                let mut from = tokio::io::BufReader::with_capacity(BLOCK, stdout).lines();
                // /dev/null never blocks, so it needs no thread of its own.
                let mut out = BufWriter::with_capacity(BLOCK, Null::open()?);
                let mut lines = 0;
                while let Some(line) = from.next_line().await? {
                    out.write_all(PREFIX)?;
                    out.write_all(line.as_bytes())?;
                    out.write_all(b"\n")?;
                    lines += 1;
                }
                succeeded(child.wait().await?)?;
                out.flush()?;
                Ok(Taken::prefixed(lines, out.get_ref()))
            }),
            Contender::new(DUCT, "reader(), BufReader::read_until, BufWriter, 64 KiB each", |load| {
                prefix(expression(load).reader()?)
            }),
        ],
    }
}

fn on(
    runtime: &Rc<Runtime>,
    note: &'static str,
    run: impl AsyncFn(Load) -> Result<Taken> + 'static,
) -> Contender {
    let runtime = runtime.clone();
    Contender::new(TOKIO, note, move |load| runtime.block_on(run(load)))
}

fn prefix(from: impl Read) -> Result<Taken> {
    let mut from = BufReader::with_capacity(BLOCK, from);
    let mut out = BufWriter::with_capacity(BLOCK, Null::open()?);
    let mut line = Vec::new();
    let mut lines = 0;
    while from.read_until(b'\n', &mut line)? > 0 {
        out.write_all(PREFIX)?;
        out.write_all(&line)?;
        line.clear();
        lines += 1;
    }
    out.flush()?;
    Ok(Taken::prefixed(lines, out.get_ref()))
}

fn command(load: Load) -> Command {
    let mut command = Command::new(CHILD);
    command.args(load.args()).stdout(Stdio::piped());
    command
}

fn tokio_command(load: Load) -> tokio::process::Command {
    command(load).into()
}

fn expression(load: Load) -> Expression {
    duct::cmd(CHILD, load.args())
}
