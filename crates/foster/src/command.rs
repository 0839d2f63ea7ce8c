//! [`Command`]: what to run, as plain data. It can be cloned and run again.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::standing::Asked;
use crate::{
    Child, Containment, Error, Input, Leftovers, Level, Policy, Pty, Signal, SignalState, Sink, Target,
};

/// What to run, where, with what, and under which [`Policy`].
///
/// It is data: nothing happens before [`spawn`](Command::spawn), which can be called any number of times.
///
/// The defaults: the host's environment, working directory, user, groups, limits, umask and niceness, stdio inherited, a
/// process group of its own, an empty signal mask and default dispositions, and no descriptor but stdin, stdout and
/// stderr.
///
/// ```
/// // A clean start, whatever the host has blocked, ignored or left open.
/// let look = r#"grep -E 'Sig(Blk|Ign):.*[1-9a-f]' /proc/self/status; [ -e /proc/$$/fd/3 ] && echo 3; true"#;
/// assert_eq!(foster::Command::shell(look).read_to_string()?, "");
/// # Ok::<(), foster::Error>(())
/// ```
///
/// ```
/// use foster::{Command, Group, Input, Resource, Sink};
///
/// let command = Command::new("sh").arg("-c").arg("exit 3");
/// assert_eq!(command.get_program(), "sh");
/// assert_eq!(command.get_args().collect::<Vec<_>>(), ["-c", "exit 3"]);
/// assert_eq!(command.to_string(), "sh -c 'exit 3'");
/// assert_eq!(command.get_policy(), &foster::Policy::default());
/// assert_eq!(command.get_group(), Group::Own);
/// assert_eq!(command.get_pty(), None);
/// assert_eq!(command.get_containment(), foster::Containment::Auto);
/// assert_eq!(command.get_required(), None);
/// assert!(!command.has_twin() && !command.has_no_new_privs());
/// assert_eq!(command.get_current_dir(), None);
/// assert_eq!(command.get_envs().count(), 0);
/// assert_eq!((command.get_uid(), command.get_gid(), command.get_groups()), (None, None, None));
/// assert_eq!((command.get_umask(), command.get_nice()), (None, None));
/// assert!(Resource::ALL.iter().all(|resource| command.get_limit(*resource).is_none()));
/// assert!(matches!((Input::default(), Sink::default()), (Input::Inherit, Sink::Inherit)));
/// assert_eq!(command.spawn()?.wait().shell_code(), Some(3));
/// # Ok::<(), foster::Error>(())
/// ```
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Command {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) env_clear: bool,
    pub(crate) env: BTreeMap<OsString, Option<OsString>>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) standing: Asked,
    /// `None` is the default of the way in which it is started.
    pub(crate) stdin: Option<Input>,
    pub(crate) stdout: Option<Sink>,
    pub(crate) stderr: Option<Sink>,
    pub(crate) stderr_to_stdout: bool,
    pub(crate) group: Group,
    pub(crate) foreground: bool,
    pub(crate) pty: Option<Pty>,
    pub(crate) signals: StartSignals,
    pub(crate) inherit_descriptors: bool,
    pub(crate) containment: Containment,
    pub(crate) require: Option<Level>,
    pub(crate) twin: bool,
    pub(crate) no_new_privs: bool,
    /// Shared with its clones and its runs, which may be thousands.
    pub(crate) policy: Arc<Policy>,
    label: Option<String>,
}

/// With which mask and dispositions the program starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StartSignals {
    Clean,
    Inherit,
    Exactly(SignalState),
}

/// In which process group the leader starts; see `setpgid(2)` and `credentials(7)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Group {
    /// A group of its own in our session: it is signalled as a whole, and job control works.
    #[default]
    Own,
    /// A session of its own, without a terminal: it hears nothing of ours, neither Ctrl-C nor a hang-up.
    Session,
    /// Our group. The tree is then the leader alone: a group that we are in cannot be signalled without us.
    #[doc(alias = "setpgid")]
    Same,
}

impl Command {
    /// A command that runs `program`: a path if there is a `/` in it, else looked up in the `PATH` that the program
    /// will have, as `execvp(3)` does.
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        Command {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env_clear: false,
            env: BTreeMap::new(),
            directory: None,
            standing: Asked::default(),
            stdin: None,
            stdout: None,
            stderr: None,
            stderr_to_stdout: false,
            group: Group::Own,
            foreground: false,
            pty: None,
            signals: StartSignals::Clean,
            inherit_descriptors: false,
            containment: Containment::Auto,
            require: None,
            twin: false,
            no_new_privs: false,
            policy: Policy::shared(),
            label: None,
        }
    }

    /// A line for the shell: `sh -c LINE`. Elsewhere no shell is hidden.
    ///
    /// ```
    /// let exit = foster::Command::shell("true && exit 4").spawn()?.wait();
    /// assert_eq!(exit.shell_code(), Some(4));
    /// # Ok::<(), foster::Error>(())
    /// ```
    pub fn shell(line: impl AsRef<OsStr>) -> Command {
        Command::new("sh").arg("-c").arg(line)
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Command {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Command {
        self.env.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Removes a variable that would be inherited.
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Command {
        self.env.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Inherits no variable: the environment holds only what [`env`](Command::env) sets, before or after.
    pub fn env_clear(mut self) -> Command {
        self.env_clear = true;
        self
    }

    /// The working directory; a program given as a relative path is looked up from there.
    #[doc(alias = "cwd")]
    pub fn current_dir(mut self, directory: impl AsRef<Path>) -> Command {
        self.directory = Some(directory.as_ref().to_owned());
        self
    }

    /// Where the program's input comes from. Default: [`Input::Inherit`]; for [`output`](Command::output) and
    /// [`read_to_string`](Command::read_to_string), [`Input::Null`].
    pub fn stdin(mut self, stdin: impl Into<Input>) -> Command {
        self.stdin = Some(stdin.into());
        self
    }

    /// Where the program's output goes. Default: [`Sink::Inherit`]; for [`output`](Command::output) and
    /// [`read_to_string`](Command::read_to_string), [`Sink::captured`].
    pub fn stdout(mut self, stdout: impl Into<Sink>) -> Command {
        self.stdout = Some(stdout.into());
        self
    }

    /// Where the program's error output goes. Default: [`Sink::Inherit`]; for [`output`](Command::output),
    /// [`Sink::captured`].
    pub fn stderr(mut self, stderr: impl Into<Sink>) -> Command {
        self.stderr = Some(stderr.into());
        self
    }

    /// Lets the error output go where the output goes, in one pipe and so in the order in which it was written, as
    /// `2>&1` does in a shell. What [`stderr`](Command::stderr) says counts for nothing then. Default: apart.
    ///
    /// ```
    /// let both = foster::Command::shell("echo one; echo two >&2; echo three").stderr_to_stdout(true);
    /// assert_eq!(both.read_to_string()?, "one\ntwo\nthree\n");
    /// # Ok::<(), foster::Error>(())
    /// ```
    pub fn stderr_to_stdout(mut self, merged: bool) -> Command {
        self.stderr_to_stdout = merged;
        self
    }

    /// The process group it starts in. Default: [`Group::Own`].
    pub fn group(mut self, group: Group) -> Command {
        self.group = group;
        self
    }

    /// Makes the program's group the foreground group of our controlling terminal before the program starts, so
    /// that it can read from it and gets its Ctrl-C; `tcsetpgrp(3)`. Who asks for it takes the terminal back after
    /// the exit. Without a controlling terminal, and with [`Group::Session`] or [`Group::Same`], it does nothing.
    pub fn foreground(mut self, foreground: bool) -> Command {
        self.foreground = foreground;
        self
    }

    /// Gives the program a terminal of its own, of this size: stdin, stdout and stderr are its slave, and it is the
    /// controlling terminal of a session of its own, in whose foreground the program starts, `pty(7)`. What is written
    /// to our end is typed, Ctrl-C too; [`Child::resize`] changes the size. Default: none.
    ///
    /// [`group`](Command::group) and [`foreground`](Command::foreground) are then of no account: they are about our
    /// terminal. With a guard, which leads the session, Ctrl-Z suspends the program as under a shell. Without one
    /// ([`Level::Group`], [`Mechanism::Init`](crate::Mechanism::Init)) the program leads it alone, and the kernel lets
    /// nobody suspend it from the terminal, since nobody would be there to continue it. The jobs of an interactive
    /// shell are groups of their own: at [`Level::Group`] they escape.
    ///
    /// What it shows is its output, for [`stdout`](Command::stdout); it has no other. Its input is the terminal,
    /// where [`stdin`](Command::stdin) says nothing, [`Input::HeldOpen`] or [`Input::Piped`]; anything else is given
    /// to it in the terminal's place. When we end, a program that was [detached](Child::detach) gets SIGHUP, as when
    /// a window is closed.
    pub fn pty(mut self, pty: Pty) -> Command {
        self.pty = Some(pty);
        self
    }

    /// Hands on the mask and the ignored signals that the host has when it spawns, as `exec` would. By default the
    /// program starts with an empty mask and every disposition at its default.
    pub fn inherit_signals(mut self, inherit: bool) -> Command {
        self.signals = if inherit { StartSignals::Inherit } else { StartSignals::Clean };
        self
    }

    /// Starts the program with exactly this mask and these signals ignored: for a wrapper that changed its own and
    /// hands on what it was started with.
    pub fn start_signals(mut self, state: SignalState) -> Command {
        self.signals = StartSignals::Exactly(state);
        self
    }

    /// Hands on every descriptor of the host that is not close-on-exec, as `exec` would. By default the program
    /// gets stdin, stdout and stderr and nothing else.
    pub fn inherit_descriptors(mut self, inherit: bool) -> Command {
        self.inherit_descriptors = inherit;
        self
    }

    /// What is to hold the tree. Default: [`Containment::Auto`]. [`Child::containment`](crate::Child::containment)
    /// tells what was got.
    pub fn containment(mut self, containment: Containment) -> Command {
        self.containment = containment;
        self
    }

    /// Starts nothing where this machine cannot hold the tree this firmly: that is then the error. Default: whatever
    /// [`containment`](Command::containment) gives. Where [`Level::Grouped`] is required, [`Mechanism::Landlock`] is
    /// also tried, which the program may notice.
    ///
    /// [`Mechanism::Landlock`]: crate::Mechanism::Landlock
    pub fn require(mut self, level: Level) -> Command {
        self.require = Some(level);
        self
    }

    /// Starts a second guard that watches the first, so that the tree also ends when one of them and we are killed
    /// together. For long runs; it costs another process and about 0.1 ms. Default: off. Without a guard it does
    /// nothing, nor with [`Mechanism::PidNamespace`](crate::Mechanism::PidNamespace), which needs none.
    pub fn twin(mut self, twin: bool) -> Command {
        self.twin = twin;
        self
    }

    /// Takes from the program the chance to get privileges by `execve(2)`: setuid bits do nothing in its tree;
    /// `PR_SET_NO_NEW_PRIVS` of `prctl(2)`. Default: off. For those who are not root,
    /// [`Mechanism::Landlock`](crate::Mechanism::Landlock) needs it.
    pub fn no_new_privs(mut self, no_new_privs: bool) -> Command {
        self.no_new_privs = no_new_privs;
        self
    }

    /// The name in logs, errors and events. Default: the working directory, if one is set, and the words, as in
    /// `(/srv) make test`.
    pub fn label(mut self, label: impl Into<String>) -> Command {
        self.label = Some(label.into());
        self
    }

    /// Replaces the whole policy.
    pub fn policy(mut self, policy: Policy) -> Command {
        self.policy = Arc::new(policy);
        self
    }

    /// See [`Policy::stop_signal`].
    #[doc(alias = "kill_signal")]
    pub fn stop_signal(mut self, signal: Signal) -> Command {
        Arc::make_mut(&mut self.policy).stop_signal = signal;
        self
    }

    /// See [`Policy::target`].
    pub fn target(mut self, target: Target) -> Command {
        Arc::make_mut(&mut self.policy).target = target;
        self
    }

    /// See [`Policy::grace`].
    #[doc(alias = "kill_timeout")]
    #[doc(alias = "kill_after")]
    pub fn grace(mut self, grace: impl Into<Option<Duration>>) -> Command {
        Arc::make_mut(&mut self.policy).grace = grace.into();
        self
    }

    /// See [`Policy::splay`].
    pub fn splay(mut self, splay: Duration) -> Command {
        Arc::make_mut(&mut self.policy).splay = splay;
        self
    }

    /// See [`Policy::timeout`].
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Command {
        Arc::make_mut(&mut self.policy).timeout = timeout.into();
        self
    }

    /// See [`Policy::timeout_kills`].
    pub fn timeout_kills(mut self, kills: bool) -> Command {
        Arc::make_mut(&mut self.policy).timeout_kills = kills;
        self
    }

    /// See [`Policy::leftovers`].
    pub fn leftovers(mut self, leftovers: Leftovers) -> Command {
        Arc::make_mut(&mut self.policy).leftovers = leftovers;
        self
    }

    /// See [`Policy::wake_stopped`].
    pub fn wake_stopped(mut self, wake: bool) -> Command {
        Arc::make_mut(&mut self.policy).wake_stopped = wake;
        self
    }

    /// See [`Policy::patience`].
    pub fn patience(mut self, patience: Duration) -> Command {
        Arc::make_mut(&mut self.policy).patience = patience;
        self
    }

    /// See [`Policy::drain`].
    pub fn drain(mut self, silence: Duration) -> Command {
        Arc::make_mut(&mut self.policy).drain = silence;
        self
    }

    /// See [`Policy::drain_max`].
    pub fn drain_max(mut self, most: Duration) -> Command {
        Arc::make_mut(&mut self.policy).drain_max = most;
        self
    }

    /// Starts it.
    ///
    /// The program has been executed when this returns. The first call in a process starts the one background
    /// thread, named `foster`, which blocks all signals and lives as long as the process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind`](crate::ErrorKind) tells what: no such program, not executable, no such working directory, a
    /// NUL or an empty command, too large, no descriptors, no processes; a user, a limit or a niceness that there is
    /// not (`InvalidInput`), or that we may not give (`NotPermitted`). Then nothing was started, or nothing is left of
    /// it.
    pub fn spawn(&self) -> Result<Child, Error> {
        Child::spawn(self)
    }

    /// The program, as given.
    pub fn get_program(&self) -> &OsStr {
        &self.program
    }

    /// The arguments, without the program.
    pub fn get_args(&self) -> impl Iterator<Item = &OsStr> {
        self.args.iter().map(OsString::as_os_str)
    }

    /// The changes to the environment: `None` removes a variable.
    pub fn get_envs(&self) -> impl Iterator<Item = (&OsStr, Option<&OsStr>)> {
        self.env.iter().map(|(name, value)| (name.as_os_str(), value.as_deref()))
    }

    /// The working directory, if one is set.
    pub fn get_current_dir(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Whether the leader starts in a group of its own: always where it has a terminal of its own.
    pub(crate) fn leads_its_group(&self) -> bool {
        self.pty.is_some() || self.group != Group::Same
    }

    /// The process group it starts in.
    pub fn get_group(&self) -> Group {
        self.group
    }

    /// The size of the terminal of its own that it gets, if it does.
    pub fn get_pty(&self) -> Option<Pty> {
        self.pty
    }

    /// What is to hold the tree.
    pub fn get_containment(&self) -> Containment {
        self.containment
    }

    /// How firmly the tree must be held, if that was required.
    pub fn get_required(&self) -> Option<Level> {
        self.require
    }

    /// Whether its guard is to have a twin.
    pub fn has_twin(&self) -> bool {
        self.twin
    }

    /// Whether the program is to get no privileges by `execve(2)`.
    pub fn has_no_new_privs(&self) -> bool {
        self.no_new_privs
    }

    /// The policy.
    pub fn get_policy(&self) -> &Policy {
        &self.policy
    }

    /// The label; see [`label`](Command::label).
    pub fn get_label(&self) -> String {
        match (&self.label, &self.directory) {
            (Some(label), _) => label.clone(),
            (None, Some(directory)) => format!("({}) {self}", directory.display()),
            (None, None) => self.line(),
        }
    }

    /// As for [`Display`](fmt::Display): every start asks for it.
    fn line(&self) -> String {
        let mut line = String::with_capacity(
            self.get_args().map(|arg| arg.len() + 1).sum::<usize>() + self.program.len(),
        );
        quote(&mut line, &self.program);
        for arg in &self.args {
            line.push(' ');
            quote(&mut line, arg);
        }
        line
    }
}

impl fmt::Display for Command {
    /// The words, quoted so that a shell would read them as they are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

fn quote(line: &mut String, word: &OsStr) {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=/.,:+@%^".contains(&byte);
    match word.to_str() {
        Some(text) if !text.is_empty() && text.bytes().all(plain) => line.push_str(text),
        Some(text) if !text.chars().any(char::is_control) => {
            line.push('\'');
            line.push_str(&text.replace('\'', r"'\''"));
            line.push('\'');
        }
        // Control characters and bytes that are not UTF-8: one line, as bash reads it.
        _ => _ = write!(line, "$'{}'", word.as_bytes().escape_ascii()),
    }
}

/// What the standard library lets one read: program, arguments, changed variables, working directory. Its stdio,
/// its process group and its `pre_exec` hooks cannot be read and are not taken over.
impl From<&std::process::Command> for Command {
    fn from(command: &std::process::Command) -> Command {
        let mut ours = Command::new(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            ours.env.insert(name.to_owned(), value.map(OsStr::to_owned));
        }
        ours.directory = command.get_current_dir().map(Path::to_owned);
        ours
    }
}

/// As for a reference.
impl From<std::process::Command> for Command {
    fn from(command: std::process::Command) -> Command {
        Command::from(&command)
    }
}
