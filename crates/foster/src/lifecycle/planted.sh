#!/usr/bin/env bash
# Plants mistakes in a copy of lifecycle.rs, one at a time, and asks its tests to find each. Bash and cargo are all it
# needs. It fails if a mistake lives, does not compile, or its text is not found exactly once: then the mistake is to be
# planted anew.
#
#     crates/foster/src/lifecycle/planted.sh [WORD]     only the mistakes whose name holds WORD

set -u
unset BLESS # or the table would learn the mistakes
only=${1-}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../../.." && pwd) || exit 1
work=${CARGO_TARGET_DIR:-$root/target}/planted
copy=$work/copy
rm -rf "$copy" && mkdir -p "$copy/crates" || exit 1
cp -R "$root/crates/foster" "$copy/crates/" && cp "$root/Cargo.lock" "$copy/" || exit 1
while IFS= read -r line; do
    case $line in
        members\ =*) echo 'members = ["crates/foster"]' ;;
        default-members\ =*) ;;
        *) printf '%s\n' "$line" ;;
    esac
done <"$root/Cargo.toml" >"$copy/Cargo.toml"
cd "$copy" || exit 1
export CARGO_TARGET_DIR=$work/target
machine=crates/foster/src/lifecycle.rs
sound=$(<"$machine")

compiles() { cargo test -q -p foster --lib --no-run >"$work/log" 2>&1; }
# A mistake may run for ever.
if command -v timeout >/dev/null; then limit=(timeout 60); else limit=(env); fi
passes() { "${limit[@]}" cargo test -p foster --lib lifecycle >"$work/log" 2>&1; }

if ! compiles || ! passes; then
    cat "$work/log"
    echo "without a mistake the tests do not pass"
    exit 1
fi

caught=0 failed=0

# plant NAME FROM TO
plant() {
    local name=$1 from=$2 to=$3 line found=() stories=0
    case $name in *"$only"*) ;; *) return ;; esac
    local before=${sound%%"$from"*} after=${sound#*"$from"}
    if [[ $before == "$sound" || $after == *"$from"* ]]; then
        verdict "NOT FOUND ONCE" "$name"
        return
    fi
    printf '%s\n' "$before$to$after" >"$machine"
    if ! compiles; then
        verdict "DOES NOT COMPILE" "$name"
        return
    fi
    if passes; then
        verdict "LIVED" "$name"
        return
    fi
    # Who found it? The table finds nearly everything; a story also says what it means.
    while read -r line; do
        case $line in
            "test "*the_whole_table*FAILED) ;;
            "test "*FAILED) found+=("${line% ... FAILED}") && stories=$((stories + 1)) ;;
        esac
    done <"$work/log"
    caught=$((caught + 1))
    case $stories in
        0) line="the table alone" ;;
        1) line=${found[0]##*::} ;;
        *) line="${found[0]##*::} and $((stories - 1)) more" ;;
    esac
    printf 'caught  %-52s %s\n' "$name" "$line"
}

verdict() {
    failed=$((failed + 1))
    printf '%s  %s\n' "$1" "$2"
}

# ── The end ──

plant 'the pid is given back before the kill' \
    'Leftovers::Kill => self.kill(None, now),' \
    'Leftovers::Kill => { self.act(Effect::Reap); self.kill(None, now); }'

plant 'gone is told before the pid is given back' \
    'self.act(Effect::Reap);
        self.tell(News::Gone);' \
    'self.tell(News::Gone);
        self.act(Effect::Reap);'

plant 'the exit cancels the escalation' \
    'Phase::Asked { signal, widen, leader, .. } => {
                *leader = None;' \
    'Phase::Asked { until, signal, widen, leader } => {
                *until = None;
                *leader = None;'

plant 'a polite leader counts as the whole tree' \
    'if alone {' \
    'if alone || matches!(self.phase, Phase::Asked { .. }) {'

plant 'an empty tree counts as gone while its leader lives' \
    '                | Phase::Asked { leader: Some(_), .. }
                | Phase::Killed { leader: Some(_), .. }
                | Phase::Gone => {}
            },' \
    '                | Phase::Killed { leader: Some(_), .. }
                | Phase::Gone => {}
                Phase::Asked { leader: Some(_), .. } => self.gone(),
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
    'Phase::Asked { .. } | Phase::Killed { .. } | Phase::Gone => {}
        }
    }

    fn order_kill' \
    'Phase::Asked { leader, .. } => self.ask(signal, leader, now),
            Phase::Killed { .. } | Phase::Gone => {}
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
    '.filter(|sooner| *sooner < until)' \
    ''

plant 'leftovers cannot be stopped' \
    'Phase::Lingering { .. } => self.ask(signal, None, now),' \
    'Phase::Lingering { .. } => {}'

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
    '(Reach::Leader, later(now, after))' \
    '(Reach::Leader, None)'

plant 'a dead leader is signalled' \
    'Phase::Lingering { .. } => false,' \
    'Phase::Lingering { .. } => true,'

plant 'a signal follows the kill' \
    'Phase::Killed { .. } | Phase::Gone => return,
        };
        match self.policy.target' \
    'Phase::Killed { .. } => true,
            Phase::Gone => return,
        };
        match self.policy.target'

# ── Timeout ──

plant 'the timeout waits for the splay' \
    'Some(limit.map_or(until, |limit| limit.min(until)))' \
    'Some(until)'

plant 'a splay forgets the timeout' \
    'self.phase = Phase::Splaying { until, limit, signal };' \
    'self.phase = Phase::Splaying { until, limit: None, signal };'

plant 'a timeout that should kill asks' \
    'if self.policy.timeout_kills {' \
    'if false {'

plant 'a timeout is called a stop' \
    'self.ask(self.policy.stop_signal, Some(Cause::TimedOut), now);' \
    'self.ask(self.policy.stop_signal, Some(Cause::Stopped), now);'

# ── Cause ──

plant 'forced is lost' \
    'Fate { killed: cause, forced: true, before: cause }' \
    'Fate { killed: cause, forced: false, before: cause }'

plant 'an ordered kill is called forced' \
    'Fate { killed: Cause::Killed, forced: false, before }' \
    'Fate { killed: Cause::Killed, forced: true, before }'

plant 'a kill that came too late is called one' \
    'Status::Exited(_) | Status::Signaled { .. } => (fate.before, false),' \
    'Status::Exited(_) | Status::Signaled { .. } => (fate.killed, fate.forced),'

plant 'a splay makes the exit a stop' \
    'Phase::Running { .. } | Phase::Splaying { .. } => (Cause::Own, false),' \
    'Phase::Running { .. } => (Cause::Own, false),
            Phase::Splaying { .. } => (Cause::Stopped, false),'

# ── Leftovers ──

plant 'leftovers to leave are killed' \
    'Leftovers::Leave => self.gone(),' \
    'Leftovers::Leave => self.kill(None, now),'

plant 'leftovers may take for ever' \
    'Phase::Lingering { until: max.and_then(|max| later(now, max)) }' \
    'Phase::Lingering { until: max.and(None) }'

plant 'leftovers to stop get no grace' \
    'Leftovers::Stop => self.ask(self.policy.stop_signal, None, now),' \
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
    '(Some(until), limit.as_mut())' \
    '(Some(until), None)'

plant 'a resume does not move the asking of the rest' \
    '(until.as_mut(), widen.as_mut())' \
    '(until.as_mut(), None)'

plant 'a resume does not move the time of leftovers' \
    'Phase::Lingering { until } | Phase::Killed { until, .. } => (until.as_mut(), None),' \
    'Phase::Lingering { .. } | Phase::Killed { .. } => (None, None),'

plant 'a stop does not wake a pause' \
    'self.resume(now);
        let signal' \
    'let signal'

plant 'a kill does not wake a pause' \
    'self.resume(now);
        let alive' \
    'let alive'

plant 'a detached program keeps its timeout in a splay' \
    'Phase::Running { limit } | Phase::Splaying { limit, .. } => *limit = None,' \
    'Phase::Running { limit } => *limit = None,
            Phase::Splaying { .. } => {}'

plant 'a detached program loses its leftovers' \
    'self.policy.leftovers = Leftovers::Leave;' \
    ''

plant 'a detach calls off a stop' \
    'Phase::Lingering { .. } => self.gone(),
            // An end' \
    'Phase::Lingering { .. } | Phase::Asked { leader: None, .. } => self.gone(),
            // An end'

echo "caught $caught, failed $failed"
((failed == 0))
