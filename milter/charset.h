/*
 * charset - which octets of a text are those of ASCII, whatever its character
 * set. Pure.
 *
 * Known are only sets of which that can be said: not UTF-7, UTF-16, EBCDIC or
 * Johab, whose octets mean something else. Not iconv(3): it loads a module for
 * each set, which the processes that read mail may not, and says what one decoder
 * sees, where readers have many.
 */
#ifndef MILTER_CHARSET_H
#define MILTER_CHARSET_H

#include "base/slice.h"

/* What a wider character has taken. */
#define CHARSET_MASK '\x80'

/* Puts CHARSET_MASK where an octet looks like an ASCII character that says whom
 * a field names, and is but a part of a wider one. The name's case, "-" and "_"
 * do not matter, nor does a language behind "*" (RFC 2231 5). False: the set is
 * not known, or the last character is not whole (RFC 2047 5). */
bool charset_mask(struct slice charset, struct text *text) MUST_USE;

#endif
