/*
 * What connection.c (attempts, conversations, owner) and connection_host.c (what
 * is known of a host and the way there, for all connections) share. For them
 * only.
 */
#ifndef RELAY_DELIVERY_CONNECTION_PRIVATE_H
#define RELAY_DELIVERY_CONNECTION_PRIVATE_H

#include "relay/delivery/connection.h"

/* --- connection_host.c: of connection->host --- */

/* Whether IPv6 comes last. */
bool connection_puts_v6_off(const struct connection *connection);
/* It talks to us. */
void connection_host_reached(struct connection *connection);
/* What it says of the host and the way there that the conversation is over. */
void connection_host_failed(struct connection *connection, bool is_unreached,
			    bool is_blameless);
/* A deadline has passed before it was ready: for a while every connection asks
 * it last, of whatever destination. */
void connection_host_was_silent(struct connection *connection);
/* Of all its hosts, which ones have been. */
void connection_recall_silence(struct connection *connection);
/* It has taken a message: without its parameters what was refused with them has
 * gone through, so it was them. */
void connection_host_took(struct connection *connection);
/* What is left out with it, though it offers that. */
void connection_recall_lapses(struct connection *connection);
void connection_forget_tls_lapse(const struct connection *connection);
/* Whether the same host is worth another connection: what it offers is refused
 * and may be left out, one message or recipient was too much for the last one,
 * or the peer had closed one that was kept. */
bool connection_host_deserves_another(struct connection *connection,
				      const struct client_end *end);
/* Whether the message bears its end, and not the host: a 421 from MAIL to the final
 * reply may be meant for it alone. It goes on to the next host, and bears it alone
 * where there is none, as with Postfix. That is noted: the second one, with nothing
 * taken in between, is meant for us, and the host is left alone. */
bool connection_blames_message(const struct connection *connection,
			       const struct client_end *end);

#endif
