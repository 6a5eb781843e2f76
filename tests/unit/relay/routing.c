#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/machine.h"
#include "relay/options_check.h"
#include "relay/routing.h"

/* Each route's `via` is its name here. */
static const char configuration[] =
	"route \"example.net\" { via = \"r-exact\" }\n"
	"route \"example.net\" { via = \"r-exact-a\" from = {\"a.example\"} }\n"
	"route \"*.example.net\" { via = \"r-below\" }\n"
	"route \"*.deep.example.net\" { via = \"r-deep\" }\n"
	"route \"only.example.org\" { via = \"r-only\"\n"
	"    from = {\"a.example\"} }\n"
	"route \"[192.0.2.1]\" { via = \"r-literal\" }\n"
	"route \"[IPv6:2001:db8::1]\" { via = \"r-literal6\" }\n"
	"route \"b\xc3\xbc" "cher.example\" { via = \"r-idn\" }\n"
	"route \"*\" { via = \"s-user\" from = {\"Boss@A.example\"} }\n"
	"route \"*\" { via = \"s-a\" from = {\"x.example\", \"a.example\"} }\n"
	"route \"*\" { via = \"s-below-a\" from = {\"*.a.example\"} }\n"
	"route \"*\" { via = \"s-deep-a\" from = {\"*.deep.a.example\"} }\n"
	"route \"*\" { via = \"s-idn\" from = {\"b\xc3\xbc.example\"} }\n"
	"route \"*\" { via = \"s-null\" from = {\"<>\"} }\n"
	"route \"*.example.org\" { via = \"s-all\" from = {\"*\"} }\n"
	"route \"*\" { via = \"r-any\" }\n";

static const struct routing_row {
	const char *name, *domain, *sender, *via; /* "" : none */
} routing_rows[] = {
	{ "the recipient's domain", "example.net", "u@c.example", "r-exact" },
	{ "whatever its case", "EXAMPLE.net", "u@c.example", "r-exact" },
	{ "with a last dot", "example.net.", "u@c.example", "r-exact" },
	{ "below it", "a.example.net", "u@c.example", "r-below" },
	{ "far below it", "a.b.example.net", "u@c.example", "r-below" },
	{ "the longest", "a.deep.example.net", "u@c.example", "r-deep" },
	{ "a domain is not below itself", "deep.example.net", "u@c.example",
	  "r-below" },
	{ "labels, not letters", "anexample.net", "u@c.example", "r-any" },
	{ "sender within the recipient's", "example.net", "u@a.example",
	  "r-exact-a" },
	{ "recipient before sender", "a.example.net", "u@a.example",
	  "r-below" },
	{ "a title whose sender differs is passed over", "only.example.org",
	  "u@c.example", "s-all" },
	{ "and else taken", "only.example.org", "u@a.example", "r-only" },
	{ "any sender", "x.example.org", "u@c.example", "s-all" },
	{ "but the null path", "x.example.org", "", "s-null" },
	{ "an address", "x.example", "boss@a.example", "s-user" },
	{ "whatever its case", "x.example", "BOSS@a.EXAMPLE", "s-user" },
	{ "another one of the domain", "x.example", "b@a.example", "s-a" },
	{ "the second of a list", "x.example", "b@x.example", "s-a" },
	{ "sender below", "x.example", "b@m.a.example", "s-below-a" },
	{ "the longest sender", "x.example", "b@m.deep.a.example", "s-deep-a" },
	{ "not itself", "x.example", "b@deep.a.example", "s-below-a" },
	{ "sender with U-labels", "x.example", "b@B\xc3\x9c.example", "s-idn" },
	{ "and with A-labels", "x.example", "b@xn--b-eha.example", "s-idn" },
	{ "the null path", "x.example", "", "s-null" },
	{ "no sender's", "x.example", "b@c.example", "r-any" },
	{ "a sender without domain", "x.example", "root", "r-any" },
	{ "the same of any sender", "x.example.org", "root", "s-all" },
	{ "a quoted @", "x.example", "\"a@b\"@a.example", "s-a" },
	{ "a sender of an address literal", "x.example", "u@[192.0.2.1]",
	  "r-any" },
	{ "literal", "[192.0.2.1]", "u@c.example", "r-literal" },
	{ "another literal", "[192.0.2.2]", "u@c.example", "r-any" },
	{ "a literal has senders, too", "[192.0.2.2]", "u@a.example", "s-a" },
	{ "literal of IPv6", "[IPv6:2001:DB8:0::1]", "", "r-literal6" },
	{ "no literal", "[nonsense]", "u@c.example", "r-any" },
	{ "A-labels", "xn--bcher-kva.example", "u@c.example", "r-idn" },
	{ "U-labels", "B\xc3\x9c" "cher.example", "u@c.example", "r-idn" },
	{ "not UTF-8", "\xff.example", "u@\xff.example", "r-any" },
	{ "empty labels", "..", "u@..", "r-any" },
};

static struct options *
options_of(const char *text)
{
	CLEAN(conf_sources_done) struct conf_sources sources = {0};
	struct options *options = NULL;
	struct fault fault;

	conf_sources_add(&sources, SLICE("c"), SLICE(text));
	conf_sources_add(&sources, SLICE(SOURCE_HOSTNAME),
			 SLICE("mx.example.com"));
	cr_assert(options_parse(text_slice(&sources.bytes), &options, &fault),
		  "%s", fault.text);
	return options;
}

static struct slice
via_of(const struct route_options *route)
{
	return route == NULL ? SLICE("") : route->via[0];
}

Test(routing, recipient_first_then_sender)
{
	struct options *options = options_of(configuration);

	for (size_t i = 0; i < COUNT(routing_rows); i++) {
		const struct routing_row *row = &routing_rows[i];
		struct slice via = via_of(routing_find(
			options, SLICE(row->domain), SLICE(row->sender)));

		cr_expect(slice_eq(via, SLICE(row->via)), "%s: '%.*s'",
			  row->name, SLICE_ARG(via));
	}
	options_free(options);
}

/* What the queue's key leads to is what was found. */
Test(routing, a_destination_leads_to_its_route)
{
	struct options *options = options_of(configuration);

	for (size_t i = 0; i < COUNT(routing_rows); i++) {
		const struct routing_row *row = &routing_rows[i];
		struct slice domain = SLICE(row->domain);
		struct slice sender = SLICE(row->sender);
		const struct route_options *found =
			routing_find(options, domain, sender);
		const struct route_options *at;
		char name[DESTINATION_MAX];
		struct slice destination = routing_destination(
			options, domain, sender, name);

		cr_expect(slice_eq(routing_domain(destination), domain), "%s",
			  row->name);
		cr_expect_eq(destination.len > domain.len,
			     found->from_count > 0, "%s", row->name);
		cr_assert(routing_at(options, destination, &at), "%s",
			  row->name);
		cr_expect_eq(at, found, "%s", row->name);
		cr_expect(routing_fits(options, destination, sender), "%s",
			  row->name);
	}
	options_free(options);
}

/* Where the mail of u@a.example for example.net belongs, before and after a
 * reload. */
static const struct reload_row {
	const char *name, *before, *after;
	bool fits, leads;
} reload_rows[] = {
	{ "nothing changes", "route \"*\" { from = {\"a.example\"} }",
	  "route \"*\" { from = {\"a.example\"} }", true, true },
	{ "via does not matter",
	  "route \"*\" { from = {\"a.example\"} via = \"x:1\" }",
	  "route \"*\" { from = {\"a.example\"} via = \"y:2\" }", true, true },
	{ "nor the order of senders",
	  "route \"*\" { from = {\"b.example\", \"a.example\"} }",
	  "route \"*\" { from = {\"a.example\", \"b.example\"} }", true, true },
	{ "it is gone", "route \"*\" { from = {\"a.example\"} }", "", false,
	  false },
	{ "it is new", "", "route \"*\" { from = {\"a.example\"} }", false,
	  true },
	{ "a closer one is new", "route \"*\" { from = {\"a.example\"} }",
	  "route \"*\" { from = {\"a.example\"} }\n"
	  "route \"*\" { from = {\"u@a.example\"} }", false, true },
	{ "the recipient has one now",
	  "route \"*\" { from = {\"a.example\"} }",
	  "route \"*\" { from = {\"a.example\"} }\n"
	  "route \"example.net\" { }", false, true },
	{ "another sender", "route \"*\" { from = {\"a.example\"} }",
	  "route \"*\" { from = {\"b.example\"} }", false, false },
	{ "routes of recipients have no id", "route \"example.net\" { }", "",
	  true, true },
};

Test(routing, a_reload_shows_who_is_in_the_wrong_place)
{
	for (size_t i = 0; i < COUNT(reload_rows); i++) {
		const struct reload_row *row = &reload_rows[i];
		struct options *before = options_of(row->before);
		struct options *after = options_of(row->after);
		const struct route_options *route;
		char name[DESTINATION_MAX];
		struct slice sender = SLICE("u@a.example");
		struct slice destination = routing_destination(
			before, SLICE("example.net"), sender, name);

		cr_expect(routing_fits(before, destination, sender), "%s",
			  row->name);
		cr_expect_eq(routing_fits(after, destination, sender),
			     row->fits, "%s", row->name);
		cr_expect_eq(routing_at(after, destination, &route), row->leads,
			     "%s", row->name);
		options_free(before);
		options_free(after);
	}
}

Test(routing, the_longest_names_fit)
{
	struct options *options = options_of(configuration);
	char domain[DOMAIN_MAX + 1], sender[DOMAIN_MAX + 3];
	char name[DESTINATION_MAX];

	memset(domain, 'x', sizeof(domain));
	for (size_t i = 1; i < DOMAIN_MAX; i += 2)
		domain[i] = '.';
	for (size_t len = DOMAIN_MAX - 4; len <= DOMAIN_MAX; len++) {
		int n = snprintf(sender, sizeof(sender), "u@%.*s", (int)len,
				 domain);

		(void)routing_destination(options, slice_of(domain, len),
					  slice_of(sender, (size_t)n), name);
		cr_expect(slice_eq(via_of(routing_find(options,
						       slice_of(domain, len),
						       SLICE(""))),
				   SLICE("s-null")));
	}
	options_free(options);
}

static const struct reports_row {
	const char *destination;
	unsigned number;
	const char *reports;
} reports_rows[] = {
	{"x.example", 0, "x.example/report-00000000"},
	{"x.example/0123456789abcdef", 999, "x.example/report-000003e7"},
	{"[192.0.2.1]", UINT32_MAX, "[192.0.2.1]/report-ffffffff"},
};

/* They are of the same domain, and no mail goes there. */
Test(routing, reports_wait_at_a_place_of_their_own)
{
	struct options *options = options_of(configuration);
	char out[DESTINATION_MAX];

	for (size_t i = 0; i < COUNT(reports_rows); i++) {
		const struct reports_row *row = &reports_rows[i];
		const struct route_options *route = NULL;
		struct slice destination = SLICE(row->destination);
		struct slice reports =
			routing_reports(destination, row->number, out);

		cr_expect(slice_eq(reports, SLICE(row->reports)), "%.*s",
			  SLICE_ARG(reports));
		cr_expect(slice_eq(routing_domain(reports),
				   routing_domain(destination)));
		cr_expect(routing_is_of_reports(reports));
		cr_expect_not(routing_is_of_reports(destination));
		cr_expect_not(routing_at(options, reports, &route));
		cr_expect_not(routing_fits(options, reports,
					   SLICE("from@example.com")));
	}
	options_free(options);
}
