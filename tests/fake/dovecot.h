/*
 * A Dovecot that knows "user" with the password "secret", by PLAIN only, which
 * it asks for where it did not come with AUTH; of "down" it cannot say.
 */
#ifndef TESTS_FAKE_DOVECOT_H
#define TESTS_FAKE_DOVECOT_H

#include "relay/server/dovecot.h"

/* Answers who waits. True if anybody did. */
bool fake_dovecot_turn(void);
/* It cannot be asked. */
void fake_dovecot_is_down(bool is_down);

#endif
