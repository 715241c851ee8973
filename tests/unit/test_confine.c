/*
 * The confinement of paths, as tables of what is asked and what comes of it. The same program runs
 * with openat2(2) and, under tests/kernel/no_openat2.c, without: every row holds both ways.
 */
#include "boxd/confine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "boxd/asuser.h"
#include "boxd/limits.h"
#include "confine_fixture.h"
#include "os_helpers.h"

/* What the table's own roots are. */
static struct confine *confine;

/*
 * @/ws      read-write, the workspace
 * @/ws/nest read-only inside it
 * @/ws/nest/deep  read-write inside that
 * @/tmp     read-write
 * @/ro      read-only
 * @/real    read-write, given as @/alias, which is a link
 * @/target  read-write, given as @/alias/entry: a link inside a root, spelled through another link
 * @/gone    does not exist
 * @/out     outside
 */
static const char *const directories[] = {"@/ws", "@/ws/nest", "@/ws/nest/deep", "@/ws/nest/d",
	"@/ws/d", "@/ws/d/e", "@/tmp", "@/tmp/d", "@/ro", "@/ro/d", "@/real", "@/real/d",
	"@/target", "@/out", "@/out/d", "@/wsx"};

static const char *const files[] = {"@/ws/f", "@/ws/d/f", "@/ws/d/e/f", "@/ws/nest/f",
	"@/ws/nest/deep/f", "@/tmp/f", "@/ro/f", "@/ro/d/f", "@/real/f", "@/real/d/f", "@/target/f",
	"@/out/secret", "@/out/d/f", "@/wsx/f"};

static const struct {
	const char *path, *target;
} links[] = {
	{"@/alias", "@/real"},
	{"@/real/entry", "@/target"},
	/* inside, relative and absolute */
	{"@/ws/lf", "f"},
	{"@/ws/ld", "d"},
	{"@/ws/ld_slash", "d/"},
	{"@/ws/lf_slash", "f/"},
	{"@/ws/lf_dot", "f/."},
	{"@/ws/ld_dot", "d/."},
	{"@/ws/l_here", "."},
	{"@/ws/d/up", ".."},
	{"@/ws/d/up_f", "../f"},
	{"@/ws/d/e/up_up", "../../d/../f"},
	{"@/ws/d/e/e_up", "../../d/e/.."},
	{"@/ws/abs_f", "@/ws/f"},
	{"@/ws/abs_d", "@/ws/d"},
	{"@/ws/abs_d_slash", "@/ws/d///"},
	{"@/ws/abs_dots", "@/ws/./d//e/../f"},
	{"@/ws/abs_root", "@/ws"},
	{"@/ws/abs_root_slash", "@/ws/"},
	{"@/ws/chain3", "chain2"},
	{"@/ws/chain2", "@/ws/d/chain1"},
	{"@/ws/d/chain1", "../chain0"},
	{"@/ws/chain0", "d/f"},
	/* round about: up and out by "..", and in again */
	{"@/ws/round_f", "../ws/f"},
	{"@/ws/round_tmp", "../tmp/f"},
	{"@/ws/round_up", "../../../../../../../../../../../../../../../../../../../../../../.."},
	{"@/ws/abs_round", "@/tmp/../ws/f"},
	{"@/ws/abs_round_out", "@/out/../ws/f"},
	{"@/ws/abs_round_base", "@/../../../../../../../../../../../../../../../.."},
	{"@/ws/round_alias", "../alias/f"},
	{"@/ws/round_alias_up", "../alias/../tmp/f"},
	/* into other roots */
	{"@/ws/to_tmp", "@/tmp"},
	{"@/ws/to_tmp_f", "@/tmp/f"},
	{"@/ws/to_ro", "@/ro"},
	{"@/ws/to_ro_rel", "../ro"},
	{"@/ws/to_ro_f", "@/ro/f"},
	{"@/ws/to_nest", "nest"},
	{"@/ws/to_nest_abs", "@/ws/nest"},
	{"@/ws/to_nest_d", "nest/d"},
	{"@/ws/to_nest_f", "nest/f"},
	{"@/ws/d/to_nest", "../nest"},
	{"@/ws/to_deep", "nest/deep"},
	{"@/ws/to_alias", "@/alias"},
	{"@/ws/to_alias_d", "@/alias/d"},
	{"@/ws/to_entry", "@/alias/entry"},
	{"@/ro/to_ws", "@/ws"},
	{"@/ro/to_ws_f", "../ws/f"},
	{"@/ro/d/in_ro", "f"},
	{"@/tmp/to_ws_d", "@/ws/d"},
	/* out */
	{"@/ws/out", "@/out"},
	{"@/ws/out_rel", "../out"},
	{"@/ws/out_f", "@/out/secret"},
	{"@/ws/out_none", "@/out/none"},
	{"@/ws/out_none_rel", "../out/none"},
	{"@/ws/out_base", "@"},
	{"@/ws/out_up", ".."},
	{"@/ws/out_root", "/"},
	{"@/ws/out_etc", "/etc/passwd"},
	{"@/ws/out_nowhere", "/nowhere/at/all"},
	{"@/ws/out_gone", "@/gone"},
	{"@/ws/out_like", "@/wsx/f"},
	{"@/ws/out_chain", "d/out_chain2"},
	{"@/ws/d/out_chain2", "../out"},
	{"@/out/back", "@/ws"},
	{"@/ws/out_and_back", "@/out/back/f"},
	/* to nothing */
	{"@/ws/dangling", "none"},
	{"@/ws/dangling_abs", "@/ws/none"},
	{"@/ws/dangling_deep", "none/none"},
	{"@/ws/dangling_slash", "none/"},
	{"@/ws/dangling_chain", "dangling"},
	{"@/ws/dangling_tmp", "@/tmp/none"},
	{"@/ws/dangling_ro", "@/ro/none"},
	{"@/ws/dangling_nest", "nest/none"},
	/* round and round */
	{"@/ws/loop", "loop"},
	{"@/ws/loop_a", "loop_b"},
	{"@/ws/loop_b", "@/ws/loop_a"},
	{"@/ws/loop_deep", "loop_deep/x"},
	{"@/ws/loop_up", "d/../loop_up"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the tree ---- */

static int make_tree(void **state)
{
	struct err e = {0};

	(void)state;
	make_base();
	for (size_t i = 0; i < COUNT(directories); i++)
		make_dir(directories[i]);
	for (size_t i = 0; i < COUNT(files); i++)
		make_file(files[i], files[i]);
	for (size_t i = 0; i < COUNT(links); i++)
		make_link(links[i].path, links[i].target);
	assert_int_equal(mkfifo(at("@/ws/fifo"), 0666), 0);
	const struct confine_root roots[] = {
		{at("@/ws/"), false},
		{at("@/gone"), false},
		{at("@/tmp"), false},
		{at("@//./ro"), true},
		{at("@/ws/nest"), true},
		{at("@/ws/nest/deep"), false},
		{at("@/alias"), false},
		{at("@/alias/entry"), false},
	};
	confine = confine_new(roots, COUNT(roots), &e);
	if (confine == NULL)
		fail_msg("%s", e.msg);
	return 0;
}

static int remove_tree_and_roots(void **state)
{
	(void)state;
	confine_free(confine);
	remove_base();
	return 0;
}

/* ---- finding ---- */

#define FOLLOW  CONFINE_FOLLOW
#define WRITE   CONFINE_WRITE
#define PARENTS CONFINE_PARENTS

static const struct {
	const char *path;
	unsigned int how;
	const char *expected;
} finds[] = {
	/* plain */
	{"@/ws/f", 0, "@/ws f"},
	{"@/ws/f", FOLLOW, "@/ws f"},
	{"@/ws/d", 0, "@/ws d"},
	{"@/ws/d/e/f", WRITE, "@/ws/d/e f"},
	{"@/ws/none", 0, "@/ws none"},
	{"@/ws/none", FOLLOW, "@/ws none"},
	{"@/ws/none/none", 0, "NO_FILE"},
	{"@/ws/f/x", 0, "NO_FILE"},
	{"@/ws/f/x/y", 0, "NO_FILE"},
	{"@/ws/fifo", 0, "@/ws fifo"},
	{"@/ws/fifo/x", 0, "NO_FILE"},
	{"@/ro/f", 0, "@/ro f ro"},
	{"@/ro/f", WRITE, "READ_ONLY"},
	{"@/ro/none", WRITE, "READ_ONLY"},
	{"@/ro/none/none", WRITE, "NO_FILE"},
	{"@/tmp/f", WRITE, "@/tmp f"},
	/* the roots themselves */
	{"@/ws", 0, "@/ws . root holds"},
	{"@/ws", FOLLOW | WRITE, "@/ws . root holds"},
	{"@/tmp", 0, "@/tmp . root"},
	{"@/ro", 0, "@/ro . root ro"},
	{"@/ro", WRITE, "READ_ONLY"},
	{"@/ws/nest", 0, "@/ws/nest . root ro holds"},
	{"@/ws/nest/deep", WRITE, "@/ws/nest/deep . root"},
	{"@/alias", 0, "@/real . root holds"},
	{"@/real", 0, "@/real . root holds"},
	{"@/alias/entry", 0, "@/target . root"},
	{"@/real/entry", 0, "@/target . root"},
	{"@/target", 0, "@/target . root"},
	/* inside each other */
	{"@/ws/nest/f", 0, "@/ws/nest f ro"},
	{"@/ws/nest/f", WRITE, "READ_ONLY"},
	{"@/ws/nest/d/x", WRITE, "READ_ONLY"},
	{"@/ws/nest/deep/f", WRITE, "@/ws/nest/deep f"},
	{"@/alias/d/f", WRITE, "@/real/d f"},
	{"@/alias/entry/f", WRITE, "@/target f"},
	{"@/real/entry/f", 0, "@/target f"},
	/* outside */
	{"/", 0, "PATH_FORBIDDEN"},
	{"/etc", 0, "PATH_FORBIDDEN"},
	{"/etc/passwd", 0, "PATH_FORBIDDEN"},
	{"/nowhere/at/all", 0, "PATH_FORBIDDEN"},
	{"@", 0, "PATH_FORBIDDEN"},
	{"@/out", 0, "PATH_FORBIDDEN"},
	{"@/out/secret", 0, "PATH_FORBIDDEN"},
	{"@/out/secret/x", 0, "PATH_FORBIDDEN"},
	{"@/out/none/none", PARENTS | WRITE, "PATH_FORBIDDEN"},
	{"@/w", 0, "PATH_FORBIDDEN"},
	{"@/wsx", 0, "PATH_FORBIDDEN"},
	{"@/wsx/f", 0, "PATH_FORBIDDEN"},
	{"@/gone", 0, "PATH_FORBIDDEN"},
	{"@/gone/x", 0, "PATH_FORBIDDEN"},
	/* a link is a place of its own */
	{"@/ws/lf", 0, "@/ws lf"},
	{"@/ws/out", 0, "@/ws out"},
	{"@/ws/loop", 0, "@/ws loop"},
	{"@/ws/dangling", WRITE, "@/ws dangling"},
	{"@/ws/to_ro", WRITE, "@/ws to_ro"},
	/* or is followed */
	{"@/ws/lf", FOLLOW, "@/ws f"},
	{"@/ws/ld", FOLLOW, "@/ws d"},
	{"@/ws/ld_slash", FOLLOW, "@/ws d"},
	{"@/ws/ld_dot", FOLLOW, "@/ws d"},
	{"@/ws/lf_slash", FOLLOW, "NO_FILE"},
	{"@/ws/lf_dot", FOLLOW, "NO_FILE"},
	{"@/ws/l_here", FOLLOW, "@/ws . root holds"},
	{"@/ws/d/up", FOLLOW, "@/ws . root holds"},
	{"@/ws/d/up_f", FOLLOW, "@/ws f"},
	{"@/ws/d/e/up_up", FOLLOW, "@/ws f"},
	{"@/ws/d/e/e_up", FOLLOW, "@/ws d"},
	{"@/ws/abs_f", FOLLOW, "@/ws f"},
	{"@/ws/abs_d_slash", FOLLOW, "@/ws d"},
	{"@/ws/abs_dots", FOLLOW, "@/ws/d f"},
	{"@/ws/abs_root", FOLLOW, "@/ws . root holds"},
	{"@/ws/abs_root_slash", FOLLOW, "@/ws . root holds"},
	{"@/ws/chain3", FOLLOW, "@/ws/d f"},
	{"@/ws/dangling", FOLLOW, "@/ws none"},
	{"@/ws/dangling_abs", FOLLOW, "@/ws none"},
	{"@/ws/dangling_chain", FOLLOW, "@/ws none"},
	{"@/ws/dangling_deep", FOLLOW, "NO_FILE"},
	{"@/ws/dangling_slash", FOLLOW, "NO_FILE"},
	{"@/ws/dangling_tmp", FOLLOW | WRITE, "@/tmp none"},
	{"@/ws/dangling_ro", FOLLOW | WRITE, "READ_ONLY"},
	{"@/ws/dangling_nest", FOLLOW | WRITE, "READ_ONLY"},
	{"@/ws/dangling_nest", FOLLOW, "@/ws/nest none ro"},
	/* links on the way */
	{"@/ws/ld/f", 0, "@/ws/d f"},
	{"@/ws/ld_slash/f", 0, "@/ws/d f"},
	{"@/ws/lf/x", 0, "NO_FILE"},
	{"@/ws/abs_d/e/f", 0, "@/ws/d/e f"},
	{"@/ws/d/up/d/up/d/f", 0, "@/ws/d f"},
	{"@/ws/d/e/e_up/f", 0, "@/ws/d f"},
	{"@/ws/abs_root/d/f", 0, "@/ws/d f"},
	{"@/ws/l_here/nest/f", WRITE, "READ_ONLY"},
	{"@/ws/l_here/nest", 0, "@/ws/nest . root ro holds"},
	{"@/ws/l_here/d", 0, "@/ws d"},
	{"@/ws/dangling/x", 0, "NO_FILE"},
	/* round about */
	{"@/ws/round_f", FOLLOW, "@/ws f"},
	{"@/ws/round_tmp", FOLLOW, "@/tmp f"},
	{"@/ws/round_up", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/round_alias", FOLLOW, "@/real f"},
	{"@/ws/abs_round", FOLLOW, "@/ws f"},
	/* what is out there is not looked at, not even to come back */
	{"@/ws/abs_round_out", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/abs_round_base", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_and_back", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/round_alias_up", FOLLOW, "@/tmp f"},
	/* from one root to another */
	{"@/ws/to_tmp", FOLLOW, "@/tmp . root"},
	{"@/ws/to_tmp/f", WRITE, "@/tmp f"},
	{"@/ws/to_tmp_f", FOLLOW | WRITE, "@/tmp f"},
	{"@/ws/to_ro", FOLLOW, "@/ro . root ro"},
	{"@/ws/to_ro/f", 0, "@/ro f ro"},
	{"@/ws/to_ro/f", WRITE, "READ_ONLY"},
	{"@/ws/to_ro/none", WRITE, "READ_ONLY"},
	{"@/ws/to_ro_rel/d/f", WRITE, "READ_ONLY"},
	{"@/ws/to_ro_f", FOLLOW | WRITE, "READ_ONLY"},
	{"@/ws/to_nest", FOLLOW, "@/ws/nest . root ro holds"},
	{"@/ws/to_nest/f", WRITE, "READ_ONLY"},
	{"@/ws/to_nest_abs/f", WRITE, "READ_ONLY"},
	{"@/ws/to_nest_d/f", WRITE, "READ_ONLY"},
	{"@/ws/to_nest_d", FOLLOW | WRITE, "READ_ONLY"},
	{"@/ws/to_nest_f", FOLLOW | WRITE, "READ_ONLY"},
	{"@/ws/d/to_nest/f", WRITE, "READ_ONLY"},
	{"@/ws/to_nest/deep/f", WRITE, "@/ws/nest/deep f"},
	{"@/ws/to_deep/f", WRITE, "@/ws/nest/deep f"},
	{"@/ws/to_deep", FOLLOW | WRITE, "@/ws/nest/deep . root"},
	{"@/ws/to_alias/f", WRITE, "@/real f"},
	{"@/ws/to_alias_d/f", WRITE, "@/real/d f"},
	{"@/ws/to_entry/f", WRITE, "@/target f"},
	{"@/ws/to_alias/entry", 0, "@/target . root"},
	{"@/ws/to_alias/entry/f", 0, "@/target f"},
	{"@/ro/to_ws/f", WRITE, "@/ws f"},
	{"@/ro/to_ws_f", WRITE, "READ_ONLY"},
	{"@/ro/to_ws_f", FOLLOW | WRITE, "@/ws f"},
	{"@/ro/d/in_ro", FOLLOW | WRITE, "READ_ONLY"},
	{"@/tmp/to_ws_d/up/f", WRITE, "@/ws f"},
	/* out */
	{"@/ws/out", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out/d", 0, "PATH_FORBIDDEN"},
	{"@/ws/out/none", 0, "PATH_FORBIDDEN"},
	{"@/ws/out_rel", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_rel/d/f", 0, "PATH_FORBIDDEN"},
	{"@/ws/out_f", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_f/x", 0, "PATH_FORBIDDEN"},
	{"@/ws/out_none", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_none_rel", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_base", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_base/out/secret", 0, "PATH_FORBIDDEN"},
	{"@/ws/out_base/ws/f", 0, "@/ws f"},
	{"@/ws/out_up", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_up/ws/d/f", 0, "@/ws/d f"},
	{"@/ws/out_root", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_etc", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_nowhere", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_gone", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_like", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_chain", FOLLOW, "PATH_FORBIDDEN"},
	{"@/ws/out_chain/secret", 0, "PATH_FORBIDDEN"},
	{"@/ws/out/made/x", PARENTS | WRITE, "PATH_FORBIDDEN"},
	/* round and round */
	{"@/ws/loop", FOLLOW, "BAD_PATH"},
	{"@/ws/loop/x", 0, "BAD_PATH"},
	{"@/ws/loop_a", FOLLOW, "BAD_PATH"},
	{"@/ws/loop_deep", FOLLOW, "BAD_PATH"},
	{"@/ws/loop_up", FOLLOW, "BAD_PATH"},
	/* what no client's path looks like */
	{"", 0, "BAD_PATH"},
	{"ws/f", 0, "BAD_PATH"},
	{"@/ws/", 0, "BAD_PATH"},
	{"@/ws//f", 0, "BAD_PATH"},
	{"@/ws/./f", 0, "BAD_PATH"},
	{"@/ws/../ws/f", 0, "BAD_PATH"},
	{"@/ws/..", 0, "BAD_PATH"},
	{"//", 0, "BAD_PATH"},
};

static void the_table_of_places_holds(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(finds); i++) {
		const char *is = found(confine, finds[i].path, finds[i].how);

		if (strcmp(is, finds[i].expected) != 0) {
			print_error("find %s how %u: %s, not %s\n", finds[i].path, finds[i].how, is,
				finds[i].expected);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

/* ---- opening ---- */

static const struct {
	const char *path;
	int flags;
	unsigned int how;
	const char *expected;
} opens[] = {
	{"@/ws/f", O_RDONLY, 0, "@/ws/f"},
	{"@/ws/f", O_RDWR, WRITE, "@/ws/f"},
	{"@/ws/f", O_PATH, 0, "@/ws/f"},
	{"@/ws/f", O_PATH, WRITE, "@/ws/f"},
	{"@/ws/f", O_RDONLY | O_NOFOLLOW, 0, "@/ws/f"},
	{"@/ws/f", O_RDONLY | O_DIRECTORY, 0, "NO_FILE"},
	{"@/ws/f", O_PATH | O_DIRECTORY, 0, "NO_FILE"},
	{"@/ws", O_RDONLY | O_DIRECTORY, 0, "@/ws"},
	{"@/ws", O_PATH, 0, "@/ws"},
	{"@/ws", O_RDONLY, WRITE, "@/ws"},
	{"@/ws", O_WRONLY, WRITE, "WRONG_TYPE"},
	{"@/ws/d", O_WRONLY, WRITE, "WRONG_TYPE"},
	{"@/ws/d", O_RDONLY | O_DIRECTORY, 0, "@/ws/d"},
	{"@/ws/d/e/f", O_RDONLY, 0, "@/ws/d/e/f"},
	{"@/ws/none", O_RDONLY, 0, "NO_FILE"},
	{"@/ws/none", O_PATH, WRITE, "NO_FILE"},
	{"@/ws/none/none", O_RDONLY, PARENTS, "NO_FILE"},
	{"@/ws/f/x", O_RDONLY, 0, "NO_FILE"},
	/* no waiting for the other end */
	{"@/ws/fifo", O_RDONLY, 0, "@/ws/fifo"},
	{"@/ws/fifo", O_PATH, 0, "@/ws/fifo"},
	{"@/ws/fifo", O_WRONLY, WRITE, "WRONG_TYPE"},
	/* roots */
	{"@/ro/f", O_RDONLY, 0, "@/ro/f"},
	{"@/ro/f", O_RDONLY, WRITE, "READ_ONLY"},
	{"@/ro/f", O_WRONLY | O_TRUNC, WRITE, "READ_ONLY"},
	{"@/ro/f", O_RDONLY | O_NOFOLLOW, WRITE, "READ_ONLY"},
	{"@/ro/none", O_WRONLY, WRITE, "NO_FILE"},
	{"@/ro/none", O_WRONLY | O_NOFOLLOW, WRITE, "NO_FILE"},
	{"@/ro", O_RDONLY, 0, "@/ro"},
	{"@/ro", O_RDONLY, WRITE, "READ_ONLY"},
	{"@/ws/nest/f", O_RDONLY, 0, "@/ws/nest/f"},
	{"@/ws/nest/f", O_WRONLY | O_TRUNC, WRITE, "READ_ONLY"},
	{"@/ws/nest/deep/f", O_WRONLY, WRITE, "@/ws/nest/deep/f"},
	{"@/ws/nest/deep", O_RDONLY, WRITE, "@/ws/nest/deep"},
	{"@/alias", O_RDONLY, 0, "@/real"},
	{"@/alias/f", O_RDONLY, 0, "@/real/f"},
	{"@/alias/entry/f", O_RDONLY, 0, "@/target/f"},
	{"@/alias/entry", O_RDONLY | O_NOFOLLOW, 0, "@/target"},
	/* links */
	{"@/ws/lf", O_RDONLY, 0, "@/ws/f"},
	{"@/ws/lf", O_RDONLY | O_NOFOLLOW, 0, "BAD_PATH"},
	{"@/ws/lf", O_PATH | O_NOFOLLOW, 0, "@/ws/lf"},
	{"@/ws/lf", O_PATH, 0, "@/ws/f"},
	{"@/ws/lf", O_PATH | O_DIRECTORY, 0, "NO_FILE"},
	{"@/ws/ld", O_PATH | O_DIRECTORY, 0, "@/ws/d"},
	{"@/ws/ld", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0, "NO_FILE"},
	{"@/ws/ld/f", O_RDONLY | O_NOFOLLOW, 0, "@/ws/d/f"},
	{"@/ws/ld_slash", O_RDONLY, 0, "@/ws/d"},
	{"@/ws/lf_slash", O_RDONLY, 0, "NO_FILE"},
	{"@/ws/l_here", O_RDONLY, 0, "@/ws"},
	{"@/ws/l_here", O_RDWR, WRITE, "WRONG_TYPE"},
	{"@/ws/d/up", O_RDONLY, 0, "@/ws"},
	{"@/ws/d/e/e_up", O_RDONLY, 0, "@/ws/d"},
	{"@/ws/abs_f", O_RDWR, WRITE, "@/ws/f"},
	{"@/ws/abs_d", O_PATH, 0, "@/ws/d"},
	{"@/ws/abs_dots", O_RDONLY, 0, "@/ws/d/f"},
	{"@/ws/chain3", O_RDONLY, 0, "@/ws/d/f"},
	{"@/ws/round_tmp", O_RDONLY, WRITE, "@/tmp/f"},
	{"@/ws/to_tmp_f", O_WRONLY, WRITE, "@/tmp/f"},
	{"@/ws/to_ro_f", O_RDONLY, 0, "@/ro/f"},
	{"@/ws/to_ro_f", O_WRONLY | O_TRUNC, WRITE, "READ_ONLY"},
	{"@/ws/to_ro/f", O_WRONLY | O_TRUNC, WRITE, "READ_ONLY"},
	{"@/ws/to_ro", O_RDONLY, WRITE, "READ_ONLY"},
	{"@/ws/to_nest/f", O_WRONLY | O_TRUNC, WRITE, "READ_ONLY"},
	{"@/ws/to_nest_f", O_WRONLY | O_TRUNC, WRITE, "READ_ONLY"},
	{"@/ws/l_here/nest/f", O_WRONLY | O_TRUNC, WRITE, "READ_ONLY"},
	{"@/ws/to_nest_d", O_RDONLY, WRITE, "READ_ONLY"},
	{"@/ws/to_deep/f", O_WRONLY, WRITE, "@/ws/nest/deep/f"},
	{"@/ro/to_ws_f", O_WRONLY, WRITE, "@/ws/f"},
	{"@/ro/to_ws/d/f", O_WRONLY, WRITE, "@/ws/d/f"},
	{"@/ws/to_entry", O_RDONLY, 0, "@/target"},
	/* out */
	{"@/ws/out", O_PATH, 0, "PATH_FORBIDDEN"},
	{"@/ws/out", O_PATH | O_NOFOLLOW, 0, "@/ws/out"},
	{"@/ws/out/secret", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/out/secret", O_PATH | O_NOFOLLOW, 0, "PATH_FORBIDDEN"},
	{"@/ws/out_f", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/out_none", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/out_up", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/out_root", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/out_etc", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/out_like", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/out/secret", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/out/none", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/out_and_back", O_RDONLY, 0, "PATH_FORBIDDEN"},
	{"@/ws/dangling", O_RDONLY, 0, "NO_FILE"},
	{"@/ws/dangling_tmp", O_RDONLY, 0, "NO_FILE"},
	{"@/ws/loop", O_RDONLY, 0, "BAD_PATH"},
	{"@/ws/loop_a", O_RDONLY, 0, "BAD_PATH"},
	{"@/ws/loop_up", O_RDONLY, 0, "BAD_PATH"},
	{"@/ws/loop", O_PATH | O_NOFOLLOW, 0, "@/ws/loop"},
};

static void the_table_of_opens_holds(void **state)
{
	int wrong = 0;

	(void)state;
	alarm(30);
	for (size_t i = 0; i < COUNT(opens); i++) {
		const char *is = opened(confine, opens[i].path, opens[i].flags, opens[i].how);

		if (strcmp(is, opens[i].expected) != 0) {
			print_error("open %s flags %o how %u: %s, not %s\n", opens[i].path,
				(unsigned int)opens[i].flags, opens[i].how, is, opens[i].expected);
			wrong++;
		}
	}
	alarm(0);
	assert_int_equal(wrong, 0);
	/* O_TRUNC is what a careless order would have let through. */
	for (size_t i = 0; i < COUNT(files); i++) {
		struct stat st;

		assert_int_equal(stat(at(files[i]), &st), 0);
		assert_int_equal(st.st_size, strlen(files[i]));
	}
}

static void the_way_is_the_one_that_the_kernel_allows(void **state)
{
	const char *expected = getenv("CONFINE_TEST_OPENAT2");

	(void)state;
	if (expected != NULL)
		assert_int_equal(confine_has_openat2(confine), strcmp(expected, "yes") == 0);
	else
		print_message("openat2: %s\n", confine_has_openat2(confine) ? "yes" : "no");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_way_is_the_one_that_the_kernel_allows),
		cmocka_unit_test(the_table_of_places_holds),
		cmocka_unit_test(the_table_of_opens_holds),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree_and_roots);
}
