//! The log says in plain words what happens, to whom, at the level debug.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foster::Signal;
use puppet::{Stage, alone, puppet, within};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Every line, as a simple writer would print it.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Line(String);

        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
                write!(self.0, "{}={value:?} ", field.name()).expect("a string takes all");
            }
        }

        if event.metadata().target().starts_with("foster") {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().expect("no panic").push((*event.metadata().level(), line.0));
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn d13_log_lines_have_no_unexpanded_verbs() {
    alone(|| {
        let lines = Lines::default();
        tracing::subscriber::set_global_default(lines.clone()).expect("the first");
        let command = puppet("ignore QUIT trap USR2 heard wait").label("the labelled one");
        let command = command.stop_signal(Signal::QUIT).splay(Duration::from_millis(20));
        let stage = Stage::start(&command.grace(Duration::from_millis(100)));
        let pid = stage.leader().pid();
        stage.child().signal(Signal::USR2).expect("it is ours");
        within(&stage.child().stop());
        let late = Stage::start(&puppet("wait").timeout(Duration::ZERO).label("the late one"));
        within(&late.child().gone());

        let lines = lines.0.lock().expect("no panic");
        let (labelled, late): (Vec<_>, Vec<_>) =
            lines.iter().partition(|(_, line)| line.contains("the labelled one"));
        for (level, line) in lines.iter() {
            assert_eq!(*level, Level::DEBUG, "{line}");
            // Rust's verbs, and those of the seed's language.
            assert!(!line.contains("{}") && !line.contains("{:") && !line.contains('%'), "{line}");
        }
        assert!(
            late.iter().all(|(_, line)| line.contains("the late one")),
            "each line names its run: {late:?}"
        );
        let says = |what: &str| labelled.iter().any(|(_, line)| line.contains(what));
        for what in
            ["SIGUSR2", "SIGQUIT", "SIGKILL", &format!("{pid}"), "Splaying", "Forced", "Exited", "Gone"]
        {
            assert!(says(what), "no word of {what}: {labelled:?}");
        }
        assert!(late.iter().any(|(_, line)| line.contains("TimedOut")), "{late:?}");
    });
}
