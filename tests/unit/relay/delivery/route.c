#include <criterion/criterion.h>

#include "relay/delivery/route.h"
#include "relay/routing.h"

#define VIA(host) .via = (struct slice[]){SLICE_LITERAL(host)}, .via_count = 1

static struct route_options routes[] = {
	{ .pattern = SLICE_LITERAL("*"), VIA("any:1"),
	  .tls = TLS_NONE },
	{ .pattern = SLICE_LITERAL("*.example.net"),
	  VIA("below:2"), .tls = TLS_REQUIRED },
	{ .pattern = SLICE_LITERAL("*.deep.example.net"),
	  VIA("deep"), .tls = TLS_VERIFY },
	{ .pattern = SLICE_LITERAL("direct.example.net"),
	  .via_count = 0, .tls = TLS_OPPORTUNISTIC },
	{ .pattern = SLICE_LITERAL("six.example.org"),
	  VIA("[2001:db8::1]:26"), .tls = TLS_NONE },
};

/* A password that must not travel in clear: opportunistic is not enough. */
Test(route, a_login_needs_tls)
{
	static const struct {
		const char *user;
		bool without_tls, implicit_tls;
		enum tls_policy tls, found;
	} rows[] = {
		{"", false, false, TLS_OPPORTUNISTIC, TLS_OPPORTUNISTIC},
		{"u", false, false, TLS_OPPORTUNISTIC, TLS_REQUIRED},
		{"u", true, false, TLS_OPPORTUNISTIC, TLS_OPPORTUNISTIC},
		{"u", true, false, TLS_NONE, TLS_NONE},
		{"u", false, false, TLS_VERIFY, TLS_VERIFY},
		{"", false, true, TLS_OPPORTUNISTIC, TLS_REQUIRED},
		{"", false, true, TLS_VERIFY, TLS_VERIFY},
	};
	struct options *options = options_default();

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct login_options login = {
			.user = SLICE(rows[i].user),
			.without_tls = rows[i].without_tls};
		struct route_options own[] = {
			{.pattern = SLICE_LITERAL("example.org")},
			{.pattern = SLICE_LITERAL("example.net"),
			 VIA("hub"), .login = login,
			 .tls = rows[i].tls,
			 .implicit_tls = rows[i].implicit_tls}};
		struct route route;

		options->delivery.smarthost = (struct slice[]){SLICE("hub")};
		options->delivery.smarthost_count = 1;
		options->delivery.login = login;
		options->delivery.tls = rows[i].tls;
		options->delivery.implicit_tls = rows[i].implicit_tls;
		options->routes = own;
		options->routes_count = COUNT(own);
		routing_build(options);
		cr_assert(route_find(options, SLICE("example.net"), &route,
				     NULL));
		cr_expect_eq(route.tls, rows[i].found, "%zu", i);
		cr_expect_eq(route.login, 2);
		cr_assert(route_find(options, SLICE("example.com"), &route,
				     NULL));
		cr_expect_eq(route.tls, rows[i].found, "%zu: smarthost", i);
		cr_expect_eq(route.implicit_tls, rows[i].implicit_tls);
		cr_expect_eq(route.login, 0);
	}
	options_free(options);
}

static const struct route_row {
	const char *destination;
	size_t routes;      /* of them, from the last on */
	const char *smarthost;
	bool is_direct;
	const char *host;
	uint16_t port;
	enum tls_policy tls;
} route_rows[] = {
	{ "example.com", 0, "", true, "", 25, TLS_OPPORTUNISTIC },
	{ "example.com", 0, "smart:587", false, "smart", 587,
	  TLS_OPPORTUNISTIC },
	{ "example.com", 0, "smart", false, "smart", 25, TLS_OPPORTUNISTIC },
	{ "example.com", 4, "smart:587", false, "smart", 587,
	  TLS_OPPORTUNISTIC },
	{ "example.com", 5, "smart:587", false, "any", 1, TLS_NONE },
	{ "example.net", 5, "", false, "any", 1, TLS_NONE },
	{ "a.example.net", 5, "", false, "below", 2, TLS_REQUIRED },
	{ "a.b.example.net", 5, "", false, "below", 2, TLS_REQUIRED },
	{ "anexample.net", 5, "", false, "any", 1, TLS_NONE },
	{ "a.deep.example.net", 5, "", false, "deep", 25, TLS_VERIFY },
	{ "direct.example.net", 5, "smart:587", true, "", 25,
	  TLS_OPPORTUNISTIC },
	{ "six.example.org", 5, "", false, "2001:db8::1", 26, TLS_NONE },
	{ "[192.0.2.1]", 5, "", false, "any", 1, TLS_NONE },
	{ "[192.0.2.1]", 4, "", true, "", 25, TLS_OPPORTUNISTIC },
};

Test(route, the_closest_wins)
{
	struct options *options = options_default();

	for (size_t i = 0; i < COUNT(route_rows); i++) {
		const struct route_row *row = &route_rows[i];
		struct route route;
		struct fault fault;

		options->routes = routes + COUNT(routes) - row->routes;
		options->routes_count = row->routes;
		options->delivery.smarthost =
			(struct slice[]){SLICE(row->smarthost)};
		options->delivery.smarthost_count = row->smarthost[0] != '\0';
		routing_build(options);
		cr_assert(route_find(options, SLICE(row->destination), &route,
				     &fault), "%zu", i);
		cr_expect_eq(route.is_direct, row->is_direct, "%zu: direct",
			     i);
		cr_expect_eq(route.hops_count, !row->is_direct);
		cr_expect(slice_eq(route.hops[0].host, SLICE(row->host)),
			  "%zu: '%.*s'", i, SLICE_ARG(route.hops[0].host));
		cr_expect_eq(row->is_direct ? route.port : route.hops[0].port,
			     row->port, "%zu: port", i);
		cr_expect_eq(route.tls, row->tls, "%zu: tls", i);
	}
	options_free(options);
}

static const struct source_row {
	const char *name, *delivery_helo, *route_helo;
	size_t delivery_bind, route_bind; /* 0: none */
	const char *helo;
	size_t bind;
} source_rows[] = {
	{ "nothing", "", "", 0, 0, "relay.example.com", 0 },
	{ "of delivery", "d.example", "", 1, 0, "d.example", 1 },
	{ "of the route", "", "r.example", 0, 2, "r.example", 2 },
	{ "of both", "d.example", "r.example", 1, 2, "r.example", 2 },
	{ "each by itself", "d.example", "", 1, 2, "d.example", 2 },
	{ "the other way round", "", "r.example", 1, 0, "r.example", 1 },
};

Test(route, where_connections_come_from)
{
	struct address addresses[2];

	cr_assert(address_parse_host(SLICE("192.0.2.1"), 0, &addresses[0]));
	cr_assert(address_parse_host(SLICE("192.0.2.2"), 0, &addresses[1]));
	for (size_t i = 0; i < COUNT(source_rows); i++) {
		const struct source_row *row = &source_rows[i];
		CLEAN(options_free_clean) struct options *options =
			options_default();
		struct route_options own = {.pattern = SLICE("example.net")};
		struct route route;

		options->hostname = SLICE("relay.example.com");
		options->delivery.source = (struct source_options){
			addresses, row->delivery_bind > 0,
			SLICE(row->delivery_helo)};
		own.source = (struct source_options){addresses + 1,
						     row->route_bind > 0,
						     SLICE(row->route_helo)};
		options->routes = &own;
		options->routes_count = 1;
		routing_build(options);
		cr_assert(route_find(options, SLICE("example.net"), &route,
				     NULL));
		cr_expect(slice_eq(route.source.helo, SLICE(row->helo)), "%s",
			  row->name);
		cr_expect_eq(route.source.bind_count, row->bind > 0, "%s",
			     row->name);
		cr_expect(row->bind == 0 ||
				  route.source.bind == &addresses[row->bind - 1],
			  "%s", row->name);
	}
}
