/* A configuration of one file, as the relay process gets it: whatever it
 * holds, it is either refused with a reason, or whole. */
#include "relay/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void
whole_expect(const struct options *options)
{
	ASSERT(options->hostname.len > 0);
	ASSERT(options->state_dir.bytes[0] == '/');
	ASSERT(options->keys.keys_dir.bytes[0] == '/');
	ASSERT(options->dns.resolvers_count > 0);
	ASSERT(options->listeners_count > 0);
	ASSERT(options->delivery.retry_count > 0);
	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];

		ASSERT(listener->address.len > 0 ||
		       listener->socket_name.len > 0);
		ASSERT(listener->tls == LISTENER_TLS_NONE ||
		       listener->tls_cert.bytes[0] == '/');
	}
	for (size_t i = 0; i < options->routes_count; i++)
		ASSERT(options->routes[i].pattern.len > 0);
	for (size_t i = 0; i < options->keys.domains_count; i++) {
		const struct domain_options *domain =
			&options->keys.domains[i];

		ASSERT(domain->name.len > 0);
		ASSERT(domain->file != NULL);
		ASSERT(domain->selectors_count > 0 ||
		       options->signing.domains[i].also_sign_count > 0);
		for (size_t j = 0; j < domain->selectors_count; j++)
			ASSERT(domain->selectors[j].key_path.len > 0);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(conf_sources_done) struct conf_sources sources = {0};
	CLEAN(options_free_clean) struct options *options = NULL;
	struct fault fault;

	conf_sources_add(&sources, SLICE("/a"), slice_of(bytes, len));
	conf_sources_add(&sources, SLICE("\1hostname"),
			 SLICE("relay.example.com"));
	if (options_parse(text_slice(&sources.bytes), &options, &fault))
		whole_expect(options);
	else
		ASSERT(options == NULL);
	return 0;
}
