#include "base/log.h"
#include "relay/delivery/connection_private.h"
#include "relay/generation.h"

/* How long a host that failed is left for the last. */
#define HOST_FAILED_MS (1 * MINUTE)

/* To be told once, not by each connection that meets with it. */
static void
ipv6_tell(enum ipv6_news news)
{
	switch (news) {
	case IPV6_NO_NEWS:
		return;
	case IPV6_LEADS_NOWHERE:
		log_note(LOG_LEVEL_WARNING, "ipv6",
			 "nothing answers over IPv6: IPv4 is tried first");
		return;
	case IPV6_WORKS_AGAIN:
		log_note(LOG_LEVEL_INFO, "ipv6", "IPv6 works again");
		return;
	}
}

/* "prefer" is an order, whatever we believe. */
bool
connection_puts_v6_off(const struct connection *connection)
{
	const struct options *options = connection->settings.generation->options;

	return options->delivery.ipv6 == IPV6_AUTO &&
	       ipv6_is_avoided(peers_ipv6(connection->settings.peers));
}

void
connection_host_failed(struct connection *connection, bool is_unreached,
		       bool is_blameless)
{
	const struct host *host = connection->host;

	if (is_unreached) {
		ipv6_tell(ipv6_note_unreached(
			peers_ipv6(connection->settings.peers),
			&host->address));
		if (connection->is_hurried)
			choice_again(&connection->choice, host);
	}
	if (!is_blameless)
		host_note(&connection->host->failed_until_ms, HOST_FAILED_MS);
}

void
connection_host_was_silent(struct connection *connection)
{
	peers_note_silence(connection->settings.peers,
			   &connection->host->address);
}

/* What is known of a destination's hosts is gone with its last message, and
 * with the next look at the DNS. */
void
connection_recall_silence(struct connection *connection)
{
	struct hosts *hosts = connection->settings.hosts;
	struct peer_silence asked[MX_ADDRESSES_MAX];

	ASSERT(hosts->count <= COUNT(asked));
	for (size_t i = 0; i < hosts->count; i++)
		asked[i].address = &hosts->items[i].address;
	peers_recall_silence(connection->settings.peers, asked, hosts->count);
	for (size_t i = 0; i < hosts->count; i++)
		if (asked[i].left_ms > 0)
			host_note(&hosts->items[i].failed_until_ms,
				  asked[i].left_ms);
}

void
connection_host_reached(struct connection *connection)
{
	uint64_t *until_ms = &connection->host->failed_until_ms;

	if (__atomic_load_n(until_ms, __ATOMIC_RELAXED) != 0)
		peers_forget_silence(connection->settings.peers,
				     &connection->host->address);
	host_note(until_ms, 0);
	ipv6_tell(ipv6_note_reached(peers_ipv6(connection->settings.peers),
				    &connection->host->address));
}

/* A host that has no TLS as new as one route asks for has it for the others. */
static uint64_t
lapse_terms(const struct connection *connection, enum peer_lapse lapse)
{
	const struct connection_settings *settings = &connection->settings;

	return lapse == PEER_LAPSE_TLS
		       ? client_tls_terms(settings->tls, &settings->tls_terms)
		       : 0;
}

/* The host goes without what it offers for a while, as every conversation with
 * it. To be told once, not with each message nor by each of several
 * connections. */
static void
lapse_note(const struct connection *connection, enum peer_lapse lapse,
	   const char *event, const struct recipient_result *why)
{
	const struct host *host = connection->host;
	struct log line;

	if (!peers_note_lapse(connection->settings.peers, lapse, host->name,
			      &host->address, lapse_terms(connection, lapse)))
		return;
	log_begin(&line, LOG_LEVEL_WARNING, event);
	log_text(&line, "mx", host->name);
	log_text(&line, "address", why->address);
	log_text(&line, "reason", why->reply);
	log_send(&line);
}

void
connection_forget_tls_lapse(const struct connection *connection)
{
	enum peer_lapse lapse = PEER_LAPSE_TLS;

	peers_forget_lapse(connection->settings.peers, lapse,
			   connection->host->name, &connection->host->address,
			   lapse_terms(connection, lapse));
}

static bool
has_lapse(const struct connection *connection, enum peer_lapse lapse)
{
	return peers_has_lapse(connection->settings.peers, lapse,
			       connection->host->name,
			       &connection->host->address,
			       lapse_terms(connection, lapse));
}

void
connection_recall_lapses(struct connection *connection)
{
	connection->in_clear =
		connection->settings.tls == TLS_OPPORTUNISTIC &&
		(connection->doubts_tls ||
		 has_lapse(connection, PEER_LAPSE_TLS));
	connection->without_bdat |= has_lapse(connection, PEER_LAPSE_BDAT);
	connection->without_dsn |= has_lapse(connection, PEER_LAPSE_DSN);
}

bool
connection_host_deserves_another(struct connection *connection,
				 const struct client_end *end)
{
	if (end->is_tls_trouble && !connection->in_clear &&
	    connection->settings.tls == TLS_OPPORTUNISTIC) {
		lapse_note(connection, PEER_LAPSE_TLS, "tls-failed",
			   &end->result);
		return true;
	}
	if (end->is_tls_doubt && connection->current != NULL) {
		connection->doubts_tls = true;
		return true;
	}
	if (end->is_chunk_trouble && !connection->without_bdat) {
		lapse_note(connection, PEER_LAPSE_BDAT, "bdat-refused",
			   &end->result);
		connection->without_bdat = true;
		return true;
	}
	if (end->is_dsn_trouble && !connection->without_dsn) {
		connection->without_dsn = connection->doubts_dsn = true;
		return true;
	}
	/* Each time some recipients have got their results. */
	if (end->is_worn) {
		connection->retried_same = false;
		return true;
	}
	/* Each time a message has got its results: this comes to an end. */
	if (end->is_of_message && connection->current == NULL)
		return true;
	if (end->was_ready && !connection->retried_same && !end->is_passing &&
	    (end->is_idle_end || end->is_of_message || end->is_of_recipient ||
	     (client_carried(connection->client) > 0 && !end->has_answered))) {
		connection->retried_same = true;
		return true;
	}
	return false;
}

bool
connection_blames_message(const struct connection *connection,
			  const struct client_end *end)
{
	uint64_t *until_ms = &connection->host->sent_away_until_ms;

	if (!end->is_sent_away || host_is_before(until_ms))
		return false;
	host_note(until_ms, HOST_FAILED_MS);
	return true;
}

void
connection_host_took(struct connection *connection)
{
	host_note(&connection->host->sent_away_until_ms, 0);
	if (connection->doubts_dsn)
		lapse_note(connection, PEER_LAPSE_DSN, "dsn-refused",
			   &connection->last);
	connection->doubts_dsn = false;
}
