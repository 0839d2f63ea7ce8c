//! `foster doctor`: what can hold programs on this machine, found out by trying, for people and for machines.

use std::collections::BTreeMap;

use foster::{Level, Mechanism, Offer, Survey, Survives, Swept};
use serde::Serialize;

use crate::args::{Doctor, print};
use crate::records::{SurvivesRecord, TriedRecord};
use crate::say;

/// Looks, sweeps if asked to, prints, and returns foster's exit code.
pub(crate) fn doctor(asked: &Doctor) -> u8 {
    // First, so that what is swept is told: the survey would sweep too.
    let swept = asked.fix_leaks.then(foster::sweep);
    let survey = foster::survey();
    let text = if asked.json {
        match serde_json::to_string(&Record::new(&survey, swept.as_deref())) {
            Ok(json) => format!("{json}\n"),
            Err(error) => return say::failure(&error),
        }
    } else {
        for_people(&survey, swept.as_deref())
    };
    let stubborn = swept.iter().flatten().filter(|swept| !swept.removed);
    stubborn.map(fail).fold(print(text.as_bytes()), u8::max)
}

fn fail(swept: &Swept) -> u8 {
    let path = swept.path.display();
    say::failure(&format!(
        "cannot end what is in `{path}`; see who is in its cgroup.procs, and what `ps` says of them"
    ))
}

/// What is outside every tree, or cannot be ended by anybody.
const UNCOVERED: [&str; 4] = [
    "work that is handed to another daemon: systemd-run, D-Bus activation, docker, podman, at, cron",
    "work for a server that ran before: tmux, emacs, adb, bazel, gradle",
    "root in the tree, who can leave its cgroup and kill its guard",
    "a process in an uninterruptible sleep, until the kernel lets go of it; it is named as stuck",
];

/// The levels, the firmest first.
const LEVELS: [Level; 4] = [Level::Sealed, Level::Grouped, Level::Tracked, Level::Group];

/// No line is longer.
const WIDTH: usize = 100;

fn for_people(survey: &Survey, swept: Option<&[Swept]>) -> String {
    let mut page = Page::default();
    if let Some(swept) = swept {
        page.swept(swept);
    }
    page.line(&format!("What can hold programs here, on Linux {}, for {}:", survey.kernel.release, who()));
    page.table(survey);
    page.refusals(survey);
    page.choice(survey);
    page.means(survey);
    page.line("");
    page.line("What no containment covers:");
    for what in UNCOVERED {
        page.item("- ", what);
    }
    page.0
}

fn who() -> String {
    match rustix::process::geteuid().as_raw() {
        0 => "root".to_string(),
        user => format!("user {user}"),
    }
}

type Promise = (&'static str, &'static str, fn(&Survives) -> bool);

/// What a mechanism withstands: a word for the head of a column, what it means, and where it stands.
const PROMISES: [Promise; 7] = [
    ("session", "a descendant with a session of its own", |survives| survives.setsid),
    ("daemon", "the same, and its parent is dead", |survives| survives.double_fork),
    ("setuid", "a setuid program, such as sudo", |survives| survives.setuid_child),
    ("bomb", "a fork bomb", |survives| survives.fork_bomb),
    ("foster", "SIGKILL of foster", |survives| survives.supervisor_killed),
    ("guard", "SIGKILL of the guard", |survives| survives.guard_killed),
    ("both", "SIGKILL of both at once", |survives| survives.both_killed),
];

/// Lines for people.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.item("", text);
    }

    /// Text behind a mark, under which its further lines begin.
    fn item(&mut self, mark: &str, text: &str) {
        let indent = " ".repeat(mark.chars().count());
        let mut lines = wrapped(text, WIDTH - indent.len()).into_iter();
        for (start, line) in std::iter::once(mark).chain(std::iter::repeat(indent.as_str())).zip(&mut lines) {
            self.0.push_str(format!("{start}{line}").trim_end());
            self.0.push('\n');
        }
    }

    fn table(&mut self, survey: &Survey) {
        self.line("");
        let cells = |cell: &dyn Fn(&Promise) -> &'static str| {
            PROMISES.iter().fold(String::new(), |row, promise| format!("{row}{:<9}", cell(promise)))
        };
        self.row("mechanism", "level", "here", &cells(&|(head, ..)| head));
        for offer in &survey.offers {
            let here = match (&offer.got, offer.no_new_privs) {
                (Ok(()), false) => "yes",
                (Ok(()), true) => "yes*",
                (Err(_), _) => "no",
            };
            let kept = cells(&|(_, _, is)| if is(&offer.survives) { "yes" } else { "-" });
            self.row(offer.mechanism.name(), offer.level.name(), here, &kept);
        }
        self.line("");
        if survey.offers.iter().any(|offer| offer.no_new_privs) {
            self.line("* with --no-new-privs");
        }
        let meanings: Vec<String> =
            PROMISES.iter().map(|(head, means, _)| format!("{head}: {means}")).collect();
        self.line(&format!("What each withstands: {}.", meanings.join("; ")));
    }

    fn row(&mut self, mechanism: &str, level: &str, here: &str, rest: &str) {
        self.0.push_str(format!("  {mechanism:<15}{level:<9}{here:<6}{rest}").trim_end());
        self.0.push('\n');
    }

    fn refusals(&mut self, survey: &Survey) {
        let refused: Vec<_> = survey.offers.iter().filter_map(|offer| offer.got.as_ref().err()).collect();
        if refused.is_empty() {
            return;
        }
        self.line("");
        self.line("Why not, and what would help:");
        for tried in refused {
            self.item("- ", &tried.to_string());
            self.item("  ", tried.hint);
        }
    }

    fn choice(&mut self, survey: &Survey) {
        self.line("");
        let default = survey.auto(None);
        let got = default.map_or("By default no program can be started here.".to_string(), |offer| {
            format!("By default you get {}, level {}.", offer.mechanism, offer.level)
        });
        self.line(&got);
        for level in LEVELS.into_iter().filter(|level| default.is_none_or(|offer| offer.level < *level)) {
            match (survey.auto(Some(level)), better(survey, level)) {
                (Some(offer), _) => {
                    let seen = if is_seen(offer.mechanism) { ", which the program can notice" } else { "" };
                    self.item(
                        "- ",
                        &format!("{level}: with --require {level} you get {}{seen}", offer.mechanism),
                    );
                }
                (None, Some(offer)) => {
                    let how = format!("--contain {} --no-new-privs", offer.mechanism);
                    self.item("- ", &format!("{level}: with {how}, which the program can notice"));
                }
                (None, None) => self.item("- ", &format!("{level}: not here; see above what would help")),
            }
        }
        if default.is_some_and(|offer| offer.survives.supervisor_killed && !offer.survives.both_killed) {
            self.item("- ", "with --twin it also withstands SIGKILL of foster and one guard at once");
        }
    }

    fn means(&mut self, survey: &Survey) {
        self.line("");
        let yes = |is: bool| if is { "yes" } else { "no" };
        let from = survey.guard.map_or("nowhere: no guard can be run", |from| from.name());
        self.line(&format!("A guard is run from: {from}"));
        self.line(&format!("Threads that tell it of foster's death at once: {} of 2", survey.bells));
        let group = yes(survey.kernel.group_by_pidfd);
        self.line(&format!("The kernel signals groups by pidfd (Linux 6.9): {group}"));
        let keeps = yes(survey.kernel.keeps_status);
        self.line(&format!("The kernel keeps a status that somebody else took (Linux 6.15): {keeps}"));
    }

    fn swept(&mut self, swept: &[Swept]) {
        if swept.is_empty() {
            self.line("Nothing was left behind here that is older than 10 seconds.");
        }
        for Swept { path, killed, removed, .. } in swept {
            let pids: Vec<String> = killed.iter().map(u32::to_string).collect();
            let who = if pids.is_empty() {
                "nobody in it".to_string()
            } else {
                format!("killed {}", pids.join(" "))
            };
            let end = if *removed { "removed" } else { "it is still there" };
            self.line(&format!("Swept {}: {who}, {end}", path.display()));
        }
        self.line("");
    }
}

/// Of this level, and had only with `no_new_privs`.
fn better(survey: &Survey, level: Level) -> Option<&Offer> {
    survey.offers.iter().find(|offer| offer.level == level && offer.got.is_ok() && offer.no_new_privs)
}

fn is_seen(mechanism: Mechanism) -> bool {
    matches!(mechanism, Mechanism::PidNamespace | Mechanism::Landlock)
}

/// Lines of whole words. A word that is longer than a line is cut.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut rest: Vec<char> = word.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
        if used > 0 && used + 1 + rest.len() <= width {
            lines.last_mut().expect("never empty").push(' ');
            used += 1;
        } else if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        while rest.len() > width {
            let after = rest.split_off(width);
            lines.last_mut().expect("never empty").extend(rest);
            lines.push(String::new());
            rest = after;
        }
        used += rest.len();
        lines.last_mut().expect("never empty").extend(rest);
    }
    lines
}

/// For machines; its schema is `schema/doctor.json`.
#[derive(Debug, Serialize)]
struct Record {
    version: &'static str,
    user: u32,
    kernel: KernelRecord,
    guard: GuardRecord,
    mechanisms: Vec<OfferRecord>,
    default: Option<&'static str>,
    required: BTreeMap<&'static str, Option<&'static str>>,
    uncovered: [&'static str; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    swept: Option<Vec<SweptRecord>>,
}

#[derive(Debug, Serialize)]
struct KernelRecord {
    release: String,
    group_by_pidfd: bool,
    keeps_status: bool,
}

#[derive(Debug, Serialize)]
struct GuardRecord {
    runs_from: Option<&'static str>,
    bells: usize,
}

#[derive(Debug, Serialize)]
struct OfferRecord {
    mechanism: &'static str,
    level: &'static str,
    available: bool,
    no_new_privs: bool,
    survives: SurvivesRecord,
    tried: Option<TriedRecord>,
}

#[derive(Debug, Serialize)]
struct SweptRecord {
    path: String,
    killed: Vec<u32>,
    removed: bool,
}

impl Record {
    fn new(survey: &Survey, swept: Option<&[Swept]>) -> Record {
        let auto = |required| survey.auto(required).map(|offer| offer.mechanism.name());
        Record {
            version: env!("CARGO_PKG_VERSION"),
            user: rustix::process::geteuid().as_raw(),
            kernel: KernelRecord {
                release: survey.kernel.release.clone(),
                group_by_pidfd: survey.kernel.group_by_pidfd,
                keeps_status: survey.kernel.keeps_status,
            },
            guard: GuardRecord {
                runs_from: survey.guard.map(foster::GuardProgram::name),
                bells: survey.bells,
            },
            mechanisms: survey.offers.iter().map(OfferRecord::from).collect(),
            default: auto(None),
            required: LEVELS.into_iter().map(|level| (level.name(), auto(Some(level)))).collect(),
            uncovered: UNCOVERED,
            swept: swept.map(|swept| swept.iter().map(SweptRecord::from).collect()),
        }
    }
}

impl From<&Offer> for OfferRecord {
    fn from(offer: &Offer) -> OfferRecord {
        OfferRecord {
            mechanism: offer.mechanism.name(),
            level: offer.level.name(),
            available: offer.got.is_ok(),
            no_new_privs: offer.no_new_privs,
            survives: offer.survives.into(),
            tried: offer.got.as_ref().err().map(TriedRecord::from),
        }
    }
}

impl From<&Swept> for SweptRecord {
    fn from(swept: &Swept) -> SweptRecord {
        SweptRecord {
            path: swept.path.to_string_lossy().into_owned(),
            killed: swept.killed.clone(),
            removed: swept.removed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_too_long_and_no_letter_is_lost() {
        let path = "x".repeat(250);
        let lines = wrapped(&format!("mkdir {path}: Read-only file system"), 100);
        assert!(lines.iter().all(|line| line.chars().count() <= 100), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), format!("mkdir{path}:Read-onlyfilesystem"));
        assert_eq!(wrapped("a bc", 3), ["a", "bc"]);
        assert_eq!(wrapped("a bc", 4), ["a bc"]);
        assert_eq!(wrapped("", 4), [""]);
    }
}
