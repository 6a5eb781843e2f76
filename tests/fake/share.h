/*
 * The server around a session: its share, with nobody else on it, and what it is
 * set up by.
 */
#ifndef TESTS_FAKE_SHARE_H
#define TESTS_FAKE_SHARE_H

#include "relay/server/share.h"

/* Empties the share first; the loop has a generation. */
void fake_share_open(struct share *share, struct loop *loop);
/* Also one that was never opened. */
void fake_share_close(struct share *share);
/* 421 to all, as the server does when it stops. */
void fake_share_stop(struct share *share);
/* A client has connected, with the descriptor of nothing. */
void fake_share_connect(struct share *share);
/* So many others are connected who may send; so many more who are nobody. */
void fake_share_crowd(size_t others);
void fake_share_strangers(size_t others);
/* Whether any is counted beside those. */
bool fake_share_has_stranger(void);
/* Sessions that have not ended. */
size_t fake_share_sessions(void);

/* Those that every option not set here is 0 or false in; lives as long as the
 * listener does. */
struct options fake_share_options(struct listener_options *listener);
/* Signs for example.com, with a key that nobody else has. */
struct policy *fake_share_policy(const struct signing_options *options);

#endif
