/*
 * What the tests of files share: a box of directories inside the build folder, made anew for each
 * test, with a struct fs over it; and children that lose rights or system calls.
 *
 *   BASE/ws       the workspace, a root         BASE/outside  no root
 *   BASE/ro       a read-only root              BASE/etc      passwd and group
 *   BASE/ws/in/nest  a root inside the first    shm           a root in another filesystem, or ""
 */
#ifndef BOXD_TEST_FS_FIXTURE_H
#define BOXD_TEST_FS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "boxd/fs.h"
#include "boxd/limits.h"
#include "os_helpers.h"

static struct {
	char base[512];
	char shm[64]; /* "" when there is no second filesystem */
	struct fs *fs;
	size_t fds;
} fx;

/* ---- paths and files ---- */

/* BASE/rel, or rel itself when it is absolute. Good for the next seven calls. */
static inline const char *at(const char *rel)
{
	static char ring[8][PATH_MAX + 512];
	static unsigned int next;
	char *out = ring[next++ % 8];

	if (rel[0] == '/')
		snprintf(out, sizeof(ring[0]), "%s", rel);
	else
		snprintf(out, sizeof(ring[0]), "%s/%s", fx.base, rel);
	return out;
}

/* In the other filesystem. */
static inline const char *over(const char *rel)
{
	static char ring[4][PATH_MAX];
	static unsigned int next;
	char *out = ring[next++ % 4];

	snprintf(out, sizeof(ring[0]), "%s/%s", fx.shm, rel);
	return out;
}

static inline void put_n(const char *path, const void *data, size_t n)
{
	int fd = open(at(path), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	close(fd);
}

static inline void put(const char *path, const char *text)
{
	put_n(path, text, strlen(text));
}

static inline void make_dir(const char *path)
{
	assert_int_equal(mkdir(at(path), 0777), 0);
}

static inline struct stat look(const char *path)
{
	struct stat st;

	if (lstat(at(path), &st) < 0)
		fail_msg("no %s: %s", path, strerror(errno));
	return st;
}

static inline bool exists(const char *path)
{
	struct stat st;

	return lstat(at(path), &st) == 0;
}

/* The content, at most 4095 bytes of it; static. "?" when there is no file. */
static inline const char *content(const char *path)
{
	static char text[4096];
	int fd = open(at(path), O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return "?";
	text[n] = '\0';
	return text;
}

static inline int fixture_by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, hidden ones too, sorted: "a b c". Static. */
static inline const char *names_in(const char *path)
{
	static char out[8192];
	char *names[256];
	size_t n = 0, len = 0;
	DIR *dir = opendir(at(path));
	const struct dirent *d;

	if (dir == NULL)
		return "?";
	while ((d = readdir(dir)) != NULL && n < 256) {
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			names[n++] = strdup(d->d_name);
	}
	closedir(dir);
	qsort(names, n, sizeof(names[0]), fixture_by_name);
	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		len += (size_t)snprintf(
			out + len, sizeof(out) - len, "%s%s", i > 0 ? " " : "", names[i]);
		free(names[i]);
	}
	return out;
}

/* ---- errors ---- */

#define assert_ok(call)                                                                           \
	do {                                                                                      \
		if ((call) < 0)                                                                   \
			fail_msg("%s: %s %s", #call, e.kind == NULL ? "?" : e.kind->code, e.msg); \
	} while (0)

/* The call fails with this kind; e is clean again afterwards. */
#define assert_err(call, want)                                                     \
	do {                                                                       \
		if ((call) >= 0)                                                   \
			fail_msg("%s succeeded", #call);                           \
		if (e.kind != (want))                                              \
			fail_msg("%s: not %s but %s, %s", #call, (want)->code,     \
				e.kind == NULL ? "nothing" : e.kind->code, e.msg); \
		e = (struct err){0};                                               \
	} while (0)

/* ---- the box ---- */

static inline int fixture_remove(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

static inline void fixture_wipe(const char *path)
{
	if (path[0] != '\0')
		nftw(path, fixture_remove, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static char *fixture_environ[] = {(char *)"HOME=/home/me", (char *)"A=aa", (char *)"SLASH=/abs/x",
	(char *)"TILDE=~", (char *)"EMPTY=", NULL};

static inline struct fs *fixture_fs(void)
{
	static char paths[4][600];
	struct confine_root roots[4] = {{.path = paths[0]}, {.path = paths[1], .read_only = true},
		{.path = paths[2]}, {.path = fx.shm}};
	struct fs_config fc = {roots, fx.shm[0] == '\0' ? 3 : 4, fixture_environ, at("etc")};
	struct err e = {0};
	struct fs *fs;

	snprintf(paths[0], sizeof(paths[0]), "%s/ws", fx.base);
	snprintf(paths[1], sizeof(paths[1]), "%s/ro", fx.base);
	snprintf(paths[2], sizeof(paths[2]), "%s/ws/in/nest", fx.base);
	fs = fs_new(&fc, &e);
	if (fs == NULL)
		fail_msg("fs_new: %s", e.msg);
	return fs;
}

static inline int fixture_setup(void **state)
{
	struct stat here, there;

	(void)state;
	umask(022);
	signal(SIGXFSZ, SIG_IGN);
	fx.fds = test_fds(0, NULL, 0);
	if (getcwd(fx.base, sizeof(fx.base) - 32) == NULL)
		return -1;
	strcat(fx.base, "/fs_test.XXXXXX");
	strcpy(fx.shm, "/dev/shm/boxd_test.XXXXXX");
	if (mkdtemp(fx.base) == NULL || stat(fx.base, &here) < 0)
		return -1;
	chmod(fx.base, 0755);
	if (mkdtemp(fx.shm) == NULL || stat(fx.shm, &there) < 0)
		fx.shm[0] = '\0';
	else if (here.st_dev == there.st_dev) {
		rmdir(fx.shm);
		fx.shm[0] = '\0';
	}
	make_dir("ws");
	make_dir("ws/in");
	make_dir("ws/in/nest");
	make_dir("ro");
	make_dir("outside");
	make_dir("etc");
	put("etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:4001:4101::/home/ann:/bin/sh\n"
			  "12:x:4012:4112::/:/bin/sh\n");
	put("etc/group", "root:x:0:\nteam:x:4200:ann\nann:x:4101:\n");
	put("ro/kept", "read-only");
	put("outside/secret", "secret");
	fx.fs = fixture_fs();
	return 0;
}

static inline int fixture_teardown(void **state)
{
	char fds[4096];

	(void)state;
	fs_free(fx.fs);
	fixture_wipe(fx.base);
	fixture_wipe(fx.shm);
	if (test_fds(0, fds, sizeof(fds)) != fx.fds)
		fail_msg("descriptors leaked: %s", fds);
	return 0;
}

#define fs_test(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

#define skip_unless(what, why)                               \
	do {                                                 \
		if (!(what)) {                               \
			print_message("SKIPPED: %s\n", why); \
			skip();                              \
		}                                            \
	} while (0)

static inline bool is_root(void)
{
	return geteuid() == 0;
}

/* ---- children ---- */

#define CHILD_SKIPPED 77

/* In a child there is no cmocka to return to. */
#define child_check(what)                                                                      \
	do {                                                                                   \
		if (!(what)) {                                                                 \
			fprintf(stderr, "%s:%d: not so: %s (%s)\n", __FILE__, __LINE__, #what, \
				strerror(errno));                                              \
			_exit(1);                                                              \
		}                                                                              \
	} while (0)

/* Runs f in a child of its own; a child that calls _exit(CHILD_SKIPPED) skips the test. */
static inline void in_child(void (*f)(void), const char *why)
{
	pid_t pid;
	int status;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		f();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	skip_unless(!WIFEXITED(status) || WEXITSTATUS(status) != CHILD_SKIPPED, why);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* From now on this system call fails, where (argument & mask) == value; for this process only. */
static inline void deny_if(long nr, unsigned int arg, uint32_t mask, uint32_t value, int errnum)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			(uint32_t)(offsetof(struct seccomp_data, args) + 8 * arg)),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)errnum),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	child_check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	child_check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
}

static inline void deny(long nr, int errnum)
{
	deny_if(nr, 0, 0, 0, errnum);
}

/* What the kernel calls O_TMPFILE, without the O_DIRECTORY in it. */
#define TMPFILE_BIT 020000000u

/*
 * Mounts of this child are its own from now on, or the test is skipped. The roots are opened again:
 * a descriptor stays in the mounts that it was opened in.
 */
static inline void own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		_exit(CHILD_SKIPPED);
	fs_free(fx.fs);
	fx.fs = fixture_fs();
}

#endif
