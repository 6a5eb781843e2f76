#include "relay/delivery/exchangers.h"
#include "relay/doctor/examination.h"
#include "relay/doctor/probe.h"

/* Each may wait for a silent network. */
#define VISITS_MAX 3

static const struct address *
source_for(const struct examination *examination, const struct address *to)
{
	const struct source_options *source =
		&examination->options->delivery.source;

	for (size_t i = 0; i < source->bind_count; i++)
		if (source->bind[i].any.sa_family == to->any.sa_family)
			return &source->bind[i];
	return NULL;
}

static void
visit_note(struct examination *examination, struct slice host,
	   const struct address *address, struct tls_context *context)
{
	static const enum finding_result results[] = {
		[PROBE_UNREACHED] = FINDING_WARN,
		[PROBE_REFUSED] = FINDING_WARN,
		[PROBE_CLEAR] = FINDING_WARN,
		[PROBE_BROKEN_TLS] = FINDING_WARN,
		[PROBE_SECURED] = FINDING_OK,
	};
	struct probe_terms terms = {
		.address = *address,
		.from = source_for(examination, address),
		.host = host,
		.helo = examination->options->hostname,
		.context = context,
	};
	enum finding_result result;
	struct probe probe;
	char text[ADDRESS_TEXT_SIZE];

	address_set_port(&terms.address, examination->options->delivery.port);
	address_write(&terms.address, text);
	probe_run(&terms, &probe);
	result = results[probe.end];
	if (probe.end == PROBE_SECURED && !probe.is_verified)
		result = FINDING_WARN;
	finding_add(examination->findings, "tls", host, result, "%s: %s%s",
		    text, probe.words,
		    probe.end == PROBE_UNREACHED
			    ? "; where that is so of every host, this network "
			      "lets no mail out"
			    : "");
}

/* Its first address; else it has been noted that there is none. */
static bool
host_address(struct examination *examination, struct slice host,
	     const char *without, struct address *address_out)
{
	static const enum dns_type types[] = {DNS_A, DNS_AAAA};
	struct dns_answer answer;
	bool is_unanswered = false;

	for (size_t i = 0; i < COUNT(types); i++) {
		examination_ask(examination, host, types[i], &answer);
		if (answer.count > 0) {
			*address_out = answer.records[0].address;
			return true;
		}
		is_unanswered |= answer.status == DNS_FAILED;
	}
	finding_add(examination->findings, "mx", host,
		    is_unanswered ? FINDING_WARN : FINDING_FAIL, "%s",
		    is_unanswered ? "the DNS does not answer for its address"
				  : without);
	return false;
}

static void
hosts_examine(struct examination *examination,
	      const struct exchangers *exchangers, struct tls_context *context)
{
	for (size_t i = 0; i < exchangers->count; i++) {
		struct slice host = exchangers->items[i].name;
		struct address address;

		if (!host_address(examination, host,
				  "an MX record leads there, and the DNS has no "
				  "address of that name",
				  &address))
			continue;
		finding_add(examination->findings, "mx", host, FINDING_OK,
			    "preference %u", exchangers->items[i].preference);
		if (context != NULL && i < VISITS_MAX)
			visit_note(examination, host, &address, context);
	}
	if (exchangers->no_host.len > 0)
		finding_add(examination->findings, "mx",
			    exchangers->no_host, FINDING_FAIL,
			    "an MX record leads there, and that is no name of "
			    "a host (RFC 5321 5.1)");
}

/* RFC 5321 5.1: the domain's own address. */
static bool
implicit_take(struct examination *examination, struct exchangers *exchangers)
{
	struct address address;

	if (!host_address(examination, examination->domain,
			  "neither MX nor address: replies and reports of "
			  "failures cannot come back, and receivers refuse "
			  "such senders",
			  &address))
		return false;
	finding_add(examination->findings, "mx", examination->domain,
		    FINDING_WARN,
		    "no MX record: replies go to the address of the domain "
		    "itself");
	exchangers->items[0].name = examination->domain;
	exchangers->count = 1;
	return true;
}

void
examine_exchangers(struct examination *examination)
{
	struct tls_context *context = NULL;
	struct exchangers exchangers = {0};
	struct dns_answer answer;
	struct fault fault;

	examination_ask(examination, examination->domain, DNS_MX, &answer);
	if (answer.status == DNS_FAILED) {
		finding_add(examination->findings, "mx", examination->domain,
			    FINDING_WARN, "the DNS does not answer: %s",
			    answer.reason != NULL ? answer.reason : "");
		return;
	}
	exchangers_take(&exchangers, answer.records, answer.count);
	if (exchangers.is_null) {
		finding_add(examination->findings, "mx", examination->domain,
			    FINDING_FAIL,
			    "a null MX (RFC 7505): it takes no mail, and "
			    "receivers may refuse what it sends");
		return;
	}
	if (answer.count == 0 && !implicit_take(examination, &exchangers))
		return;
	if (!tls_context_client(&context, &fault))
		finding_add(examination->findings, "tls", examination->domain,
			    FINDING_WARN, "%s", fault.text);
	hosts_examine(examination, &exchangers, context);
	tls_context_free(context);
}
