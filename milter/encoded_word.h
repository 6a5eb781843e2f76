/*
 * encoded_word - what encoded words (RFC 2047) hide. By the RFC they are looked
 * at once the addresses of a field are known; some programs decode them first,
 * and then see other addresses, or another field. Pure.
 */
#ifndef MILTER_ENCODED_WORD_H
#define MILTER_ENCODED_WORD_H

#include "base/slice.h"

/* Which word of the field's value may be read as more than a name, in words:
 * one with '<', '>', '@' or a control in it, or that cannot be read here; NULL:
 * none. One that is the whole name may be an address that a pattern of `allowed`
 * (milter/senders.h) matches. */
const char *encoded_words_problem(struct slice value,
				  const struct slice *allowed,
				  size_t allowed_count);

#endif
