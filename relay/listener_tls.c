#include "relay/listener_tls.h"

#include "base/clock.h"
#include "relay/net/tls.h"

static enum tls_protocol
tls_protocol_of(enum tls_min min)
{
	switch (min) {
	case TLS_MIN_1_0:
		return TLS_1_0;
	case TLS_MIN_1_1:
		return TLS_1_1;
	case TLS_MIN_AUTO:
	case TLS_MIN_1_2:
		return TLS_1_2;
	case TLS_MIN_1_3:
		return TLS_1_3;
	}
	return TLS_1_2;
}

static bool
fault_at(enum listener_file at, const char *option, struct slice path,
	 enum listener_file *at_out, struct fault *fault)
{
	*at_out = at;
	return fault_within(fault, "%s '%.*s'", option, SLICE_ARG(path));
}

/* Clients that may choose one of several certificates are told by whom it has
 * to be signed, unless others are known, too. */
static bool
context_ask(const struct listener_options *listener,
	    const struct slice files[LISTENER_FILES],
	    struct tls_context *context, enum listener_file *at_out,
	    struct fault *fault)
{
	if (listener->tls_clients.len == 0 && listener->tls_client_ca.len == 0)
		return true;
	tls_context_ask(context);
	return listener->tls_client_ca.len == 0 ||
	       tls_context_trust(context, files[LISTENER_CLIENT_CA],
				 listener->tls_clients.len == 0, fault) ||
	       fault_at(LISTENER_CLIENT_CA, "tls_client_ca",
			listener->tls_client_ca, at_out, fault);
}

bool
listener_tls_new(const struct listener_options *listener,
		 const struct slice files[LISTENER_FILES],
		 struct tls_context **context_out, enum listener_file *at_out,
		 struct fault *fault)
{
	struct tls_context *context;

	ASSERT(listener->tls != LISTENER_TLS_NONE);
	if (!tls_context_server(files[LISTENER_CERT], &context, fault))
		return fault_at(LISTENER_CERT, "tls_cert", listener->tls_cert,
				at_out, fault);
	if (!tls_context_key(context, files[LISTENER_KEY], fault)) {
		tls_context_free(context);
		return fault_at(LISTENER_KEY, "tls_key", listener->tls_key,
				at_out, fault);
	}
	if (listener->tls_min != TLS_MIN_AUTO)
		tls_context_lower(context, tls_protocol_of(listener->tls_min));
	if (!context_ask(listener, files, context, at_out, fault)) {
		tls_context_free(context);
		return false;
	}
	*context_out = context;
	return true;
}

bool
listener_tls_days(const struct listener_options *listener,
		  const struct tls_context *context, struct text *words_out)
{
	CLEAN(text_done) struct text words = {0}, lists = {0};
	uint64_t now_ms = clock_wall_ms();

	if (tls_context_days(context, now_ms, &words))
		text_addf(words_out, "tls_cert '%.*s': %s",
			  SLICE_ARG(listener->tls_cert), text_string(&words));
	if (tls_context_lists_days(context, now_ms, &lists))
		text_addf(words_out, "%stls_client_ca '%.*s': %s",
			  words.len > 0 ? "; " : "",
			  SLICE_ARG(listener->tls_client_ca),
			  text_string(&lists));
	return words.len > 0 || lists.len > 0;
}
