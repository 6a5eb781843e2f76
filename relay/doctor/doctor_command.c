#include "relay/doctor/doctor_command.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/output.h"
#include "keys/commands.h"
#include "milter/idn.h"
#include "relay/doctor/examination.h"
#include "relay/identity.h"
#include "relay/net/source.h"

#define SOURCES_MAX 8

struct arguments {
	struct slice domain;
	bool as_json;
	struct address sources[SOURCES_MAX];
	size_t sources_count;
};

/* ---- what the examinations share ---- */

void
examination_ask(struct examination *examination, struct slice name,
		enum dns_type type, struct dns_answer *answer_out)
{
	resolver_ask(examination->resolver, name, type, examination->arena,
		     answer_out);
	if (answer_out->status == DNS_FAILED)
		examination->findings->is_unanswered = true;
	if (answer_out->status != DNS_FOUND)
		answer_out->count = 0;
}

static bool
is_same_host(const struct address *a, const struct address *b)
{
	struct address left = *a, right = *b;

	address_set_port(&left, 0);
	address_set_port(&right, 0);
	return address_eq(&left, &right);
}

bool
examination_host_has(struct examination *examination, struct slice host,
		     const struct address *address)
{
	struct dns_answer answer;

	examination_ask(examination, host,
			address->any.sa_family == AF_INET ? DNS_A : DNS_AAAA,
			&answer);
	for (size_t i = 0; i < answer.count; i++)
		if (is_same_host(&answer.records[i].address, address))
			return true;
	return false;
}

/* ---- where mail comes from ---- */

static void
source_take(struct examination *examination, const struct address *source)
{
	char host[ADDRESS_TEXT_SIZE];

	if (!address_is_private(source)) {
		examination->sources[examination->sources_count++] = *source;
		return;
	}
	address_write_host(source, host);
	finding_add(examination->findings, "ptr", SLICE(host), FINDING_WARN,
		    "a private address: receivers see that of the router "
		    "before it; say which with --address");
}

/* Those to which delivery binds, else those that the routes have. */
static void
sources_find(struct examination *examination)
{
	static const char *const peers[] = {"192.0.2.1", "2001:db8::1"};
	const struct delivery_options *delivery =
		&examination->options->delivery;
	struct address peer, source;

	for (size_t i = 0; i < COUNT(peers); i++) {
		bool is_bound = false;

		if (!address_parse_host(SLICE(peers[i]), 25, &peer))
			continue;
		for (size_t j = 0; j < delivery->source.bind_count; j++)
			if (delivery->source.bind[j].any.sa_family ==
			    peer.any.sa_family) {
				source_take(examination,
					    &delivery->source.bind[j]);
				is_bound = true;
			}
		if (!is_bound && source_find(&peer, &source))
			source_take(examination, &source);
	}
}

static void
sources_settle(struct examination *examination,
	       const struct arguments *arguments)
{
	const struct delivery_options *delivery =
		&examination->options->delivery;

	for (size_t i = 0; i < arguments->sources_count; i++)
		examination->sources[examination->sources_count++] =
			arguments->sources[i];
	if (arguments->sources_count > 0)
		return;
	if (delivery->smarthost_count > 0) {
		finding_add(examination->findings, "spf",
			    delivery->smarthost[0], FINDING_WARN,
			    "mail leaves through it, from addresses that are "
			    "not known here: say one with --address");
		return;
	}
	sources_find(examination);
	if (examination->sources_count == 0)
		finding_add(examination->findings, "spf", examination->domain,
			    FINDING_WARN, "not looked at: this machine has no "
			    "address of its own in the world");
}

/* ---- the command ---- */

static bool
source_read(struct arguments *arguments, const char *word)
{
	if (arguments->sources_count == SOURCES_MAX) {
		fprintf(stderr, "signet: --address: at most %d\n",
			SOURCES_MAX);
		return false;
	}
	if (!address_parse_host(SLICE(word), 0,
				&arguments->sources[arguments->sources_count])) {
		fprintf(stderr,
			"signet: --address: '%s' is no address of IPv4 or "
			"IPv6\n",
			word);
		return false;
	}
	arguments->sources_count++;
	return true;
}

static bool
option_take(struct arguments *arguments, int option)
{
	if (option == 'a')
		return source_read(arguments, optarg);
	if (option == 'j')
		arguments->as_json = true;
	return option == 'j';
}

static bool
arguments_parse(int argc, char **argv, struct arguments *out)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"address", required_argument, NULL, 'a'},
		{0},
	};
	static char name[] = "signet"; /* for getopt_long()'s messages */
	int option;

	*out = (struct arguments){0};
	argv[0] = name;
	optind = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (!option_take(out, option))
			return false;
	if (argc - optind != 1)
		return false;
	out->domain = SLICE(argv[optind]);
	return true;
}

static int
fail(const struct fault *fault)
{
	fprintf(stderr, "signet: %s\n", fault->text);
	return fault_exit_code(fault);
}

/* The keys of all domains: which section a domain falls into is the keyring's
 * to say. */
static void
examine(struct examination *examination, const struct arguments *arguments,
	const struct keyring *keyring)
{
	const struct keyring_domain *section =
		keyring_find(keyring, examination->domain);

	examine_dkim(examination, section);
	examine_dmarc(examination, section);
	sources_settle(examination, arguments);
	examine_spf(examination);
	examine_sources(examination);
	examine_exchangers(examination);
}

static int
findings_print(const struct findings *findings, struct slice domain,
	       bool as_json)
{
	CLEAN(text_done) struct text out = {0};

	if (as_json)
		findings_write_json(findings, domain, &out);
	else
		findings_write_text(findings, &out);
	if (output_write(text_slice(&out)) != EX_OK)
		return EX_TEMPFAIL;
	if (findings->has_failed)
		return EX_DATAERR;
	return findings->is_unanswered ? EX_TEMPFAIL : EX_OK;
}

int
doctor_command(const struct options *options, int argc, char **argv)
{
	CLEAN(resolver_free_clean) struct resolver *resolver = NULL;
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	CLEAN(arena_done) struct arena arena = {0};
	struct findings findings = {.arena = &arena};
	struct arguments arguments;
	struct address sources[SOURCES_MAX];
	struct examination examination = {.options = options,
					  .arena = &arena,
					  .findings = &findings,
					  .sources = sources};
	struct fault fault = {0};

	if (!arguments_parse(argc, argv, &arguments)) {
		fputs("usage: signet [-c FILE] doctor [--json] "
		      "[--address ADDRESS] DOMAIN\n",
		      stderr);
		return EX_USAGE;
	}
	if (options == NULL)
		return EX_OK;
	if (!idn_to_ascii(arguments.domain, &arena, &examination.domain,
			  &fault) ||
	    !keys_load(&options->keys, &keyring, &fault) ||
	    !identity_leave_root(options, &fault) ||
	    !resolver_new(options->dns.resolvers, options->dns.resolvers_count,
			  &resolver, &fault))
		return fail(&fault);
	examination.resolver = resolver;
	examine(&examination, &arguments, keyring);
	return findings_print(&findings, examination.domain,
			      arguments.as_json);
}
