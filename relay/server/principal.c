#include "relay/server/principal.h"

#include "relay/net/tls.h"
#include "relay/server/account.h"
#include "relay/server/certificate.h"
#include "relay/server/rates.h"
#include "relay/users.h"

bool
principal_is_known(const struct principal *principal)
{
	return principal->generation != NULL;
}

bool
principal_has_logged_in(const struct principal *principal)
{
	return principal->mechanism.len > 0;
}

struct slice
principal_how(const struct principal *principal)
{
	if (!principal_is_known(principal))
		return SLICE_NONE;
	return principal_has_logged_in(principal)
		       ? text_slice(&principal->mechanism)
		       : SLICE("certificate");
}

void
principal_forget(struct principal *principal)
{
	generation_unref(principal->generation);
	text_done(&principal->user);
	text_done(&principal->mechanism);
	*principal = (struct principal){0};
}

void
principal_set(struct principal *principal, struct generation *generation,
	      size_t listener, const struct principal_claim *claim)
{
	struct principal set = {
		.generation = generation_ref(generation),
		.listener = listener,
		.proof = claim->proof,
		.tls = claim->tls,
		.account = account_find(generation->options, claim->user),
	};

	text_add(&set.user, claim->user);
	text_add(&set.mechanism, claim->mechanism);
	principal_forget(principal);
	*principal = set;
}

void
principal_set_by_front(struct principal *principal,
		       struct generation *generation, size_t listener,
		       const struct address *front, struct slice user)
{
	principal_set(principal, generation, listener,
		      &(struct principal_claim){.proof = PROOF_FRONT,
						.user = user,
						.mechanism = SLICE("XCLIENT")});
	principal->front = *front;
}

/* --- a reload --- */

static const struct listener_options *
listener_of(const struct principal *principal)
{
	return &principal->generation->options->listeners[principal->listener];
}

/* His listener, as it is called; false: there is none of that name now. */
static bool
listener_find(const struct principal *principal, const struct generation *now,
	      size_t *index_out)
{
	return options_find_listener(now->options,
				     listener_of(principal)->name, index_out);
}

static bool
password_holds(const struct principal *principal, const struct generation *now,
	       size_t listener)
{
	const struct users *before =
		principal->generation->listener_users[principal->listener];
	const struct users *users = now->listener_users[listener];
	const struct user *user, *same;

	if (now->options->listeners[listener].auth == AUTH_NONE ||
	    users == NULL)
		return false;
	user = users_find(users, text_slice(&principal->user));
	same = users_find(before, text_slice(&principal->user));
	return user != NULL && same != NULL && user_has_same_secret(user, same);
}

static bool
front_holds(const struct principal *principal,
	    const struct listener_options *listener)
{
	return networks_contain(listener->xclient_from,
				listener->xclient_from_count,
				&principal->front);
}

/* It is not asked again: there is no password to ask with. */
static bool
dovecot_holds(const struct principal *principal,
	      const struct listener_options *listener)
{
	return listener->auth != AUTH_NONE &&
	       slice_eq(listener->auth_dovecot,
			listener_of(principal)->auth_dovecot);
}

static bool
certificate_holds(const struct principal *principal,
		  const struct generation *now, size_t listener)
{
	CLEAN(text_done) struct text name = {0};
	const char *reason;

	return certificate_identify(principal->tls, now, listener, &name,
				    &reason) &&
	       slice_eq(text_slice(&name), text_slice(&principal->user));
}

bool
principal_holds(const struct principal *principal, const struct generation *now)
{
	size_t listener;

	if (principal->proof == PROOF_CERTIFICATE &&
	    tls_peer_time_fault(principal->tls) != NULL)
		return false;
	if (now == principal->generation)
		return true;
	if (!listener_find(principal, now, &listener))
		return false;
	switch (principal->proof) {
	case PROOF_PASSWORD:
		return password_holds(principal, now, listener);
	case PROOF_FRONT:
		return front_holds(principal,
				   &now->options->listeners[listener]);
	case PROOF_DOVECOT:
		return dovecot_holds(principal,
				     &now->options->listeners[listener]);
	case PROOF_CERTIFICATE:
		return certificate_holds(principal, now, listener);
	}
	return false;
}

const struct account_options *
principal_account(const struct principal *principal,
		  const struct generation *now)
{
	if (!principal_is_known(principal))
		return NULL;
	return now == principal->generation
		       ? principal->account
		       : account_find(now->options,
				      text_slice(&principal->user));
}

void
principal_renew(struct principal *principal, struct generation *now)
{
	size_t listener;

	if (!principal_is_known(principal) || now == principal->generation ||
	    !listener_find(principal, now, &listener))
		return;
	principal->account = principal_account(principal, now);
	principal->listener = listener;
	generation_ref(now);
	generation_unref(principal->generation);
	principal->generation = now;
}

/* --- how much --- */

/* Kinds of use are counted apart, ways to write one name are not: they have one
 * account. */
static void
rate_key(const struct principal *principal, enum principal_use use,
	 struct text *out)
{
	struct slice user = text_slice(&principal->user);

	text_add_byte(out, use == USE_MESSAGE ? 'm' : 'r');
	for (size_t i = 0; i < user.len; i++)
		text_add_byte(out, ascii_lower(user.bytes[i]));
}

static uint64_t
per_hour(const struct account_options *account, enum principal_use use)
{
	if (account == NULL)
		return 0;
	return use == USE_MESSAGE ? account->messages_per_hour
				  : account->recipients_per_hour;
}

bool
principal_may_spend(const struct principal *principal,
		    const struct account_options *account, struct rates *rates,
		    enum principal_use use)
{
	CLEAN(text_done) struct text key = {0};

	if (per_hour(account, use) == 0)
		return true;
	rate_key(principal, use, &key);
	return rates_wait_ms(rates, text_slice(&key), per_hour(account, use)) ==
	       0;
}

void
principal_spend(const struct principal *principal, struct rates *rates,
		enum principal_use use)
{
	CLEAN(text_done) struct text key = {0};

	if (per_hour(principal->account, use) == 0)
		return;
	rate_key(principal, use, &key);
	rates_spend(rates, text_slice(&key), per_hour(principal->account, use));
}
