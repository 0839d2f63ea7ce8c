//! The guard while the tree lives: it reaps, tells the host what becomes of the leader, and ends everything when the
//! host says so, or is no more. It neither forks nor allocates, and once it has begun to end the tree it opens nothing
//! but the freezer's list: a fork bomb may have taken everything that there is to be had.
//!
//! `unsafe` only for the leaf's path, one of the strings that the guard was started with.
#![expect(unsafe_code, reason = "one string by its address")]

use core::ffi::{CStr, c_char};
use core::mem::size_of_val;

use super::start::LockedIn;
use super::sys::{self, Fd, PollFd, Ret, Waited};
use super::twin::Twin;
use super::wire::{self, Exited, FromGuard, Packet, Start, ToGuard, WORDS};

/// What a guard holds, and what it knows of it.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact that comes for itself")]
pub(crate) struct Hold {
    /// −1 once the host is gone.
    pub(crate) socket: Fd,
    pub(crate) supervisor: Fd,
    pub(crate) bells: [Fd; 2],
    pub(crate) signals: Fd,
    /// The other guard's pidfd; −1 without a twin.
    pub(crate) outer: Fd,
    pub(crate) twin: Option<Twin>,
    pub(crate) leaf: Fd,
    pub(crate) leaf_path: *const c_char,
    pub(crate) is_cgroup: bool,
    pub(crate) is_freezer: bool,
    /// The leaf's `cgroup.kill`, or its `freezer.state`.
    pub(crate) leaf_kill: Fd,
    /// The leaf's `cgroup.events`.
    pub(crate) leaf_look: Fd,
    /// The list of our own children, in a `/proc` that shows our own pid namespace.
    pub(crate) children: Fd,
    pub(crate) locked_in: Option<LockedIn>,
    pub(crate) is_init: bool,
    /// Our own number.
    pub(crate) pid: i32,
    /// The tree has a terminal of its own.
    pub(crate) has_terminal: bool,
    pub(crate) leader: i32,
    pub(crate) leader_pidfd: Fd,
    pub(crate) leader_lives: bool,
    pub(crate) detached: bool,
    pub(crate) ending: bool,
    pub(crate) hurries: bool,
    /// When to kill again, and how often we have.
    pub(crate) kill_at: u64,
    pub(crate) rounds: u32,
    /// The leader's end, which the host had no room for yet.
    pub(crate) owed: Option<Exited>,
    /// The host knows that nothing is left, by the leader's end.
    pub(crate) told_alone: bool,
    /// How often nothing has changed although it should.
    pub(crate) turns: u32,
}

/// At most so many are reaped before the host is listened to again.
const BATCH: usize = 64;
/// Microseconds between two looks while a tree is being ended, or a leaf must become empty; at first, and after a
/// while.
const SOON: u64 = 1_000;
const LATER: u64 = 50_000;
const WHILE: u32 = 500;

impl Hold {
    /// Nothing yet.
    pub(crate) fn new(
        socket: Fd,
        start: &Start,
        leaf_path: *const c_char,
        locked_in: Option<LockedIn>,
    ) -> Hold {
        let has = |flag: u64| start.flags & flag != 0;
        Hold {
            socket,
            supervisor: start.supervisor,
            bells: start.bells,
            signals: -1,
            outer: -1,
            twin: None,
            leaf: start.leaf,
            leaf_path,
            is_cgroup: has(wire::CGROUP),
            is_freezer: has(wire::FREEZER),
            leaf_kill: -1,
            leaf_look: -1,
            children: -1,
            locked_in,
            is_init: has(wire::PID_NAMESPACE),
            pid: sys::getpid(),
            has_terminal: start.group == wire::OWN_TERMINAL,
            leader: 0,
            leader_pidfd: -1,
            leader_lives: false,
            detached: false,
            ending: false,
            hurries: false,
            kill_at: 0,
            rounds: 0,
            owed: None,
            told_alone: false,
            turns: 0,
        }
    }

    /// Before the first child.
    pub(crate) fn watch_children(&mut self) -> Ret {
        let signals = sys::child_signals(self.has_terminal);
        self.signals = sys::int_of(signals);
        signals
    }

    /// This is the inner guard of a twin.
    pub(crate) fn join(&mut self, twin: Option<Twin>) {
        self.outer = twin.as_ref().map_or(-1, |twin| twin.outer);
        self.twin = twin;
    }

    /// What must stay open.
    pub(crate) fn descriptors(&self) -> [Fd; 11] {
        let [bell, other_bell] = self.bells;
        [
            self.socket,
            self.supervisor,
            bell,
            other_bell,
            self.signals,
            self.outer,
            self.leaf,
            self.leaf_kill,
            self.leaf_look,
            self.children,
            self.leader_pidfd,
        ]
    }

    /// Before the tree can have taken all descriptors. An error says that they are lacking now; what is not there is
    /// done without.
    pub(crate) fn open_what_ending_needs(&mut self) -> Result<(), Ret> {
        let lacking = |opened: Ret| match opened {
            sys::EMFILE | sys::ENFILE | sys::ENOMEM => Err(opened),
            opened => Ok(sys::int_of(opened)),
        };
        if self.is_cgroup {
            self.leaf_kill = lacking(sys::open(self.leaf, c"cgroup.kill", true))?;
            self.leaf_look = lacking(sys::open(self.leaf, c"cgroup.events", false))?;
        }
        if self.is_freezer {
            self.leaf_kill = lacking(sys::open(self.leaf, c"freezer.state", true))?;
        }
        self.children = lacking(open_children(self.pid))?;
        Ok(())
    }

    /// Until nothing is left of the tree; then the guard ends.
    pub(crate) fn until_empty(mut self) -> ! {
        loop {
            // Never until nobody is dead any more: with rabbits somebody always is.
            let children = self.reap();
            self.pay();
            let childless = children == Children::None;
            if childless && (self.told_alone || self.leaf_is_empty() && self.tell(FromGuard::Empty)) {
                self.end();
            }
            if self.ending {
                let now = sys::now();
                if now >= self.kill_at {
                    self.kill_all();
                    self.kill_at = self.next_kill(now);
                }
            }
            self.turns = if childless || self.owed.is_some() { self.turns.saturating_add(1) } else { 0 };
            let look = (self.turns > 0).then_some(if self.turns < WHILE { SOON } else { LATER });
            let kill = self.ending.then(|| self.kill_at.saturating_sub(sys::now()).max(1));
            let pause = match (look, kill) {
                (Some(look), Some(kill)) => Some(look.min(kill)),
                (look, kill) => look.or(kill),
            };
            self.sleep(if children == Children::MayBeDead { Some(0) } else { pause });
        }
    }

    /// When to kill again: soon, and after a while more seldom, since who is still there then may be there for long.
    /// What is dying needs the processor too, and we may stand above all of it: so we rest at least as long as a round
    /// took, and longer where the first round reached everybody and the next are for those just being born.
    fn next_kill(&mut self, began: u64) -> u64 {
        let now = sys::now();
        let reached_all = self.is_cgroup || self.is_freezer || self.is_init || self.locked_in.is_some();
        let rest = (now - began) * if reached_all { 4 } else { 1 };
        self.rounds = self.rounds.saturating_add(1);
        now + rest.clamp(if self.rounds < WHILE { SOON } else { LATER }, LATER)
    }

    /// Whether there is any way to reach everybody. A `/proc` that shows another pid namespace does not name our
    /// children.
    pub(crate) fn can_end_it(&self) -> bool {
        self.children >= 0 || self.leaf >= 0 || self.locked_in.is_some() || self.is_init
    }

    /// Until the host has said something, or is no more; the loop takes that in.
    pub(crate) fn await_a_word(&self) {
        let [bell, other_bell] = self.bells;
        let mut fds = [self.socket, self.supervisor, bell, other_bell].map(|fd| PollFd {
            fd,
            events: sys::POLLIN,
            revents: 0,
        });
        while sys::poll(&mut fds, None) == sys::EINTR {}
    }

    fn sleep(&mut self, microseconds: Option<u64>) {
        let [bell, other_bell] = self.bells;
        let fds = [self.socket, self.supervisor, bell, other_bell, self.signals, self.outer];
        // A negative number is passed over.
        let mut fds = fds.map(|fd| PollFd { fd, events: sys::POLLIN, revents: 0 });
        if sys::poll(&mut fds, microseconds) < 0 {
            return;
        }
        let [said, supervisor, bell, other_bell, signals, outer] = fds.map(|fd| fd.revents != 0);
        // Which child, waitid tells.
        if signals && sys::drain(self.signals) {
            self.hung_up();
        }
        if said || supervisor || bell || other_bell || outer {
            // First what the host said before that: it may have detached, and ended at once.
            self.listen();
        }
        if supervisor || bell || other_bell {
            self.orphaned();
        }
        if outer {
            self.bereaved();
        }
    }

    /// The terminal of the tree's own is gone. The kernel tells that to who leads the session and nobody else, and that
    /// is us: so the leader's group hears it from us, as from a shell.
    fn hung_up(&self) {
        for signal in [sys::SIGHUP, sys::SIGCONT] {
            self.signal_group(signal);
        }
    }

    /// The host is dead. Its end of the socket may live on for a while, but nobody will remove the leaf.
    fn orphaned(&mut self) {
        if self.socket >= 0 {
            sys::close(self.socket);
            self.socket = -1;
        }
        self.ending |= !self.detached;
        // They would be ready for ever.
        (self.supervisor, self.bells) = (-1, [-1, -1]);
    }

    /// The other guard is dead, without whom there is no twin.
    fn bereaved(&mut self) {
        self.outer = -1;
        if !self.detached {
            self.ending = true;
            self.tell(FromGuard::TwinLost);
        }
    }

    /// What the host says, one packet after the other. Whatever is no packet of ours is a host that is lost.
    pub(crate) fn listen(&mut self) {
        while self.socket >= 0 {
            let mut packet: Packet = [0; WORDS];
            let received = sys::receive(self.socket, &mut packet, false);
            let said =
                if received == size_of_val(&packet).cast_signed() { ToGuard::decode(&packet) } else { None };
            match said {
                Some(ToGuard::Kill) => self.ending = true,
                Some(ToGuard::Detach) => {
                    self.detached = true;
                    if let Some(twin) = &self.twin {
                        twin.note_detached();
                    }
                }
                _ if matches!(received, sys::EAGAIN | sys::EINTR) => return,
                // The host ended with something of ours unread, which is told before what it said; and only once.
                _ if received == sys::ECONNRESET => {}
                Some(ToGuard::Noted) => {}
                Some(ToGuard::Start(_)) | None => {
                    self.orphaned();
                }
            }
        }
    }

    /// Reaps who is dead, and tells what has become of the leader.
    fn reap(&mut self) -> Children {
        let changes = sys::WEXITED | sys::WSTOPPED | sys::WCONTINUED;
        let mut leader = None;
        let mut children = Children::MayBeDead;
        for _ in 0..BATCH {
            let changed = match sys::wait(0, changes | sys::WNOHANG | sys::WALL) {
                Ok(Some(changed)) => changed,
                Ok(None) => {
                    children = Children::Live;
                    break;
                }
                Err(error) => {
                    children = if error == sys::ECHILD { Children::None } else { Children::Live };
                    break;
                }
            };
            if changed.pid != self.leader || !self.leader_lives {
                continue;
            }
            match changed.code {
                CLD_CONTINUED => _ = self.tell(FromGuard::Continued),
                CLD_STOPPED | CLD_TRAPPED => _ = self.tell(FromGuard::Stopped { signal: changed.status }),
                _ => {
                    self.leader_lives = false;
                    leader = Some(changed);
                }
            }
        }
        if let Some(dead) = leader {
            if let Some(twin) = &self.twin {
                twin.note_leader_reaped();
            }
            // Whether it was the last is told with its end, so that nobody has to wait for that.
            let alone = children == Children::None && self.leaf_is_empty();
            self.owed = Some(exited(dead, alone));
        }
        children
    }

    /// Tells the leader's end, now or when there is room for it.
    fn pay(&mut self) {
        if let Some(exited) = self.owed
            && self.tell(FromGuard::Exited(exited))
        {
            self.owed = None;
            self.told_alone = exited.alone;
        }
    }

    /// Everything at once where the kernel can; then whoever is our child, until there is none: whoever loses its
    /// parent becomes ours.
    fn kill_all(&mut self) {
        if !core::mem::replace(&mut self.hurries, true) {
            sys::hurry();
        }
        // The group first: a bomb without sessions dies of that alone.
        if self.signal_group(sys::SIGKILL) < 0 && self.leader_lives {
            sys::kill(self.leader, sys::SIGKILL);
        }
        if self.is_cgroup {
            sys::write(self.leaf_kill, b"1");
        }
        if self.is_freezer {
            // In the freezer nobody forks and nobody dies while the list is read.
            sys::write(self.leaf_kill, b"FROZEN");
            self.each_frozen(|member| _ = sys::kill(member, sys::SIGKILL));
            sys::write(self.leaf_kill, b"THAWED");
        }
        // The interlock: «everybody» is who is in our domain, or in our namespace, and nobody else.
        if self.locked_in.is_some() || self.is_init && self.pid == 1 {
            sys::kill(-1, sys::SIGKILL);
        }
        each_number(self.children, |child| _ = sys::kill(child, sys::SIGKILL));
    }

    /// By number only while the number is the leader's, which it is as long as we have not reaped it. An error: not by
    /// the pidfd.
    fn signal_group(&self, signal: i32) -> Ret {
        let sent = sys::signal_pidfd(self.leader_pidfd, signal, true);
        if sent < 0 && self.leader_lives {
            sys::kill(-self.leader, signal);
        }
        sent
    }

    /// Whether the kernel's own count of the leaf is zero. Without a leaf our children are all there is to know.
    fn leaf_is_empty(&self) -> bool {
        if self.is_freezer {
            let mut anybody = false;
            return self.each_frozen(|_| anybody = true) && !anybody;
        }
        if self.leaf_look < 0 {
            return true;
        }
        let mut text = [0; 128];
        sys::rewind(self.leaf_look);
        // An error: somebody has removed it, which only an empty one lets happen.
        let n = usize::try_from(sys::read(self.leaf_look, &mut text)).unwrap_or(0);
        let text = text.get(..n).unwrap_or(&[]);
        !text.windows(11).any(|words| words == b"populated 1")
    }

    /// Who is in the freezer's leaf. Opened each time: the kernel keeps the list of an open file as long as it is read
    /// again and again. `false`: it cannot be read now, which does not say that nobody is there; who has removed the
    /// leaf could because it was empty.
    fn each_frozen(&self, act: impl FnMut(i32)) -> bool {
        let list = sys::open(self.leaf, c"cgroup.procs", false);
        if list < 0 {
            return matches!(list, sys::ENOENT | sys::ENODEV);
        }
        let members = sys::int_of(list);
        each_number(members, act);
        sys::close(members);
        true
    }

    /// `false`: there was no room.
    fn tell(&self, news: FromGuard) -> bool {
        self.socket < 0 || sys::send(self.socket, &news.encode(), None) != sys::EAGAIN
    }

    /// The leaf goes with its guard, whatever becomes of the host, which may end as soon as it knows of the leader's end.
    fn end(&self) -> ! {
        if !self.leaf_path.is_null() {
            // SAFETY: one of the strings that the guard was started with.
            unsafe { sys::remove_directory(self.leaf_path) };
        }
        sys::exit(0)
    }
}

const CLD_TRAPPED: i32 = 4;
const CLD_STOPPED: i32 = 5;
const CLD_CONTINUED: i32 = 6;

/// What the last look at them has shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Children {
    /// Nobody is left: who has no child has no descendant, since they would come to us.
    None,
    /// There is somebody, and nothing to tell of them.
    Live,
    /// There may be more who are dead.
    MayBeDead,
}

fn exited(dead: Waited, alone: bool) -> Exited {
    Exited {
        code: dead.code,
        status: dead.status,
        user_us: dead.user_us,
        system_us: dead.system_us,
        peak_kib: dead.peak_kib,
        alone,
    }
}

/// One that somebody has stopped does not see its parent's death. The kernel continues it then if its group has become
/// an orphan, `setpgid(2)`; which it has not where a subreaper in the same session gets it. This signal is sent again by
/// each thread of the parent's that ends, and to who runs it is nothing.
pub(crate) fn wake_when_the_parent_dies() {
    sys::prctl(sys::PR_SET_PDEATHSIG, sys::SIGCONT.cast_unsigned() as usize);
}

/// Whether one of these descriptors has something to say: a pidfd, that its process is dead.
pub(crate) fn any_is_ready(fds: [Fd; 3]) -> bool {
    // A negative number is passed over.
    let mut fds = fds.map(|fd| PollFd { fd, events: sys::POLLIN, revents: 0 });
    sys::poll(&mut fds, Some(0)) > 0
}

/// The list of our own children, where `/proc` counts as we do: in another namespace's «self» has another number, and
/// its thread is not found by ours.
fn open_children(pid: i32) -> Ret {
    const ROOM: usize = 10;
    let mut path = *b"/proc/self/task/0123456789/children\0";
    let mut digits = [0; ROOM];
    let mut rest = pid.cast_unsigned();
    let mut len = 0;
    while len == 0 || rest > 0 && len < ROOM {
        digits[len] = b'0' + (rest % 10) as u8;
        rest /= 10;
        len += 1;
    }
    let tail = *b"/children\0";
    let number = digits.iter().take(len).rev();
    for (place, byte) in path[16..].iter_mut().zip(number.chain(&tail)) {
        *place = *byte;
    }
    CStr::from_bytes_until_nul(&path).map_or(sys::ENOENT, |path| sys::open(sys::HERE, path, false))
}

/// The numbers in a file that the kernel writes anew each time.
pub(crate) fn each_number(file: Fd, mut act: impl FnMut(i32)) {
    if file < 0 {
        return;
    }
    sys::rewind(file);
    let mut text = [0; 1024];
    let mut number = 0_i32;
    loop {
        let n = usize::try_from(sys::read(file, &mut text)).unwrap_or(0);
        if n == 0 {
            break;
        }
        for byte in text.iter().take(n) {
            if byte.is_ascii_digit() {
                number = number.wrapping_mul(10).wrapping_add(i32::from(byte - b'0'));
            } else {
                if number > 0 {
                    act(number);
                }
                number = 0;
            }
        }
    }
    if number > 0 {
        act(number);
    }
}
