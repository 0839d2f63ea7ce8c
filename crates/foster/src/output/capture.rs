//! Capturing within bounds: the beginning, the end, and how much was left out between them.
//!
//! One buffer holds both. What fits is simply appended. Once it is full, its first part is the head and stays; the rest
//! is a ring, in which the newest bytes take the place of the oldest. So nothing is copied twice, and what was kept is
//! one slice.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::io::Errno;

use super::Capture;
use super::memory::Memory;

/// What was kept of a stream.
///
/// ```
/// use foster::{Command, Sink};
///
/// let command = Command::shell("printf 0123456789").stdout(Sink::captured_within(2, 3));
/// let captured = command.spawn()?.output().wait().stdout;
/// assert_eq!((captured.head(), captured.tail()), (&b"01"[..], &b"789"[..]));
/// assert_eq!((captured.omitted(), captured.total()), (5, 10));
/// assert_eq!(captured.to_string(), "01\n[5 bytes left out]\n789");
/// assert!(captured.drained());
/// # Ok::<(), foster::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Captured {
    bytes: Arc<Memory>,
    head: usize,
    omitted: u64,
    drained: bool,
    holders: Arc<[u32]>,
}

impl Captured {
    /// What was kept: all of the output if [`omitted`](Captured::omitted) is 0, else its head and, right behind it, its
    /// tail.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// As [`bytes`](Captured::bytes), in the memory where they are if nobody else holds them, else in a copy.
    pub fn into_bytes(self) -> Vec<u8> {
        Arc::try_unwrap(self.bytes).map_or_else(|shared| shared.to_vec(), Memory::into_vec)
    }

    /// The beginning, up to where something was left out; all of it where nothing was.
    pub fn head(&self) -> &[u8] {
        &self.bytes[..self.head]
    }

    /// What comes after what was left out; nothing where nothing was.
    pub fn tail(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// How many bytes were left out, between head and tail.
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// How many bytes were written, whether kept or not.
    pub fn total(&self) -> u64 {
        self.omitted + self.bytes.len() as u64
    }

    /// Whether it was read to its end. `false`: somebody held the pipe still when the drain was over, and may have
    /// written more later; see [`Policy::drain`](crate::Policy::drain). All that was written before the exit is there
    /// either way, unless a slow [sink](crate::Sink::and) beside it had to be left behind.
    pub fn drained(&self) -> bool {
        self.drained
    }

    /// Who held the pipe then, by pid: those of whom the system tells, by `/proc/PID/fd`, which needs their user's
    /// rights.
    pub fn holders(&self) -> &[u32] {
        &self.holders
    }

    pub(crate) fn held_by(mut self, holders: Vec<u32>) -> Captured {
        self.holders = holders.into();
        self
    }
}

impl Default for Captured {
    /// Of a stream that was not captured.
    fn default() -> Captured {
        Captured { bytes: Arc::default(), head: 0, omitted: 0, drained: true, holders: Arc::default() }
    }
}

impl AsRef<[u8]> for Captured {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl fmt::Display for Captured {
    /// As text, with `U+FFFD` for what is no UTF-8, and a line for what was left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.head()))?;
        if self.omitted > 0 {
            write!(f, "\n[{} bytes left out]\n", self.omitted)?;
        }
        f.write_str(&String::from_utf8_lossy(self.tail()))
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("head", &String::from_utf8_lossy(self.head()))
            .field("tail", &String::from_utf8_lossy(self.tail()))
            .field("omitted", &self.omitted)
            .field("drained", &self.drained)
            .field("holders", &self.holders)
            .finish_non_exhaustive()
    }
}

/// While it is being filled.
#[derive(Debug)]
pub(crate) struct Recorder {
    buffer: Memory,
    head: usize,
    tail: usize,
    /// Where in the ring the oldest byte is, once the buffer is full.
    oldest: usize,
    omitted: u64,
}

/// How much is read at once: with more the writer, who waits meanwhile, and the reader take turns.
const BLOCK: usize = 64 << 10;

impl Recorder {
    pub(crate) fn new(Capture { head, tail }: Capture) -> Recorder {
        // What no memory can hold is no bound.
        let tail = tail.min(isize::MAX.cast_unsigned().saturating_sub(head));
        let head = head.min(isize::MAX.cast_unsigned());
        Recorder { buffer: Memory::new(), head, tail, oldest: 0, omitted: 0 }
    }

    fn room(&self) -> usize {
        self.head + self.tail - self.buffer.len()
    }

    /// Takes in what was read elsewhere.
    pub(crate) fn record(&mut self, bytes: &[u8]) {
        let (fits, more) = bytes.split_at(bytes.len().min(self.room()));
        self.buffer.push(fits);
        if more.is_empty() {
            return;
        }
        self.omitted += more.len() as u64;
        // Of more than the ring holds, only the end would stay.
        let mut rest = &more[more.len().saturating_sub(self.tail)..];
        while !rest.is_empty() {
            let n = rest.len().min(self.tail - self.oldest);
            let at = self.head + self.oldest;
            self.buffer[at..at + n].copy_from_slice(&rest[..n]);
            self.oldest = (self.oldest + n) % self.tail;
            rest = &rest[n..];
        }
    }

    /// Whether what is read now would stay, for a while at least.
    pub(crate) fn can_read(&self) -> bool {
        self.room() > 0 || self.tail > 0
    }

    /// Reads once, straight to where it stays. How many bytes came; 0 is the end.
    pub(crate) fn read(&mut self, source: impl AsFd) -> Result<usize, Errno> {
        let room = self.room();
        if room > 0 {
            self.make_room(room);
            return self.buffer.read(source, room.min(BLOCK));
        }
        let from = self.head + self.oldest;
        let to = (from + BLOCK).min(self.buffer.len());
        let n = rustix::io::read(source, &mut self.buffer[from..to])?;
        self.omitted += n as u64;
        self.oldest = (self.oldest + n) % self.tail;
        Ok(n)
    }

    /// Twice as much each time, but never more than is allowed.
    fn make_room(&mut self, room: usize) {
        if self.buffer.len() == self.buffer.capacity() {
            let more = self.buffer.capacity().max(BLOCK).min(room);
            self.buffer.reserve(more);
        }
    }

    /// What there is so far.
    pub(crate) fn snapshot(&self) -> Captured {
        let recorder = Recorder { buffer: self.buffer.clone(), ..*self };
        recorder.finish(false)
    }

    pub(crate) fn finish(mut self, drained: bool) -> Captured {
        let head = if self.omitted == 0 { self.buffer.len() } else { self.head };
        self.buffer[head..].rotate_left(self.oldest);
        Captured {
            bytes: Arc::new(self.buffer),
            head,
            omitted: self.omitted,
            drained,
            holders: Arc::default(),
        }
    }
}

/// For [`Command::read_to_string`](crate::Command::read_to_string).
pub(crate) fn to_text(captured: Captured) -> io::Result<String> {
    if captured.omitted > 0 {
        let total = captured.total();
        return Err(io::Error::other(format!("it wrote {total} bytes, more than is kept")));
    }
    String::from_utf8(captured.into_bytes()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("its output is not UTF-8, from byte {at} on"))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use super::*;

    fn pipe() -> (OwnedFd, std::fs::File) {
        let (read, write) = rustix::pipe::pipe().unwrap();
        (read, write.into())
    }

    /// What must come out, told in the plainest way.
    fn expected(bytes: &[u8], head: usize, tail: usize) -> (Vec<u8>, Vec<u8>, u64) {
        if bytes.len() <= head + tail {
            return (bytes.to_vec(), Vec::new(), 0);
        }
        let omitted = bytes.len() - head - tail;
        (bytes[..head].to_vec(), bytes[bytes.len() - tail..].to_vec(), omitted as u64)
    }

    #[test]
    fn whatever_the_sizes_head_tail_and_count_are_right() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for (head, tail) in [(0, 0), (0, 7), (7, 0), (1, 1), (10, 20), (500, 500), (499, 500), (2_000, 9)] {
            for step in [1, 3, 7, 64, 999, 1_000] {
                let mut recorded = Recorder::new(Capture { head, tail });
                let mut read = Recorder::new(Capture { head, tail });
                let (source, mut writer) = pipe();
                for part in bytes.chunks(step) {
                    recorded.record(part);
                    writer.write_all(part).unwrap();
                    let mut left = part.len();
                    while left > 0 && read.can_read() {
                        left -= read.read(&source).unwrap();
                    }
                    if left > 0 {
                        read.record(&part[part.len() - left..]);
                    }
                }
                for recorder in [recorded, read] {
                    let captured = recorder.finish(true);
                    let got = (captured.head().to_vec(), captured.tail().to_vec(), captured.omitted());
                    assert_eq!(got, expected(&bytes, head, tail), "head {head}, tail {tail}, step {step}");
                    assert_eq!(captured.total(), 1_000);
                }
            }
        }
    }

    #[test]
    fn it_never_holds_more_than_its_bounds() {
        let mut recorder = Recorder::new(Capture { head: 100_000, tail: 100_000 });
        let (source, mut writer) = pipe();
        for _ in 0..100 {
            writer.write_all(&[b'x'; 10_000]).unwrap();
            let mut left = 10_000;
            while left > 0 {
                left -= recorder.read(&source).unwrap();
            }
            // And what the alignment of its bytes may take.
            assert!(recorder.buffer.capacity() < 200_000 + 64, "{}", recorder.buffer.capacity());
        }
        assert_eq!(recorder.finish(true).omitted(), 800_000);
    }

    #[test]
    fn bounds_beyond_any_memory_are_no_bounds() {
        let mut recorder = Recorder::new(Capture { head: usize::MAX, tail: usize::MAX });
        recorder.record(b"all of it");
        assert_eq!(recorder.finish(true).bytes(), b"all of it");
    }
}
