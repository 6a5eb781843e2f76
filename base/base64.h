/*
 * base64 - RFC 4648 4, the standard alphabet with padding.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/slice.h"

/* Appends the encoding, without line breaks. */
void base64_write(struct text *out, struct slice bytes);

/* Appends what `encoded` decodes to. Spaces, tabs, CR and LF are passed over
 * (RFC 6376 3.2 allows them anywhere in b=, bh= and p=). Missing padding, bytes
 * outside the alphabet and bits left over are refused; out is then
 * unchanged. */
bool base64_read(struct text *out, struct slice encoded) MUST_USE;

#endif
