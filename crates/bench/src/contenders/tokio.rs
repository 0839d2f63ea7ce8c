//! tokio, on its single-threaded runtime: a pidfd in its epoll, and `std::process` below.
//!
//! The runtime is entered for each start and each wait, as for foster's futures beside it: a fraction of a
//! microsecond that is within the figures, and that a program which is inside anyway does not pay.

use std::process::ExitStatus;
use std::rc::Rc;

use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::peers::terminate_group;
use super::{Contender, Running};
use crate::Result;
use crate::stage::{CHILD, GRACE};

pub(crate) fn contender(runtime: Rc<Runtime>) -> Contender {
    Contender::new("tokio::process", "own group; a future; pidfd", move |mode| {
        let _entered = runtime.enter();
        let child = Command::new(CHILD).arg(mode.as_str()).process_group(0).spawn()?;
        Ok(Run { runtime: runtime.clone(), child })
    })
    .with_grace()
}

struct Run {
    runtime: Rc<Runtime>,
    child: Child,
}

impl Running for Run {
    fn terminate(&mut self) -> Result<()> {
        terminate_group(self.child.id().ok_or("it was waited for")?)
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        Ok(self.runtime.block_on(self.child.wait())?)
    }

    fn stop(&mut self) -> Result<ExitStatus> {
        self.terminate()?;
        let child = &mut self.child;
        self.runtime.block_on(async {
            if let Ok(status) = timeout(GRACE, child.wait()).await {
                return Ok(status?);
            }
            child.start_kill()?;
            Ok(child.wait().await?)
        })
    }
}
