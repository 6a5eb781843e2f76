#include "relay/server/principal.h"

#include <criterion/criterion.h>

#include "relay/server/certificate.h"
#include "relay/server/rates.h"
#include "relay/users.h"

#define HASH "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"
#define OTHER_HASH "$1$abcdefgh$XXXi5PXp/ki/ktXzqlk6I1"

/* --- what the rest of the relay says of a certificate and a generation --- */

static const char *certificate_name, *time_fault;

bool
certificate_identify(const struct tls *tls, const struct generation *generation,
		     size_t listener, struct text *name_out,
		     const char **reason_out)
{
	(void)tls;
	cr_expect(slice_eq(generation->options->listeners[listener].name,
			   SLICE("submission")));
	if (certificate_name == NULL) {
		*reason_out = "nobody";
		return false;
	}
	text_add_string(name_out, certificate_name);
	return true;
}

const char *
tls_peer_time_fault(const struct tls *tls)
{
	(void)tls;
	return time_fault;
}

struct generation *
generation_ref(struct generation *generation)
{
	generation->references++;
	return generation;
}

void
generation_unref(struct generation *generation)
{
	if (generation != NULL)
		generation->references--;
}

/* --- two generations --- */

static struct users *
users_of(const char *lines)
{
	struct users *users = NULL;
	struct fault fault;

	if (lines != NULL)
		cr_assert(users_new(SLICE(lines), &users, &fault), "%s",
			  fault.text);
	return users;
}

/* A configuration of two listeners, of which one is his. */
struct stand {
	struct listener_options listeners[2];
	struct users *users[2];
	struct network network;
	struct options options;
	struct generation generation;
};

static void
stand_make(struct stand *stand, size_t his, const char *name,
	   const char *his_users, const char *other_users)
{
	struct fault fault;

	*stand = (struct stand){.options = {.listeners = stand->listeners,
					    .listeners_count = 2},
				.generation = {.options = &stand->options,
					       .listener_users = stand->users}};
	cr_assert(network_parse(SLICE("192.0.2.0/24"), &stand->network,
				&fault));
	stand->users[his] = users_of(his_users);
	stand->users[1 - his] = users_of(other_users);
	stand->listeners[1 - his].name = SLICE("other");
	stand->listeners[1 - his].auth = AUTH_REQUIRED;
	stand->listeners[his] = (struct listener_options){
		.name = SLICE(name),
		.auth = AUTH_REQUIRED,
		.auth_dovecot = SLICE("/run/auth"),
		.xclient_from = &stand->network,
		.xclient_from_count = 1};
}

static void
stand_done(struct stand *stand)
{
	cr_expect_eq(stand->generation.references, 0);
	users_free(stand->users[0]);
	users_free(stand->users[1]);
}

/* --- a reload --- */

static void
no_auth(struct listener_options *listener)
{
	listener->auth = AUTH_NONE;
}

static void
other_socket(struct listener_options *listener)
{
	listener->auth_dovecot = SLICE("/run/another");
}

static void
no_front(struct listener_options *listener)
{
	listener->xclient_from_count = 0;
}

static const struct reload_row {
	const char *name;
	enum proof proof;
	const char *listener;     /* as it is called now */
	const char *users, *other; /* of his listener and the other one */
	void (*change)(struct listener_options *listener);
	const char *certificate, *time_fault;
	bool holds;
} reload_rows[] = {
	{"the same password", PROOF_PASSWORD, "submission",
	 "b:" OTHER_HASH "\na:" HASH, NULL, NULL, NULL, NULL, true},
	{"another password", PROOF_PASSWORD, "submission", "a:" OTHER_HASH,
	 "a:" HASH, NULL, NULL, NULL, false},
	{"taken out", PROOF_PASSWORD, "submission", "b:" HASH, "a:" HASH, NULL,
	 NULL, NULL, false},
	{"no file", PROOF_PASSWORD, "submission", NULL, "a:" HASH, NULL, NULL,
	 NULL, false},
	{"no AUTH", PROOF_PASSWORD, "submission", "a:" HASH, NULL, no_auth,
	 NULL, NULL, false},
	{"no listener", PROOF_PASSWORD, "smtp", "a:" HASH, "a:" HASH, NULL,
	 NULL, NULL, false},
	{"Dovecot", PROOF_DOVECOT, "submission", NULL, NULL, NULL, NULL, NULL,
	 true},
	{"another Dovecot", PROOF_DOVECOT, "submission", NULL, NULL,
	 other_socket, NULL, NULL, false},
	{"Dovecot without AUTH", PROOF_DOVECOT, "submission", NULL, NULL,
	 no_auth, NULL, NULL, false},
	{"a front", PROOF_FRONT, "submission", NULL, NULL, NULL, NULL, NULL,
	 true},
	{"no front any more", PROOF_FRONT, "submission", NULL, NULL, no_front,
	 NULL, NULL, false},
	{"a certificate", PROOF_CERTIFICATE, "submission", NULL, NULL, no_auth,
	 "a", NULL, true},
	{"of somebody else", PROOF_CERTIFICATE, "submission", NULL, NULL, NULL,
	 "b", NULL, false},
	{"of nobody", PROOF_CERTIFICATE, "submission", NULL, NULL, NULL, NULL,
	 NULL, false},
	{"that has ended", PROOF_CERTIFICATE, "submission", NULL, NULL, NULL,
	 "a", "it has expired", false},
};

static void
principal_make(struct principal *principal, struct generation *generation,
	       enum proof proof)
{
	struct address front;
	struct fault fault;

	cr_assert(address_parse(SLICE("192.0.2.7"), 25, &front, &fault), "%s",
		  fault.text);
	if (proof == PROOF_FRONT)
		principal_set_by_front(principal, generation, 1, &front,
				       SLICE("a"));
	else
		principal_set(principal, generation, 1,
			      &(struct principal_claim){.proof = proof,
							.user = SLICE("a")});
}

static void
reload_test(const struct reload_row *row)
{
	struct stand before, now;
	struct principal principal = {0};

	certificate_name = row->certificate;
	time_fault = row->time_fault;
	stand_make(&before, 1, "submission", "a:" HASH, NULL);
	stand_make(&now, 0, row->listener, row->users, row->other);
	if (row->change != NULL)
		row->change(&now.listeners[0]);
	principal_make(&principal, &before.generation, row->proof);
	cr_expect_eq(principal_holds(&principal, &before.generation),
		     row->time_fault == NULL, "%s: before", row->name);
	cr_expect_eq(principal_holds(&principal, &now.generation), row->holds,
		     "%s", row->name);
	if (row->holds) {
		principal_renew(&principal, &now.generation);
		cr_expect_eq(principal.generation, &now.generation);
		cr_expect_eq(principal.listener, 0, "%s", row->name);
		cr_expect_eq(before.generation.references, 0);
		/* Once is enough. */
		principal_renew(&principal, &now.generation);
		cr_expect_eq(now.generation.references, 1);
	}
	principal_forget(&principal);
	cr_expect_not(principal_is_known(&principal));
	stand_done(&before);
	stand_done(&now);
}

Test(principal, rests_on_what_the_files_say_now)
{
	for (size_t i = 0; i < COUNT(reload_rows); i++)
		reload_test(&reload_rows[i]);
}

/* --- how much --- */

/* What he may do is the new configuration's from the next message on. */
Test(principal, has_the_account_of_now)
{
	struct account_options few = {.user = SLICE("a"),
				      .messages_per_hour = 1};
	struct account_options many = {.user = SLICE("A"),
				       .messages_per_hour = 1000};
	struct stand before, now;
	struct principal principal = {0};

	stand_make(&before, 1, "submission", "a:" HASH, NULL);
	stand_make(&now, 0, "submission", "a:" HASH, NULL);
	before.options.accounts = &few;
	now.options.accounts = &many;
	before.options.accounts_count = now.options.accounts_count = 1;
	cr_expect_null(principal_account(&principal, &now.generation));
	principal_make(&principal, &before.generation, PROOF_PASSWORD);
	cr_expect_eq(principal_account(&principal, &before.generation), &few);
	cr_expect_eq(principal_account(&principal, &now.generation), &many);
	cr_expect_eq(principal.account, &few);
	principal_renew(&principal, &now.generation);
	cr_expect_eq(principal.account, &many);
	principal_forget(&principal);
	stand_done(&before);
	stand_done(&now);
}

/* One name has one account however it is written; messages are not recipients. */
Test(principal, spends_what_is_his)
{
	struct account_options account = {.user = SLICE("a"),
					  .messages_per_hour = 1,
					  .recipients_per_hour = 1};
	struct rates *rates = rates_new();
	struct principal principal = {0}, shouted = {0}, other = {0};

	principal.account = shouted.account = other.account = &account;
	text_add_string(&principal.user, "user");
	text_add_string(&shouted.user, "USER");
	text_add_string(&other.user, "other");
	cr_expect(principal_may_spend(&principal, &account, rates, USE_MESSAGE));
	principal_spend(&principal, rates, USE_MESSAGE);
	cr_expect_not(principal_may_spend(&principal, &account, rates,
					  USE_MESSAGE));
	cr_expect_not(principal_may_spend(&shouted, &account, rates,
					  USE_MESSAGE));
	cr_expect(principal_may_spend(&principal, &account, rates,
				      USE_RECIPIENT));
	cr_expect(principal_may_spend(&other, &account, rates, USE_MESSAGE));
	cr_expect(principal_may_spend(&principal, NULL, rates, USE_MESSAGE));
	account.messages_per_hour = 0;
	principal_spend(&principal, rates, USE_MESSAGE);
	cr_expect(principal_may_spend(&principal, &account, rates, USE_MESSAGE));
	principal_spend(&principal, rates, USE_RECIPIENT);
	cr_expect_not(principal_may_spend(&shouted, &account, rates,
					  USE_RECIPIENT));
	principal_forget(&principal);
	principal_forget(&shouted);
	principal_forget(&other);
	rates_free(rates);
}
