#include "relay/server/certificate.h"

#include "base/log.h"
#include "relay/clients.h"
#include "relay/net/tls.h"
#include "relay/users.h"

static_assert(CLIENT_FINGERPRINT == TLS_FINGERPRINT, "SHA-256");
static_assert(USER_NAME_MAX >= TLS_PEER_NAME_MAX, "a certificate's user");

/* By tls_clients: by the certificate, or by its key. */
static bool
is_listed(const struct tls *tls, const struct clients *clients,
	  struct slice *name_out)
{
	uint8_t certificate[TLS_FINGERPRINT], key[TLS_FINGERPRINT];

	return clients != NULL &&
	       tls_peer_fingerprints(tls, certificate, key) &&
	       (clients_find(clients, certificate, name_out) ||
		clients_find(clients, key, name_out));
}

/* By tls_client_ca. */
static bool
is_signed(const struct tls *tls, const struct tls_context *context,
	  struct text *name_out, const char **reason_out)
{
	*reason_out = tls_peer_chain_fault(tls, context);
	if (*reason_out != NULL)
		return false;
	if (tls_peer_name(tls, name_out))
		return true;
	*reason_out = "the certificate names nobody";
	return false;
}

static bool
has_shown_any(const struct tls *tls)
{
	uint8_t certificate[TLS_FINGERPRINT], key[TLS_FINGERPRINT];

	return tls != NULL && tls_peer_fingerprints(tls, certificate, key);
}

bool
certificate_identify(const struct tls *tls, const struct generation *generation,
		     size_t listener, struct text *name_out,
		     const char **reason_out)
{
	const struct listener_options *options =
		&generation->options->listeners[listener];
	const struct tls_context *context = generation->listener_tls[listener];
	struct slice name;

	*reason_out = NULL;
	if (context == NULL || !has_shown_any(tls))
		return false;
	if (is_listed(tls, generation->listener_clients[listener], &name)) {
		*reason_out = tls_peer_time_fault(tls);
		if (*reason_out == NULL)
			text_add(name_out, name);
		return *reason_out == NULL;
	}
	if (options->tls_client_ca.len > 0)
		return is_signed(tls, context, name_out, reason_out);
	*reason_out = "the certificate is not in tls_clients";
	return false;
}

/* As `openssl x509 -fingerprint` has it, so that it can be taken over. */
static void
fingerprint_write(const struct tls *tls, struct text *out)
{
	uint8_t certificate[TLS_FINGERPRINT], key[TLS_FINGERPRINT];

	if (!tls_peer_fingerprints(tls, certificate, key))
		return;
	for (size_t i = 0; i < sizeof(certificate); i++)
		text_addf(out, "%s%02X", i > 0 ? ":" : "", certificate[i]);
}

static void
log_certificate(const struct session *session, struct slice name,
		const char *reason)
{
	CLEAN(text_done) struct text fingerprint = {0};
	char client[ADDRESS_TEXT_SIZE];
	struct log line;

	address_write_host(&session->client, client);
	fingerprint_write(stream_tls(session->stream), &fingerprint);
	log_begin(&line, LOG_LEVEL_INFO,
		  reason == NULL ? "authenticated" : "not-authenticated");
	log_text(&line, "listener", session->listener->name);
	log_string(&line, "client", client);
	log_text(&line, "user", name);
	log_string(&line, "mechanism", "certificate");
	log_string(&line, "tls", "yes");
	log_string(&line, "reason",
		   reason != NULL ? reason : "the certificate is known");
	log_text(&line, "fingerprint", text_slice(&fingerprint));
	log_send(&line);
}

void
certificate_look(struct session *session)
{
	CLEAN(text_done) struct text name = {0};
	const struct tls *tls = stream_tls(session->stream);
	struct generation *now = session_now(session);
	const char *reason;
	size_t listener;

	ASSERT(!principal_is_known(&session->principal));
	if (session->is_fronted)
		return;
	if (!options_find_listener(now->options, session->listener->name,
				   &listener))
		return;
	if (certificate_identify(tls, now, listener, &name, &reason))
		principal_set(&session->principal, now, listener,
			      &(struct principal_claim){
				      .proof = PROOF_CERTIFICATE,
				      .tls = tls,
				      .user = text_slice(&name)});
	else if (reason == NULL)
		return;
	log_certificate(session, text_slice(&name), reason);
}
