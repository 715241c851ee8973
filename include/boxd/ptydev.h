/*
 * Pseudo-terminals (pty(7), devpts): raw, because posix_openpt(3) and its kin differ between C
 * libraries and need /dev/pts to be where they expect it. All descriptors are close-on-exec.
 */
#ifndef BOXD_PTYDEV_H
#define BOXD_PTYDEV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "boxd/err.h"

/*
 * Opens a pair: *master non-blocking, *slave (above 2) for the child. The slave is opened with
 * TIOCGPTPEER, or by its name in /dev/pts where the kernel has no such call. With uid != (uid_t)-1
 * the slave belongs to that user, mode 0620 (best effort). -1 with ERR_RUNTIME when there are none.
 */
int ptydev_open(uint16_t cols, uint16_t rows, uid_t uid, int *master, int *slave, struct err *e)
	__attribute__((warn_unused_result, nonnull));

/* TIOCSWINSZ; the kernel tells the foreground group when it changed. */
int ptydev_resize(int master, uint16_t cols, uint16_t rows) __attribute__((warn_unused_result));
/* The size now; false when the terminal has gone. */
bool ptydev_size(int master, uint16_t *cols, uint16_t *rows) __attribute__((nonnull));

/*
 * Signals the terminal's foreground group: through TIOCSIG where the kernel takes the signal (INT,
 * QUIT, TSTP), which cannot hit a group that has gone; others by the group's number. -1 with errno:
 * ESRCH when there is no such group.
 */
int ptydev_signal(int master, int signo) __attribute__((warn_unused_result));

/* The foreground group, or -1 when there is none. */
pid_t ptydev_foreground(int master);

/* Is the end-of-file key (VEOF) in effect now (canonical mode)? *key is set then. */
bool ptydev_eof_key(int master, uint8_t *key) __attribute__((nonnull));

#endif
