//! Bytes into lines. Pure.

use std::borrow::Cow;

use memchr::memchr_iter;

use super::{Line, Stream};

/// Splits what comes at line feeds, and keeps what has no end yet.
#[derive(Debug)]
pub(crate) struct Splitter {
    stream: Stream,
    partial: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(stream: Stream) -> Splitter {
        Splitter { stream, partial: Vec::new() }
    }

    /// Hands over each line that ends in `bytes`.
    pub(crate) fn split(&mut self, bytes: &[u8], mut take: impl FnMut(Line<'_>)) {
        let mut from = 0;
        for at in memchr_iter(b'\n', bytes) {
            self.end(&bytes[from..at], &mut take);
            from = at + 1;
        }
        self.keep(&bytes[from..], &mut take);
    }

    /// The last line, which had no line feed.
    pub(crate) fn finish(&mut self, mut take: impl FnMut(Line<'_>)) {
        if !self.partial.is_empty() {
            self.end(&[], &mut take);
        }
    }

    /// A line ends with this.
    fn end(&mut self, last: &[u8], take: &mut impl FnMut(Line<'_>)) {
        if self.partial.is_empty() && last.len() <= Line::MOST {
            return take(self.line(last, false));
        }
        self.keep(last, take);
        let partial = std::mem::take(&mut self.partial);
        take(self.line(&partial, false));
        // The next long line needs the room again, but nobody needs all of it for ever.
        if partial.capacity() <= 64 << 10 {
            self.partial = partial;
            self.partial.clear();
        }
    }

    /// A line goes on with this. Whatever is kept is never more than a line may be, and a piece is handed over only
    /// when it is known that more follows.
    fn keep(&mut self, mut more: &[u8], take: &mut impl FnMut(Line<'_>)) {
        while self.partial.len() + more.len() > Line::MOST {
            let (now, later) = more.split_at(Line::MOST - self.partial.len());
            self.partial.extend_from_slice(now);
            let piece = std::mem::take(&mut self.partial);
            take(self.line(&piece, true));
            more = later;
        }
        self.partial.extend_from_slice(more);
    }

    fn line<'a>(&self, bytes: &'a [u8], cut: bool) -> Line<'a> {
        Line { stream: self.stream, bytes: Cow::Borrowed(bytes), cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut lines = Vec::new();
        let mut take = |line: Line<'_>| lines.push((line.bytes.into_owned(), line.cut));
        for chunk in chunks {
            splitter.split(chunk, &mut take);
        }
        splitter.finish(&mut take);
        lines
    }

    fn whole(lines: &[&[u8]]) -> Vec<(Vec<u8>, bool)> {
        lines.iter().map(|line| (line.to_vec(), false)).collect()
    }

    #[test]
    fn the_bytes_of_a_line_are_the_programs() {
        assert_eq!(lines(&[]), whole(&[]));
        assert_eq!(lines(&[b"one\ntwo"]), whole(&[b"one", b"two"]));
        assert_eq!(lines(&[b"one\n"]), whole(&[b"one"]));
        assert_eq!(lines(&[b"\n\nx\n"]), whole(&[b"", b"", b"x"]));
        assert_eq!(lines(&[b"dos\r\nlone\rcr\n"]), whole(&[b"dos\r", b"lone\rcr"]));
        assert_eq!(lines(&[b"a\0b\n\xff\xfe\n"]), whole(&[b"a\0b", b"\xff\xfe"]));
    }

    #[test]
    fn where_chunks_end_makes_no_difference() {
        let text = b"first\nsecond\r\n\nlast";
        for step in 1..=text.len() {
            let chunks: Vec<&[u8]> = text.chunks(step).collect();
            assert_eq!(lines(&chunks), whole(&[b"first", b"second\r", b"", b"last"]), "by {step}");
        }
    }

    #[test]
    fn a_line_of_the_longest_kind_is_whole_and_a_longer_one_is_cut() {
        for step in [1 << 16, 1 << 20, 12 << 20] {
            for (n, ends) in [(Line::MOST - 1, ""), (Line::MOST, ""), (Line::MOST, "\n")] {
                let text = ["x".repeat(n).as_str(), ends].concat().into_bytes();
                let chunks: Vec<&[u8]> = text.chunks(step).collect();
                assert!(lines(&chunks) == whole(&[&text[..n]]), "{n} bytes by {step}");
            }
            for n in [Line::MOST + 1, 10 << 20, (10 << 20) + 1] {
                let text = ["x".repeat(n).as_str(), "\nnext\n"].concat().into_bytes();
                let chunks: Vec<&[u8]> = text.chunks(step).collect();
                let lines = lines(&chunks);
                let (next, pieces) = lines.split_last().unwrap();
                assert_eq!(*next, (b"next".to_vec(), false));
                assert_eq!(pieces.iter().map(|(bytes, _)| bytes.len()).sum::<usize>(), n);
                let cuts: Vec<bool> = pieces.iter().map(|(_, cut)| *cut).collect();
                let mut expected = vec![true; n.div_ceil(Line::MOST)];
                *expected.last_mut().unwrap() = false;
                assert_eq!(cuts, expected, "{n} bytes by {step}");
                assert!(pieces.iter().all(|(bytes, _)| (1..=Line::MOST).contains(&bytes.len())));
            }
        }
    }
}
