//! What happens to a run, as it happens, and what a program says meanwhile.

use std::io::{BufRead, BufReader};

use foster::{Command, Error, EventKind, Sink};

fn main() -> Result<(), Error> {
    let child = Command::shell("trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done")
        .stdout(Sink::Piped)
        .spawn()?;

    let told = std::thread::spawn({
        let events = child.events();
        move || {
            for event in events {
                match event.kind {
                    EventKind::Started { .. } => println!("event: started"),
                    EventKind::Exited(exit) => println!("event: {}, {:?}", exit.status, exit.cause),
                    // By what it is known that nothing is left, depends on the machine.
                    EventKind::Gone(_) => println!("event: gone"),
                    other => println!("event: {other:?}"),
                }
            }
        }
    });

    let output = child.take_stdout().expect("its output is piped");
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        println!("it says: {line}");
        if line == "ready" {
            // The order is given when this returns; nobody has to wait for it.
            drop(child.stop());
        }
    }
    child.gone().wait()?;
    told.join().expect("printing does not panic");
    Ok(())
}
