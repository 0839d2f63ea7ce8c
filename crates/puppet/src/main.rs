//! `puppet`: a child that obeys its arguments.
//!
//! They are verbs, carried out in order. Everything it says is one line and one write, `NAME: TEXT`. It first carries
//! out the verbs of the first kind at the head of its script, then says `NAME: ready PID`, then goes on; at the end of
//! the script it exits with 0. It lives a minute at most.
//!
//! First kind, how it is set up:
//!
//! | verb | does |
//! |---|---|
//! | `quiet` | does not say that it is ready |
//! | `name NAME` | is called so; without it `leader` |
//! | `ignore SIG` | ignores the signal; its puppets inherit that |
//! | `trap SIG TEXT` | says the text each time |
//! | `trap-exit SIG CODE` | exits |
//! | `forward SIG` | sends the signal on to its puppets |
//! | `on SIG [ … ]` | carries out these verbs each time |
//! | `fork NAME [ … ]` | starts another puppet, in the background, which does not die with it |
//! | `setsid`, `setpgid` | gets a session, or a group, of its own |
//!
//! Second kind, what it plays:
//!
//! | verb | does |
//! |---|---|
//! | `say TEXT`, `err TEXT` | says it, on stdout or stderr |
//! | `print TEXT` | writes it to stdout as it is, without name and newline |
//! | `lines N` | says `line 1` to `line N` |
//! | `pattern N` | writes so many bytes of the pattern to stdout, as fast as they are taken |
//! | `flood FILE` | writes the pattern until it hears a signal that it catches; then how many bytes, to the file |
//! | `alternate N` | writes the lines `out 1`, `err 1` to `out N`, `err N`, on stdout and stderr in turns |
//! | `append FILE TEXT` | appends a line to a file |
//! | `rmdir DIRECTORY` | removes an empty directory |
//! | `env NAME` | says the variable's value, or `unset` |
//! | `where` | says its working directory |
//! | `ids` | says `pid P group G session S` |
//! | `size` | says how large its terminal is, `ROWS x COLS` |
//! | `read` | reads a line of stdin and says it, or `end of input` |
//! | `drop-stdout` | puts `/dev/null` in the place of stdout |
//! | `stop` | stops itself, as by Ctrl-Z |
//! | `sleep SECONDS`, `wait` | waits, in the second case for ever, and hears signals |
//! | `wait-children` | waits until its puppets are dead |
//! | `raise SIG` | sends itself the signal, with its default action |
//! | `exit CODE` | exits |
//!
//! More of both kinds, for programs that do not want to be found, are in `escape.rs`.

mod escape;
mod hear;
mod write;

use std::fs::OpenOptions;
use std::io::{self, BufRead, Write};
use std::process::{Child, Command, exit};
use std::time::{Duration, Instant};

use foster::Signal;

fn main() {
    puppet::limit_life(puppet::LIFE);
    let words: Vec<String> = std::env::args().skip(1).collect();
    let played = Puppet::new().and_then(|mut puppet| {
        puppet.play(&words)?;
        puppet.speak_first();
        Ok(())
    });
    if let Err(why) = played {
        eprintln!("puppet: {why}");
        exit(2);
    }
}

type Result<T> = std::result::Result<T, String>;

struct Puppet {
    name: String,
    spoken: bool,
    ear: hear::Ear,
    reactions: Vec<(Signal, Vec<String>)>,
    children: Vec<Child>,
}

/// The script that is left.
struct Script<'a>(std::slice::Iter<'a, String>);

impl Puppet {
    fn new() -> Result<Puppet> {
        let ear = hear::Ear::new().map_err(text)?;
        let name = "leader".to_string();
        Ok(Puppet { name, spoken: false, ear, reactions: Vec::new(), children: Vec::new() })
    }

    fn play(&mut self, words: &[String]) -> Result<()> {
        let mut script = Script(words.iter());
        while let Some(verb) = script.0.next() {
            if !self.set_up(verb, &mut script)? {
                self.speak_first();
                self.act(verb, &mut script)?;
            }
            self.listen(Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// Carries out a verb of the first kind; `false` if it is none.
    fn set_up(&mut self, verb: &str, script: &mut Script<'_>) -> Result<bool> {
        match verb {
            "quiet" => self.spoken = true,
            "name" => self.name = script.word()?,
            "ignore" => hear::ignore(script.signal()?).map_err(text)?,
            "trap" => {
                let signal = script.signal()?;
                self.on(signal, vec!["say".to_string(), script.word()?])?;
            }
            "trap-exit" => {
                let signal = script.signal()?;
                self.on(signal, vec!["exit".to_string(), script.word()?])?;
            }
            "forward" => {
                let signal = script.signal()?;
                self.on(signal, vec!["tell-children".to_string(), signal.name()])?;
            }
            "on" => {
                let signal = script.signal()?;
                self.on(signal, script.block()?)?;
            }
            "fork" => {
                let name = script.word()?;
                self.fork(&name, &script.block()?)?;
            }
            "setsid" => _ = rustix::process::setsid().map_err(text)?,
            "setpgid" => rustix::process::setpgid(None, None).map_err(text)?,
            _ => return self.prepare_escape(verb, script),
        }
        Ok(true)
    }

    /// Carries out a verb of the second kind.
    fn act(&mut self, verb: &str, script: &mut Script<'_>) -> Result<()> {
        match verb {
            "say" => self.say(&script.word()?),
            "err" => eprintln!("{}: {}", self.name, script.word()?),
            "print" => write(script.word()?.as_bytes()),
            "lines" => (1..=script.number::<u64>()?).for_each(|n| self.say(&format!("line {n}"))),
            "pattern" => write::pattern(script.number()?),
            "flood" => {
                let file = script.word()?;
                let written = write::flood(&self.ear).map_err(text)?;
                std::fs::write(file, written.to_string()).map_err(text)?;
            }
            "alternate" => write::alternate(script.number()?),
            "append" => {
                let file = script.word()?;
                let line = script.word()? + "\n";
                let mut file = OpenOptions::new().create(true).append(true).open(file).map_err(text)?;
                file.write_all(line.as_bytes()).map_err(text)?;
            }
            "rmdir" => std::fs::remove_dir(script.word()?).map_err(text)?,
            "env" => {
                let value = std::env::var_os(script.word()?);
                self.say(&value.map_or("unset".into(), |value| value.to_string_lossy().into_owned()));
            }
            "where" => self.say(&std::env::current_dir().map_err(text)?.to_string_lossy()),
            "ids" => {
                let pid = std::process::id();
                let (group, session) = puppet::group_and_session(pid);
                self.say(&format!("pid {pid} group {group} session {session}"));
            }
            "size" => {
                let size = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).map_err(text)?;
                self.say(&format!("{} x {}", size.ws_row, size.ws_col));
            }
            "read" => {
                let mut line = String::new();
                let read = io::stdin().lock().read_line(&mut line).map_err(text)?;
                self.say(if read == 0 { "end of input" } else { line.trim_end_matches('\n') });
            }
            "drop-stdout" => {
                let null = OpenOptions::new().write(true).open("/dev/null").map_err(text)?;
                rustix::stdio::dup2_stdout(null).map_err(text)?;
            }
            "stop" => hear::raise(Signal::STOP).map_err(text)?,
            "sleep" => self.listen(Some(Duration::from_secs_f64(script.number()?)))?,
            "wait" => self.listen(None)?,
            "wait-children" => self.wait_children()?,
            "tell-children" => {
                let signal = script.signal()?;
                for child in &self.children {
                    // One that is dead is still our zombie.
                    hear::send(child.id(), signal).map_err(text)?;
                }
            }
            "raise" => hear::raise(script.signal()?).map_err(text)?,
            "exit" => exit(script.number()?),
            _ => escape::escape(verb, script)?,
        }
        Ok(())
    }

    fn on(&mut self, signal: Signal, verbs: Vec<String>) -> Result<()> {
        self.reactions.push((signal, verbs));
        hear::catch(signal).map_err(|error| format!("{signal}: {error}"))
    }

    /// Reacts to signals for so long, or for ever.
    fn listen(&mut self, time: Option<Duration>) -> Result<()> {
        let end = time.map(|time| Instant::now() + time);
        loop {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            let Some(signal) = self.ear.next(left) else { return Ok(()) };
            self.react(signal)?;
        }
    }

    fn react(&mut self, signal: Signal) -> Result<()> {
        // A signal that comes before the puppet has spoken is answered all the same, but then it has spoken.
        let verbs = self.reactions.iter().filter(|(on, _)| *on == signal).map(|(_, verbs)| verbs.clone());
        verbs.collect::<Vec<_>>().iter().try_for_each(|verbs| self.play(verbs))
    }

    fn fork(&mut self, name: &str, script: &[String]) -> Result<()> {
        // Its death wakes a `wait-children`.
        hear::catch(Signal::CHLD).map_err(text)?;
        let us = std::env::current_exe().map_err(text)?;
        self.children.push(Command::new(us).args(["name", name]).args(script).spawn().map_err(text)?);
        Ok(())
    }

    fn wait_children(&mut self) -> Result<()> {
        loop {
            self.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            if self.children.is_empty() {
                return Ok(());
            }
            if let Some(signal) = self.ear.next(None) {
                self.react(signal)?;
            }
        }
    }

    fn speak_first(&mut self) {
        if !std::mem::replace(&mut self.spoken, true) {
            self.say(&format!("ready {}", std::process::id()));
        }
    }

    fn say(&self, text: &str) {
        write(format!("{}: {text}\n", self.name).as_bytes());
    }
}

impl Script<'_> {
    fn word(&mut self) -> Result<String> {
        self.0.next().cloned().ok_or_else(|| "the script ends too early".to_string())
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("not a number: {word}"))
    }

    fn signal(&mut self) -> Result<Signal> {
        self.word()?.parse().map_err(text)
    }

    /// What stands between `[` and the `]` that belongs to it.
    fn block(&mut self) -> Result<Vec<String>> {
        let first = self.word()?;
        if first != "[" {
            return Err(format!("a block begins with [, not with {first}"));
        }
        let (mut words, mut depth) = (Vec::new(), 1);
        loop {
            let word = self.word()?;
            match word.as_str() {
                "[" => depth += 1,
                "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(words);
            }
            words.push(word);
        }
    }
}

/// One write, past the buffer. Nobody may listen any more; that is no reason to end.
fn write(bytes: &[u8]) {
    _ = rustix::io::write(rustix::stdio::stdout(), bytes);
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
