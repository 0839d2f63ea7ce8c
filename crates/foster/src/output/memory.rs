//! Memory that a stream is read into, laid out for the copy that the kernel makes.
//!
//! An allocator gives large blocks at 16 bytes behind a page, and there a processor copies whole pages at half its
//! speed (AMD Zen, `rep movsb`; reading into new memory 0.81 GiB/s, from 32 bytes on 1.4). And each page taken by a
//! fault costs more than its bytes, so those of a big stream are asked for by the thousand (1.7 GiB/s). Pages of 2 MiB
//! would be faster still, where the machine has them ready; where it had not, they took four times as long.
#![expect(unsafe_code, reason = "what is read is behind the bytes of a vector; madvise(2) takes an address")]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsFd;

use rustix::io::Errno;
#[cfg(target_os = "linux")]
use rustix::mm::{Advice, madvise};

/// Bytes that begin at a multiple of [`ALIGN`], as long as the allocator leaves them there.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    /// What of them is only there for the others to be aligned.
    pad: usize,
    /// Up to where, in `bytes`, pages were asked for.
    touched: usize,
}

/// A line of the cache, of most processors.
const ALIGN: usize = 64;
/// A stream that has brought as much is big, and it gets as much at once.
const BIG: usize = 4 << 20;
/// How much a read may bring.
const PIPE: usize = 1 << 20;

impl Memory {
    pub(crate) fn new() -> Memory {
        Memory { bytes: Vec::new(), pad: 0, touched: 0 }
    }

    /// How many bytes it can hold.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() - self.pad
    }

    /// Makes room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        if self.len() >= BIG {
            // The pages are moved, not copied, and stay as far from the beginning of one as they were (mremap(2)).
            self.bytes.reserve_exact(more);
            return;
        }
        let mut bytes = Vec::<u8>::with_capacity(self.len() + more + ALIGN - 1);
        let pad = bytes.as_ptr().align_offset(ALIGN).min(ALIGN - 1);
        bytes.resize(pad, 0);
        bytes.extend_from_slice(self);
        *self = Memory { bytes, pad, touched: 0 };
    }

    pub(crate) fn push(&mut self, more: &[u8]) {
        self.bytes.extend_from_slice(more);
    }

    /// Reads what comes at once and has room, so many bytes at most.
    pub(crate) fn read(&mut self, source: impl AsFd, most: usize) -> Result<usize, Errno> {
        #[cfg(target_os = "linux")]
        self.touch();
        let spare = self.bytes.spare_capacity_mut();
        let most = most.min(spare.len());
        let came = rustix::io::read(source, &mut spare[..most])?.0.len();
        // SAFETY: so many bytes behind the last have just been written, within the vector's capacity.
        unsafe { self.bytes.set_len(self.bytes.len() + came) };
        Ok(came)
    }

    /// Reads what comes at once, so many bytes at most, in place of what is there.
    pub(crate) fn read_anew(&mut self, source: impl AsFd, most: usize) -> Result<usize, Errno> {
        self.bytes.truncate(self.pad);
        if self.capacity() < most {
            self.reserve(most);
        }
        self.read(source, most)
    }

    /// Asks for the pages that come next, before they are read into.
    #[cfg(target_os = "linux")]
    fn touch(&mut self) {
        let (len, capacity) = (self.bytes.len(), self.bytes.capacity());
        if len < BIG || self.touched >= capacity.min(len + PIPE) {
            return;
        }
        let page = rustix::param::page_size();
        let start =
            self.bytes.as_mut_ptr().wrapping_add(self.touched.max(len)).map_addr(|at| at & !(page - 1));
        self.touched = capacity.min(self.touched.max(len) + BIG);
        let size = (self.bytes.as_ptr().addr() + self.touched).next_multiple_of(page) - start.addr();
        // SAFETY: the pages hold bytes of the vector, so they are there. Whatever else is in the first and the last of
        // them, nothing is written: it is as if each were read, and written back as it was.
        // Before Linux 5.14 it is refused (EINVAL): then they come one by one.
        _ = unsafe { madvise(start.cast(), size, Advice::LinuxPopulateWrite) };
    }

    /// The bytes, moved to the front of what they are in.
    pub(crate) fn into_vec(mut self) -> Vec<u8> {
        self.bytes.drain(..self.pad);
        self.bytes
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[self.pad..]
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.pad..]
    }
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

impl Clone for Memory {
    fn clone(&self) -> Memory {
        Memory { bytes: self.to_vec(), pad: 0, touched: 0 }
    }
}

impl PartialEq for Memory {
    fn eq(&self, other: &Memory) -> bool {
        **self == **other
    }
}

impl Eq for Memory {}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes", self.len(), self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn it_is_aligned_from_the_first_byte_on_and_keeps_all_of_them() {
        let mut memory = Memory::new();
        let mut expected = Vec::new();
        for size in [1, 100, 64 << 10, 1 << 20, 3 << 20, 8 << 20] {
            memory.reserve(size);
            assert!(memory.capacity() - memory.len() >= size);
            if size < BIG {
                assert_eq!(memory.as_ptr().addr() % ALIGN, 0);
            }
            let (source, sink) = std::io::pipe().unwrap();
            let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let writer = {
                let bytes = bytes.clone();
                std::thread::spawn(move || (&sink).write_all(&bytes).unwrap())
            };
            let end = memory.len() + size;
            while memory.len() < end {
                assert_ne!(memory.read(&source, end - memory.len()).unwrap(), 0);
            }
            writer.join().unwrap();
            expected.extend(bytes);
            assert!(*memory == *expected);
        }
        assert!(memory.clone().into_vec() == expected);
        assert!(memory.into_vec() == expected);
    }

    /// What is asked for ahead of a stream is bounded.
    #[test]
    #[cfg(target_os = "linux")]
    fn it_takes_no_more_than_a_stream_is_likely_to_fill() {
        let mut memory = Memory::new();
        memory.reserve(BIG);
        memory.push(&vec![1; BIG]);
        memory.reserve(64 << 20);
        let before = resident();
        for _ in 0..3 {
            memory.touch();
        }
        let taken = resident() - before;
        assert!(taken <= 2 * BIG, "{taken} bytes");
    }

    #[cfg(target_os = "linux")]
    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * rustix::param::page_size()
    }
}
