/*
 * terms - on what terms an open session goes on after a reload. Between
 * transactions it takes over the generation in force: what its listener, known
 * by its name, offers and asks now. What it was let in by, its address, the word
 * of a proxy or of a client of xclient_from, TLS, is judged again by that.
 *
 * What is lost so is said at the next MAIL, and a transaction that has begun is
 * left alone, but for the right to relay, which RCPT, DATA and BDAT ask for. Who
 * the client has logged in as is principal.h's.
 */
#ifndef RELAY_SERVER_TERMS_H
#define RELAY_SERVER_TERMS_H

#include "relay/server/session.h"

/* Where no transaction is open. What MAIL has to be refused with, if anything,
 * is session->refusal then. */
void terms_renew(struct session *session);
/* Whether the client may relay by its address, also by the generation in
 * force. */
bool terms_allow(const struct session *session);

#endif
