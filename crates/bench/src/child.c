/*
 * The program that every contender starts: static, without libc, so that what is measured is who starts it.
 *
 *   child exit    exits at once
 *   child stamp   sleeps until its parent waits, writes the time into the page behind descriptor 0, and exits
 *   child pause   writes a byte to descriptor 0 and sleeps until a signal ends it
 *   child deaf    the same with SIGTERM blocked
 *   child hold    sleeps until a signal, or the end of descriptor 0, ends it
 *   child crowd N starts N that sleep, each with a session of its own, then does as `child pause`
 *   child fill N  gives N bytes to the pipe behind descriptor 1, and exits
 *   child lines N the same with N lines of 13 bytes and a newline
 *   child guard N starts `child exit`, in the cgroup behind descriptor N if that is not 0, and exits after it
 */
#include <linux/sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

static long call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
#else
#error "the bench's child is written for x86_64 and aarch64: add a system call and a _start for this machine"
#endif
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
#else
__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl begin\n");
#endif

static _Noreturn void leave(int code)
{
	for (;;)
		call(SYS_exit_group, code, 0, 0, 0, 0, 0);
}

static _Noreturn void stamp(void)
{
	/* Long enough for a waiter on a busy machine to be asleep before the clock starts. */
	struct timespec before = { .tv_sec = 0, .tv_nsec = 500 * 1000 };
	struct timespec now;
	long page = call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0, 0);

	if (page < 0 && page > -4096)
		leave(2);
	/* The page is there before the clock starts: the store below takes no fault. */
	*(volatile unsigned long *)page = 0;
	call(SYS_nanosleep, (long)&before, 0, 0, 0, 0, 0);
	call(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0, 0, 0, 0);
	*(volatile unsigned long *)page = now.tv_sec * 1000000000UL + now.tv_nsec;
	leave(0);
}

static _Noreturn void await_signal(unsigned long blocked)
{
	call(SYS_rt_sigprocmask, 0, (long)&blocked, 0, sizeof blocked, 0, 0);
	if (call(SYS_write, 0, (long)"r", 1, 0, 0, 0) != 1)
		leave(2);
	for (;;) /* pause(2), which aarch64 does not have */
		call(SYS_ppoll, 0, 0, 0, 0, 0, 0);
}

static _Noreturn void hold(void)
{
	char byte;

	leave(call(SYS_read, 0, (long)&byte, 1, 0, 0, 0) == 0 ? 0 : 2);
}

static long number(const char *digits)
{
	long number = 0;

	for (; *digits >= '0' && *digits <= '9'; digits++)
		number = number * 10 + (*digits - '0');
	return number;
}

static _Noreturn void crowd(long count)
{
	while (count-- > 0) {
		/* SIGCHLD, and nothing shared: fork(2). */
		long pid = call(SYS_clone, 17, 0, 0, 0, 0, 0);

		if (pid < 0)
			leave(2);
		if (pid == 0) {
			call(SYS_setsid, 0, 0, 0, 0, 0, 0);
			for (;;)
				call(SYS_ppoll, 0, 0, 0, 0, 0, 0);
		}
	}
	await_signal(0);
}

/*
 * Just below 1 MiB, whole in lines and in pages of 4 KiB. The pages themselves go into the pipe (vmsplice(2)), copied by
 * nobody before they are read: whoever reads never waits for us, so what is measured is the reader.
 */
enum { LINE = 14, BLOCK = 18 * LINE * 4096 };

static _Noreturn void fill(long left, int in_lines)
{
	long block = call(SYS_mmap, 0, BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Without it the compiler makes a call of memset(3), which is not here. */
	volatile char *byte = (volatile char *)block;

	if (block < 0 && block > -4096)
		leave(2);
	for (long i = 0; i < BLOCK; i++)
		byte[i] = in_lines && i % LINE == LINE - 1 ? '\n' : 'a' + i % LINE;
	/* Where in the block we are: a pipe takes what it has room for. */
	for (long at = 0; left > 0;) {
		long most = BLOCK - at < left ? BLOCK - at : left;
		struct iovec piece = { (char *)block + at, most };
		long given = call(SYS_vmsplice, 1, (long)&piece, 1, 0, 0, 0);

		if (given <= 0)
			leave(2);
		left -= given;
		at = (at + given) % BLOCK;
	}
	leave(0);
}

/* The least that somebody can do who stands between a program and who started it. */
static _Noreturn void guard(char *self, long leaf)
{
	char *argv[] = { self, "exit", NULL };
	char *envp[] = { NULL };
	struct clone_args args = { .flags = CLONE_VM | CLONE_VFORK | (leaf > 0 ? CLONE_INTO_CGROUP : 0),
				   .exit_signal = SIGCHLD,
				   .cgroup = leaf };
	long pid;

	/* PR_SET_CHILD_SUBREAPER */
	call(SYS_prctl, 36, 1, 0, 0, 0, 0);
	pid = call(SYS_clone3, (long)&args, sizeof args, 0, 0, 0, 0);
	if (pid == 0) {
		call(SYS_execve, (long)self, (long)argv, (long)envp, 0, 0, 0);
		leave(127);
	}
	int status = 1 << 8;
	call(SYS_wait4, pid, (long)&status, 0, 0, 0, 0);
	leave(status >> 8 & 0xff);
}

__attribute__((used)) _Noreturn void begin(long *stack)
{
	const char *mode = stack[0] > 1 ? ((char **)(stack + 1))[1] : "exit";
	long count = stack[0] > 2 ? number(((char **)(stack + 1))[2]) : 0;

	switch (mode[0]) {
	case 'c':
		crowd(count);
	case 'h':
		hold();
	case 'f':
		fill(count, 0);
	case 'l':
		fill(count * LINE, 1);
	case 'g':
		guard(*(char **)(stack + 1), count);
	case 's':
		stamp();
	case 'p':
		await_signal(0);
	case 'd':
		await_signal(1UL << (15 - 1)); /* SIGTERM */
	default:
		leave(0);
	}
}
