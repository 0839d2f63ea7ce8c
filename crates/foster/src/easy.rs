//! The easy way: a command that is run and waited for in one call, as short as with the standard library.

use crate::error::short;
use crate::output::capture;
use crate::{Child, Command, Error, ErrorKind, Exit, Input, Output, Sink};

impl Command {
    /// Runs it, and waits for its exit. What it leaves behind is killed, or what the policy says.
    ///
    /// ```
    /// let exit = foster::Command::new("false").status()?;
    /// assert_eq!(exit.shell_code(), Some(1));
    /// # Ok::<(), foster::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Command::spawn). An exit with another code than 0 is none.
    pub fn status(&self) -> Result<Exit, Error> {
        Ok(self.spawn_alone()?.wait())
    }

    /// As [`status`](Command::status), for a task of any runtime. When the future is dropped, the tree is killed.
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Command::spawn).
    pub async fn status_async(&self) -> Result<Exit, Error> {
        Ok(self.spawn_alone()?.exited().await)
    }

    /// Runs it, and waits for its exit and for what it wrote: the first and the last 4 MiB of each stream, unless
    /// [`stdout`](Command::stdout) and [`stderr`](Command::stderr) say something else. Its input is empty, unless
    /// [`stdin`](Command::stdin) says something else. With a [`timeout`](Command::timeout) it ends in time, and what
    /// was written until then is there. A background job that is left alive
    /// ([`Leftovers::Leave`](crate::Leftovers::Leave)) and holds the pipe keeps us waiting for
    /// [`Policy::drain`](crate::Policy::drain); [`status`](Command::status) waits for none.
    ///
    /// ```
    /// let output = foster::Command::shell("echo out; echo err >&2; exit 3").output()?;
    /// assert_eq!(output.exit.shell_code(), Some(3));
    /// assert_eq!(output.stdout.bytes(), b"out\n");
    /// assert_eq!(output.stderr.bytes(), b"err\n");
    /// assert!(output.stdout.drained() && output.stdout.omitted() == 0);
    /// # Ok::<(), foster::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Command::spawn). An exit with another code than 0 is none.
    pub fn output(&self) -> Result<Output, Error> {
        Ok(self.captured().spawn_alone()?.output().wait())
    }

    /// As [`output`](Command::output), for a task of any runtime. When the future is dropped, the tree is killed.
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Command::spawn).
    pub async fn output_async(&self) -> Result<Output, Error> {
        Ok(self.captured().spawn_alone()?.output().await)
    }

    /// Runs it, and returns what it wrote to its output, if it ended by itself with code 0. Its input is empty, and its
    /// error output goes to where the host's goes, unless [`stdin`](Command::stdin) and [`stderr`](Command::stderr) say
    /// something else.
    ///
    /// ```
    /// use foster::{Command, ErrorKind};
    ///
    /// assert_eq!(Command::new("echo").arg("hello").read_to_string()?, "hello\n");
    /// assert_eq!(Command::new("false").read_to_string().unwrap_err().kind(), ErrorKind::Unsuccessful);
    /// # Ok::<(), foster::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`spawn`](Command::spawn); [`ErrorKind::Unsuccessful`](crate::ErrorKind::Unsuccessful) if it ended in
    /// another way, and [`ErrorKind::BadOutput`](crate::ErrorKind::BadOutput) if its output is not UTF-8, or more
    /// than is kept: 8 MiB, unless [`stdout`](Command::stdout) says something else.
    pub fn read_to_string(&self) -> Result<String, Error> {
        let output = self.reading().spawn_alone()?.output().wait();
        self.text_of(output)
    }

    /// As [`read_to_string`](Command::read_to_string), for a task of any runtime. When the future is dropped, the
    /// tree is killed.
    ///
    /// # Errors
    ///
    /// As for [`read_to_string`](Command::read_to_string).
    pub async fn read_to_string_async(&self) -> Result<String, Error> {
        let output = self.reading().spawn_alone()?.output().await;
        self.text_of(output)
    }

    /// Starts it for somebody who hands its handle to nobody: what is streamed, nobody will take.
    fn spawn_alone(&self) -> Result<Child, Error> {
        let child = self.spawn()?;
        drop(child.take_chunks());
        Ok(child)
    }

    /// With the defaults of [`output`](Command::output).
    fn captured(&self) -> Command {
        let mut command = self.reading();
        command.stderr.get_or_insert_with(Sink::captured);
        command
    }

    /// With the defaults of [`read_to_string`](Command::read_to_string).
    fn reading(&self) -> Command {
        let mut command = self.clone();
        command.stdin.get_or_insert(Input::Null);
        command.stdout.get_or_insert_with(Sink::captured);
        command
    }

    fn text_of(&self, Output { exit, stdout, .. }: Output) -> Result<String, Error> {
        let name = || short(&self.get_label());
        if !exit.success() {
            return Err(Error::new(ErrorKind::Unsuccessful, format!("`{}` {exit}", name())));
        }
        capture::to_text(stdout).map_err(|error| {
            Error::os(ErrorKind::BadOutput, format!("cannot take the output of `{}`", name()), error)
        })
    }
}
