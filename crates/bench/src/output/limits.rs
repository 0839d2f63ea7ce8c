//! What the kernel, and one pass over the bytes, allow: a pipe of 1 MiB, as large as one gets without being root, and
//! nothing done that the job does not ask for.
//!
//! Who keeps a gigabyte has to get the memory, and that costs more than the copy: on a virtual machine the host has to
//! find it too, and takes as long as it likes. So the limit, to which all are compared, copies into memory that was
//! touched before, which no keeper has; beside it stands the same with new memory of the right size, got within the
//! time. Huge pages are not asked for: free memory of the machine where this was written goes back to its host (page
//! reporting), so the same work took from half to four times as long, by whether the host still backed the pages.
//!
//! Memory of 128 KiB and more comes from malloc 16 bytes behind a page (glibc's mmap threshold), and into that AMD's
//! `rep movsb`, by which the kernel copies, is half as fast: so all buffers here begin with a cache line.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::{BLOCK, Contender, Job, Load, MIB, Null, PREFIX, Taken, drain_by, limit, succeeded};
use crate::Result;
use crate::stage::CHILD;

const PIPE: usize = 1 << 20;

const LINE_OF_CACHE: usize = 64;

/// The first is the limit of the table.
pub(super) fn contenders(load: Load) -> Vec<Contender> {
    match load.job {
        Job::Drop => vec![
            Contender::new(limit::NAME, "a pipe of 1 MiB, read in blocks of 64 KiB", read),
            Contender::new("limit: splice", "the same pipe, its pages moved to /dev/null: no copy", spliced),
        ],
        Job::Keep => vec![
            into_touched(usize::try_from(load.amount).expect("memory is addressed by usize")),
            Contender::new("limit: new memory", "the same into memory that is got for it", into_new),
        ],
        Job::Prefix => vec![Contender::new(
            limit::NAME,
            "a pipe of 1 MiB; one pass over blocks of 64 KiB by memchr, which need not hold whole lines",
            one_pass,
        )],
    }
}

fn read(load: Load) -> Result<Taken> {
    let (mut child, mut pipe) = start(load)?;
    let mut block = vec![0; BLOCK + LINE_OF_CACHE];
    let bytes = drain_by(&mut pipe, &mut aligned(&mut block)[..BLOCK])?;
    reap(&mut child)?;
    Ok(Taken::dropped(bytes))
}

fn spliced(load: Load) -> Result<Taken> {
    let (mut child, pipe) = start(load)?;
    let sink = Null::open()?;
    let mut bytes = 0;
    loop {
        match splice(&pipe, None, &sink.file, None, PIPE, SpliceFlags::empty())? {
            0 => break,
            moved => bytes += moved as u64,
        }
    }
    reap(&mut child)?;
    Ok(Taken::dropped(bytes))
}

fn into_touched(bytes: usize) -> Contender {
    // Zeroes would come untouched.
    let memory = RefCell::new(vec![1; bytes + LINE_OF_CACHE]);
    let note = "a pipe of 1 MiB, read in blocks of 64 KiB into memory that was there and touched before";
    Contender::new(limit::NAME, note, move |load| {
        let bytes = fill(load, &mut aligned(&mut memory.borrow_mut())[..usize::try_from(load.amount)?])?;
        Ok(Taken::kept(bytes, ()))
    })
}

fn into_new(load: Load) -> Result<Taken> {
    // As the kernel gives it, which clears a page when it is touched: nothing is written here.
    let amount = usize::try_from(load.amount)?;
    let mut memory = vec![0; amount + LINE_OF_CACHE];
    let bytes = fill(load, &mut aligned(&mut memory)[..amount])?;
    Ok(Taken::kept(bytes, memory))
}

fn one_pass(load: Load) -> Result<Taken> {
    let (mut child, mut pipe) = start(load)?;
    let mut sink = Null::open()?;
    let mut block = vec![0; BLOCK + LINE_OF_CACHE];
    let block = &mut aligned(&mut block)[..BLOCK];
    // A block is written when it is full, so it grows over that by a piece of a line at most.
    let mut out = Vec::with_capacity(2 * BLOCK);
    let mut lines = 0;
    let mut is_start = true;
    loop {
        let read = pipe.read(block)?;
        if read == 0 {
            break;
        }
        let mut rest = 0;
        for newline in memchr::memchr_iter(b'\n', &block[..read]) {
            if is_start {
                out.extend_from_slice(PREFIX);
            }
            out.extend_from_slice(&block[rest..=newline]);
            (rest, is_start) = (newline + 1, true);
            lines += 1;
            if out.len() >= BLOCK {
                sink.write_all(&out)?;
                out.clear();
            }
        }
        if rest < read {
            if is_start {
                out.extend_from_slice(PREFIX);
            }
            out.extend_from_slice(&block[rest..read]);
            is_start = false;
        }
    }
    sink.write_all(&out)?;
    reap(&mut child)?;
    Ok(Taken::prefixed(lines, &sink))
}

/// The child, and the end of its pipe.
fn start(load: Load) -> Result<(Child, File)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&write, PIPE)
        .map_err(|error| format!("no pipe of {} MiB: {error}", PIPE as u64 / MIB))?;
    // The command holds the other end, and is dropped here.
    let child = Command::new(CHILD).args(load.args()).stdout(write).spawn()?;
    Ok((child, read.into()))
}

fn reap(child: &mut Child) -> Result<()> {
    succeeded(child.wait()?)
}

/// Without what stands before the first cache line; there is one more than is needed.
fn aligned(memory: &mut [u8]) -> &mut [u8] {
    let before = memory.as_ptr().align_offset(LINE_OF_CACHE);
    &mut memory[before..]
}

/// How much came, which must not be more than there is room for.
fn fill(load: Load, memory: &mut [u8]) -> Result<usize> {
    let (mut child, mut pipe) = start(load)?;
    let mut bytes = 0;
    while bytes < memory.len() {
        let end = memory.len().min(bytes + BLOCK);
        match pipe.read(&mut memory[bytes..end])? {
            0 => break,
            read => bytes += read,
        }
    }
    // And then its end.
    bytes += pipe.read(&mut [0])?;
    reap(&mut child)?;
    Ok(bytes)
}
