//! What a command says of its standing, checked, and as the kernel takes it.

use rustix::process::getrlimit;

use crate::guard::standing::{Groups, Standing};
use crate::standing::Asked;
use crate::{Command, Limit, Resource};

/// So many go into one string of an `execve(2)`, five bytes for each, with everything else that stands there.
const MOST_GROUPS: usize = 25_000;

/// `None` if nothing is said. The groups point into the command.
pub(super) fn of(command: &Command) -> Result<Option<Box<Standing>>, String> {
    let asked = &command.standing;
    if *asked == Asked::default() {
        return Ok(None);
    }
    let Asked { uid, gid, umask, nice, .. } = *asked;
    let ids = uid.into_iter().chain(gid).chain(asked.groups.iter().flatten().copied());
    if let Some(id) = ids.into_iter().find(|id| *id == u32::MAX) {
        return Err(format!(
            "there is no user and no group {id}, which means «unchanged» to the kernel; name another"
        ));
    }
    let groups = match &asked.groups {
        Some(groups) if groups.len() > MOST_GROUPS => {
            return Err(format!(
                "it is to have {} groups; at most {MOST_GROUPS} can be handed on",
                groups.len()
            ));
        }
        Some(groups) => Groups::Exactly(groups.as_ptr().cast(), groups.len()),
        None if uid.is_some() => Groups::NoneIfAllowed,
        None => Groups::Ours,
    };
    if let Some(umask) = umask.filter(|umask| *umask > 0o777) {
        return Err(format!("the umask 0o{umask:o} is more than 0o777"));
    }
    if let Some(nice) = nice.filter(|nice| !(-20..=19).contains(nice)) {
        return Err(format!("there is no niceness {nice}; it goes from -20 to 19"));
    }
    let mut standing = Standing { uid, gid, groups, umask, nice, ..Standing::OURS };
    for (resource, (soft, hard)) in &asked.limits {
        let limit = [soft_of(*resource, *soft), hard_of(*resource, *hard)];
        if limit[0] > limit[1] {
            let [soft, hard] = limit.map(in_words);
            return Err(format!("the soft limit {resource} of {soft} is more than the hard one of {hard}"));
        }
        standing.limit(number(*resource), limit[0], limit[1]);
    }
    Ok(Some(Box::new(standing)))
}

/// What has this number.
pub(super) fn resource(of: u8) -> Option<Resource> {
    Resource::ALL.into_iter().find(|resource| number(*resource) == of)
}

/// The same on all architectures that we know.
fn number(resource: Resource) -> u8 {
    kernels(resource) as u8
}

fn soft_of(resource: Resource, limit: Limit) -> u64 {
    value(limit, || getrlimit(kernels(resource)).current)
}

fn hard_of(resource: Resource, limit: Limit) -> u64 {
    value(limit, || getrlimit(kernels(resource)).maximum)
}

fn value(limit: Limit, ours: impl FnOnce() -> Option<u64>) -> u64 {
    match limit {
        Limit::Of(limit) => limit,
        Limit::Unlimited => u64::MAX,
        Limit::Inherited => ours().unwrap_or(u64::MAX),
    }
}

fn in_words(limit: u64) -> String {
    if limit == u64::MAX { "infinity".to_string() } else { limit.to_string() }
}

fn kernels(resource: Resource) -> rustix::process::Resource {
    use rustix::process::Resource as Kernels;
    match resource {
        Resource::As => Kernels::As,
        Resource::Core => Kernels::Core,
        Resource::Cpu => Kernels::Cpu,
        Resource::Data => Kernels::Data,
        Resource::Fsize => Kernels::Fsize,
        Resource::Locks => Kernels::Locks,
        Resource::Memlock => Kernels::Memlock,
        Resource::Msgqueue => Kernels::Msgqueue,
        Resource::Nice => Kernels::Nice,
        Resource::Nofile => Kernels::Nofile,
        Resource::Nproc => Kernels::Nproc,
        Resource::Rss => Kernels::Rss,
        Resource::Rtprio => Kernels::Rtprio,
        Resource::Rttime => Kernels::Rttime,
        Resource::Sigpending => Kernels::Sigpending,
        Resource::Stack => Kernels::Stack,
    }
}
