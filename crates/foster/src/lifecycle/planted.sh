#!/usr/bin/env bash
# Plants mistakes in a copy of lifecycle.rs, one at a time, and asks its tests to find each. Bash and cargo are all it
# needs. It fails if a mistake lives, does not compile, or its text is not found exactly once: then the mistake is to be
# planted anew.
#
#     crates/foster/src/lifecycle/planted.sh [-v] [WORD]
#
#     -v      also say who caught what
#     WORD    only the mistakes whose name holds WORD

set -u
die() { echo "planted.sh: $*" >&2; exit 1; }

verbose=false
[[ ${1-} != -v ]] || { verbose=true && shift; }
only=${1-}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd) || exit 1
src=${here%/*}
root=${src%/crates/foster/src}
work=${CARGO_TARGET_DIR:-$root/target}/planted
mkdir -p "$work" && work=$(cd "$work" && pwd) || exit 1

# The machine, its words, and nothing else: a mistake is to compile in a moment.
copy=$work/copy
rm -rf "$copy" && mkdir -p "$copy/src" && cd "$copy" || exit 1
cp -R "$src"/{lifecycle,lifecycle.rs,exit.rs,policy.rs,signal.rs} src/ && cp "$root/Cargo.lock" . || exit 1
cat >src/lib.rs <<'RUST'
mod exit;
mod lifecycle;
mod policy;
mod signal;
use {exit::*, policy::*, signal::*};
RUST
cat >Cargo.toml <<'TOML'
[package]
name = "planted"
edition = "2024"
[dependencies]
libc = "0.2"
[workspace]
TOML

# Whatever the caller's are: a mistake may leave a variable unused, and is built after one that differs by a line.
export CARGO_TARGET_DIR=$work/target CARGO_INCREMENTAL=1 CARGO_PROFILE_TEST_DEBUG=0 CARGO_TERM_COLOR=never
export RUSTFLAGS=--cap-lints=allow RUST_BACKTRACE=0
unset BLESS CARGO_ENCODED_RUSTFLAGS # BLESS would teach the table the mistakes.
machine=src/lifecycle.rs log=$work/log
sound=$(<"$machine")

# A mistake may run for ever.
limit=()
if command -v timeout >/dev/null; then limit=(timeout 60); fi
passes() { ${limit[@]+"${limit[@]}"} cargo test --offline --lib lifecycle >"$log" 2>&1; }
compiled() { grep -q '^running [1-9]' "$log"; }

command -v cargo >/dev/null || die "there is no cargo in PATH"
cargo metadata --offline --format-version 1 >/dev/null 2>"$log" || {
    cat "$log" >&2
    die "cargo lacks libc, and is not asked to fetch it here: run \`cargo fetch --locked\` first"
}
passes || {
    cat "$log" >&2
    die "the tests do not pass even without a mistake; if they do in the workspace, give src/lib.rs above its modules"
}

caught=0 failed=0

# plant NAME FROM TO
plant() {
    local name=$1 from=$2 to=$3 line by='the table alone' stories=0
    case $name in *"$only"*) ;; *) return ;; esac
    local before=${sound%%"$from"*} after=${sound#*"$from"}
    if [[ $before == "$sound" || $after == *"$from"* ]]; then
        verdict 'NOT FOUND ONCE' "$name"
        return
    fi
    printf '%s\n' "$before$to$after" >"$machine"
    if passes; then
        verdict LIVED "$name"
        return
    elif ! compiled; then
        verdict 'DOES NOT COMPILE' "$name"
        grep -m 1 -A 2 '^error' "$log"
        return
    fi
    caught=$((caught + 1))
    "$verbose" || return 0
    # Who found it? The table finds nearly everything; a story also says what it means.
    while read -r line; do
        case $line in
            "test "*the_whole_table*FAILED) ;;
            "test "*FAILED)
                line=${line% ... FAILED}
                stories=$((stories + 1))
                if ((stories == 1)); then by=${line##*::}; fi
                ;;
        esac
    done <"$log"
    if ((stories > 1)); then by="$by and $((stories - 1)) more"; fi
    printf 'caught  %-56s %s\n' "$name" "$by"
}

verdict() {
    failed=$((failed + 1))
    printf '%s  %s\n' "$1" "$2"
}

# ── The end ──

plant 'the pid is given back before the kill' \
    'Leftovers::Kill => self.kill(None, now),
            Leftovers::Wait { max } => {
                self.phase' \
    'Leftovers::Kill => { self.act(Effect::Reap); self.kill(None, now); }
            Leftovers::Wait { max } => {
                self.phase'

plant 'gone is told before the pid is given back' \
    'self.act(Effect::Reap);
        self.phase = Phase::Emptied { left: false };' \
    'self.act(Effect::Reap);
        self.tell(News::Gone { left: false });
        self.phase = Phase::Gone;'

plant 'the exit cancels the escalation' \
    'Phase::Asked { latest, signal, widen, leader, .. } => {
                // The timeout was' \
    'Phase::Asked { until, latest, signal, widen, leader } => {
                *until = None;
                // The timeout was'

plant 'a polite leader counts as the whole tree' \
    'if alone {' \
    'if alone || matches!(self.phase, Phase::Asked { .. }) {'

plant 'an empty tree counts as gone while its leader lives' \
    '                | Phase::Asked { leader: Some(_), .. }
                | Phase::Killed { leader: Some(_), .. }
                | Phase::Emptied { .. }
                | Phase::Gone => {}
            },' \
    '                | Phase::Killed { leader: Some(_), .. }
                | Phase::Emptied { .. }
                | Phase::Gone => {}
                Phase::Asked { leader: Some(_), .. } => self.emptied(),
            },'

plant 'a killed leader that died is still waited for' \
    'Phase::Killed { leader, .. } => *leader = None,' \
    'Phase::Killed { .. } => {}'

plant 'stuck is told again and again' \
    'self.phase = Phase::Killed { until: None, leader };' \
    'self.phase = Phase::Killed { until: later(now, self.policy.patience), leader };'

plant 'a second kill tells forced and stuck anew' \
    'Phase::Killed { .. } => self.act(Effect::KillTree),' \
    'Phase::Killed { leader, .. } => self.kill(leader, now),'

# ── Orders bring the end nearer ──

plant 'a second stop gives a new grace' \
    'Phase::Asked { .. } | Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_kill' \
    'Phase::Asked { leader, .. } => self.ask(signal, leader, None, now),
            Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_kill'

plant 'stop now does not cut a splay' \
    'if after.is_zero() {' \
    'if after.is_zero() {
                    return;
                }
                if after.is_zero() {'

plant 'a second stop puts off the first' \
    'map_or(until, |sooner| sooner.min(until))' \
    'unwrap_or(until)'

plant 'a stop is lost when the leader dies in its splay' \
    'Leftovers::Stop | Leftovers::Leave => self.ask(signal, None, None, now),' \
    'Leftovers::Stop => self.ask(signal, None, None, now),
                    Leftovers::Leave => self.leave(),'

plant 'a stop whose leader died in its splay lets leftovers be' \
    'self.ask(signal, None, max.and_then(|max| later(now, max)), now);' \
    'self.phase = Phase::Lingering { until: max.and_then(|max| later(now, max)) };'

plant 'a death in a splay gives leftovers more time' \
    'self.ask(signal, None, max.and_then(|max| later(now, max)), now);' \
    'self.ask(signal, None, max.and(None), now);'

plant 'a death in a splay loses the signal of the stop' \
    'let signal = *signal;' \
    'let _ = signal;
                let signal = self.policy.stop_signal;'

plant 'leftovers cannot be stopped' \
    'Phase::Lingering { until } => self.ask(signal, None, until, now),' \
    'Phase::Lingering { .. } => {}'

plant 'a stop gives leftovers more time' \
    'Phase::Lingering { until } => self.ask(signal, None, until, now),' \
    'Phase::Lingering { .. } => self.ask(signal, None, None, now),'

plant 'leftovers cannot be killed' \
    'Phase::Lingering { .. } => self.kill(None, now),
            // Once' \
    'Phase::Lingering { .. } => {}
            // Once'

plant 'an endless grace is none' \
    'self.policy.grace.and_then(|grace| later(now, grace))' \
    'later(now, self.policy.grace.unwrap_or_default())'

# ── Whom a signal reaches ──

plant 'CONT comes before the stop signal' \
    'self.act(Effect::Signal(reach, signal));
        if self.policy.wake_stopped {
            self.act(Effect::Signal(reach, Signal::CONT));
        }' \
    'if self.policy.wake_stopped {
            self.act(Effect::Signal(reach, Signal::CONT));
        }
        self.act(Effect::Signal(reach, signal));'

plant 'CONT is sent though it is switched off' \
    'if self.policy.wake_stopped {' \
    'if true {'

plant 'target leader asks the group' \
    '(Target::Leader, Some(_)) => (Reach::Leader, None),' \
    '(Target::Leader, Some(_)) => (Reach::Group, None),'

plant 'leader-then-group asks the leader twice' \
    'widen: None, leader };
                self.signal_and_wake(Reach::Rest, signal);' \
    'widen: None, leader };
                self.signal_and_wake(Reach::Group, signal);'

plant 'leader-then-group asks the rest twice' \
    'widen.take().is_some()' \
    'widen.is_some()'

plant 'leader-then-group does not see the leader go' \
    '(*signal, widen.take().is_some())' \
    '(*signal, false)'

plant 'leader-then-group stays with the leader' \
    '(Reach::Leader, later(now, after).or(later(now, AGES)))' \
    '(Reach::Leader, later(now, after).and(None))'

plant 'a leader with all the time there is is never followed' \
    '(Reach::Leader, later(now, after).or(later(now, AGES)))' \
    '(Reach::Leader, later(now, after))'

plant 'a dead leader is signalled' \
    'Phase::Lingering { .. } => false,' \
    'Phase::Lingering { .. } => true,'

plant 'a leader that is gone takes the signals with it' \
    '(Target::Leader, false) => {}
            (Target::Group, _) | (Target::LeaderThenGroup { .. }, false) =>' \
    '(Target::Leader | Target::LeaderThenGroup { .. }, false) => {}
            (Target::Group, _) =>'

plant 'a signal reaches what a lonely leader left' \
    '(Target::Leader, false) => {}
            (Target::Group, _) | (Target::LeaderThenGroup { .. }, false) =>' \
    '(Target::Group, _) | (Target::Leader | Target::LeaderThenGroup { .. }, false) =>'

plant 'a signal follows the kill' \
    'Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => return,
        };
        match (self.policy.target' \
    'Phase::Killed { .. } => true,
            Phase::Emptied { .. } | Phase::Gone => return,
        };
        match (self.policy.target'

# ── Timeout ──

plant 'the timeout waits for the splay' \
    'Some(limit.map_or(until, |limit| limit.min(until)))' \
    'Some(until)'

plant 'a splay forgets the timeout' \
    '.or(later(now, AGES)).unwrap_or(now);
                self.phase = Phase::Splaying { until, limit, signal };' \
    '.or(later(now, AGES)).unwrap_or(now);
                self.phase = Phase::Splaying { until, limit: limit.and(None), signal };'

plant 'a timeout that should kill asks' \
    'if self.policy.timeout_kills {' \
    'if false {'

plant 'a timeout is called a stop' \
    'Some(Cause::TimedOut), None, now)' \
    'Some(Cause::Stopped), None, now)'

plant 'a stop puts off a timeout that kills' \
    'limit.filter(|_| self.policy.timeout_kills)' \
    'limit.filter(|_| false)'

plant 'a timeout that asks cuts the grace of a stop' \
    'limit.filter(|_| self.policy.timeout_kills)' \
    'limit'

plant 'a stop now puts off a timeout that kills' \
    'Phase::Running { limit } if after.is_zero() => {
                self.ask(signal, Some(Cause::Stopped), self.last_word(limit), now);' \
    'Phase::Running { .. } if after.is_zero() => {
                self.ask(signal, Some(Cause::Stopped), None, now);'

plant 'a splay cut short puts off a timeout that kills' \
    'if after.is_zero() {
                    self.ask(signal, Some(Cause::Stopped), self.last_word(limit), now);' \
    'if after.is_zero() {
                    self.ask(signal, Some(Cause::Stopped), None, now);'

plant 'a splay that is over puts off a timeout that kills' \
    '=>
            {
                self.ask(signal, Some(Cause::Stopped), self.last_word(limit), now);' \
    '=>
            {
                self.ask(signal, Some(Cause::Stopped), None, now);'

plant 'a late driver takes a timeout for a splay' \
    'if until <= now && limit.is_none_or(|limit| until <= limit) =>' \
    'if until <= now =>'

plant 'the later of two deadlines counts' \
    'Some(one.min(other))' \
    'Some(one.max(other))'

# ── Cause ──

plant 'forced is lost' \
    'Fate { killed: cause, forced: true, before: cause }' \
    'Fate { killed: cause, forced: false, before: cause }'

plant 'an ordered kill is called forced' \
    'Fate { killed: Cause::Killed, forced: false, before }' \
    'Fate { killed: Cause::Killed, forced: true, before }'

plant 'a timeout that kills is called forced' \
    'Fate { killed: Cause::TimedOut, forced: false,' \
    'Fate { killed: Cause::TimedOut, forced: true,'

plant 'a kill that came too late is called one' \
    'Status::Exited(_) | Status::Signaled { .. } => (fate.before, false),' \
    'Status::Exited(_) | Status::Signaled { .. } => (fate.killed, fate.forced),'

plant 'a splay makes the exit a stop' \
    'Phase::Running { .. } | Phase::Splaying { .. } => (Cause::Own, false),' \
    'Phase::Running { .. } => (Cause::Own, false),
            Phase::Splaying { .. } => (Cause::Stopped, false),'

# ── Leftovers ──

plant 'leftovers to leave are killed' \
    'Leftovers::Leave => self.leave(),' \
    'Leftovers::Leave => self.kill(None, now),'

plant 'leftovers may take for ever' \
    'Phase::Lingering { until: max.and_then(|max| later(now, max)) }' \
    'Phase::Lingering { until: max.and(None) }'

plant 'leftovers to stop get no grace' \
    'Leftovers::Stop => self.ask(self.policy.stop_signal, None, None, now),' \
    'Leftovers::Stop => self.kill(None, now),'

# ── Pause and detach ──

plant 'a pause stops no deadline' \
    'if self.paused.is_some() {
            return None;' \
    'if self.paused.is_none() && self.is_gone() {
            return None;'

plant 'a second pause begins anew' \
    'self.paused.get_or_insert(now)' \
    'self.paused.insert(now)'

plant 'a resume does not move the timeout of a splay' \
    '[Some(until), limit.as_mut(), None]' \
    '[Some(until), limit.as_mut().and(None), None]'

plant 'a resume does not move the asking of the rest' \
    '[until.as_mut(), latest.as_mut(), widen.as_mut()]' \
    '[until.as_mut(), latest.as_mut(), widen.as_mut().and(None)]'

plant 'a resume does not move the time of leftovers' \
    'Phase::Killed { until, .. } => [until.as_mut(), None, None],' \
    'Phase::Killed { until, .. } => [until.as_mut().and(None), None, None],'

plant 'a stop does not wake a pause' \
    'let woken = self.resume(now);
        let given' \
    'let woken = self.paused.is_some();
        let given'

plant 'a kill does not wake a pause' \
    'self.resume(now);
        let alive' \
    'let alive'

plant 'an exit that ends a pause leaves the rest asleep' \
    '} else if woken && self.policy.wake_stopped {' \
    '} else if false {'

plant 'an order comes before what was due' \
    'self.catch_up(now);
        match order {' \
    'match order {'

plant 'a splay too long for the clock is none' \
    '.or(later(now, AGES)).unwrap_or(now);' \
    '.unwrap_or(now);'

plant 'a signal named in a splay is forgotten' \
    'let signal = given.unwrap_or(signal);
                if' \
    'let _ = given;
                if'

plant 'a timeout that kills outlives the leader' \
    '(*leader, *latest) = (None, None);' \
    '_ = &latest;
                *leader = None;'

plant 'a detached stop keeps the timeout' \
    'Phase::Asked { latest, leader: Some(_), .. } => *latest = None,' \
    'Phase::Asked { leader: Some(_), .. } => {}'

plant 'a resume does not move the last word of a timeout' \
    '[until.as_mut(), latest.as_mut(), widen.as_mut()]' \
    '[until.as_mut(), latest.as_mut().and(None), widen.as_mut()]'

plant 'an exit does not end a pause' \
    'let woken = self.resume(now);
        match &mut self.phase {' \
    'let woken = self.paused.is_some();
        match &mut self.phase {'

plant 'an exit ends a pause but in the grace' \
    'let woken = self.resume(now);
        match &mut self.phase {' \
    'let woken = !matches!(self.phase, Phase::Asked { .. }) && self.resume(now);
        match &mut self.phase {'

plant 'a pause freezes the patience' \
    '!matches!(self.phase, Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone)' \
    '!matches!(self.phase, Phase::Emptied { .. } | Phase::Gone)'

plant 'a second stop leaves a suspended tree asleep' \
    'if woken && self.policy.wake_stopped => {' \
    'if woken && false => {'

plant 'a second stop wakes a tree that nobody suspended' \
    'if woken && self.policy.wake_stopped => {' \
    'if self.policy.wake_stopped => {'

plant 'a second stop sends CONT though it is switched off' \
    'if woken && self.policy.wake_stopped => {' \
    'if woken => {'

plant 'a detached program keeps its timeout in a splay' \
    'Phase::Splaying { limit, .. } => *limit = None,' \
    'Phase::Splaying { .. } => {}'

plant 'a detach lets go of a stop that waits for its splay' \
    'Phase::Splaying { limit, .. } => *limit = None,' \
    'Phase::Splaying { limit, .. } => {
                *limit = None;
                self.act(Effect::Detach);
            }'

plant 'a detached program loses its leftovers' \
    'self.policy.leftovers = Leftovers::Leave;' \
    ''

plant 'a detach calls off a stop' \
    'Phase::Lingering { .. } => self.leave(),
            // An end' \
    'Phase::Lingering { .. } | Phase::Asked { leader: None, .. } => self.leave(),
            // An end'

# ── Strays ──

plant 'strays are never asked' \
    'self.signal_and_wake(Reach::Strays, signal);' \
    ''

plant 'strays are asked while the leader lives' \
    '(Target::Group, Some(_)) => (Reach::Group, None),' \
    '(Target::Group, Some(_)) => (Reach::All, None),'

plant 'strays are asked by a signal of their own' \
    'self.signal_and_wake(Reach::Strays, signal);' \
    'self.signal_and_wake(Reach::Strays, self.policy.stop_signal);'

plant 'strays are not woken' \
    'self.signal_and_wake(Reach::Strays, signal);' \
    'self.act(Effect::Signal(Reach::Strays, signal));'

plant 'strays are woken though it is switched off' \
    'self.signal_and_wake(Reach::Strays, signal);' \
    'self.act(Effect::Signal(Reach::Strays, signal));
                    self.act(Effect::Signal(Reach::Strays, Signal::CONT));'

plant 'strays of a lonely leader are asked before its group is' \
    'if self.policy.target != Target::Leader {' \
    'if true {'

plant 'strays are asked only where the rest was' \
    'if self.policy.target != Target::Leader {' \
    'if widened {'

plant 'the whole group is asked again with the strays' \
    'self.signal_and_wake(Reach::Strays, signal);' \
    'self.signal_and_wake(Reach::All, signal);'

plant 'a second stop asks the strays again' \
    'Phase::Asked { .. } | Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_kill' \
    'Phase::Asked { leader: None, .. } => self.signal_and_wake(Reach::Strays, signal),
            Phase::Asked { .. } | Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_kill'

plant 'strays are asked after the kill' \
    'Phase::Killed { leader, .. } => *leader = None,' \
    'Phase::Killed { leader, .. } => {
                *leader = None;
                self.signal_and_wake(Reach::Strays, Signal::TERM);
            }'

plant 'stopped leftovers are asked as a group' \
    'None) => (Reach::All, None),' \
    'None) => (Reach::Group, None),'

plant 'stopped leftovers are asked by the target of a leader' \
    '(Target::Group | Target::Leader | Target::LeaderThenGroup { .. }, None) => (Reach::All, None),' \
    '(Target::Leader, None) => (Reach::Strays, None),
            (Target::Group | Target::LeaderThenGroup { .. }, None) => (Reach::All, None),'

# ── Giving back ──

plant 'gone is told with every reap' \
    'self.phase = Phase::Gone;' \
    ''

plant 'what is not empty is gone once something was reaped' \
    'if let Phase::Emptied { left } = self.phase {' \
    'let left = matches!(self.phase, Phase::Emptied { left: true });
                if self.awaits_empty() || self.is_emptied() {'

plant 'what runs is gone once something was reaped' \
    'if let Phase::Emptied { left } = self.phase {' \
    'let left = matches!(self.phase, Phase::Emptied { left: true });
                if !self.is_gone() && !self.awaits_empty() {'

plant 'what is left is not told' \
    'self.phase = Phase::Emptied { left: true };' \
    'self.phase = Phase::Emptied { left: false };'

plant 'what is empty is called left' \
    'self.phase = Phase::Emptied { left: false };' \
    'self.phase = Phase::Emptied { left: self.policy.leftovers == Leftovers::Leave };'

plant 'what is left dies with what held it' \
    'self.act(Effect::Detach);
        self.act(Effect::Reap);' \
    'self.act(Effect::Reap);'

plant 'what is left is let go of after it was given back' \
    'self.act(Effect::Detach);
        self.act(Effect::Reap);' \
    'self.act(Effect::Reap);
        self.act(Effect::Detach);'

plant 'what is left is not given back' \
    'self.act(Effect::Detach);
        self.act(Effect::Reap);' \
    'self.act(Effect::Detach);'

plant 'a detached program ends with us' \
    '*limit = None;
                self.act(Effect::Detach);' \
    '*limit = None;'

plant 'a detach gives back what still holds' \
    '*limit = None;
                self.act(Effect::Detach);' \
    '*limit = None;
                self.leave();'

plant 'a detach lets go of what was asked' \
    'Phase::Asked { latest, leader: Some(_), .. } => *latest = None,' \
    'Phase::Asked { latest, leader: Some(_), .. } => {
                *latest = None;
                self.act(Effect::Detach);
            }'

plant 'a detach lets go of what was killed' \
    'Phase::Asked { leader: None, .. }
            | Phase::Killed { .. }
            | Phase::Emptied { .. }
            | Phase::Gone => {}
        }
    }' \
    'Phase::Killed { .. } => self.act(Effect::Detach),
            Phase::Asked { leader: None, .. }
            | Phase::Emptied { .. }
            | Phase::Gone => {}
        }
    }'

plant 'a detach lets go of what is being given back' \
    'Phase::Asked { leader: None, .. }
            | Phase::Killed { .. }
            | Phase::Emptied { .. }
            | Phase::Gone => {}
        }
    }' \
    'Phase::Emptied { .. } => self.leave(),
            Phase::Asked { leader: None, .. }
            | Phase::Killed { .. }
            | Phase::Gone => {}
        }
    }'

plant 'a signal follows the giving back' \
    'Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => return,
        };
        match (self.policy.target' \
    'Phase::Emptied { .. } => false,
            Phase::Killed { .. } | Phase::Gone => return,
        };
        match (self.policy.target'

plant 'a stop asks what is being given back' \
    'Phase::Asked { .. } | Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_kill' \
    'Phase::Emptied { .. } => self.ask(signal, None, None, now),
            Phase::Asked { .. } | Phase::Killed { .. } | Phase::Gone => {}
        }
    }

    fn order_kill'

plant 'a kill follows the giving back' \
    'Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_detach' \
    'Phase::Emptied { .. } => self.act(Effect::KillTree),
            Phase::Gone => {}
        }
    }

    fn order_detach'

plant 'a kill forces what is left' \
    'Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_detach' \
    'Phase::Emptied { left: true } => self.kill(None, now),
            Phase::Emptied { .. } | Phase::Gone => {}
        }
    }

    fn order_detach'

plant 'an empty tree is given back twice' \
    '| Phase::Killed { leader: None, .. } => self.emptied(),' \
    '| Phase::Emptied { .. }
                | Phase::Killed { leader: None, .. } => self.emptied(),'

plant 'an exit is told of what is being given back' \
    'Phase::Running { .. } | Phase::Splaying { .. } => (Cause::Own, false),' \
    'Phase::Running { .. } | Phase::Splaying { .. } | Phase::Emptied { .. } => (Cause::Own, false),'

plant 'a pause holds what is being given back' \
    'if let Phase::Emptied { left } = self.phase {' \
    'if self.paused.is_some() {
                    return;
                }
                if let Phase::Emptied { left } = self.phase {'

plant 'a pause gives back once more' \
    'if !matches!(self.phase, Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone) {' \
    'if let Phase::Emptied { .. } = self.phase {
            self.act(Effect::Reap);
        }
        if !matches!(self.phase, Phase::Killed { .. } | Phase::Emptied { .. } | Phase::Gone) {'

plant 'what is being given back is still asked for' \
    '| Phase::Killed { leader: Some(_), .. }
            | Phase::Emptied { .. }
            | Phase::Gone => false,' \
    '| Phase::Killed { leader: Some(_), .. }
            | Phase::Gone => false,
            Phase::Emptied { .. } => true,'

plant 'nobody sees that what is left is to be given back' \
    'matches!(self.phase, Phase::Emptied { .. })' \
    'matches!(self.phase, Phase::Emptied { left: false })'

((caught + failed > 0)) || die "no mistake has «$only» in its name"
echo "caught $caught, failed $failed"
((failed == 0))
