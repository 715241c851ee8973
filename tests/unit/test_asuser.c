/* One thread's file access as somebody else: what it may, what it makes, and that it is alone. */
#include "boxd/asuser.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <grp.h>
#include <pthread.h>
#include <sys/stat.h>

#include "os_helpers.h"

#define SOMEBODY 54321
#define GROUP    12345

static char dir[64];

/* What this thread is before any test. */
static char original[512];

static const struct user somebody = {
	.uid = SOMEBODY, .gid = GROUP, .groups = {GROUP, 777, 778}, .ngroups = 3};

static bool skip_without_root(void)
{
	if (geteuid() == 0)
		return false;
	print_message("SKIPPED: not root\n");
	return true;
}

static const char *path_of(const char *name)
{
	static char path[4][128];
	static unsigned int next;
	char *out = path[next++ % 4];

	snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
	return out;
}

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "asuser_XXXXXX");
	return mkdtemp(dir) == NULL ? -1 : chmod(dir, 0777);
}

static int remove_dir(void **state)
{
	static const char *const names[] = {"secret", "group", "made"};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

/* A file of this owner and mode. */
static void put(const char *name, uid_t uid, gid_t gid, mode_t mode)
{
	int fd = open(path_of(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchown(fd, uid, gid), 0);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

/* The errno of opening it for reading, or 0. */
static int try_open(const char *name)
{
	int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* "Uid Gid Groups" of the calling thread, as the kernel has them. */
static void describe(char *out, size_t cap)
{
	char path[64], line[256];
	size_t len = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/thread-self/status");
	f = fopen(path, "re");
	out[0] = '\0';
	if (f == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL) {
		if (strncmp(line, "Uid:", 4) == 0 || strncmp(line, "Gid:", 4) == 0 ||
			strncmp(line, "Groups:", 7) == 0 || strncmp(line, "CapEff:", 7) == 0)
			len += (size_t)snprintf(out + len, cap - len, "%s", line);
	}
	fclose(f);
}

static void permissions_are_the_users(void **state)
{
	struct err e = {0};

	(void)state;
	if (skip_without_root())
		skip();
	put("secret", 0, 0, 0600);
	put("group", 0, 778, 0640);
	assert_int_equal(asuser_enter(&somebody, &e), 0);
	int secret = try_open("secret"), group = try_open("group");
	asuser_leave();
	assert_int_equal(secret, EACCES);
	assert_int_equal(group, 0);
	assert_int_equal(try_open("secret"), 0);
	assert_null(e.kind);
}

static void what_is_made_belongs_to_the_user(void **state)
{
	struct err e = {0};
	struct stat st;

	(void)state;
	if (skip_without_root())
		skip();
	assert_int_equal(asuser_enter(&somebody, &e), 0);
	int fd = open(path_of("made"), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	/* Giving away takes a capability, which is gone. */
	int given = fd >= 0 ? fchown(fd, 0, 0) : 0;
	asuser_leave();
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	close(fd);
	assert_int_equal(given, -1);
	assert_int_equal(st.st_uid, SOMEBODY);
	assert_int_equal(st.st_gid, GROUP);
}

static void leaving_brings_everything_back(void **state)
{
	char within[512], after[512];
	struct err e = {0};

	(void)state;
	if (skip_without_root())
		skip();
	for (int i = 0; i < 100; i++) {
		assert_int_equal(asuser_enter(&somebody, &e), 0);
		if (i == 0)
			describe(within, sizeof(within));
		asuser_leave();
	}
	describe(after, sizeof(after));
	assert_string_equal(original, after);
	assert_non_null(strstr(within, "777"));
	assert_non_null(strstr(within, "778"));
	/* Effective and filesystem ids are the user's, real and saved ones the daemon's. */
	assert_non_null(strstr(within, "Uid:\t0\t54321\t0\t54321\n"));
	assert_non_null(strstr(within, "Gid:\t0\t12345\t0\t12345\n"));
	assert_non_null(strstr(within, "CapEff:\t0000000000000000\n"));
	/* A second time is nothing. */
	asuser_leave();
	describe(after, sizeof(after));
	assert_string_equal(original, after);
}

/* ---- threads ---- */

static pthread_barrier_t barrier;

static void *look_meanwhile(void *out)
{
	pthread_barrier_wait(&barrier);
	describe(out, 512);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void other_threads_are_not_affected(void **state)
{
	char before[512], other[512], within[512];
	struct err e = {0};
	pthread_t t;

	(void)state;
	if (skip_without_root())
		skip();
	describe(before, sizeof(before));
	assert_int_equal(pthread_barrier_init(&barrier, NULL, 2), 0);
	assert_int_equal(pthread_create(&t, NULL, look_meanwhile, other), 0);
	assert_int_equal(asuser_enter(&somebody, &e), 0);
	pthread_barrier_wait(&barrier);
	describe(within, sizeof(within));
	pthread_barrier_wait(&barrier);
	asuser_leave();
	assert_int_equal(pthread_join(t, NULL), 0);
	pthread_barrier_destroy(&barrier);
	assert_string_equal(other, before);
	assert_string_not_equal(within, before);
}

struct job {
	struct user user;
	unsigned int wrong;
};

static void *come_and_go(void *arg)
{
	struct job *j = arg;

	for (int i = 0; i < 500; i++) {
		struct err e = {0};
		char text[512], uid[32];

		snprintf(uid, sizeof(uid), "\t%u\n", (unsigned int)j->user.uid);
		if (asuser_enter(&j->user, &e) < 0) {
			j->wrong++;
			continue;
		}
		describe(text, sizeof(text));
		asuser_leave();
		if (strstr(text, uid) == NULL)
			j->wrong++;
	}
	return NULL;
}

static void threads_are_different_people_at_once(void **state)
{
	struct job jobs[4];
	pthread_t threads[4];

	(void)state;
	if (skip_without_root())
		skip();
	for (size_t i = 0; i < 4; i++) {
		jobs[i] = (struct job){.user = somebody};
		jobs[i].user.uid = (uid_t)(SOMEBODY + i);
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &jobs[i]), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(jobs[i].wrong, 0);
	}
}

/* ---- without the right to ---- */

/*
 * What a child with these ids, and no rights, gets for entering as u: 0, or 1 with ERR_PERMISSION
 * and nothing changed, 2 for anything else.
 */
static int enter_in_child(uid_t uid, gid_t gid, const struct user *u)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		char before[512], after[512];
		struct err e = {0};
		int rc;

		if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 ||
					      setresuid(uid, uid, uid) < 0))
			_exit(3);
		describe(before, sizeof(before));
		rc = asuser_enter(u, &e);
		if (rc == 0)
			asuser_leave();
		describe(after, sizeof(after));
		if (strcmp(before, after) != 0)
			_exit(2);
		if (rc == 0)
			_exit(0);
		_exit(e.kind == &ERR_PERMISSION && e.sys == EPERM ? 1 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void a_daemon_without_rights_is_only_itself(void **state)
{
	struct user u = somebody;

	(void)state;
	if (geteuid() != 0) {
		u.uid = geteuid();
		u.gid = getegid();
	}
	uid_t uid = u.uid;
	gid_t gid = u.gid;

	assert_int_equal(enter_in_child(uid, gid, &u), 0);
	u.uid = uid + 1;
	assert_int_equal(enter_in_child(uid, gid, &u), 1);
	u.uid = uid;
	u.gid = gid + 1;
	assert_int_equal(enter_in_child(uid, gid, &u), 1);
}

static void an_id_that_is_none_is_refused(void **state)
{
	struct user u = somebody;
	struct err e = {0};
	char before[512], after[512];

	(void)state;
	if (skip_without_root())
		skip();
	describe(before, sizeof(before));
	u.uid = (uid_t)-1;
	assert_int_equal(asuser_enter(&u, &e), -1);
	assert_ptr_equal(e.kind, &ERR_PERMISSION);
	u = somebody;
	u.gid = (gid_t)-1;
	e = (struct err){0};
	assert_int_equal(asuser_enter(&u, &e), -1);
	describe(after, sizeof(after));
	assert_string_equal(before, after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* The first: its children must not inherit what the process remembers of itself. */
		TEST(a_daemon_without_rights_is_only_itself),
		TEST(permissions_are_the_users),
		TEST(what_is_made_belongs_to_the_user),
		TEST(leaving_brings_everything_back),
		TEST(other_threads_are_not_affected),
		TEST(threads_are_different_people_at_once),
		TEST(an_id_that_is_none_is_refused),
	};

	describe(original, sizeof(original));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
