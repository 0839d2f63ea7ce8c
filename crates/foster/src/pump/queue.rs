//! What a run's streams have brought and their reader has not taken yet.

use std::collections::VecDeque;
use std::sync::Weak;

use super::Pump;
use crate::board::{ANY, Board, Wake};
use crate::{Chunk, Stream};

/// How many bytes wait before their programs do.
const MOST: usize = 256 << 10;

#[derive(Debug, Default)]
pub(crate) struct Queue(Board<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// How many streams may still bring something.
    open: usize,
    /// The reader is no more: nothing is kept.
    unread: bool,
    /// Who reads on when there is room.
    paused: Vec<Weak<Pump>>,
}

impl Queue {
    pub(crate) fn opens(&self) {
        self.0.change_quietly(|waiting| waiting.open += 1);
    }

    pub(crate) fn closes(&self) -> Wake {
        self.0.change(|waiting| (waiting.open -= 1, ANY)).1
    }

    /// Whoever was waiting is woken by the caller, who knows which locks he holds.
    pub(crate) fn push(&self, stream: Stream, bytes: &[u8]) -> Wake {
        if bytes.is_empty() {
            return Wake::default();
        }
        let ((), wake) = self.0.change(|waiting| {
            if !waiting.unread {
                waiting.bytes += bytes.len();
                waiting.chunks.push_back(Chunk { stream, bytes: bytes.to_vec() });
            }
            ((), ANY)
        });
        wake
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.read(Waiting::is_full)
    }

    /// Says whether it has to wait: there may be room by now.
    pub(crate) fn awaits_room(&self, pump: &Weak<Pump>) -> bool {
        self.0.change_quietly(|waiting| {
            let full = waiting.is_full();
            if full {
                waiting.paused.push(pump.clone());
            }
            full
        })
    }

    /// The next chunk, or `None` at the end; blocks until there is one.
    pub(crate) fn wait(&self) -> Option<Chunk> {
        let (chunk, paused) = self.0.wait(None, ANY, Waiting::take)?;
        resume(&paused);
        chunk
    }

    pub(crate) async fn next(&self) -> Option<Chunk> {
        let (chunk, paused) = self.0.seen(Waiting::take).await;
        resume(&paused);
        chunk
    }

    /// The reader is no more: the programs run on, and what they write is dropped.
    pub(crate) fn abandon(&self) {
        resume(&self.0.change_quietly(|waiting| {
            waiting.unread = true;
            waiting.chunks.clear();
            waiting.bytes = 0;
            std::mem::take(&mut waiting.paused)
        }));
    }
}

impl Waiting {
    fn is_full(&self) -> bool {
        self.bytes >= MOST
    }

    /// A chunk or the end, and who has room now; `None` while there is neither.
    fn take(&mut self) -> Option<(Option<Chunk>, Vec<Weak<Pump>>)> {
        let chunk = self.chunks.pop_front();
        if chunk.is_none() && self.open > 0 {
            return None;
        }
        self.bytes -= chunk.as_ref().map_or(0, |chunk| chunk.bytes.len());
        let paused = if self.is_full() { Vec::new() } else { std::mem::take(&mut self.paused) };
        Some((chunk, paused))
    }
}

fn resume(paused: &[Weak<Pump>]) {
    paused.iter().filter_map(Weak::upgrade).for_each(|pump| pump.wake_up());
}
