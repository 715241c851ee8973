/* A file as the API shows it (contract 1.6). */
#include <stdio.h>
#include <string.h>

#include "boxd/clock.h"
#include "boxd/utf8.h"
#include "files_internal.h"

static const char *fileinfo_type(enum fs_type type)
{
	switch (type) {
	case FS_FILE: return "file";
	case FS_DIRECTORY: return "directory";
	case FS_SYMLINK: return "symlink";
	case FS_OTHER: break;
	}
	return "other";
}

static void fileinfo_time(struct jsonw *w, const char *key, struct timespec t)
{
	char text[CLOCK_RFC3339_NS_LEN + 1];

	clock_rfc3339_ns(t.tv_sec, (uint32_t)t.tv_nsec, text);
	jsonw_key(w, key);
	jsonw_str_n(w, text, CLOCK_RFC3339_NS_LEN);
}

/* The number as text where the id has no name. */
static void fileinfo_id(struct jsonw *w, const char *key, const char *name, uint32_t id)
{
	char digits[16];

	jsonw_key(w, key);
	if (name != NULL) {
		jsonw_str(w, name);
		return;
	}
	snprintf(digits, sizeof(digits), "%u", id);
	jsonw_str(w, digits);
}

/* 0755 as the number 755, which is how this API says it, and with special bits as "0755". */
static void fileinfo_mode(struct jsonw *w, uint32_t mode)
{
	const char digits[] = {(char)('0' + (mode >> 9 & 7)), (char)('0' + (mode >> 6 & 7)),
		(char)('0' + (mode >> 3 & 7)), (char)('0' + (mode & 7))};

	jsonw_key(w, "mode");
	jsonw_int(w, 100 * (mode >> 6 & 7) + 10 * (mode >> 3 & 7) + (mode & 7));
	jsonw_key(w, "mode_octal");
	jsonw_str_n(w, digits, sizeof(digits));
}

static bool fileinfo_is_utf8(const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t len = *p < 0x80 ? 1 : utf8_sequence(p, n);

		if (len == 0)
			return false;
		p += len;
		n -= len;
	}
	return true;
}

static bool fileinfo_is_unreserved(char ch)
{
	return (ch >= 'A' && ch <= 'Z') || (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
	       (ch != '\0' && strchr("-._~/", ch) != NULL);
}

void fileinfo_write_encoded(struct jsonw *w, const char *path, size_t path_len)
{
	static const char hex[] = "0123456789ABCDEF";
	struct buf text = {0};

	if (fileinfo_is_utf8((const uint8_t *)path, path_len))
		return;
	for (size_t i = 0; i < path_len; i++) {
		const char escape[] = {'%', hex[(uint8_t)path[i] >> 4], hex[(uint8_t)path[i] & 15]};
		bool plain = fileinfo_is_unreserved(path[i]);

		if (buf_add(&text, plain ? path + i : escape, plain ? 1 : 3) < 0) {
			w->failed = true;
			break;
		}
	}
	jsonw_key(w, "path_encoded");
	jsonw_str_n(w, buf_data(&text), buf_len(&text));
	buf_fini(&text);
}

void fileinfo_write(struct jsonw *w, const char *path, size_t path_len, const struct fs_stat *st,
	const struct fs_names *names)
{
	jsonw_object(w);
	jsonw_key(w, "path");
	jsonw_str_n(w, path, path_len);
	jsonw_key(w, "type");
	jsonw_str(w, fileinfo_type(st->type));
	jsonw_key(w, "size");
	jsonw_int(w, (int64_t)st->size);
	fileinfo_time(w, "modified_at", st->mtime);
	/* The reference says the inode's change here; clients expect the two to be close. */
	fileinfo_time(w, "created_at", st->ctime);
	fileinfo_id(w, "owner", fs_user_name(names, st->uid), st->uid);
	fileinfo_id(w, "group", fs_group_name(names, st->gid), st->gid);
	fileinfo_mode(w, st->mode);
	if (st->type == FS_FILE) {
		char etag[FS_ETAG_MAX];

		fs_etag(st, etag);
		jsonw_key(w, "etag");
		jsonw_str(w, etag);
	}
	fileinfo_write_encoded(w, path, path_len);
	jsonw_object_end(w);
}
