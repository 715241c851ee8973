/*
 * multipart/form-data (RFC 7578, RFC 2046 5.1.1), incremental and pure: bytes in, parts out.
 * Nothing is buffered but a part's header fields and the few bytes that may be the beginning of a
 * delimiter. Any split of the input gives the same parts.
 */
#ifndef BOXD_MULTIPART_H
#define BOXD_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "boxd/str.h"

#define MULTIPART_BOUNDARY_MAX 70 /* RFC 2046 5.1.1 */

/*
 * The boundary of a Content-Type value: multipart/form-data in any case, the parameter quoted or
 * not, among others. False when there is none that RFC 2046 allows (1 to 70 bytes, bchars), when
 * there are two, or when the value is not of the grammar.
 */
bool multipart_boundary(struct str content_type, char out[MULTIPART_BOUNDARY_MAX + 1], size_t *n)
	__attribute__((warn_unused_result, nonnull));

struct multipart;

/*
 * NULL: out of memory. The boundary is one that multipart_boundary() gave. head_max bounds the
 * header fields of one part, with all line ends and the empty line; it is allocated here.
 */
struct multipart *multipart_new(struct str boundary, size_t head_max)
	__attribute__((warn_unused_result));
void multipart_free(struct multipart *m); /* NULL is fine */

/* What a part's Content-Disposition says (RFC 6266 syntax; quoted, unquoted and filename*=). */
struct multipart_part {
	struct str name; /* decoded; empty when absent. Valid until the next call */
	bool has_filename;
};

enum multipart_event {
	MULTIPART_MORE,     /* all input was taken: feed again */
	MULTIPART_PART,     /* a part begins: *part */
	MULTIPART_DATA,     /* bytes of it: *data, *data_n (> 0); from the input or from inside m */
	MULTIPART_PART_END, /* it is complete */
	MULTIPART_END,      /* the closing delimiter; what follows is ignored (MULTIPART_MORE) */
	MULTIPART_BAD       /* *why is a literal for the client; every further call says the same */
};

/*
 * Takes bytes at *in, *n, and advances both; call until it says MORE or BAD, for events may be due
 * after the last byte was taken. Data from inside m is valid until the next call.
 *
 * A delimiter is CRLF "--" boundary, then linear white space, then CRLF; the closing one ends with
 * "--" instead. The CRLF may be the empty line before the content, or missing at the very start.
 * Anything else is content (RFC 2046 allows to ask for less; a sender that looks for the delimiter
 * line in its data is safe this way). A preamble before the first is skipped.
 *
 * Header lines end in CRLF. Bad are: a bare CR or LF, folding, a name that is no token, a NUL, more
 * than head_max bytes (which also bounds the white space of a delimiter), a part without or with
 * two Content-Disposition: form-data, one whose parameters are not of the grammar or name it twice,
 * and a Content-Transfer-Encoding that would have to be decoded. Other fields are ignored.
 *
 * A quoted name is read as browsers write it: \" and \\ are escapes, other backslashes are not, and
 * %22, %0D and %0A stand for the quote and the line ends.
 */
enum multipart_event multipart_next(struct multipart *m, const uint8_t **in, size_t *n,
	struct multipart_part *part, const uint8_t **data, size_t *data_n, const char **why)
	__attribute__((warn_unused_result, nonnull));

/* After the last byte of the body: was the closing delimiter seen? */
bool multipart_complete(const struct multipart *m) __attribute__((nonnull));

#endif
