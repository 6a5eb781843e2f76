/*
 * The configuration that a conversation of dialog.c is under: one listener, for
 * clients of 127.0.0.0/8, and what `set` and `reload` make of it.
 */
#ifndef TESTS_UNIT_RELAY_SERVER_SETTING_H
#define TESTS_UNIT_RELAY_SERVER_SETTING_H

#include "relay/generation.h"

/* As if nothing had been set. */
void setting_begin(void);
/* Behind the last conversation. */
void setting_done(void);
struct generation *setting_now(void);
/* Behind the last setting_set(): mail of example.com is signed. */
void setting_sign(void);
/* False: there is no such key. */
bool setting_set(struct slice key, struct slice value);
/* As reload_rows has it, or "nothing", "dovecot" (another), "proxied" (of the
 * allowed network), "user" (another name), "password", "account" (who sends as
 * somebody else), "certificates" (none of those known), "certificate" (is another
 * one's), "size" (of messages: one octet). */
struct generation *setting_reload(struct slice what);
/* Besides our own, to both generations; one too few counts, too. */
int setting_references(void);

#endif
