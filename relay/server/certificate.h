/*
 * certificate - a client that shows a certificate which its listener knows: by
 * tls_clients, or signed by tls_client_ca. What it is worth is judged by the
 * configuration of the moment, not by that of the handshake.
 */
#ifndef RELAY_SERVER_CERTIFICATE_H
#define RELAY_SERVER_CERTIFICATE_H

#include "relay/server/session.h"

/* Who the client of a connection is at that listener. False: nobody; then
 * *reason_out, which is static, says why, or is NULL where the client was not
 * asked, or has shown none. */
bool certificate_identify(const struct tls *tls,
			  const struct generation *generation, size_t listener,
			  struct text *name_out, const char **reason_out);

/* TLS is there: whoever the client shows to be, it is. An event where it shows
 * anything. */
void certificate_look(struct session *session);

#endif
