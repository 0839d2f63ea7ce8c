//! The numbers of the system calls that differ by architecture, in their order.

pub(super) use here::*;

#[cfg(target_arch = "x86_64")]
mod here {
    pub(in super::super) const READ: usize = 0;
    pub(in super::super) const WRITE: usize = 1;
    pub(in super::super) const CLOSE: usize = 3;
    pub(in super::super) const LSEEK: usize = 8;
    pub(in super::super) const MMAP: usize = 9;
    pub(in super::super) const RT_SIGACTION: usize = 13;
    pub(in super::super) const RT_SIGPROCMASK: usize = 14;
    pub(in super::super) const IOCTL: usize = 16;
    pub(in super::super) const GETPID: usize = 39;
    pub(in super::super) const RECVFROM: usize = 45;
    pub(in super::super) const SENDMSG: usize = 46;
    pub(in super::super) const CLONE: usize = 56;
    pub(in super::super) const EXECVE: usize = 59;
    pub(in super::super) const KILL: usize = 62;
    pub(in super::super) const FCNTL: usize = 72;
    pub(in super::super) const CHDIR: usize = 80;
    pub(in super::super) const UMASK: usize = 95;
    pub(in super::super) const SETPGID: usize = 109;
    pub(in super::super) const GETPPID: usize = 110;
    pub(in super::super) const SETSID: usize = 112;
    pub(in super::super) const SETGROUPS: usize = 116;
    pub(in super::super) const SETRESUID: usize = 117;
    pub(in super::super) const SETRESGID: usize = 119;
    pub(in super::super) const SETPRIORITY: usize = 141;
    pub(in super::super) const SCHED_SETSCHEDULER: usize = 144;
    pub(in super::super) const PRCTL: usize = 157;
    pub(in super::super) const CLOCK_GETTIME: usize = 228;
    pub(in super::super) const EXIT_GROUP: usize = 231;
    pub(in super::super) const WAITID: usize = 247;
    pub(in super::super) const OPENAT: usize = 257;
    pub(in super::super) const UNLINKAT: usize = 263;
    pub(in super::super) const PPOLL: usize = 271;
    pub(in super::super) const SIGNALFD4: usize = 289;
    pub(in super::super) const PRLIMIT64: usize = 302;
}

#[cfg(target_arch = "aarch64")]
mod here {
    pub(in super::super) const FCNTL: usize = 25;
    pub(in super::super) const IOCTL: usize = 29;
    pub(in super::super) const UNLINKAT: usize = 35;
    pub(in super::super) const CHDIR: usize = 49;
    pub(in super::super) const OPENAT: usize = 56;
    pub(in super::super) const CLOSE: usize = 57;
    pub(in super::super) const LSEEK: usize = 62;
    pub(in super::super) const READ: usize = 63;
    pub(in super::super) const WRITE: usize = 64;
    pub(in super::super) const PPOLL: usize = 73;
    pub(in super::super) const SIGNALFD4: usize = 74;
    pub(in super::super) const EXIT_GROUP: usize = 94;
    pub(in super::super) const WAITID: usize = 95;
    pub(in super::super) const CLOCK_GETTIME: usize = 113;
    pub(in super::super) const SCHED_SETSCHEDULER: usize = 119;
    pub(in super::super) const KILL: usize = 129;
    pub(in super::super) const RT_SIGACTION: usize = 134;
    pub(in super::super) const RT_SIGPROCMASK: usize = 135;
    pub(in super::super) const SETPRIORITY: usize = 140;
    pub(in super::super) const SETRESUID: usize = 147;
    pub(in super::super) const SETRESGID: usize = 149;
    pub(in super::super) const SETPGID: usize = 154;
    pub(in super::super) const SETSID: usize = 157;
    pub(in super::super) const SETGROUPS: usize = 159;
    pub(in super::super) const UMASK: usize = 166;
    pub(in super::super) const PRCTL: usize = 167;
    pub(in super::super) const GETPID: usize = 172;
    pub(in super::super) const GETPPID: usize = 173;
    pub(in super::super) const RECVFROM: usize = 207;
    pub(in super::super) const SENDMSG: usize = 211;
    pub(in super::super) const CLONE: usize = 220;
    pub(in super::super) const EXECVE: usize = 221;
    pub(in super::super) const MMAP: usize = 222;
    pub(in super::super) const PRLIMIT64: usize = 261;
}
