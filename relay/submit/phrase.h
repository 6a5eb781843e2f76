/*
 * phrase - words of people in a header field: as they are where that will do,
 * else as encoded words (RFC 2047). Pure.
 *
 * What is not UTF-8 is written as if it were: nobody can say what it is.
 *
 * Lines       Of at most 76 octets, as RFC 2047 2 has it, where there is a
 *             space to break ASCII at. `column` octets stand before it in its
 *             line already. Unfolded and decoded it is what it was.
 */
#ifndef RELAY_SUBMIT_PHRASE_H
#define RELAY_SUBMIT_PHRASE_H

#include "base/slice.h"

/* Appends a name as it may stand before <address>. */
void phrase_write(struct slice name, size_t column, struct text *out);
/* Appends the value of a field that is unstructured (RFC 5322 2.2.1): Subject.
 * The words have no controls. */
void phrase_write_value(struct slice words, size_t column, struct text *out);
/* Appends ASCII that may be folded at each of its spaces, of which several are
 * as good as one. */
void phrase_fold(struct slice words, size_t column, struct text *out);

#endif
