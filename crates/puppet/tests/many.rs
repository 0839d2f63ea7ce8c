//! A thousand children, awaited by whoever can wait: every exit is right, and nothing is left of any.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use foster::{Child, Exit, Sink, Status};
use puppet::{alone, children, descriptors, eventually, puppet};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const THOUSAND: usize = 1000;

/// Each has a code of its own, as far as there are codes.
fn code(number: usize) -> u8 {
    u8::try_from(number % 256).expect("a byte")
}

fn start(number: usize) -> Child {
    let command = puppet(&format!("quiet exit {}", code(number)));
    command.stdout(Sink::Null).spawn().unwrap_or_else(|error| panic!("{number}: {error}"))
}

#[track_caller]
fn check(number: usize, exit: &Exit) {
    assert_eq!(exit.status, Status::Exited(code(number)), "{number}");
}

/// Runs one, to have what is made once; then a thousand, and looks at what they left.
fn a_thousand(run: impl Fn(usize)) {
    // A thousand at a time are a thousand pidfds.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .expect("up to the maximum");
    run(1);
    let before = eventually("descriptors at rest", descriptors, |_| children().is_empty());
    run(THOUSAND);
    eventually("no child is left", children, Vec::is_empty);
    eventually("no descriptor more than before", || descriptors().len(), |now| *now <= before.len());
}

#[test]
fn in_threads() {
    alone(|| {
        a_thousand(|all| {
            thread::scope(|scope| {
                for first in 0..all.min(50) {
                    scope.spawn(move || {
                        let ours: Vec<_> = (first..all).step_by(50).map(|i| (i, start(i))).collect();
                        for (i, child) in ours {
                            check(i, &child.wait());
                            check(i, &child.wait());
                        }
                    });
                }
            });
        });
    });
}

#[test]
fn in_tasks_of_tokio_on_one_thread() {
    alone(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        a_thousand(|all| in_tasks_of_tokio(&runtime, all));
    });
}

#[test]
fn in_tasks_of_tokio_on_many_threads() {
    alone(|| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
        a_thousand(|all| in_tasks_of_tokio(&runtime, all));
    });
}

fn in_tasks_of_tokio(runtime: &tokio::runtime::Runtime, all: usize) {
    runtime.block_on(async {
        let tasks: Vec<_> =
            (0..all).map(|i| tokio::spawn(async move { check(i, &start(i).exited().await) })).collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
}

#[test]
fn in_tasks_of_smol() {
    alone(|| {
        a_thousand(|all| {
            smol::block_on(async {
                let tasks: Vec<_> = (0..all)
                    .map(|i| smol::spawn(async move { check(i, &start(i).exited().await) }))
                    .collect();
                for task in tasks {
                    task.await;
                }
            });
        });
    });
}

#[test]
fn under_a_bare_block_on() {
    alone(|| {
        a_thousand(|all| {
            let started: Vec<Child> = (0..all).map(start).collect();
            let ends = started.into_iter().map(|child| async move {
                let exit = child.exited().await;
                assert_eq!(child.gone().await.map(|end| end.exit).as_ref(), Ok(&exit));
                exit
            });
            for (i, end) in ends.enumerate() {
                check(i, &block_on(end));
            }
        });
    });
}

/// The least there can be of a runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
