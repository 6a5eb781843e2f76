/*
 * mailbox - what can be made of a mailbox (RFC 5322 3.4) that may be one or
 * not: names and local parts as devices write them. Who has to know for certain
 * whom a field names asks author.h. Pure.
 */
#ifndef MILTER_MAILBOX_H
#define MILTER_MAILBOX_H

#include "base/slice.h"

/* A local part that needs no quotes (RFC 5322 3.2.3). */
bool mailbox_is_dot_atom(struct slice text);
/* One quoted string, whole, of printable ASCII. */
bool mailbox_is_quoted(struct slice local);
/* Appends a local part without what only quotes it (RFC 5321 4.1.2): `"a"` says
 * no more than `a`. */
void mailbox_unquote(struct slice local, struct text *out);
/* Appends a field's value in one line, without controls. */
void mailbox_unfold(struct slice value, struct text *out);
/* Of a value with one mailbox: appends its display name, or the comment that
 * stands for one, as a phrase; nothing where there is none, or none worth
 * keeping: one that is very long, or an address itself, which beside another
 * address looks like a forgery. */
void mailbox_name_write(struct slice value, struct text *out);
/* What stands before the last "@" of the mailbox, or all of it, whether or not
 * that is a local part. */
struct slice mailbox_local(struct slice value);

#endif
