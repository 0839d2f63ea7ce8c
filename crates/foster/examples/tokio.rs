//! Under tokio: ten programs at once, each awaited, and one that is stopped. The library knows nothing of tokio.

use foster::{Command, Error};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut tasks = tokio::task::JoinSet::new();
    for code in 0..10 {
        let child = Command::shell(format!("exit {code}")).spawn()?;
        tasks.spawn(async move { child.exited().await.shell_code() });
    }
    let mut codes = tasks.join_all().await;
    codes.sort_unstable();
    println!("codes: {:?}", codes.into_iter().flatten().collect::<Vec<_>>());

    let child = Command::new("sleep").arg("60").spawn()?;
    tokio::select! {
        exit = child.exited() => println!("ended by itself: {}", exit.status),
        () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {
            println!("stopped: {}", child.stop().await?.exit.status);
        }
    }
    Ok(())
}
