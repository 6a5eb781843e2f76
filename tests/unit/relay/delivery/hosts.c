#include <criterion/criterion.h>

#include "relay/delivery/hosts.h"
#include "relay/net/source.h"
#include "tests/fake/dns.h"

/* The machine's ways to IPv6, instead of relay/net/source.c: its own loopback,
 * and whatever the source, where there is one, leads to. */
static const char *v6_source;
static unsigned sources_asked;
static bool has_v4 = true; /* a way to it */

bool
source_find(const struct address *peer, struct address *source_out)
{
	sources_asked++;
	if (peer->any.sa_family == AF_INET) {
		*source_out = *peer;
		return has_v4;
	}
	if (IN6_IS_ADDR_LOOPBACK(&peer->v6.sin6_addr)) {
		*source_out = *peer;
		return true;
	}
	return v6_source != NULL &&
	       address_parse_host(SLICE(v6_source), 0, source_out);
}

static const struct fake_dns_row rows[] = {
	{ "example.net", DNS_MX, DNS_FOUND,
	  "20 mx2.example.net 10 mx1.example.net" },
	{ "mx1.example.net", DNS_A, DNS_FOUND, "192.0.2.1 192.0.2.2" },
	{ "mx2.example.net", DNS_A, DNS_FOUND, "192.0.2.3" },
	{ "implicit.example.net", DNS_A, DNS_FOUND, "192.0.2.4" },
	{ "null.example.net", DNS_MX, DNS_FOUND, "0 ." },
	{ "half-null.example.net", DNS_MX, DNS_FOUND, "0 . 5 mx2.example.net" },
	{ "none.example.net", DNS_MX, DNS_NO_NAME, "" },
	/* Whose server denies what it has no record for. */
	{ "nameless.example.net", DNS_MX, DNS_NO_NAME, "" },
	{ "nameless.example.net", DNS_A, DNS_FOUND, "192.0.2.4" },
	{ "failed.example.net", DNS_MX, DNS_FAILED, "" },
	{ "no-host.example.net", DNS_MX, DNS_FOUND, "10 no.example.net" },
	{ "skips.example.net", DNS_MX, DNS_FOUND,
	  "10 no.example.net 20 mx2.example.net" },
	{ "later.example.net", DNS_MX, DNS_FOUND, "10 sick.example.net" },
	{ "sick.example.net", DNS_A, DNS_FAILED, "" },
	{ "sick.example.net", DNS_AAAA, DNS_FAILED, "" },
	/* Servers that answer one type and not the other: RFC 4074. */
	{ "half4.example.net", DNS_A, DNS_FOUND, "192.0.2.4" },
	{ "half4.example.net", DNS_AAAA, DNS_FAILED, "" },
	{ "lost4.example.net", DNS_A, DNS_NO_DATA, "" },
	{ "lost4.example.net", DNS_AAAA, DNS_FAILED, "" },
	{ "denies.example.net", DNS_A, DNS_FOUND, "192.0.2.4" },
	{ "denies.example.net", DNS_AAAA, DNS_NO_NAME, "" },
	{ "half.example.net", DNS_MX, DNS_FOUND,
	  "10 sick.example.net 20 mx2.example.net" },
	{ "loop.example.net", DNS_MX, DNS_FOUND,
	  "10 mx2.example.net 20 relay.example.org 30 mx1.example.net" },
	{ "relay.example.org", DNS_A, DNS_FOUND, "192.0.2.99" },
	{ "self.example.net", DNS_MX, DNS_FOUND, "10 relay.example.org" },
	{ "near.example.net", DNS_A, DNS_FOUND, "127.0.0.1" },
	{ "six.example.net", DNS_A, DNS_FOUND, "127.0.0.7 127.0.0.8" },
	{ "six.example.net", DNS_AAAA, DNS_FOUND, "::1" },
	{ "v6.example.net", DNS_AAAA, DNS_FOUND, "2001:db8::1" },
	{ "both.example.net", DNS_A, DNS_FOUND, "192.0.2.1 192.0.2.2" },
	{ "both.example.net", DNS_AAAA, DNS_FOUND,
	  "2001:db8::1 2001:db8::2 2001:db8::3" },
	{ "xn--bcher-kva.example", DNS_MX, DNS_FOUND, "10 mx2.example.net" },
	{ "twice.example.net", DNS_MX, DNS_FOUND,
	  "30 mx2.example.net 10 MX2.Example.net 20 also.example.net "
	  "40 mx1.example.net" },
	{ "also.example.net", DNS_A, DNS_FOUND, "192.0.2.3 192.0.2.3" },
	{ "literal.example.net", DNS_MX, DNS_FOUND, "10 192.0.2.1" },
	{ "literals.example.net", DNS_MX, DNS_FOUND,
	  "10 192.0.2.1 20 [192.0.2.1] 30 mx2.example.net" },
	{ "literally.example.net", DNS_MX, DNS_FOUND,
	  "10 mx2.example.net 20 127.0.0.1 30 192.0.2.1" },
	{ "localhost.example.net", DNS_MX, DNS_FOUND,
	  "0 localhost 1 a.localhost" },
	{ "localhost", DNS_A, DNS_FOUND, "127.0.0.1" },
	{ "zero.example.net", DNS_A, DNS_FOUND, "0.0.0.0 0.1.2.3" },
	{ "zero.example.net", DNS_AAAA, DNS_FOUND,
	  ":: ::ffff:0.0.0.0 ff02::1 fe80::1" },
	{ "linked.example.net", DNS_A, DNS_FOUND,
	  "169.254.169.254 224.0.0.1 255.255.255.255" },
	{ "mapped.example.net", DNS_AAAA, DNS_FOUND, "::ffff:127.0.0.1" },
	{ "inside.example.net", DNS_A, DNS_FOUND, "10.1.2.3 192.0.2.1" },
	{ "inside.example.net", DNS_AAAA, DNS_FOUND, "::ffff:10.1.2.4" },
	{ "within.example.net", DNS_A, DNS_FOUND, "10.1.2.3" },
	/* We are the second; the first cannot be found. */
	{ "backup1.example.net", DNS_MX, DNS_FOUND,
	  "10 sick.example.net 20 relay.example.org" },
	{ "backup2.example.net", DNS_MX, DNS_FOUND,
	  "10 no.example.net 20 relay.example.org" },
	{ "backup3.example.net", DNS_MX, DNS_FOUND,
	  "10 no.example.net 20 near.example.net 30 mx2.example.net" },
	{ "backup4.example.net", DNS_MX, DNS_FOUND,
	  "10 relay.example.org 20 sick.example.net 30 v6.example.net" },
	{ "backup5.example.net", DNS_MX, DNS_FOUND,
	  "10 near.example.net 20 sick.example.net 10 v6.example.net" },
	{ NULL },
};

static const struct hosts_row {
	const char *destination, *via;
	uint16_t port;
	const char *hosts; /* or NULL */
	enum outcome_trouble trouble;
} hosts_rows[] = {
	{ "example.net", NULL, 25, "192.0.2.3:25 last", 0 },
	{ "implicit.example.net", NULL, 25, "192.0.2.4:25", 0 },
	{ "null.example.net", NULL, 25, NULL, TROUBLE_NULL_MX },
	{ "half-null.example.net", NULL, 25, "192.0.2.3:25", 0 },
	{ "none.example.net", NULL, 25, NULL, TROUBLE_NO_NAME },
	{ "nameless.example.net", NULL, 25, "192.0.2.4:25", 0 },
	{ "failed.example.net", NULL, 25, NULL, TROUBLE_DNS },
	{ "no-host.example.net", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "skips.example.net", NULL, 25, "192.0.2.3:25", 0 },
	{ "later.example.net", NULL, 25, NULL, TROUBLE_DNS },
	{ "half.example.net", NULL, 25, "192.0.2.3:25", 0 },
	{ "half4.example.net", NULL, 25, "192.0.2.4:25", 0 },
	{ "lost4.example.net", NULL, 25, NULL, TROUBLE_DNS },
	{ "denies.example.net", NULL, 25, "192.0.2.4:25", 0 },
	{ "unknown.example.net", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "loop.example.net", NULL, 2525, "192.0.2.3:2525", 0 },
	{ "self.example.net", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "self.example.net", NULL, 25, "192.0.2.99:25", 0 },
	{ "near.example.net", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "near.example.net", NULL, 2526, "127.0.0.1:2526", 0 },
	{ "backup1.example.net", NULL, 2525, NULL, TROUBLE_DNS },
	{ "backup2.example.net", NULL, 2525, NULL, TROUBLE_NO_PRIMARY },
	{ "backup3.example.net", NULL, 2525, NULL, TROUBLE_NO_PRIMARY },
	{ "backup4.example.net", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "backup5.example.net", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "twice.example.net", NULL, 25,
	  "192.0.2.3:25 192.0.2.1:25 192.0.2.2:25", 0 },
	{ "b\xc3\xbc" "cher.example", NULL, 25, "192.0.2.3:25", 0 },
	{ "B\xc3\x9c" "cher.Example", NULL, 25, "192.0.2.3:25", 0 },
	{ "\xff.example", NULL, 25, NULL, TROUBLE_BAD_NAME },
	{ "no..dots.example", NULL, 25, NULL, TROUBLE_BAD_NAME },
	{ "literal.example.net", NULL, 25, "192.0.2.1:25", 0 },
	{ "literals.example.net", NULL, 25, "192.0.2.1:25 192.0.2.3:25", 0 },
	{ "literally.example.net", NULL, 2525, "192.0.2.3:2525", 0 },
	{ "localhost.example.net", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "zero.example.net", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "linked.example.net", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "mapped.example.net", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "mapped.example.net", NULL, 25, "127.0.0.1:25", 0 },
	{ "inside.example.net", NULL, 25, "192.0.2.1:25", 0 },
	{ "within.example.net", NULL, 25, NULL, TROUBLE_REFUSED_ADDRESS },
	{ "v6.example.net", NULL, 25, NULL, TROUBLE_NO_CONNECTION },
	{ "both.example.net", NULL, 25, "192.0.2.1:25 192.0.2.2:25", 0 },
	{ "six.example.net", NULL, 25, "[::1]:25 127.0.0.7:25 127.0.0.8:25",
	  0 },
	{ "[192.0.2.9]", NULL, 25, "192.0.2.9:25", 0 },
	{ "[IPv6:::1]", NULL, 25, "[::1]:25", 0 },
	{ "[IPv6:2001:db8::9]", NULL, 25, NULL, TROUBLE_NO_CONNECTION },
	{ "[0.0.0.0]", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "[10.1.2.3]", NULL, 25, NULL, TROUBLE_REFUSED_ADDRESS },
	{ "[IPv6:::ffff:10.1.2.3]", NULL, 25, NULL, TROUBLE_REFUSED_ADDRESS },
	{ "[nonsense]", NULL, 25, NULL, TROUBLE_BAD_NAME },
	{ "[127.0.0.1]", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "x.example", "mx2.example.net", 26, "192.0.2.3:26", 0 },
	{ "x.example", "example.net", 26, NULL, TROUBLE_DNS }, /* never MX */
	{ "x.example", "127.0.0.1", 2526, "127.0.0.1:2526", 0 },
	{ "x.example", "within.example.net", 25, "10.1.2.3:25", 0 },
	{ "x.example", "10.1.2.3", 25, "10.1.2.3:25", 0 },
	{ "x.example", "127.0.0.1", 2525, NULL, TROUBLE_OWN_NEXT_HOP },
	/* Several, in their order: names, addresses, one of them ourselves. */
	{ "x.example", "mx2.example.net both.example.net", 26,
	  "192.0.2.3:26 192.0.2.1:26 192.0.2.2:26", 0 },
	{ "x.example", "both.example.net mx2.example.net", 26,
	  "192.0.2.1:26 192.0.2.2:26 192.0.2.3:26", 0 },
	{ "x.example", "192.0.2.7 mx2.example.net", 26,
	  "192.0.2.7:26 192.0.2.3:26", 0 },
	{ "x.example", "192.0.2.7 192.0.2.6", 26,
	  "192.0.2.7:26 192.0.2.6:26", 0 },
	{ "x.example", "sick.example.net no.example.net mx2.example.net", 26,
	  "192.0.2.3:26", 0 },
	{ "x.example", "no.example.net sick.example.net", 26, NULL,
	  TROUBLE_DNS },
	{ "x.example", "127.0.0.1 192.0.2.7", 2525, "192.0.2.7:2525", 0 },
	{ "x.example", "192.0.2.7 127.0.0.1", 2525, "192.0.2.7:2525", 0 },
	{ "x.example", "127.0.0.1 no.example.net", 2525, NULL, TROUBLE_OWN_NEXT_HOP },
};

static struct hosts *found;

static void
hosts_done(struct hosts_query *query, struct hosts *hosts)
{
	(void)query;
	cr_assert_null(found, "done twice");
	found = hosts;
}

static struct hosts *
hosts_find(const struct options *options, const struct hosts_row *row)
{
	struct hosts_query query = {.done = hosts_done};
	struct route route = {
		.domain = SLICE(row->destination),
		.is_direct = row->via == NULL,
		.port = row->port,
	};
	struct slice rest = SLICE(row->via), via;
	struct hosts *hosts;

	found = NULL;
	while (slice_split(&rest, ' ', &via))
		route.hops[route.hops_count++] =
			(struct next_hop){via, row->port};
	hosts = hosts_start(&query, NULL, options, &route);
	cr_expect(hosts != NULL || found == NULL, "done from inside");
	fake_dns_run();
	return hosts != NULL ? hosts : found;
}

static void
hosts_write(const struct hosts *hosts, struct text *out)
{
	char address[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < hosts->count; i++) {
		address_write(&hosts->items[i].address, address);
		text_addf(out, "%s%s", i > 0 ? " " : "", address);
	}
}

/* 10.0.0.0/8 */
static struct network refused[] = {{.bytes = {10}, .prefix_len = 8}};

static struct options *
options_make(struct listener_options *listener)
{
	struct options *options = options_default();
	struct fault fault;

	cr_assert(address_parse(SLICE("127.0.0.1:2525"), 0, &listener->address,
				&fault));
	options->hostname = SLICE("relay.example.org");
	options->delivery.refuse_addresses = refused;
	options->delivery.refuse_addresses_count = 1;
	options->listeners = listener;
	options->listeners_count = 1;
	return options;
}

Test(hosts, of_a_destination)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);

	fake_dns_rows = rows;
	for (size_t i = 0; i < COUNT(hosts_rows); i++) {
		const struct hosts_row *row = &hosts_rows[i];
		struct hosts *hosts = hosts_find(options, row);
		CLEAN(text_done) struct text text = {0};

		cr_assert_not_null(hosts, "%s", row->destination);
		hosts_write(hosts, &text);
		if (row->hosts == NULL) {
			cr_expect_eq(hosts->count, 0, "%s: %s",
				     row->destination, text_string(&text));
			cr_expect_eq(hosts->trouble, row->trouble, "%s: %d",
				     row->destination, hosts->trouble);
		} else if (strstr(row->hosts, " last") != NULL) {
			cr_expect_eq(hosts->count, 3);
			cr_expect(slice_ends_nocase(text_slice(&text),
						    SLICE("192.0.2.3:25")),
				  "%s: %s", row->destination,
				  text_string(&text));
		} else {
			cr_expect_str_eq(text_string(&text), row->hosts, "%s",
					 row->destination);
		}
		hosts_unref(hosts);
	}
	cr_expect_eq(fake_dns_open(), 0);
	options_free(options);
}

static const struct fake_dns_row equal_rows[] = {
	{ "example.net", DNS_MX, DNS_FOUND,
	  "10 a.example.net 10 b.example.net 5 c.example.net" },
	{ "a.example.net", DNS_A, DNS_FOUND, "192.0.2.1" },
	{ "b.example.net", DNS_A, DNS_FOUND, "192.0.2.2" },
	{ "c.example.net", DNS_A, DNS_FOUND, "192.0.2.3" },
	{ NULL },
};

Test(hosts, of_equal_preference_take_turns)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	struct hosts_row row = {"example.net", NULL, 25, NULL, 0};
	unsigned first_a = 0, first_b = 0;

	fake_dns_rows = equal_rows;
	for (unsigned i = 0; i < 200; i++) {
		struct hosts *hosts = hosts_find(options, &row);

		cr_assert_eq(hosts->count, 3);
		cr_expect(slice_eq(hosts->items[0].name,
				   SLICE("c.example.net")));
		if (slice_eq(hosts->items[1].name, SLICE("a.example.net")))
			first_a++;
		else
			first_b++;
		hosts_unref(hosts);
	}
	/* 200 tosses: fewer than 50 of one kind in 10^13 runs. */
	cr_expect_gt(first_a, 50);
	cr_expect_gt(first_b, 50);
	options_free(options);
}

static const struct turn_row {
	const char *name, *names; /* a letter for a name, then its preference */
	unsigned turn;
	const char *order;
} turn_rows[] = {
	{ "one", "a1", 7, "0" },
	{ "the first", "a1a1b1c2", 0, "0123" },
	{ "the second", "a1a1b1c2", 1, "2013" },
	{ "the first again", "a1a1b1c2", 2, "0123" },
	{ "three", "a1b1c1", 5, "201" },
	{ "no equals", "a1b2c3", 1, "012" },
};

Test(hosts, equal_ones_take_turns)
{
	for (size_t i = 0; i < COUNT(turn_rows); i++) {
		const struct turn_row *row = &turn_rows[i];
		struct host items[4];
		struct hosts hosts = {.items = items,
				      .count = strlen(row->names) / 2};

		for (size_t j = 0; j < hosts.count; j++)
			items[j] = (struct host){
				.name = slice_of(row->names + 2 * j, 1),
				.preference =
					(unsigned)row->names[2 * j + 1]};
		for (size_t j = 0; j < hosts.count; j++)
			cr_expect_eq(hosts_in_turn(&hosts, row->turn, j),
				     (size_t)(row->order[j] - '0'), "%s: %zu",
				     row->name, j);
	}
}

Test(hosts, a_cancelled_query_leaves_nothing)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	struct hosts_query query = {.done = hosts_done};
	struct route route = {.domain = SLICE("example.net"),
			      .is_direct = true,
			      .port = 25};

	fake_dns_rows = rows;
	found = NULL;
	cr_expect_null(hosts_start(&query, NULL, options, &route));
	hosts_cancel(&query);
	fake_dns_run();
	cr_expect_null(found);
	cr_expect_eq(fake_dns_open(), 0);
	options_free(options);
}

static const struct prompt_row {
	const char *name;
	bool is_prompt, is_hurried;
	unsigned patient;
} prompt_rows[] = {
	{ "it is not", false, false, 3 },
	{ "it is", true, false, 0 },
	{ "it becomes so", false, true, 0 },
};

/* MX, A and AAAA. */
Test(hosts, who_is_prompt_asks_so)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	struct route route = {.domain = SLICE("one.example.net"),
			      .is_direct = true,
			      .port = 25};

	fake_dns_rows = (const struct fake_dns_row[]){
		{"one.example.net", DNS_MX, DNS_FOUND, "10 mx.example.net"},
		{"mx.example.net", DNS_A, DNS_FOUND, "192.0.2.1"},
		{NULL, DNS_A, DNS_NO_DATA, NULL},
	};
	for (size_t i = 0; i < COUNT(prompt_rows); i++) {
		const struct prompt_row *row = &prompt_rows[i];
		struct hosts_query query = {.done = hosts_done,
					    .is_prompt = row->is_prompt};

		found = NULL;
		fake_dns_patient = 0;
		cr_assert_null(hosts_start(&query, NULL, options, &route));
		if (row->is_hurried)
			hosts_hurry(&query);
		fake_dns_run();
		cr_assert_not_null(found, "%s", row->name);
		hosts_unref(found);
		cr_expect_eq(fake_dns_patient, row->patient, "%s: %u",
			     row->name, fake_dns_patient);
	}
	options_free(options);
}

static const struct v6_row {
	const char *name, *destination, *source;
	enum ipv6_use ipv6;
	const char *hosts; /* or NULL */
	enum outcome_trouble trouble;
	bool is_v6_only; /* the machine */
} v6_rows[] = {
	{ "in turn, IPv6 first", "both.example.net", "2001:db8::99", IPV6_AUTO,
	  "[2001:db8::1]:25 192.0.2.1:25 [2001:db8::2]:25 192.0.2.2:25 "
	  "[2001:db8::3]:25", 0 },
	{ "not from a unique local address", "both.example.net", "fd00::99",
	  IPV6_AUTO, "192.0.2.1:25 192.0.2.2:25", 0 },
	{ "unless that is all there is", "v6.example.net", "fd00::99",
	  IPV6_AUTO, "[2001:db8::1]:25", 0, true },
	{ "to another unique local address", "[IPv6:fd00::1]", "fd00::99",
	  IPV6_AUTO, "[fd00::1]:25", 0 },
	{ "preferred, though there seems to be no way", "both.example.net",
	  NULL, IPV6_PREFER,
	  "[2001:db8::1]:25 [2001:db8::2]:25 [2001:db8::3]:25 192.0.2.1:25 "
	  "192.0.2.2:25", 0 },
	{ "off", "both.example.net", "2001:db8::99", IPV6_OFF,
	  "192.0.2.1:25 192.0.2.2:25", 0 },
	{ "alone, with no way to it: later", "v6.example.net", NULL, IPV6_AUTO,
	  NULL, TROUBLE_NO_CONNECTION },
	{ "alone, with a way", "v6.example.net", "2001:db8::99", IPV6_AUTO,
	  "[2001:db8::1]:25", 0 },
	{ "alone and off: never", "v6.example.net", "2001:db8::99", IPV6_OFF,
	  NULL, TROUBLE_NO_HOST },
};

Test(hosts, ipv6)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);

	fake_dns_rows = rows;
	for (size_t i = 0; i < COUNT(v6_rows); i++) {
		const struct v6_row *row = &v6_rows[i];
		struct hosts_row asked = {.destination = row->destination,
					  .port = 25};
		CLEAN(text_done) struct text text = {0};
		struct hosts *hosts;

		v6_source = row->source;
		has_v4 = !row->is_v6_only;
		options->delivery.ipv6 = row->ipv6;
		hosts = hosts_find(options, &asked);
		hosts_write(hosts, &text);
		cr_expect_str_eq(text_string(&text),
				 row->hosts != NULL ? row->hosts : "", "%s",
				 row->name);
		if (row->hosts == NULL)
			cr_expect_eq(hosts->trouble, row->trouble, "%s: %d",
				     row->name, hosts->trouble);
		hosts_unref(hosts);
	}
	options_free(options);
}

/* --- too many --- */

/* The pattern, with each '#' a number, once for each number up to count. */
static const char *
records_make(struct text *text, const char *pattern, unsigned count)
{
	text_clear(text);
	for (unsigned i = 1; i <= count; i++) {
		for (const char *c = pattern; *c != '\0'; c++)
			if (*c == '#')
				text_addf(text, "%u", i);
			else
				text_add_byte(text, *c);
		text_add_byte(text, ' ');
	}
	text->len--;
	return text_string(text);
}

static void
hosts_count(const struct hosts *hosts, size_t *v4, size_t *v6)
{
	*v4 = *v6 = 0;
	for (size_t i = 0; i < hosts->count; i++)
		if (hosts->items[i].address.any.sa_family == AF_INET)
			++*v4;
		else
			++*v6;
}

Test(hosts, neither_family_and_no_host_crowds_out_the_rest)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	struct text made[4] = {{0}};
	struct fake_dns_row many[] = {
		{ "wide.example.net", DNS_MX, DNS_FOUND,
		  "10 wide1.example.net 20 wide2.example.net "
		  "30 wide3.example.net 40 mx2.example.net" },
		{ "wide1.example.net", DNS_AAAA, DNS_FOUND,
		  records_make(&made[0], "2001:db8:1::#", 200) },
		{ "wide1.example.net", DNS_A, DNS_FOUND, "192.0.2.11" },
		{ "wide2.example.net", DNS_AAAA, DNS_FOUND,
		  records_make(&made[1], "2001:db8:2::#", 20) },
		{ "wide3.example.net", DNS_AAAA, DNS_FOUND,
		  records_make(&made[2], "2001:db8:3::#", 20) },
		{ "mx2.example.net", DNS_A, DNS_FOUND, "192.0.2.3" },
		{ "own.example.net", DNS_A, DNS_FOUND,
		  records_make(&made[3], "192.0.#.#",
			       MX_HOST_ADDRESSES_LOOKED_AT) },
		{ NULL },
	};
	struct hosts_row wide = {"wide.example.net", NULL, 25, NULL, 0};
	struct hosts *hosts;
	size_t v4, v6;

	fake_dns_rows = many;
	v6_source = "2001:db8::99";
	hosts = hosts_find(options, &wide);
	hosts_count(hosts, &v4, &v6);
	cr_expect_eq(hosts->count, MX_ADDRESSES_MAX);
	cr_expect_eq(v4, 2);
	cr_expect(slice_eq(hosts->items[MX_HOST_ADDRESSES_MAX].name,
			   SLICE("wide2.example.net")), "one host took all");
	cr_expect(slice_eq(hosts->items[hosts->count - 1].name,
			   SLICE("mx2.example.net")));
	hosts_unref(hosts);
	options->delivery.ipv6 = IPV6_PREFER;
	hosts = hosts_find(options, &wide);
	hosts_count(hosts, &v4, &v6);
	cr_expect_eq(v4, 2);
	cr_expect_eq(hosts->count, MX_ADDRESSES_MAX);
	hosts_unref(hosts);

	/* Ourselves, far behind what is kept of a host's addresses. */
	cr_assert(address_parse_host(SLICE("192.0.15.15"), 25,
				     &listener.address));
	hosts = hosts_find(options,
			   &(struct hosts_row){"own.example.net", NULL, 25,
					       NULL, 0});
	cr_expect_eq(hosts->count, 0);
	cr_expect_eq(hosts->trouble, TROUBLE_LOOP);
	hosts_unref(hosts);
	for (size_t i = 0; i < COUNT(made); i++)
		text_done(&made[i]);
	options_free(options);
}

/* To look where an address leads asks the kernel, on the loop. */
Test(hosts, only_so_many_addresses_are_looked_at)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	CLEAN(text_done) struct text made = {0};
	struct fake_dns_row many[] = {
		{ "wide.example.net", DNS_AAAA, DNS_FOUND,
		  records_make(&made, "2001:db8:1::#", DNS_RECORDS_MAX) },
		{ NULL },
	};
	struct hosts_row row = {"wide.example.net", NULL, 25, NULL, 0};

	fake_dns_rows = many;
	sources_asked = 0;
	hosts_unref(hosts_find(options, &row));
	cr_expect_eq(sources_asked, MX_HOST_ADDRESSES_LOOKED_AT);
	options_free(options);
}

Test(hosts, of_hundreds_of_records)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	CLEAN(text_done) struct text made = {0};
	struct fake_dns_row many[] = {
		{ "many.example.net", DNS_MX, DNS_FOUND,
		  records_make(&made, "# h#.example.net",
			       DNS_RECORDS_MAX) },
		{ "h1.example.net", DNS_A, DNS_FOUND, "192.0.2.1" },
		{ "h200.example.net", DNS_A, DNS_FOUND, "192.0.2.200" },
		{ NULL },
	};
	struct hosts_row row = {"many.example.net", NULL, 25, NULL, 0};
	struct hosts *hosts;

	fake_dns_rows = many;
	hosts = hosts_find(options, &row);
	cr_assert_eq(hosts->count, 1);
	cr_expect(slice_eq(hosts->items[0].name, SLICE("h1.example.net")));
	hosts_unref(hosts);
	/* None of those asked has an address; the others have not been asked:
	 * no reason to fail for good. */
	many[1].name = "no.example.net";
	hosts = hosts_find(options, &row);
	cr_expect_eq(hosts->count, 0);
	cr_expect_eq(hosts->trouble, TROUBLE_DNS);
	hosts_unref(hosts);
	/* All alike, and we are one of them: whoever is tried, it loops. */
	many[0].records = records_make(&made, "7 h#.example.net", 200);
	cr_assert(address_parse_host(SLICE("192.0.2.77"), 25,
				     &listener.address));
	options->hostname = SLICE("h77.example.net");
	hosts = hosts_find(options, &row);
	cr_expect_eq(hosts->count, 0);
	cr_expect_eq(hosts->trouble, TROUBLE_LOOP);
	hosts_unref(hosts);
	options_free(options);
}

static const struct detail_row {
	const char *destination, *detail;
} detail_rows[] = {
	{ "none.example.net", "NXDOMAIN" },
	{ "failed.example.net", "MX of failed.example.net: SERVFAIL" },
	{ "later.example.net", "A of sick.example.net: SERVFAIL" },
	{ "no-host.example.net", "'no.example.net'" },
	{ "unknown.example.net", "neither MX nor A nor AAAA" },
	{ "localhost.example.net", "localhost', which is not the name" },
	{ "zero.example.net", "0.0.0.0" },
	{ "self.example.net", "best MX" },
	{ "backup2.example.net", "MX hosts before it" },
	{ "v6.example.net", "only IPv6" },
};

Test(hosts, say_what_is_wrong)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);

	fake_dns_rows = rows;
	for (size_t i = 0; i < COUNT(detail_rows); i++) {
		const struct detail_row *row = &detail_rows[i];
		struct hosts *hosts = hosts_find(
			options, &(struct hosts_row){row->destination, NULL,
						     2525, NULL, 0});
		CLEAN(text_done) struct text text = {0};

		text_add(&text, hosts->detail);
		cr_expect(strstr(text_string(&text), row->detail) != NULL,
			  "%s: '%s'", row->destination, text_string(&text));
		hosts_unref(hosts);
	}
	options_free(options);
}
