/* Random identifiers. The bytes come from getrandom(2), fetched in blocks so that an id is cheap.
 */
#ifndef BOXD_ID_H
#define BOXD_ID_H

#include <stddef.h>

#define ID_LEN         32 /* 128 bits in lower-case hex: commands (contract 4.1) */
#define ID_REQUEST_LEN 16
#define ID_UUID_LEN    36 /* with dashes: terminals and sessions (contract 1.31) */

/* Writes a fresh id and a NUL. Loop thread only. Aborts when the kernel has no getrandom(2). */
void id_new(char out[static ID_LEN + 1]);

/* The short form for X-Request-ID. */
void id_new_request(char out[static ID_REQUEST_LEN + 1]);

/* A random UUID (version 4, RFC 9562) in lower case. */
void id_new_uuid(char out[static ID_UUID_LEN + 1]);

#endif
