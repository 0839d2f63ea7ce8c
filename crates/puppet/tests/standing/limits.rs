//! It has the limits and the niceness that it was given.

use foster::{Command, Containment, ErrorKind, Limit, Resource};
use puppet::{Feature, NOBODY, alone, needs, within};
use rustix::process::getrlimit;

use crate::{STRANGER, cat, each, ours, output, us};

#[test]
fn it_has_the_limits_and_the_niceness_that_it_was_given() {
    let before = us();
    let our_cores = getrlimit(rustix::process::Resource::Core);
    let words = |limit: Option<u64>| limit.map_or("unlimited".to_string(), |limit| limit.to_string());
    each(&cat("limits"), |how, command| {
        let limited = command
            .clone()
            .limit(Resource::Nofile, 37, 64)
            .limit(Resource::Cpu, 1000, 2000)
            .limit(Resource::Core, 0, Limit::Inherited)
            .limit(Resource::Fsize, 1 << 40, 1 << 41)
            .limit(Resource::Stack, Limit::Inherited, Limit::Inherited);
        let text = output(&limited);
        assert_eq!(row(&text, "Max open files"), "37 64", "{how}");
        assert_eq!(row(&text, "Max cpu time"), "1000 2000", "{how}");
        assert_eq!(row(&text, "Max core file size"), format!("0 {}", words(our_cores.maximum)), "{how}");
        assert_eq!(row(&text, "Max file size"), format!("{} {}", 1_u64 << 40, 1_u64 << 41), "{how}");
        for same in ["Max stack size", "Max processes", "Max address space", "Max locked memory"] {
            assert_eq!(row(&text, same), row(&before.0, same), "{how}");
        }
        assert_eq!(output(&command.clone().containment(command.get_containment())), before.0, "{how}");
    });
    each(&Command::new("nice"), |how, command| {
        assert_eq!(output(&command.clone().nice(before.2 + 3)), format!("{}\n", before.2 + 3), "{how}");
        assert_eq!(output(command), format!("{}\n", before.2), "{how}");
    });
    assert_eq!(us(), before);
}

/// What is root's to give comes before it is somebody else: to be favoured, and higher limits, where root may that.
#[test]
fn privileges_go_last() {
    if !needs(Feature::Root) {
        return;
    }
    alone(|| {
        use rustix::process::{Resource as Kernels, Rlimit, setrlimit};
        let limit = |most| setrlimit(Kernels::Nofile, Rlimit { current: Some(128), maximum: Some(most) });
        limit(256).expect("lower");
        // Without CAP_SYS_RESOURCE root may not, as in containers.
        let may_raise = limit(257).is_ok();
        each(&Command::shell("ulimit -Sn; ulimit -Hn; nice; id -u"), |how, command| {
            let (soft, hard) = if may_raise { (300, 400) } else { (100, 200) };
            let more = command.clone().limit(Resource::Nofile, soft, hard).nice(-3).uid(NOBODY).gid(NOBODY);
            assert_eq!(output(&more), format!("{soft}\n{hard}\n-3\n{NOBODY}\n"), "{how}");
        });
    });
}

/// All sixteen at once, each by another number where ours allow it; for a guard they go through a string.
#[test]
fn every_resource_can_be_limited() {
    let rows = [
        (Resource::Cpu, "Max cpu time"),
        (Resource::Fsize, "Max file size"),
        (Resource::Data, "Max data size"),
        (Resource::Stack, "Max stack size"),
        (Resource::Core, "Max core file size"),
        (Resource::Rss, "Max resident set"),
        (Resource::Nproc, "Max processes"),
        (Resource::Nofile, "Max open files"),
        (Resource::Memlock, "Max locked memory"),
        (Resource::As, "Max address space"),
        (Resource::Locks, "Max file locks"),
        (Resource::Sigpending, "Max pending signals"),
        (Resource::Msgqueue, "Max msgqueue size"),
        (Resource::Nice, "Max nice priority"),
        (Resource::Rtprio, "Max realtime priority"),
        (Resource::Rttime, "Max realtime timeout"),
    ];
    let before = ours("limits");
    let (mut command, mut wanted) = (cat("limits"), Vec::new());
    for (number, (resource, name)) in (1_u64..).zip(rows) {
        let hard = row(&before, name).rsplit(' ').next().expect("two").to_string();
        let soft = (1 << 30) + number;
        let soft = hard.parse::<u64>().map_or(soft, |hard| hard.min(soft));
        command = command.limit(resource, soft, Limit::Inherited);
        wanted.push(format!("{name}: {soft} {hard}"));
        assert!(Resource::ALL.contains(&resource) && resource.name().starts_with("RLIMIT_"));
    }
    each(&command, |how, command| {
        let text = output(command);
        let got = rows.map(|(_, name)| format!("{name}: {}", row(&text, name)));
        assert_eq!(got.to_vec(), wanted, "{how}");
    });
}

/// The kernel counts the user's others, and refuses when the program is executed, `setuid(2)`.
#[test]
fn a_user_with_too_many_processes_is_told() {
    if !needs(Feature::Root) {
        return;
    }
    // Of a user who has no part in other tests.
    let of_theirs = |program: &str| Command::new(program).uid(STRANGER + 1).gid(STRANGER);
    let other = of_theirs("sleep").arg("57").containment(Containment::Group).spawn().expect("it starts");
    each(&of_theirs("true"), |how, command| {
        let error = command.clone().limit(Resource::Nproc, 0, 0).spawn().expect_err("there is one already");
        assert_eq!(
            (error.kind(), error.raw_os_error()),
            (ErrorKind::NoProcesses, Some(libc::EAGAIN)),
            "{how}"
        );
        assert!(error.to_string().contains("its user has as many processes as it may"), "{error}");
        assert_eq!(output(&command.clone().limit(Resource::Nproc, 5, 5)), "", "{how}");
    });
    within(&other.kill());
}

/// A row of `/proc/PID/limits`: soft and hard.
fn row(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    line[26..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
