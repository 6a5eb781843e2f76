/*
 * encoded_word - what encoded words (RFC 2047) hide. By the RFC they are looked
 * at once the addresses of a field are known; some programs decode them first,
 * and then see other addresses, or another field. Pure.
 */
#ifndef MILTER_ENCODED_WORD_H
#define MILTER_ENCODED_WORD_H

#include "base/slice.h"

/* Whether a word of the field's value may be read as more than a name: one with
 * '<', '>', '@' or a control in it, or that cannot be read here. */
bool encoded_words_hide(struct slice value);

#endif
