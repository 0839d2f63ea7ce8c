//! What the options take, each from a word: a signal, a target, a leftovers policy, a rewrite, a variable.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use foster::{Containment, Leftovers, Level, Mechanism, Signal, Target};

use crate::duration;

/// How long a leader has to end the rest itself, if `leader-then-group` does not say.
const LEADER_FIRST: Duration = Duration::from_secs(1);

pub(crate) fn signal(text: &str) -> Result<Signal, String> {
    text.parse().map_err(|error| format!("{error}; {}", nearest(text)))
}

/// The names that look most like it, for whoever mistyped.
fn nearest(text: &str) -> String {
    const ALL: &str = "name one of `kill -l`, like TERM, or a number from 1 to 64";
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        return ALL.to_string();
    }
    let upper = text.to_ascii_uppercase();
    let word = upper.strip_prefix("SIG").unwrap_or(&upper);
    let mut names: Vec<(usize, String)> = Signal::all()
        .map(Signal::name)
        .filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()))
        .map(|name| (strsim::damerau_levenshtein(word, &name), name))
        .collect();
    names.sort();
    match names.as_slice() {
        [(best, _), ..] if *best <= 2 => {
            let close: Vec<&str> = names
                .iter()
                .take_while(|(far, _)| far == best)
                .take(3)
                .map(|(_, name)| name.as_str())
                .collect();
            format!("did you mean {}?", close.join(" or "))
        }
        _ => ALL.to_string(),
    }
}

/// A duration that may be endless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Option<Duration>);

pub(crate) fn span(text: &str) -> Result<Span, String> {
    duration::parse(text).map(Span)
}

pub(crate) fn finite(text: &str) -> Result<Duration, String> {
    duration::parse(text)?.ok_or_else(|| "this one has to end; name a duration like 5s".to_string())
}

pub(crate) fn target(text: &str) -> Result<Target, String> {
    match text.split_once(':') {
        None if text == "group" => Ok(Target::Group),
        None if text == "leader" => Ok(Target::Leader),
        None if text == "leader-then-group" => Ok(Target::LeaderThenGroup { after: LEADER_FIRST }),
        Some(("leader-then-group", after)) => Ok(Target::LeaderThenGroup { after: finite(after)? }),
        _ => Err("write group, leader, leader-then-group or leader-then-group:2s".to_string()),
    }
}

pub(crate) fn containment(text: &str) -> Result<Containment, String> {
    match text {
        "auto" => Ok(Containment::Auto),
        "sealed" => Ok(Containment::Sealed),
        "group" => Ok(Containment::Group),
        _ => Mechanism::ALL
            .into_iter()
            .find(|mechanism| mechanism.name() == text)
            .map(Containment::Exactly)
            .ok_or_else(|| {
                let names = Mechanism::ALL.map(Mechanism::name).join(", ");
                format!("write auto, sealed or group, or a mechanism: {names}")
            }),
    }
}

pub(crate) fn level(text: &str) -> Result<Level, String> {
    [Level::Sealed, Level::Grouped, Level::Tracked, Level::Group]
        .into_iter()
        .find(|level| level.name() == text)
        .ok_or_else(|| "write sealed, grouped, tracked or group".to_string())
}

pub(crate) fn leftovers(text: &str) -> Result<Leftovers, String> {
    match text.split_once(':') {
        None if text == "stop" => Ok(Leftovers::Stop),
        None if text == "kill" => Ok(Leftovers::Kill),
        None if text == "wait" => Ok(Leftovers::Wait { max: None }),
        None if text == "leave" => Ok(Leftovers::Leave),
        Some(("wait", max)) => Ok(Leftovers::Wait { max: duration::parse(max)? }),
        _ => Err("write stop, kill, wait, wait:30s or leave".to_string()),
    }
}

/// Where the program's input comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Inherit,
    Null,
    File(PathBuf),
}

#[expect(clippy::unnecessary_wraps, reason = "what clap asks of a value parser")]
pub(crate) fn input(text: &str) -> Result<Source, String> {
    Ok(match text {
        "inherit" => Source::Inherit,
        "null" => Source::Null,
        file => Source::File(file.into()),
    })
}

/// How many lines.
pub(crate) fn lines(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write how many lines, like 20".to_string())
}

/// When a file is begun anew, and how many old ones are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) bytes: u64,
    pub(crate) keep: u32,
}

pub(crate) fn rotation(text: &str) -> Result<Rotation, String> {
    const FORM: &str = "write a size, and how many old files to keep, like 10M or 512K:5 (units K, M, G)";
    let (size, keep) = text.split_once(':').unwrap_or((text, "3"));
    let (number, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(FORM.to_string()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << unit));
    match (bytes, keep.parse()) {
        (Some(bytes @ 1..), Ok(keep)) => Ok(Rotation { bytes, keep }),
        _ => Err(FORM.to_string()),
    }
}

/// One signal that arrives as another, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rewrite {
    pub(crate) from: Signal,
    pub(crate) to: Option<Signal>,
}

pub(crate) fn rewrite(text: &str) -> Result<Rewrite, String> {
    let (from, to) = text.split_once(':').ok_or("write FROM:TO, like TERM:QUIT or HUP:none")?;
    let from = signal(from)?;
    if !from.is_catchable() {
        return Err(format!("{from} cannot be caught, so it cannot be rewritten"));
    }
    if [Signal::CHLD, Signal::CONT].contains(&from) {
        return Err(format!("{from} is what foster itself needs; rewrite another"));
    }
    // `0` is dumb-init's way to say none.
    let to = if to.eq_ignore_ascii_case("none") || to == "0" { None } else { Some(signal(to)?) };
    Ok(Rewrite { from, to })
}

/// `NAME=VALUE`, or `NAME` for the value that foster itself has. A value may be any bytes.
pub(crate) fn variable(text: &OsStr) -> Result<(OsString, Option<OsString>), String> {
    let mut parts = text.as_bytes().splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
    let name = parts.next().unwrap_or_default();
    if name.is_empty() {
        return Err("there is no name before the =; write NAME=VALUE".to_string());
    }
    Ok((name.to_owned(), parts.next().map(OsStr::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotation_is_a_size_and_a_number() {
        let cases = [
            ("1", 1, 3),
            ("100", 100, 3),
            ("100B", 100, 3),
            ("2k", 2 << 10, 3),
            ("512K:5", 512 << 10, 5),
            ("10M", 10 << 20, 3),
            ("10MB:0", 10 << 20, 0),
            ("10MiB", 10 << 20, 3),
            ("3g:4294967295", 3 << 30, u32::MAX),
        ];
        for (text, bytes, keep) in cases {
            assert_eq!(rotation(text), Ok(Rotation { bytes, keep }), "{text}");
        }
    }

    #[test]
    fn what_is_no_rotation_says_what_is_one() {
        let bad = ["", ":", ":3", "0", "0M", "M", "x", "1X", "1.5M", "-1", "+1", " 1", "1 M", "1:", "1:x"];
        let worse =
            ["1:-1", "1:1.5", "1:2:3", "1:4294967296", "18014398509481984K", "99999999999999999999", "1١"];
        for text in bad.into_iter().chain(worse) {
            let error = rotation(text).expect_err(text);
            assert!(error.contains("512K:5"), "{text}: {error}");
        }
    }
}
