//! Under smol: the same futures, another runtime.

use foster::{Command, Error};

fn main() -> Result<(), Error> {
    smol::block_on(async {
        let first = Command::shell("exit 3").spawn()?;
        let second = Command::shell("exit 4").spawn()?;
        let (first, second) = smol::future::zip(first.exited(), second.exited()).await;
        println!("codes: {:?} {:?}", first.shell_code(), second.shell_code());
        Ok(())
    })
}
