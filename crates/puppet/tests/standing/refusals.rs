//! What makes no sense, and what is not allowed, is told by its name, and nothing runs.

use foster::{Command, ErrorKind, Limit, Resource};
use puppet::{Feature, Host, Programs, User, needs};

#[test]
fn what_makes_no_sense_is_refused() {
    let command = Command::new("true");
    let limit = |soft: Limit, hard: Limit| command.clone().limit(Resource::Nofile, soft, hard);
    for (command, why) in [
        (command.clone().uid(u32::MAX), "no user and no group 4294967295"),
        (command.clone().gid(u32::MAX), "no user and no group 4294967295"),
        (command.clone().groups(&[1, u32::MAX]), "no user and no group 4294967295"),
        (command.clone().umask(0o1000), "the umask 0o1000 is more than 0o777"),
        (command.clone().nice(99), "no niceness 99; it goes from -20 to 19"),
        (command.clone().nice(-21), "no niceness -21"),
        (command.clone().nice(i32::MIN), "no niceness -2147483648"),
        (
            limit(Limit::Of(5), Limit::Of(4)),
            "the soft limit RLIMIT_NOFILE of 5 is more than the hard one of 4",
        ),
        (limit(Limit::Unlimited, Limit::Of(4)), "RLIMIT_NOFILE of infinity is more"),
        (limit(Limit::Inherited, Limit::Of(0)), "is more than the hard one of 0"),
    ] {
        let error = command.spawn().expect_err(why);
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let text = error.to_string();
        assert!(text.starts_with("cannot start `true`: ") && text.contains(why), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}

/// Who is not root is told what he lacks, and nothing runs.
#[test]
fn what_is_not_allowed_is_told_by_its_name() {
    if !needs(Feature::Safety) || !needs(Feature::Program("setpriv")) {
        return;
    }
    let programs = Programs::copy();
    let mut host = Host::start(&programs, User::Nobody, 100, &[]);
    for how in ["group", "subreaper", "subreaper+twin"] {
        for (option, why) in [
            ("uid=1", "cannot become user 1; be root, or have CAP_SETUID"),
            ("gid=1", "cannot become group 1; be root, or have CAP_SETGID"),
            ("group=1", "cannot set its supplementary groups; be root, or have CAP_SETGID"),
            ("nice=-5", "cannot give it the niceness -5; to favour it takes CAP_SYS_NICE, or RLIMIT_NICE"),
            (
                "nofile=1000000000",
                "cannot set its RLIMIT_NOFILE to 1000000000 (soft) and 1000000000 (hard); to raise a hard one takes CAP_SYS_RESOURCE",
            ),
        ] {
            let error = host.run(&format!("{how}+{option}"), "exit 0").expect_err("it may not");
            assert!(
                error.starts_with("refused cannot start `") && error.contains(why),
                "{how}+{option}: {error}"
            );
        }
        // Who one is, and less of what one has, is allowed.
        for option in ["uid=65534", "gid=65534", "nice=5", "nofile=20"] {
            host.run(&format!("{how}+{option}"), "exit 0")
                .unwrap_or_else(|why| panic!("{how}+{option}: {why}"));
            host.tell("stop");
            host.hear("supervisor: gone");
        }
    }
    // Only one user is in a namespace that is made without root.
    match host.run("pid-namespace+uid=1", "exit 0").expect_err("there is nobody else") {
        error if error.contains("pid namespace") => {
            assert!(std::env::var_os("FOSTER_CI").is_none(), "{error}");
            eprintln!("not run: {error}");
        }
        error => {
            assert!(error.contains("cannot become user 1; this user namespace has no such id"), "{error}");
        }
    }
    drop(host);
}
