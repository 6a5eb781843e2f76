/*
 * What a conversation asks of hosts, peers and TLS, where nothing is known of
 * any: no session to resume, and a certificate that is good.
 */
#include "base/clock.h"
#include "relay/delivery/hosts.h"
#include "relay/delivery/peers.h"
#include "relay/net/tls.h"

bool
host_is_before(const uint64_t *until_ms)
{
	return clock_now_ms() < *until_ms;
}

void
host_note(uint64_t *until_ms, uint64_t duration_ms)
{
	*until_ms = clock_now_ms() + duration_ms;
}

void
peers_keep_session(struct peers *peers, struct slice key, struct slice session)
{
	(void)peers;
	(void)key;
	(void)session;
}

bool
peers_take_session(struct peers *peers, struct slice key,
		   struct text *session_out)
{
	(void)peers;
	(void)key;
	(void)session_out;
	return false;
}

uint64_t
tls_context_number(const struct tls_context *context)
{
	(void)context;
	return 1;
}

const char *
tls_certificate(const struct tls *tls)
{
	(void)tls;
	return "verified";
}

bool
tls_is_resumed(const struct tls *tls)
{
	(void)tls;
	return false;
}

void
tls_session_cleanse(struct text *session)
{
	text_done(session);
}
