/*
 * welcome - how a session begins: who the client is, whether there is room for
 * him, and the greeting.
 */
#ifndef RELAY_SERVER_WELCOME_H
#define RELAY_SERVER_WELCOME_H

#include "relay/server/session.h"

/* Once the client's address is known. STEP_SECURE: TLS comes first. */
enum step welcome_client(struct session *session);
/* The same behind a proxy, in the state PROXY: reads what the proxy says of the
 * client (relay/net/proxy.h) before. */
enum step welcome_proxied(struct session *session, bool *more_needed);
/* RFC 5321 4.3.1 */
void welcome_greet(struct session *session);
/* Once XCLIENT has put another client in the place of the one before, who has
 * left. */
enum step welcome_again(struct session *session);
/* Once he is somebody, or is so no more, though he stays: strangers are counted
 * (strangers.h), and nobody is sent away for that. */
void welcome_recount(struct session *session);
/* Gives back the client's places, among strangers and those of his address. */
void welcome_leave(struct session *session);

#endif
