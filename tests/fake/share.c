#include "tests/fake/share.h"

#include "keys/keyring.h"
#include "relay/limits.h"
#include "relay/server/census.h"
#include "relay/server/offenders.h"
#include "relay/server/rates.h"
#include "relay/server/session.h"
#include "relay/server/strangers.h"

static const struct share *opened;
static struct strangers strangers;
static size_t sessions, crowd, crowd_of_strangers;

void
share_session_ended(struct share *ended)
{
	ASSERT(ended == opened);
	ASSERT(sessions > 0);
	sessions--;
}

size_t
share_everybody(const struct share *share)
{
	ASSERT(share == opened);
	return sessions + crowd + crowd_of_strangers;
}

void
fake_share_crowd(size_t others)
{
	crowd = others;
}

void
fake_share_strangers(size_t others)
{
	crowd_of_strangers += others;
	for (size_t i = 0; i < others; i++)
		strangers_join(&strangers);
}

bool
fake_share_has_stranger(void)
{
	return atomic_load(&strangers.count) > crowd_of_strangers;
}

void
fake_share_open(struct share *share, struct loop *loop)
{
	memset(share, 0, sizeof(*share));
	share->offenders = offenders_new();
	share->rates = rates_new();
	share->census = census_new();
	share->strangers = &strangers;
	share->loop = loop;
	list_init(&share->sessions);
	opened = share;
	sessions = crowd = crowd_of_strangers = 0;
	atomic_init(&strangers.count, 0);
}

void
fake_share_close(struct share *share)
{
	census_free(TAKE(share->census)); /* asserts that nobody is in it */
	rates_free(TAKE(share->rates));
	offenders_free(TAKE(share->offenders));
	ASSERT(!fake_share_has_stranger());
}

void
fake_share_stop(struct share *share)
{
	share->is_stopping = true;
	LIST_EACH(item, &share->sessions)
		session_stop(CONTAINER(item, struct session, link));
}

void
fake_share_connect(struct share *share)
{
	sessions++;
	session_start(share, 3, share->loop->generation, 0);
}

size_t
fake_share_sessions(void)
{
	return sessions;
}

struct options
fake_share_options(struct listener_options *listener)
{
	return (struct options){
		.hostname = SLICE("mail.example.net"),
		.listeners = listener,
		.listeners_count = 1,
		.limits = {.max_message_size = 100000,
			   .max_recipients = 3,
			   .max_hops = 3,
			   .max_header_size = 2000,
			   .command_timeout_ms = 5 * MINUTE,
			   .max_sessions = 100,
			   .max_sessions_per_address = 1},
		.prepare = {.add_date = true,
			    .add_message_id = true,
			    .add_mime_version = true,
			    .remove_bcc = true},
	};
}

struct policy *
fake_share_policy(const struct signing_options *options)
{
	struct selector_options selector = {.name = SLICE("one"),
					    .key_path = SLICE("one.pem")};
	struct domain_options domain = {.name = SLICE("example.com"),
					.selectors = &selector,
					.selectors_count = 1};
	struct keys_options keys = {.domains = &domain, .domains_count = 1};
	struct key_public *public;
	struct keyring *keyring;
	struct policy *policy;
	struct key *key = NULL;

	ASSERT(key_generate(KEY_ED25519_SHA256, 0, &key, NULL));
	public = key_public_of(key);
	keyring = keyring_new(&keys, &public, 1);
	policy = policy_new(keyring, options);
	keyring_unref(keyring);
	key_free(key);
	return policy;
}
