/*
 * pty_view: who is connected, and telling them.
 *
 * Viewers are told from one deferred call, one at a time: what they are told makes them detach,
 * delete the terminal or start it again, so after each call the list is looked at anew, and nobody
 * is called from inside a call of his own.
 */
#include <stdlib.h>

#include "boxd/limits.h"
#include "pty_internal.h"

/* ---- telling ---- */

static void pty_viewer_owe(struct pty_viewer *v, enum pty_due what)
{
	struct pty *t = v->pty;

	if (v->due == 0)
		TAILQ_INSERT_TAIL(&t->due, v, due_link);
	v->due |= (unsigned int)what;
	loop_defer(t->ps->cfg.loop, &t->notify);
}

void pty_tell(struct pty *t, enum pty_due what)
{
	struct pty_viewer *v;

	TAILQ_FOREACH(v, &t->viewers, link)
		pty_viewer_owe(v, what);
}

void pty_tell_exit(struct pty *t, uint64_t end, int code)
{
	struct pty_viewer *v;

	TAILQ_FOREACH(v, &t->viewers, link) {
		v->exit_end = end;
		v->exit_code = code;
		pty_viewer_owe(v, PTY_DUE_EXIT);
	}
}

/* The first thing that it is owed. */
static enum pty_due pty_viewer_take(struct pty_viewer *v)
{
	unsigned int first = v->due & -v->due;

	v->due &= ~first;
	if (v->due == 0)
		TAILQ_REMOVE(&v->pty->due, v, due_link);
	return (enum pty_due)first;
}

static void pty_viewer_call(struct pty_viewer *v)
{
	const struct pty_viewer_callbacks *cb = v->cb;

	switch (pty_viewer_take(v)) {
	case PTY_DUE_EXIT: cb->on_exit(v->exit_end, v->exit_code, v->arg); break;
	case PTY_DUE_TAKEN_OVER: cb->on_taken_over(v->arg); break;
	case PTY_DUE_REMOVED:
		v->removed = true;
		cb->on_removed(v->arg);
		break;
	case PTY_DUE_ROOM:
		if (cb->on_input_room != NULL)
			cb->on_input_room(v->arg);
		break;
	}
}

/*
 * It is not freed in here: that is a deferred call as well. Two clients that take a terminal from
 * each other as often as they are told do not keep the loop for ever.
 */
void pty_on_notify(void *arg)
{
	struct pty *t = arg;
	struct pty_viewer *v;

	for (size_t n = t->viewer_count; n > 0 && (v = TAILQ_FIRST(&t->due)) != NULL; n--)
		pty_viewer_call(v);
	if (!TAILQ_EMPTY(&t->due))
		loop_defer(t->ps->cfg.loop, &t->notify);
}

/* ---- connecting ---- */

static int pty_check_attach(const struct pty *t, enum pty_hold how, struct err *e)
{
	if (t->place == PTY_GONE)
		return err_set(e, &ERR_NO_CONTEXT, "no terminal %s", t->id);
	if (how == PTY_HOLD && t->holder != NULL)
		return err_set(e, &ERR_ALREADY_CONNECTED, "somebody is connected to this terminal");
	/* Who is taken over leaves. */
	if (t->viewer_count >= limit_size(LIMIT_PTY_VIEWERS) &&
		!(how == PTY_TAKE_OVER && t->holder != NULL))
		return err_set(
			e, &ERR_TOO_MANY, "%zu are connected to this terminal", t->viewer_count);
	return 0;
}

struct pty_viewer *pty_attach(struct pty *t, enum pty_hold how,
	const struct pty_viewer_callbacks *cb, void *arg, struct err *e)
{
	struct pty_viewer *v;

	if (pty_check_attach(t, how, e) < 0)
		return NULL;
	v = calloc(1, sizeof(*v));
	if (v == NULL) {
		err_set(e, &ERR_UNAVAILABLE, "out of memory");
		return NULL;
	}
	v->pty = t;
	v->cb = cb;
	v->arg = arg;
	TAILQ_INSERT_TAIL(&t->viewers, v, link);
	t->viewer_count++;
	if (how != PTY_OBSERVE) {
		if (t->holder != NULL)
			pty_viewer_owe(t->holder, PTY_DUE_TAKEN_OVER);
		t->holder = v;
	}
	pty_settle(t);
	return v;
}

void pty_detach(struct pty_viewer *v)
{
	struct pty *t;

	if (v == NULL)
		return;
	t = v->pty;
	if (v->due != 0)
		TAILQ_REMOVE(&t->due, v, due_link);
	if (t->holder == v)
		t->holder = NULL;
	TAILQ_REMOVE(&t->viewers, v, link);
	t->viewer_count--;
	free(v);
	pty_settle(t);
}

struct pty *pty_viewer_pty(const struct pty_viewer *v)
{
	return v->removed ? NULL : v->pty;
}

bool pty_viewer_holds(const struct pty_viewer *v)
{
	return v->pty->holder == v;
}
