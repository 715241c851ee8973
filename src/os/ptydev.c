/*
 * ptydev: pseudo-terminals with nothing but the kernel's own calls.
 *
 * The slave is asked of the master itself (TIOCGPTPEER): a name in /dev/pts would be that of
 * another terminal when the image has mounted a devpts of its own. Only where the kernel does not
 * know the call the name is used. All that is asked about the slave later (size, modes, foreground
 * group) is asked of the master, so nobody has to hold a slave for that.
 */
#include "boxd/ptydev.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "boxd/cleanup.h"

/* What libc's headers may lack; the numbers are those of every architecture that boxd runs on. */
#ifndef TIOCSPTLCK
#define TIOCSPTLCK _IOW('T', 0x31, int)
#endif
#ifndef TIOCGPTN
#define TIOCGPTN _IOR('T', 0x30, unsigned int)
#endif
#ifndef TIOCSIG
#define TIOCSIG _IOW('T', 0x36, int)
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

#define PTYDEV_SLAVE_FLAGS (O_RDWR | O_NOCTTY | O_CLOEXEC)
#define PTYDEV_SLAVE_MODE  0620

/* The C libraries do not agree on the type of the request, and some of these exceed an int. */
static int ptydev_ioctl(int fd, unsigned long request, void *arg)
{
	return (int)syscall(SYS_ioctl, fd, request, arg);
}

/* For requests whose argument is a number. */
static int ptydev_ioctl_int(int fd, unsigned long request, int arg)
{
	return (int)syscall(SYS_ioctl, fd, request, (long)arg);
}

/* Not every image has the link in /dev. */
static int ptydev_open_master(void)
{
	static const char *const names[] = {"/dev/ptmx", "/dev/pts/ptmx"};
	int first = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int fd = open(names[i], O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);

		if (fd >= 0)
			return fd;
		first = first != 0 ? first : errno;
	}
	errno = first;
	return -1;
}

static int ptydev_open_slave(int master)
{
	unsigned int number;
	char name[32];
	int fd = ptydev_ioctl_int(master, TIOCGPTPEER, PTYDEV_SLAVE_FLAGS);

	if (fd >= 0 || errno == EMFILE || errno == ENFILE || errno == ENOMEM)
		return fd;
	if (ptydev_ioctl(master, TIOCGPTN, &number) < 0)
		return -1;
	snprintf(name, sizeof(name), "/dev/pts/%u", number);
	return open(name, PTYDEV_SLAVE_FLAGS);
}

/* Above 2, where the child's own are put. */
static int ptydev_lift(int fd)
{
	int lifted;

	if (fd < 0 || fd > 2)
		return fd;
	lifted = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	close(fd);
	return lifted;
}

/* Best effort: a terminal of the wrong owner works for all but those who open it by name. */
static void ptydev_give(int slave, uid_t uid)
{
	if (fchown(slave, uid, (gid_t)-1) == 0)
		(void)!fchmod(slave, PTYDEV_SLAVE_MODE);
}

/* So that erasing takes back a character and not one byte of it: what is typed is UTF-8. */
static void ptydev_utf8(int master)
{
	struct termios modes;

	if (tcgetattr(master, &modes) < 0)
		return;
	modes.c_iflag |= IUTF8;
	(void)tcsetattr(master, TCSANOW, &modes);
}

int ptydev_open(uint16_t cols, uint16_t rows, uid_t uid, int *master, int *slave, struct err *e)
{
	CLEANUP_FD int ours = ptydev_open_master();
	CLEANUP_FD int theirs = -1;
	int unlock = 0;

	if (ours < 0)
		return err_sys(e, &ERR_RUNTIME, "cannot open a terminal");
	if (ptydev_ioctl(ours, TIOCSPTLCK, &unlock) < 0)
		return err_sys(e, &ERR_RUNTIME, "cannot unlock a terminal");
	theirs = ptydev_lift(ptydev_open_slave(ours));
	if (theirs < 0)
		return err_sys(e, &ERR_RUNTIME, "cannot open the program's side of a terminal");
	if (ptydev_resize(ours, cols, rows) < 0)
		return err_sys(e, &ERR_RUNTIME, "cannot set the size of a terminal");
	if (uid != (uid_t)-1)
		ptydev_give(theirs, uid);
	ptydev_utf8(ours);
	*master = steal_fd(&ours);
	*slave = steal_fd(&theirs);
	return 0;
}

int ptydev_resize(int master, uint16_t cols, uint16_t rows)
{
	struct winsize size = {.ws_col = cols, .ws_row = rows};

	return ptydev_ioctl(master, TIOCSWINSZ, &size);
}

bool ptydev_size(int master, uint16_t *cols, uint16_t *rows)
{
	struct winsize size;

	if (ptydev_ioctl(master, TIOCGWINSZ, &size) < 0)
		return false;
	*cols = size.ws_col;
	*rows = size.ws_row;
	return true;
}

pid_t ptydev_foreground(int master)
{
	pid_t group = 0;

	return ptydev_ioctl(master, TIOCGPGRP, &group) == 0 && group > 0 ? group : -1;
}

/*
 * The terminal remembers a group after its last member has gone, and then the number may have been
 * given away. While the group lives, a process of that number can only be its leader.
 */
static bool ptydev_is_ours(int master, pid_t group)
{
	pid_t session = 0, of_leader = getsid(group);

	return ptydev_ioctl(master, TIOCGSID, &session) == 0 &&
	       (of_leader < 0 || of_leader == session);
}

int ptydev_signal(int master, int signo)
{
	pid_t group = ptydev_foreground(master);

	if (group < 0 || !ptydev_is_ours(master, group)) {
		errno = ESRCH;
		return -1;
	}
	if ((signo == SIGINT || signo == SIGQUIT || signo == SIGTSTP) &&
		ptydev_ioctl_int(master, TIOCSIG, signo) == 0)
		return 0;
	return kill(-group, signo);
}

bool ptydev_eof_key(int master, uint8_t *key)
{
	struct termios modes;

	if (tcgetattr(master, &modes) < 0 || (modes.c_lflag & ICANON) == 0 ||
		modes.c_cc[VEOF] == _POSIX_VDISABLE)
		return false;
	*key = modes.c_cc[VEOF];
	return true;
}
