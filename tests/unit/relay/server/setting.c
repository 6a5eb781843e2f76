#include "tests/unit/relay/server/setting.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "base/clock.h"
#include "relay/clients.h"
#include "relay/limits.h"
#include "relay/users.h"
#include "tests/fake/share.h"

static struct generation generation;
static struct options options;
static struct listener_options listener;
static struct network networks[2];
static struct tls_context *contexts[1];
static struct users *users[1];
static struct clients *clients[1], *clients_after[1];
/* The generation after a reload. */
static struct generation generation_after;
static struct options options_after;
static struct listener_options listener_after;
static struct users *users_after[1];
/* Made once: by unsigned_action. */
static struct policy *policies[2];

void
setting_begin(void)
{
	memset(&listener, 0, sizeof(listener));
	cr_assert(network_parse(SLICE("127.0.0.0/8"), &networks[0], NULL));
	options = fake_share_options(&listener);
	listener.name = SLICE("apps");
	listener.allow_from = networks;
	listener.allow_from_count = 1;
	generation = (struct generation){
		.options = &options, .listener_tls = contexts,
		.listener_users = users, .listener_clients = clients,
		.references = 1};
	contexts[0] = NULL;
	users_free(TAKE(users[0]));
	users_free(TAKE(users_after[0]));
	clients_free(TAKE(clients[0]));
	clients_free(TAKE(clients_after[0]));
	generation_after.references = 1;
}

struct generation *
setting_now(void)
{
	return &generation;
}

int
setting_references(void)
{
	return abs(generation.references - 1) +
	       abs(generation_after.references - 1);
}

void
setting_sign(void)
{
	enum unsigned_action action = options.signing.unsigned_action;

	if (policies[action] == NULL)
		policies[action] = fake_share_policy(&options.signing);
	generation.policy = policies[action];
}

void
setting_done(void)
{
	for (size_t i = 0; i < COUNT(policies); i++)
		if (policies[i] != NULL)
			policy_unref(policies[i]);
}

static const struct set_row {
	const char *key;
	uint64_t *number;
} set_rows[] = {
	{"max_message_size", &options.limits.max_message_size},
	{"max_recipients", &options.limits.max_recipients},
	{"max_hops", &options.limits.max_hops},
	{"max_header_size", &options.limits.max_header_size},
	{"max_messages", &options.limits.max_messages_per_session},
	{"max_sessions_per_address", &options.limits.max_sessions_per_address},
	{"max_session_rate", &options.limits.max_session_rate},
};

/* "user" and "keys" have the password "secret", hashed as cheaply as can be:
 * each conversation is run hundreds of times. */
static void
set_auth(struct slice value)
{
	static const char crypt_only[] =
		"user:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n";
	static const char both[] =
		"user:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n"
		"keys:{SCRAM-SHA-256}1,c2FsdHNhbHRzYWx0c2FsdA==,"
		"03wBIFW79nT8pWEWcElBzplnn8dKKnxzI9TjuI/JODU=,"
		"m73G7+EfOkBsR94WhDDKAy6ptSJ9vCOtT7wcUuuy4Uc=\n";

	listener.auth = slice_starts(value, SLICE("optional")) ? AUTH_OPTIONAL
							       : AUTH_REQUIRED;
	if (slice_ends_nocase(value, SLICE("certificate")))
		return;
	if (slice_ends_nocase(value, SLICE("dovecot"))) {
		listener.auth_dovecot = SLICE("/run/dovecot");
		return;
	}
	listener.auth_file = SLICE("users");
	cr_assert(users_new(slice_ends_nocase(value, SLICE("scram"))
				    ? SLICE(both)
			    : slice_ends_nocase(value, SLICE("keys"))
				    ? SLICE(strchr(both, '\n') + 1)
				    : SLICE(crypt_only),
			    &users[0], NULL));
}

/* "from PATTERN", "messages COUNT" or "recipients COUNT", of "user". */
static void
set_account(struct slice value)
{
	static struct account_options account;
	static struct slice patterns[1];
	struct slice what;

	if (options.accounts_count == 0)
		memset(&account, 0, sizeof(account));
	account.user = SLICE("user");
	options.accounts = &account;
	options.accounts_count = 1;
	cr_assert(slice_split(&value, ' ', &what));
	if (slice_eq(what, SLICE("from"))) {
		patterns[0] = value;
		account.from = patterns;
		account.from_count = 1;
	} else if (slice_eq(what, SLICE("messages"))) {
		cr_assert(slice_number(value, &account.messages_per_hour));
	} else {
		cr_assert(slice_number(value, &account.recipients_per_hour));
	}
}

/* Whose octets are "a" is "client". */
static struct clients *
make_clients(const char *octet, const char *name)
{
	CLEAN(text_done) struct text line = {0};
	struct clients *made = NULL;

	for (int i = 0; i < CLIENT_FINGERPRINT; i++)
		text_addf(&line, "%02x", octet[0]);
	text_addf(&line, " %s\n", name);
	cr_assert(clients_new(text_slice(&line), &made, NULL));
	return made;
}

/* What a reload makes of the listener; others change what it refers to. */
static const struct reload_row {
	const char *what;
	struct listener_options listener;
	size_t offset, size;
} reload_rows[] = {
#define TO(field, value)                                                       \
	{.field = (value)}, offsetof(struct listener_options, field),         \
		sizeof(((struct listener_options *)0)->field)
	{"auth", TO(auth, AUTH_NONE)},
	{"required", TO(auth, AUTH_REQUIRED)},
	{"tls-only", TO(auth_without_tls, false)},
	{"listener", TO(name, ((struct slice){"other", 5}))},
	{"allow_from", TO(allow_from_count, 0)},
	{"xclient_from", TO(xclient_from_count, 0)},
	{"xforward_from", TO(xforward_from_count, 0)},
	{"proxy_from", TO(proxy_from_count, 0)},
	{"starttls", TO(tls, LISTENER_TLS_STARTTLS)},
	{"implicit", TO(tls, LISTENER_TLS_IMPLICIT)},
	{"strict", TO(lenient, false)},
#undef TO
};

static void
reload_listener(struct slice what)
{
	listener_after = listener;
	for (size_t i = 0; i < COUNT(reload_rows); i++) {
		const struct reload_row *row = &reload_rows[i];

		if (slice_eq(what, SLICE(row->what)))
			memcpy((char *)&listener_after + row->offset,
			       (const char *)&row->listener + row->offset,
			       row->size);
	}
	if (slice_eq(what, SLICE("dovecot")))
		listener_after.auth_dovecot = SLICE("/run/another");
	else if (slice_eq(what, SLICE("proxied")))
		listener_after.proxy_from = networks;
	if (slice_eq(what, SLICE("proxied")))
		listener_after.proxy_from_count = 1;
	if (listener_after.tls != LISTENER_TLS_NONE)
		contexts[0] = (struct tls_context *)contexts;
}

struct generation *
setting_reload(struct slice what)
{
	static struct account_options account;
	static struct slice patterns[1];
	const char *file = "user:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n";

	if (slice_eq(what, SLICE("user")))
		file = "other:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1\n";
	else if (slice_eq(what, SLICE("password")))
		file = "user:$1$abcdefgi$cHJi5PXp/ki/ktXzqlk6I1\n";
	if (users[0] != NULL)
		cr_assert(users_new(SLICE(file), &users_after[0], NULL));
	if (slice_eq(what, SLICE("certificates")))
		clients_after[0] = make_clients("z", "client");
	else if (clients[0] != NULL)
		clients_after[0] = make_clients(
			"a", slice_eq(what, SLICE("certificate")) ? "another"
								  : "client");
	reload_listener(what);
	options_after = options;
	options_after.listeners = &listener_after;
	if (slice_eq(what, SLICE("size")))
		options_after.limits.max_message_size = 1;
	patterns[0] = SLICE("*@example.org");
	account = (struct account_options){
		.user = SLICE("user"), .from = patterns, .from_count = 1};
	if (slice_eq(what, SLICE("account"))) {
		options_after.accounts = &account;
		options_after.accounts_count = 1;
	}
	generation_after = generation;
	generation_after.options = &options_after;
	generation_after.listener_users = users_after;
	generation_after.listener_clients = clients_after;
	generation_after.references = 1;
	return &generation_after;
}

bool
setting_set(struct slice key, struct slice value)
{
	uint64_t number;

	for (size_t i = 0; i < COUNT(set_rows); i++)
		if (slice_eq(key, SLICE(set_rows[i].key))) {
			cr_assert(slice_number(value, &number));
			*set_rows[i].number = number;
			return true;
		}
	if (slice_eq(key, SLICE("tls"))) {
		listener.tls = slice_eq(value, SLICE("implicit"))
				       ? LISTENER_TLS_IMPLICIT
				       : LISTENER_TLS_STARTTLS;
		contexts[0] = (struct tls_context *)contexts;
	} else if (slice_eq(key, SLICE("auth"))) {
		set_auth(value);
	} else if (slice_eq(key, SLICE("tls_clients"))) {
		listener.tls_clients = value;
		clients[0] = make_clients("a", "client");
	} else if (slice_eq(key, SLICE("tls_client_ca"))) {
		listener.tls_client_ca = value;
	} else if (slice_eq(key, SLICE("proxy_from"))) {
		cr_assert(network_parse(value, &networks[1], NULL));
		listener.proxy_from = &networks[1];
		listener.proxy_from_count = 1;
	} else if (slice_eq(key, SLICE("behind"))) {
		cr_assert(network_parse(value, &networks[1], NULL));
		listener.xclient_from = listener.xforward_from = &networks[1];
		listener.xclient_from_count = 1;
		listener.xforward_from_count = 1;
	} else if (slice_eq(key, SLICE("lenient"))) {
		listener.lenient = true;
	} else if (slice_eq(key, SLICE("account"))) {
		set_account(value);
	} else if (slice_eq(key, SLICE("auth_without_tls"))) {
		listener.auth_without_tls = true;
	} else if (slice_eq(key, SLICE("unsigned"))) {
		options.signing.unsigned_action = UNSIGNED_REJECT;
	} else if (slice_eq(key, SLICE("long_lines"))) {
		options.prepare.long_lines = slice_eq(value, SLICE("keep"))
						     ? LONG_LINES_KEEP
						     : LONG_LINES_REJECT;
	} else if (slice_eq(key, SLICE("bare_newlines"))) {
		listener.bare_newlines = BARE_NEWLINES_NORMALIZE;
	} else {
		return false;
	}
	return true;
}
