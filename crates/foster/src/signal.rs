//! [`Signal`]: one list gives the names and the numbers.

use std::fmt;
use std::str::FromStr;

/// A signal, by its number on this platform; see `signal(7)`.
///
/// It is parsed from a name, with or without `SIG`, in any case, or from a number. The real-time signals are
/// `RTMIN`, `RTMIN+1` … `RTMAX-1`, `RTMAX`, counted from the numbers the C library leaves to programs.
///
/// ```
/// use foster::Signal;
///
/// assert_eq!("SIGTERM".parse(), Ok(Signal::TERM));
/// assert_eq!("hup".parse(), Ok(Signal::HUP));
/// assert_eq!("9".parse(), Ok(Signal::KILL));
/// assert_eq!("RTMIN+3".parse::<Signal>().unwrap().to_string(), "SIGRTMIN+3");
/// assert!("SIGNIFICANT".parse::<Signal>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// The list: name, number, and what the signal means.
macro_rules! signals {
    ($($name:ident = $number:ident, $meaning:literal;)*) => {
        impl Signal {
            $(#[doc = $meaning] pub const $name: Signal = Signal(libc::$number);)*
        }

        /// The classic signals, those with a name of their own.
        const NAMED: &[(&str, Signal)] = &[$((stringify!($name), Signal::$name),)*];
    };
}

signals! {
    HUP = SIGHUP, "The terminal went away; for a daemon: read your configuration again.";
    INT = SIGINT, "Interrupt, Ctrl-C.";
    QUIT = SIGQUIT, "Quit, Ctrl-\\; leaves a core dump by default.";
    ILL = SIGILL, "Illegal instruction.";
    TRAP = SIGTRAP, "Trace or breakpoint trap.";
    ABRT = SIGABRT, "The program gave itself up, `abort(3)`.";
    BUS = SIGBUS, "Access to memory that is not there.";
    FPE = SIGFPE, "Arithmetic error.";
    KILL = SIGKILL, "Ends a process at once; cannot be caught.";
    USR1 = SIGUSR1, "The first signal for the program's own use.";
    SEGV = SIGSEGV, "Access to memory that is not ours.";
    USR2 = SIGUSR2, "The second signal for the program's own use.";
    PIPE = SIGPIPE, "Write to a pipe that nobody reads.";
    ALRM = SIGALRM, "A timer of `alarm(2)` ran out.";
    TERM = SIGTERM, "Please end. What a stop sends by default.";
    STKFLT = SIGSTKFLT, "Stack fault; unused.";
    CHLD = SIGCHLD, "A child stopped, continued or ended.";
    CONT = SIGCONT, "Continue if stopped.";
    STOP = SIGSTOP, "Stops a process; cannot be caught.";
    TSTP = SIGTSTP, "Stop typed at a terminal, Ctrl-Z.";
    TTIN = SIGTTIN, "A background process read from its terminal.";
    TTOU = SIGTTOU, "A background process wrote to its terminal.";
    URG = SIGURG, "Urgent data on a socket.";
    XCPU = SIGXCPU, "Out of processor time, `setrlimit(2)`.";
    XFSZ = SIGXFSZ, "A file grew too large, `setrlimit(2)`.";
    VTALRM = SIGVTALRM, "A timer of virtual time ran out.";
    PROF = SIGPROF, "A profiling timer ran out.";
    WINCH = SIGWINCH, "The terminal's window changed its size.";
    IO = SIGIO, "A descriptor is ready.";
    PWR = SIGPWR, "The power fails.";
    SYS = SIGSYS, "A system call that is not allowed.";
}

/// Other names in use for signals of the list.
const ALIASES: &[(&str, Signal)] =
    &[("IOT", Signal::ABRT), ("POLL", Signal::IO), ("CLD", Signal::CHLD), ("UNUSED", Signal::SYS)];

/// The highest signal number of Linux (`_NSIG - 1`).
const LAST: i32 = 64;

impl Signal {
    /// The signal with this number, or `None` if there is none: Linux has 1 to 64.
    pub fn from_number(number: i32) -> Option<Signal> {
        (1..=LAST).contains(&number).then_some(Signal(number))
    }

    /// The number, as in `kill(2)`.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The name without `SIG`: `TERM`, `RTMIN+3`; for the two numbers that the C library keeps for itself, the
    /// number.
    pub fn name(self) -> String {
        if let Some((name, _)) = NAMED.iter().find(|(_, signal)| *signal == self) {
            return (*name).to_string();
        }
        match (self.0 - libc::SIGRTMIN(), libc::SIGRTMAX() - self.0) {
            (0, _) => "RTMIN".to_string(),
            (_, 0) => "RTMAX".to_string(),
            (above, below) if above > 0 && above <= below => format!("RTMIN+{above}"),
            (above, below) if above > 0 && below > 0 => format!("RTMAX-{below}"),
            _ => self.0.to_string(),
        }
    }

    /// Every signal of this platform, in the order of the numbers.
    pub fn all() -> impl Iterator<Item = Signal> {
        (1..=LAST).map(Signal)
    }

    /// Whether a process may catch or ignore it: all but `KILL` and `STOP`.
    pub fn is_catchable(self) -> bool {
        self != Signal::KILL && self != Signal::STOP
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let prefix = if name.starts_with(|first: char| first.is_ascii_digit()) { "signal " } else { "SIG" };
        write!(f, "{prefix}{name}")
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Signal, ParseSignalError> {
        let unknown = || ParseSignalError { text: text.to_string() };
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return text.parse().ok().and_then(Signal::from_number).ok_or_else(unknown);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        NAMED
            .iter()
            .chain(ALIASES)
            .find(|(known, _)| *known == name)
            .map(|(_, signal)| *signal)
            .or_else(|| real_time(name))
            .ok_or_else(unknown)
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX`, `RTMAX-n`, as long as it stays between the two.
fn real_time(name: &str) -> Option<Signal> {
    let (first, last) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        first + distance(rest, '+')?
    } else {
        last - distance(name.strip_prefix("RTMAX")?, '-')?
    };
    (first..=last).contains(&number).then_some(Signal(number))
}

/// The `n` of `RTMIN+n`; nothing at all is 0.
fn distance(rest: &str, sign: char) -> Option<i32> {
    match rest.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|distance| *distance <= LAST)
        }
        Some(_) => None,
        None => rest.is_empty().then_some(0),
    }
}

/// A text that names no signal; what [`Signal::from_str`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseSignalError {
    text: String,
}

impl fmt::Display for ParseSignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no signal is called {:?}", self.text)
    }
}

impl std::error::Error for ParseSignalError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_again_by_its_name_and_its_number() {
        for signal in Signal::all() {
            let name = signal.name();
            for text in [name.clone(), format!("SIG{name}"), name.to_lowercase(), signal.number().to_string()]
            {
                if signal.number() == 32 || signal.number() == 33 {
                    continue; // glibc's own: they have a number and no name
                }
                assert_eq!(text.parse(), Ok(signal), "{text}");
            }
            assert_eq!(signal.number().to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in [
            "",
            "SIG",
            "0",
            "65",
            "-9",
            "TERMINATE",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX+1",
            "RTMIN+",
            "RTMIN+x",
            "+9",
        ] {
            assert!(text.parse::<Signal>().is_err(), "{text:?}");
        }
        assert!("99999999999999999999".parse::<Signal>().is_err());
        assert!("RTMIN+99999999999999999999".parse::<Signal>().is_err());
    }
}
