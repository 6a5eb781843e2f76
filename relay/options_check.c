#include "relay/options_check.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "milter/idn.h"
#include "milter/senders.h"
#include "relay/machine.h"
#include "relay/options_routes.h"
#include "relay/options_values.h"
#include "relay/resolvers.h"
#include "relay/routing.h"

#define SOCKET_PATH_MAX 107 /* unix(7), without the NUL */

/* ---- places ---- */

const struct conf_item *
options_section_at(const struct conf_item *section, const char *name, size_t n)
{
	static const struct conf_item nothing = {.is_section = true};
	const struct conf_item *item = conf_item_find(section, name, n);

	return item == NULL ? &nothing : item;
}

/* ---- settling ---- */

struct settler {
	struct options *options;
	const struct conf_sources *sources;
	struct conf_errors *errors;
};

static struct slice
source_of(const struct settler *settler, const char *name)
{
	struct slice contents;

	return conf_sources_find(settler->sources, SLICE(name), &contents)
		       ? contents
		       : SLICE_NONE;
}

/* Relative paths start at the directory of the file they stand in. */
static void
path_settle(const struct settler *settler, const struct conf_item *section,
	    const char *name, struct slice *path)
{
	struct conf_place place = conf_item_place(section, name);
	struct arena *arena = &settler->options->arena;
	struct slice file = SLICE(place.file), directory;
	ptrdiff_t slash = slice_find_last(file, '/');

	if (path->len == 0 || path->bytes[0] == '/')
		return;
	directory = slice_sub(file, 0, slash < 0 ? 0 : (size_t)slash);
	if (slash != 0 && !slice_starts(file, SLICE("/"))) {
		struct slice current = source_of(settler, SOURCE_DIRECTORY);

		directory = arena_printf(
			arena, "%.*s%s%.*s", SLICE_ARG(current),
			directory.len > 0 ? "/" : "", SLICE_ARG(directory));
	}
	*path = arena_printf(arena, "%.*s/%.*s", SLICE_ARG(directory),
			     SLICE_ARG(*path));
}

/* As DNS has it: A-labels, in lower case; a literal in its one form. What is no
 * domain name stays as it is, for the checks to say so. */
static struct slice
name_settle(struct arena *arena, struct slice name)
{
	struct slice ascii, rest = name;
	bool is_pattern = slice_starts(name, SLICE("*."));
	char literal[ADDRESS_TEXT_SIZE];
	struct address address;

	if (slice_starts(name, SLICE("[")) &&
	    address_parse_host(name, 0, &address)) {
		address_write_literal(&address, literal);
		return arena_copy(arena, SLICE(literal));
	}
	if (is_pattern)
		rest = slice_from(name, 2);
	if (!idn_to_ascii(rest, arena, &ascii, NULL))
		return name;
	return is_pattern ? arena_printf(arena, "*.%.*s", SLICE_ARG(ascii))
			  : ascii;
}

static void
hostname_settle(const struct settler *settler)
{
	struct options *options = settler->options;
	struct slice name = source_of(settler, SOURCE_HOSTNAME);
	struct fault fault;

	if (options->hostname.len > 0) {
		options->hostname =
			name_settle(&options->arena, options->hostname);
		if (!host_name_check(options->hostname, &fault))
			conf_error_fault(
				settler->errors,
				conf_item_place(options->items, "hostname"),
				&fault);
		return;
	}
	if (!host_name_check(name, &fault)) {
		fault_within(&fault, "'hostname' has to be set, because the "
				     "machine's own will not do");
		conf_error_fault(settler->errors, options->items->place,
				 &fault);
		return;
	}
	options->hostname = arena_copy(&options->arena, name);
}

static void
resolvers_settle(const struct settler *settler)
{
	struct options *options = settler->options;
	struct resolvers *found;

	if (options->dns.resolvers_count > 0)
		return;
	found = arena_new(&options->arena, sizeof(*found));
	resolvers_of(source_of(settler, SOURCE_RESOLV_CONF), found);
	if (found->count == 0) /* resolv.conf(5) */
		found->count += address_parse_host(SLICE("127.0.0.1"), 53,
						   &found->items[0]);
	options->dns.resolvers = found->items;
	options->dns.resolvers_count = found->count;
	options->dns.are_machines = true;
}

static uint64_t
sessions_by_files(const struct settler *settler)
{
	uint64_t files, others = RELAY_FILES +
				 settler->options->delivery.max_outgoing;

	if (!slice_number(source_of(settler, SOURCE_FILES), &files))
		return UINT64_MAX;
	return files > others ? (files - others) / SESSION_FILES : 0;
}

/* What nobody has asked for a small machine, or container, need not have. */
static void
memory_settle(const struct settler *settler)
{
	struct limits_options *limits = &settler->options->limits;
	const struct conf_item *section =
		conf_item_find(settler->options->items, "limits", 0);
	uint64_t memory;

	if ((section != NULL &&
	     conf_item_find(section, "max_memory", 0) != NULL) ||
	    !slice_number(source_of(settler, SOURCE_MEMORY), &memory))
		return;
	memory /= MEMORY_SHARE;
	if (memory < MIB)
		memory = MIB;
	if (memory < limits->max_memory)
		limits->max_memory = memory;
}

/* limits.h has the account. */
static void
sessions_settle(const struct settler *settler)
{
	struct limits_options *limits = &settler->options->limits;
	uint64_t memory = 0, others, by_files;
	uint64_t count = SESSIONS_DEFAULT_MIN;

	if (limits->max_sessions > 0)
		return;
	by_files = sessions_by_files(settler);
	if (!slice_number(source_of(settler, SOURCE_MEMORY), &memory))
		memory = UINT64_MAX;
	others = RELAY_MEMORY + limits->max_memory +
		 limits->max_memory / HELD_SHARE;
	if (memory / 2 > others)
		count = (memory / 2 - others) / SESSION_MEMORY;
	if (count > by_files)
		count = by_files;
	if (count < SESSIONS_DEFAULT_MIN)
		count = SESSIONS_DEFAULT_MIN;
	limits->max_sessions = count < SESSIONS_DEFAULT_MAX
				       ? count
				       : SESSIONS_DEFAULT_MAX;
}

static void
domains_settle(const struct settler *settler)
{
	struct options *options = settler->options;
	const struct conf_item *item = options->items->items;

	for (size_t i = 0; i < options->keys.domains_count; i++) {
		struct domain_options *domain = &options->keys.domains[i];

		item = conf_item_from(item, "domain");
		domain->name = name_settle(&options->arena, domain->name);
		domain->file = item->place.file;
		domain->line = item->place.line;
		for (size_t j = 0; j < domain->selectors_count; j++) {
			struct selector_options *selector =
				&domain->selectors[j];
			const struct conf_item *section =
				options_section_at(item, "selector", j);
			struct conf_place place =
				conf_item_place(section, "key");

			selector->file = place.file;
			selector->line = place.line;
		}
		item = item->next;
	}
}

/* "" alone means none: `via = ""`. */
static void
next_hops_settle(const struct slice *via, size_t *count)
{
	if (*count == 1 && via[0].len == 0)
		*count = 0;
}

static void
routes_settle(const struct settler *settler)
{
	struct options *options = settler->options;
	const struct conf_item *item = options->items->items;

	next_hops_settle(options->delivery.smarthost,
			 &options->delivery.smarthost_count);
	for (size_t i = 0; i < options->routes_count; i++) {
		struct route_options *route = &options->routes[i];

		item = conf_item_from(item, "route");
		path_settle(settler, item, "auth_password_file",
			    &route->login.password_file);
		route->pattern = name_settle(&options->arena, route->pattern);
		next_hops_settle(route->via, &route->via_count);
		item = item->next;
	}
}

void
options_settle(struct options *options, const struct conf_sources *sources,
	       struct conf_errors *errors)
{
	struct settler settler = {options, sources, errors};
	const struct conf_item *root = options->items;

	hostname_settle(&settler);
	resolvers_settle(&settler);
	memory_settle(&settler);
	sessions_settle(&settler);
	domains_settle(&settler);
	path_settle(&settler, root, "state_dir", &options->state_dir);
	path_settle(&settler, root, "keys_dir", &options->keys.keys_dir);
	for (size_t i = 0; i < options->listeners_count; i++) {
		struct listener_options *listener = &options->listeners[i];
		const struct conf_item *item =
			options_section_at(root, "listener", i);

		path_settle(&settler, item, "tls_cert", &listener->tls_cert);
		path_settle(&settler, item, "tls_key", &listener->tls_key);
		path_settle(&settler, item, "tls_clients",
			    &listener->tls_clients);
		path_settle(&settler, item, "tls_client_ca",
			    &listener->tls_client_ca);
		path_settle(&settler, item, "auth_file", &listener->auth_file);
		path_settle(&settler, item, "auth_dovecot",
			    &listener->auth_dovecot);
	}
	path_settle(&settler, options_section_at(root, "delivery", 0),
		    "auth_password_file",
		    &options->delivery.login.password_file);
	routes_settle(&settler);
}

/* ---- checks ---- */

void
options_fault_report(struct conf_errors *errors, struct conf_place place,
		     bool is_good, const struct fault *fault)
{
	if (!is_good)
		conf_error_fault(errors, place, fault);
}

static void
listener_check(const struct listener_options *listener,
	       const struct conf_item *item, struct conf_errors *errors)
{
	if (listener->tls != LISTENER_TLS_NONE && listener->tls_cert.len == 0)
		conf_error(errors, conf_item_place(item, "tls"),
			   "'tls' needs 'tls_cert' in the listener \"%.*s\"",
			   SLICE_ARG(listener->name));
	if (listener->tls != LISTENER_TLS_NONE && listener->tls_key.len == 0)
		conf_error(errors, conf_item_place(item, "tls"),
			   "'tls' needs 'tls_key' in the listener \"%.*s\"",
			   SLICE_ARG(listener->name));
	if (listener->tls == LISTENER_TLS_NONE && listener->tls_clients.len > 0)
		conf_error(errors, conf_item_place(item, "tls_clients"),
			   "'tls_clients' needs 'tls'");
	if (listener->tls == LISTENER_TLS_NONE &&
	    listener->tls_client_ca.len > 0)
		conf_error(errors, conf_item_place(item, "tls_client_ca"),
			   "'tls_client_ca' needs 'tls'");
}

static bool
knows_certificates(const struct listener_options *listener)
{
	return listener->tls_clients.len > 0 || listener->tls_client_ca.len > 0;
}

static void
listener_auth_check(const struct listener_options *listener,
		    const struct conf_item *item, struct conf_errors *errors)
{
	if (listener->auth != AUTH_NONE && listener->auth_file.len == 0 &&
	    listener->auth_dovecot.len == 0 && !knows_certificates(listener))
		conf_error(errors, conf_item_place(item, "auth"),
			   "'auth' needs 'auth_file' or 'auth_dovecot' in the "
			   "listener \"%.*s\"",
			   SLICE_ARG(listener->name));
	if (listener->auth_file.len > 0 && listener->auth_dovecot.len > 0)
		conf_error(errors, conf_item_place(item, "auth_dovecot"),
			   "'auth_dovecot' takes the place of 'auth_file': name "
			   "one of them");
	if (listener->auth_dovecot.len > SOCKET_PATH_MAX)
		conf_error(errors, conf_item_place(item, "auth_dovecot"),
			   "'auth_dovecot': the path of a socket has at most %d "
			   "octets", SOCKET_PATH_MAX);
	if (listener->auth == AUTH_NONE && listener->auth_dovecot.len > 0)
		conf_error(errors, conf_item_place(item, "auth_dovecot"),
			   "'auth_dovecot' is of no use with 'auth' none");
	if (listener->auth != AUTH_NONE && listener->tls == LISTENER_TLS_NONE &&
	    !listener->auth_without_tls)
		conf_error(errors, conf_item_place(item, "auth"),
			   "nobody can log in at the listener \"%.*s\": "
			   "passwords are not taken in clear; set 'tls', or "
			   "'auth_without_tls'",
			   SLICE_ARG(listener->name));
	if (listener->auth == AUTH_NONE && listener->auth_file.len > 0)
		conf_error(errors, conf_item_place(item, "auth_file"),
			   "'auth_file' is of no use with 'auth' none");
}

static bool
is_same_place(const struct listener_options *a,
	      const struct listener_options *b)
{
	if (a->socket_name.len > 0)
		return slice_eq(a->socket_name, b->socket_name);
	return a->address.len > 0 && b->address.len > 0 &&
	       address_eq(&a->address, &b->address);
}

/* What "*", "0.0.0.0" or "[::]" takes of the other, too; [::] is IPv6 alone. */
static bool
covers(const struct listener_options *a, const struct listener_options *b)
{
	sa_family_t family = a->address.any.sa_family;
	sa_family_t other = b->address.any.sa_family;

	if (a->address.len == 0 || b->address.len == 0 || family == AF_UNIX ||
	    other == AF_UNIX ||
	    address_port(&a->address) != address_port(&b->address))
		return false;
	if (a->is_any)
		return true;
	if (family != other)
		return false;
	return family == AF_INET
		       ? a->address.v4.sin_addr.s_addr == htonl(INADDR_ANY)
		       : IN6_IS_ADDR_UNSPECIFIED(&a->address.v6.sin6_addr);
}

static void
listeners_compare(const struct listener_options *a,
		  const struct listener_options *b, struct conf_place place,
		  struct conf_errors *errors)
{
	if (is_same_place(a, b))
		conf_error(errors, place,
			   "the listeners \"%.*s\" and \"%.*s\" have the same "
			   "address",
			   SLICE_ARG(a->name), SLICE_ARG(b->name));
	else if (covers(a, b) || covers(b, a))
		conf_error(errors, place,
			   "the listeners \"%.*s\" and \"%.*s\" have the same "
			   "port, and one of them every address",
			   SLICE_ARG(a->name), SLICE_ARG(b->name));
}

static void
listeners_check(const struct options *options, struct conf_errors *errors)
{
	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];
		const struct conf_item *item =
			options_section_at(options->items, "listener", i);

		listener_check(listener, item, errors);
		listener_auth_check(listener, item, errors);
		for (size_t j = 0; j < i; j++)
			listeners_compare(&options->listeners[j], listener,
					  conf_item_place(item, "address"),
					  errors);
	}
}

/* What it makes, its own rules must not refuse. */
static void
account_rewrite_check(const struct account_options *account,
		      const char *option, struct slice to,
		      const struct conf_item *item, struct conf_errors *errors)
{
	ptrdiff_t at = slice_find_last(to, '@');
	struct slice local = slice_sub(to, 0, at < 0 ? 0 : (size_t)at);
	struct slice domain = slice_from(to, (size_t)(at + 1));

	if (at < 0 || account->from_count == 0)
		return;
	for (size_t i = 0; i < account->from_count; i++)
		if (senders_pattern_matches(account->from[i], local, domain))
			return;
	conf_error(errors, conf_item_place(item, option),
		   "'%s': the account's 'from' does not allow \"%.*s\"",
		   option, SLICE_ARG(to));
}

static void
accounts_check(const struct options *options, struct conf_errors *errors)
{
	const struct conf_item *item = options->items->items;

	for (size_t i = 0; i < options->accounts_count; i++) {
		const struct account_options *account = &options->accounts[i];

		item = conf_item_from(item, "account");
		account_rewrite_check(account, "rewrite_from",
				      account->rewrite.from, item, errors);
		account_rewrite_check(account, "rewrite_sender",
				      account->rewrite.sender, item, errors);
		item = item->next;
	}
}

static void
domain_sections_check(const struct domain_options *domain,
		      const struct conf_item *item, struct conf_errors *errors)
{
	struct fault fault;

	if (domain->name.len == 0)
		return; /* reported already */
	if (slice_starts(domain->name, SLICE("*.")))
		conf_error(errors, item->place,
			   "the domains below one are not named by '*': write "
			   "domain \"%.*s\" with 'subdomains = true'",
			   SLICE_ARG(slice_from(domain->name, 2)));
	else if (!slice_eq(domain->name, SLICE("*")))
		options_fault_report(errors, item->place,
				     domain_check(domain->name, &fault),
				     &fault);
	for (size_t i = 0; i < domain->selectors_count; i++) {
		struct slice name = domain->selectors[i].name;

		if (name.len > 0)
			options_fault_report(
				errors,
				options_section_at(item, "selector", i)->place,
				selector_check(name, &fault), &fault);
	}
}

static void
domains_check(const struct options *options, struct conf_errors *errors)
{
	const struct conf_item *item = options->items->items;

	for (size_t i = 0; i < options->keys.domains_count; i++) {
		item = conf_item_from(item, "domain");
		domain_sections_check(&options->keys.domains[i], item, errors);
		item = item->next;
	}
}

/* Two ways to write one name, which as titles differ. */
struct named {
	struct slice name;
	const struct conf_item *item;
};

static int
named_compare(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int order = slice_compare(x->name, y->name);

	if (order != 0)
		return order;
	return x->item->place.line < y->item->place.line ? -1 : 1;
}

static void
names_check(struct named *named, size_t count, struct conf_errors *errors)
{
	if (count > 1)
		qsort(named, count, sizeof(*named), named_compare);
	for (size_t i = 1; i < count; i++) {
		const struct conf_item *first = named[i - 1].item;
		const struct conf_item *item = named[i].item;

		if (!slice_eq(named[i - 1].name, named[i].name) ||
		    slice_eq_nocase(first->title, item->title))
			continue;
		conf_error(errors, item->place,
			   "\"%.*s\" is the same name as \"%.*s\" in %s, "
			   "line %u",
			   SLICE_ARG(item->title), SLICE_ARG(first->title),
			   first->place.file, first->place.line);
	}
}

static struct slice
domain_name_at(const struct options *options, size_t i)
{
	return options->keys.domains[i].name;
}

static void
same_names_check(const struct options *options, const char *section,
		 size_t count,
		 struct slice name_at(const struct options *options, size_t i),
		 struct conf_errors *errors)
{
	CLEAN(clean_memory)
	struct named *named = memory_array(count, sizeof(*named));
	const struct conf_item *item = options->items->items;

	for (size_t i = 0; i < count; i++, item = item->next) {
		while (!slice_eq(item->name, SLICE(section)))
			item = item->next;
		named[i] = (struct named){name_at(options, i), item};
	}
	names_check(named, count, errors);
}

static void
limits_check(const struct options *options, struct conf_errors *errors)
{
	const struct conf_item *item =
		options_section_at(options->items, "limits", 0);

	/* Only where somebody wrote it: who lowers the size of messages does
	 * not have to know of headers. A size of 0 is reported already. */
	if (conf_item_find(item, "max_header_size", 0) != NULL &&
	    options->limits.max_message_size > 0 &&
	    options->limits.max_header_size > options->limits.max_message_size)
		conf_error(errors, conf_item_place(item, "max_header_size"),
			   "'max_header_size' is larger than "
			   "'max_message_size'");
}

void
options_check(const struct options *options, struct conf_errors *errors)
{
	limits_check(options, errors);
	listeners_check(options, errors);
	accounts_check(options, errors);
	options_routes_check(options, errors);
	domains_check(options, errors);
	same_names_check(options, "domain", options->keys.domains_count,
			 domain_name_at, errors);
	routing_check(options, errors);
}
