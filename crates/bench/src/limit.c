/*
 * The limit: what the kernel asks of anybody who starts a program and waits for it, and nothing else. No process
 * group, no signal mask, no handle. In C, because after vfork(2) Rust promises nothing.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* The pid, or -1: not started. */
pid_t limit_start(const char *program, const char *mode)
{
	char *argv[] = { (char *)program, (char *)mode, NULL };
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

/* The status as wait(2) encodes it, or -1. */
int limit_wait(pid_t pid)
{
	siginfo_t info;

	if (waitid(P_PID, pid, &info, WEXITED) == -1)
		return -1;
	return info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status;
}

int limit_terminate(pid_t pid)
{
	return kill(pid, SIGTERM);
}
