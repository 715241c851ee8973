/*
 * Runs a program in a world without openat2(2): as on a kernel that is too old, or under a
 * container profile that is.
 *
 *   no_openat2 [-p] PROGRAM [ARGUMENT...]
 *
 * The call answers ENOSYS; with -p EPERM. Everything else is as before, for all descendants.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_openat2
#define SYS_openat2 437
#endif

static int no_openat2_install(int errnum)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K,
			SECCOMP_RET_ERRNO | ((unsigned int)errnum & SECCOMP_RET_DATA)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	int errnum = argc > 1 && strcmp(argv[1], "-p") == 0 ? EPERM : ENOSYS;
	char **program = argv + (errnum == EPERM ? 2 : 1);

	if (argc < (errnum == EPERM ? 3 : 2)) {
		fprintf(stderr, "usage: no_openat2 [-p] PROGRAM [ARGUMENT...]\n");
		return 2;
	}
	if (no_openat2_install(errnum) < 0) {
		perror("no_openat2: seccomp");
		return 2;
	}
	/* A filter that does not work would make every test under it worthless. */
	if (syscall(SYS_openat2, -1, "", NULL, 0) != -1 || errno != errnum) {
		perror("no_openat2: the call is still there");
		return 2;
	}
	execvp(program[0], program);
	perror(program[0]);
	return 127;
}
