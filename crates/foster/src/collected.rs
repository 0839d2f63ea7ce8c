//! What a run wrote, for whoever waits for it: [`Collected`] for all of it, [`Lines`] and [`Chunks`] as it comes.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::known::{EXIT, Known, OUTPUT};
use crate::output::lines::Splitter;
use crate::pump::Queue;
use crate::{Child, Chunk, Line, Output, Stream};

/// How a run ended and what it wrote: what [`Child::output`] returns, to wait for or to await.
#[derive(Debug)]
#[must_use = "nothing is told unless it is waited for"]
pub struct Collected {
    child: Child,
    place: Option<u64>,
}

impl Collected {
    pub(crate) fn new(child: Child) -> Collected {
        Collected { child, place: None }
    }

    /// Blocks until the leader is dead and its output drained.
    pub fn wait(&self) -> Output {
        let output = self.child.board_of_the_dead().wait(None, EXIT | OUTPUT, Collected::look);
        output.expect("a wait without a deadline ends with an output")
    }

    /// As [`wait`](Collected::wait), but no longer than this; `None` if there may be more then.
    pub fn wait_timeout(&self, timeout: Duration) -> Option<Output> {
        let deadline = Instant::now().checked_add(timeout);
        self.child.board().wait(deadline, EXIT | OUTPUT, Collected::look)
    }

    fn look(known: &mut Known) -> Option<Output> {
        let exit = known.exit()?;
        let [stdout, stderr] = known.output()?;
        Some(Output { exit, stdout, stderr })
    }
}

impl Future for Collected {
    type Output = Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Output> {
        let this = &mut *self;
        this.child.board().poll(&mut this.place, context, Collected::look)
    }
}

impl Drop for Collected {
    fn drop(&mut self) {
        self.child.board().forget(self.place);
    }
}

/// What a run writes, line by line: [`Child::take_lines`]. Lines of both streams come in the order in which their
/// pieces were read. While nobody takes any, 256 KiB of them wait; then the program does.
///
/// It is no handle: it does not keep the run alive, so hold the [`Child`] while you read. Dropping it lets the
/// program run on, and drops what it writes.
///
/// ```
/// use foster::{Command, Sink, Stream};
///
/// let child = Command::shell("echo one; echo two").stdout(Sink::Streamed).spawn()?;
/// let lines: Vec<String> = child.take_lines().unwrap().map(|line| line.to_string()).collect();
/// assert_eq!(lines, ["one", "two"]);
/// # Ok::<(), foster::Error>(())
/// ```
#[derive(Debug)]
pub struct Lines {
    chunks: Chunks,
    splitters: [Splitter; 2],
    ready: VecDeque<Line<'static>>,
    ended: bool,
}

impl Lines {
    pub(crate) fn new(queue: Arc<Queue>) -> Lines {
        let splitters = [Splitter::new(Stream::Stdout), Splitter::new(Stream::Stderr)];
        Lines { chunks: Chunks::new(queue), splitters, ready: VecDeque::new(), ended: false }
    }

    /// The next line, for a task of any runtime; `None` once both streams have ended, or have been drained for long
    /// enough.
    pub async fn next_line(&mut self) -> Option<Line<'static>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            let chunk = self.chunks.next_chunk().await;
            self.split(chunk);
        }
    }

    fn split(&mut self, chunk: Option<Chunk>) {
        let ready = &mut self.ready;
        let mut take = |line: Line<'_>| ready.push_back(line.into_owned());
        if let Some(chunk) = chunk {
            self.splitters[chunk.stream as usize].split(&chunk.bytes, take);
        } else {
            self.splitters.iter_mut().for_each(|splitter| splitter.finish(&mut take));
            self.ended = true;
        }
    }
}

impl Iterator for Lines {
    type Item = Line<'static>;

    /// Blocks until there is one.
    fn next(&mut self) -> Option<Line<'static>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            let chunk = self.chunks.next();
            self.split(chunk);
        }
    }
}

/// What a run writes, in the pieces in which it comes: [`Child::take_chunks`]. Otherwise as [`Lines`].
#[derive(Debug)]
pub struct Chunks {
    queue: Arc<Queue>,
    ended: bool,
}

impl Chunks {
    pub(crate) fn new(queue: Arc<Queue>) -> Chunks {
        Chunks { queue, ended: false }
    }

    /// The next piece, for a task of any runtime; `None` once both streams have ended, or have been drained for long
    /// enough.
    pub async fn next_chunk(&mut self) -> Option<Chunk> {
        let chunk = if self.ended { None } else { self.queue.next().await };
        self.ended |= chunk.is_none();
        chunk
    }
}

impl Iterator for Chunks {
    type Item = Chunk;

    /// Blocks until there is one.
    fn next(&mut self) -> Option<Chunk> {
        // What a holder of the pipe writes after the end is nobody's.
        let chunk = if self.ended { None } else { self.queue.wait() };
        self.ended |= chunk.is_none();
        chunk
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
