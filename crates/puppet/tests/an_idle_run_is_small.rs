//! Thousands may sleep for hours: what a run keeps of our memory while nothing happens to it is counted here, as the C
//! library's allocator rounds it, so that no noise hides what is added.
#![cfg(target_pointer_width = "64")]
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use foster::{Child, Command, Containment, Exited};
use puppet::puppet;

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

/// What glibc's malloc takes for it: a word more, in steps of two words, and four at least.
fn taken(layout: Layout) -> usize {
    (layout.size() + 8).next_multiple_of(16).max(32)
}

// SAFETY: it does what the system's does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(taken(layout), Ordering::Relaxed);
        BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to what both ask for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.fetch_sub(taken(layout), Ordering::Relaxed);
        BLOCKS.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: it comes from `alloc`, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const ALL: usize = 250;

/// What is kept of what `act` asks for, for each of them: bytes and blocks.
fn kept<T>(act: impl FnOnce() -> T) -> (T, f64, f64) {
    let before = [&BYTES, &BLOCKS].map(|count| count.load(Ordering::Relaxed));
    let result = act();
    let after = [&BYTES, &BLOCKS].map(|count| count.load(Ordering::Relaxed));
    let [bytes, blocks] = [0, 1].map(|i| after[i].wrapping_sub(before[i]).cast_signed());
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let each = |count: isize| count as f64 / ALL as f64;
    (result, each(bytes), each(blocks))
}

/// The label, which is as long as the caller likes, takes its least.
fn idle() -> Command {
    puppet("quiet wait").label("idle").containment(Containment::Group)
}

fn start(children: &mut Vec<Child>, command: impl Fn() -> Command) {
    children.extend((0..ALL).map(|_| command().spawn().expect("it starts")));
}

#[track_caller]
fn is_at_most(what: &str, (bytes, blocks): (f64, f64), most: (f64, f64)) {
    println!("{what}: {bytes:.1} bytes in {blocks:.2} blocks");
    assert!(bytes <= most.0 && blocks <= most.1, "{what}: {bytes:.1} bytes in {blocks:.2} blocks");
}

/// One test, since the allocator is everybody's.
#[test]
fn nothing_is_kept_that_is_not_needed_yet() {
    let mut children = Vec::with_capacity(2 * ALL + 1);
    // What is there for the first is there for all.
    children.push(idle().spawn().expect("it starts"));

    let ((), bytes, blocks) = kept(|| start(&mut children, idle));
    is_at_most("a run", (bytes, blocks), (400.0, 5.1));

    let mut exits: Vec<Exited> = children[1..].iter().map(Child::exited).collect();
    let mut context = Context::from_waker(Waker::noop());
    let ((), bytes, blocks) = kept(|| {
        assert!(exits.iter_mut().all(|exit| Pin::new(exit).poll(&mut context).is_pending()));
    });
    is_at_most("a task that waits for it", (bytes, blocks), (80.0, 2.0));

    // A policy of their own, which all that come from one command share; and a place in the timetable.
    let timed = idle().timeout(Duration::from_secs(3600));
    let ((), bytes, blocks) = kept(|| start(&mut children, || timed.clone()));
    is_at_most("a run with a timeout", (bytes, blocks), (460.0, 5.3));

    let ends: Vec<_> = children.iter().map(Child::kill).collect();
    for end in ends {
        end.wait().expect("nothing is stuck");
    }
}
