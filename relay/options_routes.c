#include "relay/options_routes.h"

#include "relay/options_values.h"
#include "relay/options_check.h"
#include "relay/own.h"

static void
tls_terms_check(const struct conf_item *item, enum tls_policy tls,
		const struct tls_terms *terms, struct conf_errors *errors)
{
	if (terms->names_count > 0 && tls != TLS_VERIFY)
		conf_error(errors, conf_item_place(item, "tls_names"),
			   "'tls_names' needs 'tls = \"verify\"'");
	if (terms->min != TLS_MIN_AUTO && tls == TLS_NONE)
		conf_error(errors, conf_item_place(item, "tls_min"),
			   "'tls_min' and 'tls = \"none\"' are at odds");
}

/* A list of hosts, as `delivery` or a route names it. */
struct next_hops {
	const char *option;
	const struct slice *items;
	size_t count;
};

static void
next_hops_check(const struct next_hops *hops, const struct conf_item *item,
		struct conf_errors *errors)
{
	for (size_t i = 0; i < hops->count; i++) {
		if (hops->items[i].len == 0)
			conf_error(errors, conf_item_place(item, hops->option),
				   "'%s' names an empty host among others",
				   hops->option);
		for (size_t j = 0; j < i; j++)
			if (slice_eq_nocase(hops->items[i], hops->items[j]))
				conf_error(errors,
					   conf_item_place(item, hops->option),
					   "'%s' names '%.*s' twice",
					   hops->option,
					   SLICE_ARG(hops->items[i]));
	}
}

/* Only what needs no DNS is seen here. Of several, one that is this relay is
 * left out, so that relays can share a configuration. */
static bool
leads_nowhere_else(const struct options *options, const struct next_hops *hops)
{
	for (size_t i = 0; i < hops->count; i++) {
		struct address address;
		struct slice host;
		uint16_t port;

		if (!address_split(hops->items[i], options->delivery.port,
				   &host, &port) ||
		    !address_parse_host(host, port, &address) ||
		    !own_is_address(options, &address))
			return false;
	}
	return hops->count > 0;
}

static void
own_hops_check(const struct options *options, const struct next_hops *hops,
	       const struct conf_item *item, struct conf_errors *errors)
{
	if (leads_nowhere_else(options, hops))
		conf_error(errors, conf_item_place(item, hops->option),
			   "'%s' leads to a listener of this relay itself, so "
			   "that its mail would never leave",
			   hops->option);
}

/* A next hop, of `delivery` or of a route, which the hosts are. A host
 * that the DNS names is given no password. */
static void
next_hop_check(const struct conf_item *item, const struct next_hops *hops,
	       enum tls_policy tls, bool implicit_tls,
	       const struct login_options *login, struct conf_errors *errors)
{
	next_hops_check(hops, item, errors);
	if (implicit_tls && hops->count == 0)
		conf_error(errors, conf_item_place(item, "implicit_tls"),
			   "'implicit_tls' needs '%s'", hops->option);
	if (implicit_tls && tls == TLS_NONE)
		conf_error(errors, conf_item_place(item, "tls"),
			   "'implicit_tls' and 'tls = \"none\"' are at odds");
	if (login->user.len == 0 && login->password_file.len > 0)
		conf_error(errors, conf_item_place(item, "auth_password_file"),
			   "'auth_password_file' needs 'auth_user'");
	if (login->user.len == 0)
		return;
	if (login->password_file.len == 0)
		conf_error(errors, conf_item_place(item, "auth_user"),
			   "'auth_user' needs 'auth_password_file'");
	if (hops->count == 0)
		conf_error(errors, conf_item_place(item, "auth_user"),
			   "'auth_user' needs '%s'", hops->option);
	if (tls == TLS_NONE && !login->without_tls)
		conf_error(errors, conf_item_place(item, "auth_user"),
			   "'auth_user' with 'tls = \"none\"' would send the "
			   "password in clear; use TLS, or 'auth_without_tls'");
}

static void
source_check(const struct conf_item *item, const struct source_options *source,
	     struct conf_errors *errors)
{
	if (source->bind_count == 2 && source->bind[0].any.sa_family ==
					       source->bind[1].any.sa_family)
		conf_error(errors, conf_item_place(item, "bind"),
			   "'bind' has two addresses of IPv%d",
			   source->bind[0].any.sa_family == AF_INET ? 4 : 6);
}

void
options_routes_check(const struct options *options, struct conf_errors *errors)
{
	const struct delivery_options *delivery = &options->delivery;
	const struct conf_item *item =
		options_section_at(options->items, "delivery", 0);
	const struct conf_item *next = options->items->items;
	struct next_hops hops = {"smarthost", delivery->smarthost,
				 delivery->smarthost_count};

	next_hop_check(item, &hops, delivery->tls, delivery->implicit_tls,
		       &delivery->login, errors);
	own_hops_check(options, &hops, item, errors);
	tls_terms_check(item, delivery->tls, &delivery->tls_terms, errors);
	source_check(item, &delivery->source, errors);
	for (size_t i = 0; i < options->routes_count; i++) {
		const struct route_options *route = &options->routes[i];
		struct fault fault;

		while (!slice_eq(next->name, SLICE("route")))
			next = next->next;
		item = next;
		next = next->next;
		hops = (struct next_hops){"via", route->via, route->via_count};
		if (route->pattern.len > 0)
			options_fault_report(
				errors, item->place,
				pattern_check(route->pattern, &fault), &fault);
		next_hop_check(item, &hops, route->tls, route->implicit_tls,
			       &route->login, errors);
		own_hops_check(options, &hops, item, errors);
		tls_terms_check(item, route->tls, &route->tls_terms, errors);
		source_check(item, &route->source, errors);
	}
}
