/*
 * listener_tls - the TLS of a listener, from the bytes of the files that its
 * options name: one way for the relay, which uses it, and for check-config.
 */
#ifndef RELAY_LISTENER_TLS_H
#define RELAY_LISTENER_TLS_H

#include "relay/listener_files.h"
#include "relay/options.h"

struct tls_context;

/* Of a listener that has TLS. The fault begins with the option and the path of
 * the file that is wrong, which is *at_out. */
bool listener_tls_new(const struct listener_options *listener,
		      const struct slice files[LISTENER_FILES],
		      struct tls_context **context_out,
		      enum listener_file *at_out,
		      struct fault *fault) MUST_USE;
/* Appends, likewise, that the days of its certificates, or of the revocation
 * lists for those of clients, are over, have not come or are few. False:
 * nothing. */
bool listener_tls_days(const struct listener_options *listener,
		       const struct tls_context *context,
		       struct text *words_out);

#endif
