#include "relay/options_accounts.h"

#include <stdlib.h>

#include "relay/clients.h"
#include "relay/options_check.h"
#include "relay/users.h"

/* In whatever case, sorted. */
struct names {
	struct slice *items;
	size_t count;
};

/* Who may log in, as far as files say so. */
struct known {
	struct text lines;  /* each with a newline, which none contains */
	struct names names; /* of the lines */
	bool is_all;        /* nobody else knows any */
};

static int
name_compare(const void *a, const void *b)
{
	const struct slice *left = a, *right = b;
	size_t common = left->len < right->len ? left->len : right->len;

	for (size_t i = 0; i < common; i++) {
		int order = ascii_lower(left->bytes[i]) -
			    ascii_lower(right->bytes[i]);

		if (order != 0)
			return order;
	}
	return left->len < right->len ? -1 : left->len > right->len;
}

static void
names_sort(struct names *names)
{
	if (names->count > 1)
		qsort(names->items, names->count, sizeof(*names->items),
		      name_compare);
}

static bool
names_have(const struct names *names, struct slice name)
{
	return names->count > 0 &&
	       bsearch(&name, names->items, names->count, sizeof(*names->items),
		       name_compare) != NULL;
}

static void
names_done(struct names *names)
{
	free(names->items);
}

static void
users_add(const struct listener_options *listener, struct known *known)
{
	CLEAN(secret_cleanse) struct text bytes = {0};
	struct users *users = NULL;
	struct fault fault;

	if (listener->auth == AUTH_NONE || listener->auth_file.len == 0)
		return;
	if (!users_read(listener->auth_file, false, NULL, &bytes, &fault) ||
	    !users_new(text_slice(&bytes), &users, &fault)) {
		known->is_all = false;
		return;
	}
	for (size_t i = 0; i < users_count(users); i++)
		text_addf(&known->lines, "%.*s\n",
			  SLICE_ARG(users_at(users, i)->name));
	users_free(users);
}

static void
clients_add(const struct listener_options *listener, struct known *known)
{
	struct clients *clients = NULL;
	struct fault fault;

	if (listener->tls_clients.len == 0)
		return;
	if (!clients_read(listener->tls_clients, &clients, &fault)) {
		known->is_all = false;
		return;
	}
	for (size_t i = 0; i < clients_count(clients); i++)
		text_addf(&known->lines, "%.*s\n",
			  SLICE_ARG(clients_name_at(clients, i)));
	clients_free(clients);
}

static void
known_read(const struct options *options, struct known *known)
{
	known->is_all = true;
	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];

		users_add(listener, known);
		clients_add(listener, known);
		if (listener->auth_dovecot.len > 0 ||
		    listener->tls_client_ca.len > 0 ||
		    listener->xclient_from_count > 0)
			known->is_all = false;
	}
}

static void
known_sort(struct known *known)
{
	struct slice rest = text_slice(&known->lines), name;
	size_t count = 0;

	while (slice_split(&rest, '\n', &name))
		count += name.len > 0;
	known->names.items = memory_array(count, sizeof(struct slice));
	rest = text_slice(&known->lines);
	while (slice_split(&rest, '\n', &name))
		if (name.len > 0)
			known->names.items[known->names.count++] = name;
	names_sort(&known->names);
}

static void
known_done(struct known *known)
{
	names_done(&known->names);
	text_done(&known->lines);
}

static void
sections_read(const struct options *options, struct names *sections)
{
	sections->items =
		memory_array(options->accounts_count, sizeof(struct slice));
	for (size_t i = 0; i < options->accounts_count; i++)
		sections->items[sections->count++] = options->accounts[i].user;
	names_sort(sections);
}

static void
nobody_warn(const struct account_options *account, struct conf_place place,
	    void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};

	text_addf(&said,
		  "%s:%u: 'account \"%.*s\"' holds for nobody: no auth_file "
		  "and no tls_clients has a user of that name",
		  place.file, place.line, SLICE_ARG(account->user));
	warn(text_string(&said));
}

/* False: there is nobody, as far as is known. */
static bool
free_find(const struct names *sections, const struct known *known,
	  struct slice *name_out)
{
	struct slice rest = text_slice(&known->lines);

	while (slice_split(&rest, '\n', name_out))
		if (name_out->len > 0 && !names_have(sections, *name_out))
			return true;
	*name_out = SLICE_NONE;
	return false;
}

/* Some are held to their names, and others to nothing: a section "*" says that
 * it is meant. */
static void
others_warn(const struct options *options,
	    const struct account_options *account, struct conf_place place,
	    const struct known *known, void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};
	CLEAN(names_done) struct names sections = {0};
	struct slice name;

	sections_read(options, &sections);
	if (names_have(&sections, SLICE("*")) ||
	    (!free_find(&sections, known, &name) && known->is_all))
		return;
	text_addf(&said,
		  "%s:%u: 'from' holds for \"%.*s\", but a user without an "
		  "'account' section",
		  place.file, place.line, SLICE_ARG(account->user));
	if (name.len > 0)
		text_addf(&said, ", such as \"%.*s\",", SLICE_ARG(name));
	text_add_string(&said,
			" may send in anybody's name; say in 'account \"*\"' "
			"what those may, or nothing where that is right");
	warn(text_string(&said));
}

void
accounts_warn(const struct options *options, void (*warn)(const char *text))
{
	const struct conf_item *item = options->items->items;
	struct known known = {0};
	bool is_said = false;

	if (options->accounts_count == 0)
		return;
	known_read(options, &known);
	known_sort(&known);
	for (size_t i = 0; i < options->accounts_count; i++) {
		const struct account_options *account = &options->accounts[i];

		item = conf_item_from(item, "account");
		if (known.is_all && !slice_eq(account->user, SLICE("*")) &&
		    !names_have(&known.names, account->user))
			nobody_warn(account, item->place, warn);
		if (account->from_count > 0 && !is_said) {
			others_warn(options, account, item->place, &known,
				    warn);
			is_said = true;
		}
		item = item->next;
	}
	known_done(&known);
}
