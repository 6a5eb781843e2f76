#include <criterion/criterion.h>

#include "relay/delivery/hosts.h"
#include "tests/fake/dns.h"

static const struct fake_dns_row rows[] = {
	{ "example.net", DNS_MX, DNS_FOUND,
	  "20 mx2.example.net 10 mx1.example.net" },
	{ "mx1.example.net", DNS_A, DNS_FOUND, "192.0.2.1 192.0.2.2" },
	{ "mx2.example.net", DNS_A, DNS_FOUND, "192.0.2.3" },
	{ "implicit.example.net", DNS_A, DNS_FOUND, "192.0.2.4" },
	{ "null.example.net", DNS_MX, DNS_FOUND, "0 ." },
	{ "half-null.example.net", DNS_MX, DNS_FOUND, "0 . 5 mx2.example.net" },
	{ "none.example.net", DNS_MX, DNS_NO_NAME, "" },
	{ "failed.example.net", DNS_MX, DNS_FAILED, "" },
	{ "no-host.example.net", DNS_MX, DNS_FOUND, "10 no.example.net" },
	{ "skips.example.net", DNS_MX, DNS_FOUND,
	  "10 no.example.net 20 mx2.example.net" },
	{ "later.example.net", DNS_MX, DNS_FOUND, "10 sick.example.net" },
	{ "sick.example.net", DNS_A, DNS_FAILED, "" },
	{ "sick.example.net", DNS_AAAA, DNS_FAILED, "" },
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
	{ "failed.example.net", NULL, 25, NULL, TROUBLE_DNS },
	{ "no-host.example.net", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "skips.example.net", NULL, 25, "192.0.2.3:25", 0 },
	{ "later.example.net", NULL, 25, NULL, TROUBLE_DNS },
	{ "half.example.net", NULL, 25, "192.0.2.3:25", 0 },
	{ "unknown.example.net", NULL, 25, NULL, TROUBLE_NO_HOST },
	{ "loop.example.net", NULL, 2525, "192.0.2.3:2525", 0 },
	{ "self.example.net", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "self.example.net", NULL, 25, "192.0.2.99:25", 0 },
	{ "near.example.net", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "near.example.net", NULL, 2526, "127.0.0.1:2526", 0 },
	{ "six.example.net", NULL, 25, "[::1]:25 127.0.0.7:25 127.0.0.8:25",
	  0 },
	{ "[192.0.2.9]", NULL, 25, "192.0.2.9:25", 0 },
	{ "[IPv6:2001:db8::9]", NULL, 25, "[2001:db8::9]:25", 0 },
	{ "[nonsense]", NULL, 25, NULL, TROUBLE_BAD_NAME },
	{ "[127.0.0.1]", NULL, 2525, NULL, TROUBLE_LOOP },
	{ "x.example", "mx2.example.net", 26, "192.0.2.3:26", 0 },
	{ "x.example", "example.net", 26, NULL, TROUBLE_DNS }, /* never MX */
	{ "x.example", "127.0.0.1", 2526, "127.0.0.1:2526", 0 },
	{ "x.example", "127.0.0.1", 2525, NULL, TROUBLE_LOOP },
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
		.is_direct = row->via == NULL,
		.host = SLICE(row->via),
		.port = row->port,
	};
	struct hosts *hosts;

	found = NULL;
	hosts = hosts_start(&query, NULL, options, &route,
			    SLICE(row->destination));
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

static struct options *
options_make(struct listener_options *listener)
{
	struct options *options = options_default();
	struct fault fault;

	cr_assert(address_parse(SLICE("127.0.0.1:2525"), 0, &listener->address,
				&fault));
	options->hostname = SLICE("relay.example.org");
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

Test(hosts, a_cancelled_query_leaves_nothing)
{
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	struct hosts_query query = {.done = hosts_done};
	struct route route = {.is_direct = true, .port = 25};

	fake_dns_rows = rows;
	found = NULL;
	cr_expect_null(hosts_start(&query, NULL, options, &route,
				   SLICE("example.net")));
	hosts_cancel(&query);
	fake_dns_run();
	cr_expect_null(found);
	cr_expect_eq(fake_dns_open(), 0);
	options_free(options);
}

/* Whether this machine has IPv6 or not: never a failure. */
Test(hosts, with_ipv6_only)
{
	static const struct hosts_row row = {"v6.example.net", NULL, 25, NULL,
					     0};
	struct listener_options listener = {.is_any = false};
	struct options *options = options_make(&listener);
	struct hosts *hosts;

	fake_dns_rows = rows;
	hosts = hosts_find(options, &row);
	if (hosts->count == 0)
		cr_expect_eq(hosts->trouble, TROUBLE_NO_CONNECTION);
	hosts_unref(hosts);
	options->listeners = NULL;
	options->listeners_count = 0;
	options_free(options);
}
