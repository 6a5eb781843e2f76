#include "relay/options_accounts.h"

#include "relay/clients.h"
#include "relay/options_check.h"
#include "relay/users.h"

/* Who may log in, as far as files say so. */
struct known {
	struct text names; /* each with a newline, which none contains */
	bool is_all;       /* nobody else knows any */
};

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
		text_addf(&known->names, "%.*s\n",
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
		text_addf(&known->names, "%.*s\n",
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

static bool
is_known(const struct known *known, struct slice user)
{
	struct slice rest = text_slice(&known->names), name;

	while (slice_split(&rest, '\n', &name))
		if (name.len > 0 && slice_eq_nocase(name, user))
			return true;
	return false;
}

static void
warn_at(const struct options *options, size_t account, struct text *said)
{
	struct conf_place place =
		options_section_at(options->items, "account", account)->place;

	text_addf(said, "%s:%u: ", place.file, place.line);
}

static void
nobody_warn(const struct options *options, size_t at,
	    void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};

	warn_at(options, at, &said);
	text_addf(&said,
		  "'account \"%.*s\"' holds for nobody: no auth_file and no "
		  "tls_clients has a user of that name",
		  SLICE_ARG(options->accounts[at].user));
	warn(text_string(&said));
}

static bool
has_section(const struct options *options, struct slice user)
{
	for (size_t i = 0; i < options->accounts_count; i++)
		if (slice_eq_nocase(options->accounts[i].user, user))
			return true;
	return false;
}

/* False: there is nobody, as far as is known. */
static bool
free_find(const struct options *options, const struct known *known,
	  struct slice *name_out)
{
	struct slice rest = text_slice(&known->names);

	while (slice_split(&rest, '\n', name_out))
		if (name_out->len > 0 && !has_section(options, *name_out))
			return true;
	*name_out = SLICE_NONE;
	return false;
}

/* Some are held to their names, and others to nothing: a section "*" says that
 * it is meant. */
static void
others_warn(const struct options *options, size_t at, const struct known *known,
	    void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};
	struct slice name;

	if (has_section(options, SLICE("*")) ||
	    (!free_find(options, known, &name) && known->is_all))
		return;
	warn_at(options, at, &said);
	text_addf(&said,
		  "'from' holds for \"%.*s\", but a user without an 'account' "
		  "section",
		  SLICE_ARG(options->accounts[at].user));
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
	struct known known = {0};
	bool is_said = false;

	if (options->accounts_count == 0)
		return;
	known_read(options, &known);
	for (size_t i = 0; i < options->accounts_count; i++) {
		const struct account_options *account = &options->accounts[i];

		if (known.is_all && !slice_eq(account->user, SLICE("*")) &&
		    !is_known(&known, account->user))
			nobody_warn(options, i, warn);
		if (account->from_count > 0 && !is_said) {
			others_warn(options, i, &known, warn);
			is_said = true;
		}
	}
	text_done(&known.names);
}
