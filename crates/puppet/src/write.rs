//! What a puppet writes when a stream is what matters, and not what it says.

use std::io;
use std::time::Duration;

use puppet::Pattern;
use rustix::io::Errno;

use crate::hear::Ear;

/// As much as a pipe takes at once.
const BLOCK: u64 = 64 << 10;

/// So many bytes of the pattern to stdout. Nobody may read any more: that is the end, and no error.
pub(crate) fn pattern(bytes: u64) {
    let mut pattern = Pattern::default();
    while pattern.total() < bytes {
        let block = pattern.next(BLOCK.min(bytes - pattern.total()));
        if whole(block).is_err() {
            return;
        }
    }
}

/// The pattern without end, until it hears a signal. How many bytes of it were written.
pub(crate) fn flood(ear: &Ear) -> io::Result<u64> {
    let mut written = 0;
    while ear.next(Some(Duration::ZERO)).is_none() {
        match rustix::io::write(rustix::stdio::stdout(), Pattern::from(written).next(BLOCK)) {
            Ok(n) => written += n as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(written)
}

/// Lines `out N` and `err N` in turns, each in one write, to stdout and stderr.
pub(crate) fn alternate(lines: u64) {
    for n in 1..=lines {
        _ = whole(format!("out {n}\n").as_bytes());
        _ = rustix::io::write(rustix::stdio::stderr(), format!("err {n}\n").as_bytes());
    }
}

fn whole(mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
