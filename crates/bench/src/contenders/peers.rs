//! The peers that block: all of them stand on `std::process`, and so on glibc's `posix_spawn`.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};

use duct::unix::HandleExt;
use process_wrap::std::{ChildWrapper, CommandWrap, ProcessGroup};
use rustix::process::{Pid, Signal, kill_process_group};
use shared_child::SharedChild;
use shared_child::unix::SharedChildExt;

use super::{Contender, Running};
use crate::Result;
use crate::stage::{CHILD, GRACE, Mode};

pub(crate) fn contenders() -> Vec<Contender> {
    vec![
        Contender::new("std::process", "own group; a pid that the caller must not misuse", |mode| {
            Ok(command(mode).spawn()?)
        }),
        Contender::new("process-wrap", "own group; waits for all of our children in it", |mode| {
            let mut wrap = CommandWrap::from(bare_command(mode));
            Ok(wrap.wrap(ProcessGroup::leader()).spawn()?)
        }),
        Contender::new(
            "shared_child",
            "own group by std; SIGTERM to the leader; safe from many threads",
            |mode| Ok(SharedChild::spawn(&mut command(mode))?),
        )
        .with_grace(),
        Contender::new(
            "duct",
            "own group by a hook; SIGTERM to the leader; safe from many threads",
            |mode| {
                let expression = duct::cmd!(CHILD, mode.as_str()).before_spawn(|command| {
                    command.process_group(0);
                    Ok(())
                });
                // Without it death by a signal would be an error.
                Ok(expression.unchecked().start()?)
            },
        ),
    ]
}

fn bare_command(mode: Mode) -> Command {
    let mut command = Command::new(CHILD);
    command.arg(mode.as_str());
    command
}

fn command(mode: Mode) -> Command {
    let mut command = bare_command(mode);
    command.process_group(0);
    command
}

/// SIGTERM to the group of a child that has not been waited for: what users of `std` and tokio write.
pub(crate) fn terminate_group(leader: u32) -> Result<()> {
    let pid = Pid::from_raw(leader.cast_signed()).ok_or("a pid is not zero")?;
    Ok(kill_process_group(pid, Signal::TERM)?)
}

impl Running for Child {
    fn terminate(&mut self) -> Result<()> {
        terminate_group(self.id())
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        Ok(Child::wait(self)?)
    }
}

impl Running for Box<dyn ChildWrapper> {
    fn terminate(&mut self) -> Result<()> {
        Ok(self.signal(Signal::TERM.as_raw())?)
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.as_mut().wait()?)
    }
}

impl Running for SharedChild {
    fn terminate(&mut self) -> Result<()> {
        Ok(self.send_signal(Signal::TERM.as_raw())?)
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        Ok(SharedChild::wait(self)?)
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        self.terminate()?;
        if let Some(status) = self.wait_timeout(GRACE)? {
            return Ok(status);
        }
        self.kill()?;
        Ok(SharedChild::wait(self)?)
    }
}

impl Running for duct::Handle {
    fn terminate(&mut self) -> Result<()> {
        Ok(self.send_signal(Signal::TERM.as_raw())?)
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        Ok(duct::Handle::wait(self)?.status)
    }
}
