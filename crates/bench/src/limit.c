/*
 * The limit: what the kernel asks of anybody who starts a program and waits for it, and nothing else. No process
 * group, no signal mask, no handle. In C, because after vfork(2) Rust promises nothing.
 *
 * A stop with a grace is a loop over a pidfd and a timerfd.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static pid_t start(const char *program, char *argv[])
{
	volatile int refused = 0; /* the child shares our memory until it executes */
	pid_t pid = vfork();

	if (pid == 0) {
		execve(program, argv, environ);
		refused = 1;
		_exit(127);
	}
	if (pid > 0 && refused) {
		waitpid(pid, NULL, 0);
		return -1;
	}
	return pid;
}

/* The pid, or -1: not started. */
pid_t limit_start(const char *program, const char *mode)
{
	char *argv[] = { (char *)program, (char *)mode, NULL };

	return start(program, argv);
}

/* The same with somebody in between, and in a new cgroup, if its path is not NULL; that is the caller's to remove. */
pid_t limit_start_guarded(const char *program, const char *leaf)
{
	char number[12] = "0";
	char *argv[] = { (char *)program, "guard", number, NULL };
	int fd = -1;
	pid_t pid;

	if (leaf) {
		/* Not close-on-exec: it is the guard's. */
		if (mkdir(leaf, 0755) == -1 || (fd = open(leaf, O_RDONLY | O_DIRECTORY)) == -1)
			return -1;
		snprintf(number, sizeof number, "%d", fd);
	}
	pid = start(program, argv);
	if (fd != -1)
		close(fd);
	return pid;
}

static int reap(idtype_t type, id_t id, int options)
{
	siginfo_t info;

	if (waitid(type, id, &info, WEXITED | options) == -1)
		return -1;
	return info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
}

/* The status as wait(2) encodes it, or -1. */
int limit_wait(pid_t pid)
{
	return reap(P_PID, pid, 0);
}

/* The same of whichever ends first, of those that this thread has started: others have children too. */
int limit_wait_any(void)
{
	return reap(P_ALL, 0, __WNOTHREAD);
}

int limit_terminate(pid_t pid)
{
	return kill(pid, SIGTERM);
}

static int watch(int epoll, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data = { .fd = fd } };

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* What is readable first. */
static int next(int epoll)
{
	struct epoll_event event;
	int count;

	do
		count = epoll_wait(epoll, &event, 1, -1);
	while (count == -1 && errno == EINTR);
	return count == 1 ? event.data.fd : -1;
}

/* Asks with SIGTERM, kills after the grace, reaps: the status, or -1. */
int limit_stop(pid_t pid, long grace_ns)
{
	struct itimerspec grace = { .it_value = { grace_ns / 1000000000, grace_ns % 1000000000 } };
	int child = syscall(SYS_pidfd_open, pid, 0);
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	int status = -1;

	if (watch(epoll, child) == -1 || watch(epoll, timer) == -1 || kill(pid, SIGTERM) == -1 ||
	    timerfd_settime(timer, 0, &grace, NULL) == -1)
		goto out;
	if (next(epoll) == timer) {
		if (kill(pid, SIGKILL) == -1 || epoll_ctl(epoll, EPOLL_CTL_DEL, timer, NULL) == -1 ||
		    next(epoll) != child)
			goto out;
	}
	status = limit_wait(pid);
out:
	close(epoll);
	close(timer);
	close(child);
	return status;
}
