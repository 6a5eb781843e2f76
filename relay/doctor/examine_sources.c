#include <arpa/inet.h>

#include "relay/doctor/examination.h"

/* RFC 1035 3.5, RFC 3596 2.5 */
static struct slice
reverse_name(struct arena *arena, const struct address *address)
{
	CLEAN(text_done) struct text out = {0};

	if (address->any.sa_family == AF_INET) {
		const uint8_t *v4 = (const uint8_t *)&address->v4.sin_addr;

		return arena_printf(arena, "%u.%u.%u.%u.in-addr.arpa", v4[3],
				    v4[2], v4[1], v4[0]);
	}
	for (size_t i = 16; i-- > 0;) {
		unsigned byte = address->v6.sin6_addr.s6_addr[i];

		text_addf(&out, "%x.%x.", byte & 15, byte >> 4);
	}
	text_add_string(&out, "ip6.arpa");
	return arena_copy(arena, text_slice(&out));
}

static void
name_judge(struct examination *examination, const struct address *source,
	   const char *host, const struct dns_answer *names)
{
	const struct options *options = examination->options;
	struct slice helo = options->delivery.source.helo.len > 0
				    ? options->delivery.source.helo
				    : options->hostname;
	bool leads_back = false, is_helo = false;

	for (size_t i = 0; i < names->count; i++) {
		struct slice name = names->records[i].name;

		if (!examination_host_has(examination, name, source))
			continue;
		leads_back = true;
		is_helo |= slice_eq_nocase(name, helo);
	}
	if (!leads_back)
		finding_add(examination->findings, "ptr", SLICE(host),
			    FINDING_FAIL,
			    "its name %.*s does not lead back to it: publish "
			    "an address record there, or have the PTR record "
			    "changed by who owns the network",
			    SLICE_ARG(names->records[0].name));
	else if (!is_helo && !examination_host_has(examination, helo, source))
		finding_add(examination->findings, "ptr", SLICE(host),
			    FINDING_WARN,
			    "%.*s and it name each other, but the name in "
			    "EHLO, %.*s, has another address or none "
			    "(delivery.helo)",
			    SLICE_ARG(names->records[0].name),
			    SLICE_ARG(helo));
	else
		finding_add(examination->findings, "ptr", SLICE(host),
			    FINDING_OK, "%.*s and it name each other",
			    SLICE_ARG(names->records[0].name));
}

static void
source_examine(struct examination *examination, const struct address *source)
{
	char host[ADDRESS_TEXT_SIZE];
	struct dns_answer names;

	address_write_host(source, host);
	examination_ask(examination, reverse_name(examination->arena, source),
			DNS_PTR, &names);
	if (names.status == DNS_FAILED)
		finding_add(examination->findings, "ptr", SLICE(host),
			    FINDING_WARN, "the DNS does not answer: %s",
			    names.reason != NULL ? names.reason : "");
	else if (names.count == 0)
		finding_add(examination->findings, "ptr", SLICE(host),
			    FINDING_FAIL,
			    "it has no name (PTR): many receivers refuse such; "
			    "who owns the network publishes it");
	else
		name_judge(examination, source, host, &names);
}

void
examine_sources(struct examination *examination)
{
	if (slice_find(examination->options->hostname, '.') < 0)
		finding_add(examination->findings, "ptr",
			    examination->options->hostname, FINDING_FAIL,
			    "hostname has no domain: EHLO needs a full name "
			    "(RFC 5321 4.1.1.1)");
	for (size_t i = 0; i < examination->sources_count; i++)
		source_examine(examination, &examination->sources[i]);
}
