//! [`Pattern`]: bytes of which everybody knows what comes next, so that a gibibyte is checked as fast as it comes.

use std::sync::LazyLock;

/// After so many bytes it begins again: a prime, so that what is lost, doubled or swapped by a pipe, which works in
/// pages, is always found out.
const PERIOD: usize = (1 << 20) - 3;

/// A line feed ends every so many bytes; all others are of any value, NUL and what is no UTF-8 too.
const LINE: usize = 1000;

/// Twice, so that a period from any place on is one slice.
static TWICE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut once = Vec::with_capacity(PERIOD + 8);
    while once.len() < PERIOD {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        once.extend_from_slice(&state.to_le_bytes());
    }
    once.truncate(PERIOD);
    once.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'\r');
    once.iter_mut().skip(LINE - 1).step_by(LINE).for_each(|byte| *byte = b'\n');
    once.repeat(2)
});

/// How far somebody has come in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    at: u64,
}

impl Pattern {
    /// From this place on.
    pub fn from(at: u64) -> Pattern {
        Pattern { at }
    }

    /// What comes next, at most so many bytes.
    pub fn next(&mut self, most: u64) -> &'static [u8] {
        let from = self.place();
        let n = usize::try_from(most).unwrap_or(usize::MAX).min(PERIOD);
        self.at += n as u64;
        &TWICE[from..from + n]
    }

    /// Checks that these come next.
    #[track_caller]
    pub fn check(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PERIOD) {
            let from = self.place();
            assert!(
                piece == &TWICE[from..from + piece.len()],
                "not what was written, behind byte {}",
                self.at
            );
            self.at += piece.len() as u64;
        }
    }

    /// How many bytes have come.
    pub fn total(&self) -> u64 {
        self.at
    }

    fn place(self) -> usize {
        usize::try_from(self.at % PERIOD as u64).expect("less than the period")
    }
}
