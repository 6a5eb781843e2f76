/*
 * secret_file - small files that hold secrets, as the supervisor reads them:
 * passwords for next hops, the users of listeners.
 */
#ifndef RELAY_SECRET_FILE_H
#define RELAY_SECRET_FILE_H

#include "base/fault.h"
#include "base/slice.h"

typedef void secret_warn_fn(const char *text);

/* Appends the bytes of a regular file. `what` is the word for it, "password
 * file". A mode that lets others than the owner in is a warning, or, with
 * strict_modes, FAULT_DENIED; warn may be NULL. FAULT_LIMIT: more than max
 * octets. Cleanse what was read. */
bool secret_file_read(const char *what, struct slice path, size_t max,
		      bool strict_modes, secret_warn_fn *warn, struct text *out,
		      struct fault *fault) MUST_USE;

#endif
