#include "relay/server/auth.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/base64.h"
#include "relay/server/census.h"
#include "relay/server/offenders.h"

/* SASL_LOGIN_NAME, SASL_LOGIN_PASSWORD. */
#define LOGIN_NAME_BASE64 "VXNlcm5hbWU6"
#define LOGIN_PASSWORD_BASE64 "UGFzc3dvcmQ6"

/* What the client has to say before Dovecot is asked. */
enum collecting { COLLECTING_NOTHING, COLLECTING_FIRST, COLLECTING_NAME,
		  COLLECTING_PASSWORD };

struct auth {
	struct job job;
	struct worker *worker;
	struct offenders *offenders;
	struct address address;
	atomic_bool is_cancelled; /* for the worker's thread */
	struct generation *generation;
	size_t listener;
	const struct tls *tls; /* of EXTERNAL: where the certificate is */
	struct sasl_server *sasl;
	bool is_dovecots;
	struct dovecot *dovecot;
	struct dovecot_question question;
	enum collecting collecting;
	struct text words[2];            /* of LOGIN: name and password */
	size_t words_said;               /* to Dovecot */
	bool is_login;
	struct dovecot_request *request; /* NULL: none is under way */
	struct text given;               /* as the client calls him */
	struct text user;                /* as Dovecot does */
	struct text mechanism;
	/* the step under way */
	struct text response, challenge;
	bool has_response;
	enum sasl_verdict verdict;
	auth_answered_fn *answered; /* NULL: cancelled */
	void *owner;
	bool is_running;
};

static void
auth_free(struct auth *auth)
{
	sasl_server_close(&auth->sasl);
	secret_cleanse(&auth->response);
	for (size_t i = 0; i < COUNT(auth->words); i++)
		secret_cleanse(&auth->words[i]);
	text_done(&auth->challenge);
	text_done(&auth->mechanism);
	text_done(&auth->given);
	text_done(&auth->user);
	generation_unref(auth->generation);
	free(auth);
}

static void
on_done(struct job *job)
{
	struct auth *auth = CONTAINER(job, struct auth, job);
	CLEAN(text_done) struct text challenge = {0};

	auth->is_running = false;
	secret_cleanse(&auth->response);
	if (auth->answered == NULL) {
		auth_free(auth);
		return;
	}
	base64_write(&challenge, text_slice(&auth->challenge));
	auth->answered(auth->owner, auth->verdict, text_slice(&challenge));
}

/* The queue may have been long. */
static bool
waits(const void *owner, struct slice name)
{
	const struct auth *auth = owner;

	return offenders_wait_ms(auth->offenders, &auth->address, name) > 0;
}

static void
run(struct job *job)
{
	struct auth *auth = CONTAINER(job, struct auth, job);

	text_clear(&auth->challenge);
	auth->verdict = SASL_TROUBLE;
	/* Whose proof it is SCRAM knows since the step before. */
	if (atomic_load(&auth->is_cancelled) ||
	    waits(auth, sasl_server_user(auth->sasl)))
		return;
	auth->verdict = sasl_server_step(auth->sasl, auth->has_response,
					 text_slice(&auth->response),
					 &auth->challenge);
}

static_assert(CENSUS_KEY_SIZE == WORKER_LANE, "each address has a lane");

static bool
submit(struct auth *auth, bool has_response, struct slice response,
       struct fault *fault)
{
	uint8_t lane[CENSUS_KEY_SIZE];

	ASSERT(!auth->is_running);
	auth->has_response = has_response;
	text_add(&auth->response, response);
	census_key(&auth->address, lane);
	/* However many addresses guess, who has been here before is heard. */
	auth->is_running = worker_submit_fairly(
		auth->worker, &auth->job, lane,
		offenders_know(auth->offenders, &auth->address) ? JOB_FIRST
								: JOB_BEHIND);
	return auth->is_running ||
	       fault_set(fault, FAULT_LIMIT, "too many logins at once");
}

/* --- Dovecot's word --- */

/* LOGIN's next word, which the client has said already. False: there is none,
 * or it cannot be said. */
static bool
say_word(struct auth *auth)
{
	struct fault fault;

	return auth->is_login && auth->words_said < COUNT(auth->words) &&
	       dovecot_respond(auth->request,
			       text_slice(&auth->words[auth->words_said++]),
			       &fault);
}

static void
on_said(void *owner, enum sasl_verdict verdict, struct slice challenge,
	struct slice user)
{
	struct auth *auth = owner;
	CLEAN(text_done) struct text encoded = {0};

	if (verdict == SASL_CHALLENGE && say_word(auth))
		return;
	auth->is_running = false;
	if (verdict != SASL_CHALLENGE)
		auth->request = NULL;
	text_clear(&auth->user);
	text_add(&auth->user, user);
	base64_write(&encoded, challenge);
	auth->answered(auth->owner, verdict, text_slice(&encoded));
}

/* RFC 4616 2: authzid, NUL, name, NUL, password. */
static struct slice
plain_name(struct slice initial)
{
	struct slice other, name;

	return slice_split(&initial, '\0', &other) &&
			       slice_split(&initial, '\0', &name)
		       ? name
		       : SLICE_NONE;
}

/* RFC 5802 7: "n,,n=name,r=nonce". A "," or "=" in it stays escaped, which is
 * the only way to write them. */
static struct slice
scram_name(struct slice initial)
{
	struct slice flag, authzid, name;

	return slice_split(&initial, ',', &flag) &&
			       slice_split(&initial, ',', &authzid) &&
			       slice_split(&initial, ',', &name) &&
			       slice_starts(name, SLICE("n="))
		       ? slice_from(name, 2)
		       : SLICE_NONE;
}

/* Whom the client names before anybody is asked; "": nobody is seen. */
static struct slice
name_given(const struct auth *auth, struct slice initial)
{
	struct slice mechanism = text_slice(&auth->mechanism);

	if (auth->is_login)
		return text_slice(&auth->words[0]);
	if (slice_eq_nocase(mechanism, SLICE("PLAIN")))
		return plain_name(initial);
	if (slice_eq_nocase(slice_sub(mechanism, 0, 6), SLICE("SCRAM-")))
		return scram_name(initial);
	return SLICE_NONE;
}

static bool
ask(struct auth *auth, bool has_initial, struct slice initial,
    struct fault *fault)
{
	text_add(&auth->given, name_given(auth, initial));
	if (waits(auth, text_slice(&auth->given)))
		return fault_set(fault, FAULT_DENIED, "too many failed logins");
	auth->question.has_initial = has_initial;
	auth->question.initial = initial;
	auth->is_running = dovecot_ask(auth->dovecot, &auth->question,
				       &auth->request, fault);
	auth->question.initial = SLICE_NONE;
	return auth->is_running;
}

/* What was collected is whole, or the next word is awaited. */
static bool
collect(struct auth *auth, struct slice response, struct fault *fault)
{
	switch (auth->collecting) {
	case COLLECTING_NAME:
		text_add(&auth->words[0], response);
		auth->collecting = COLLECTING_PASSWORD;
		return true;
	case COLLECTING_PASSWORD:
		text_add(&auth->words[1], response);
		auth->collecting = COLLECTING_NOTHING;
		return ask(auth, false, SLICE_NONE, fault);
	case COLLECTING_FIRST:
	case COLLECTING_NOTHING:
		auth->collecting = COLLECTING_NOTHING;
		return ask(auth, true, response, fault);
	}
	return false;
}

static bool
begin_dovecot(struct auth *auth, const struct auth_setup *setup,
	      bool has_initial, struct slice initial, struct fault *fault)
{
	auth->is_dovecots = true;
	auth->dovecot = setup->dovecot;
	auth->question = (struct dovecot_question){
		.mechanism = text_slice(&auth->mechanism),
		.is_secured = setup->is_secured,
		.client = setup->client,
		.timeout_ms = setup->generation->options->limits.auth_timeout_ms,
		.answered = on_said,
		.owner = auth,
	};
	auth->is_login = slice_eq_nocase(setup->mechanism, SLICE("LOGIN"));
	auth->collecting = auth->is_login ? COLLECTING_NAME : COLLECTING_FIRST;
	return !has_initial || collect(auth, initial, fault);
}

bool
auth_prompts(const struct auth *auth, struct slice *prompt_out)
{
	switch (auth->collecting) {
	case COLLECTING_NOTHING:
		return false;
	case COLLECTING_FIRST:
		*prompt_out = SLICE_NONE;
		return true;
	case COLLECTING_NAME:
		*prompt_out = SLICE(LOGIN_NAME_BASE64);
		return true;
	case COLLECTING_PASSWORD:
		*prompt_out = SLICE(LOGIN_PASSWORD_BASE64);
		return true;
	}
	return false;
}

/* --- the whole --- */

static bool
begin(struct auth *auth, const struct auth_setup *setup, bool has_initial,
      struct slice initial, struct fault *fault)
{
	struct sasl_setup sasl = {
		.mechanism = setup->mechanism,
		.users = setup->generation->listener_users[setup->listener],
		.waits = waits,
		.owner = auth,
	};

	if (slice_eq_nocase(setup->mechanism, SLICE(SASL_EXTERNAL))) {
		auth->tls = setup->certified->tls;
		sasl.certified = text_slice(&setup->certified->user);
	} else if (setup->dovecot != NULL) {
		return begin_dovecot(auth, setup, has_initial, initial, fault);
	}
	return sasl_server_open(&sasl, &auth->sasl, fault) &&
	       submit(auth, has_initial, initial, fault);
}

bool
auth_start(const struct auth_setup *setup, bool has_initial,
	   struct slice initial, struct auth **auth_out, struct fault *fault)
{
	struct auth *auth = memory_new(sizeof(*auth));

	auth->job.run = run;
	auth->job.done = on_done;
	auth->job.loop = setup->loop;
	auth->worker = setup->worker;
	auth->offenders = setup->offenders;
	auth->address = *setup->address;
	auth->generation = generation_ref(setup->generation);
	auth->listener = setup->listener;
	auth->answered = setup->answered;
	auth->owner = setup->owner;
	text_add(&auth->mechanism, setup->mechanism);
	if (!begin(auth, setup, has_initial, initial, fault)) {
		auth_free(auth);
		return false;
	}
	*auth_out = auth;
	return true;
}

bool
auth_respond(struct auth *auth, struct slice response, struct fault *fault)
{
	ASSERT(!auth->is_running);
	if (!auth->is_dovecots)
		return submit(auth, true, response, fault);
	if (auth->collecting != COLLECTING_NOTHING)
		return collect(auth, response, fault);
	auth->is_running = dovecot_respond(auth->request, response, fault);
	return auth->is_running;
}

void
auth_cancel(struct auth **handed_back)
{
	struct auth *auth = TAKE(*handed_back);

	if (auth == NULL)
		return;
	auth->answered = NULL;
	atomic_store(&auth->is_cancelled, true);
	dovecot_cancel(&auth->request);
	if (!auth->is_running || auth->is_dovecots)
		auth_free(auth); /* else on_done() does */
}

struct slice
auth_user(const struct auth *auth)
{
	ASSERT(!auth->is_running);
	return auth->is_dovecots ? text_slice(&auth->user)
				 : sasl_server_user(auth->sasl);
}

struct slice
auth_user_given(const struct auth *auth)
{
	return auth->is_dovecots ? text_slice(&auth->given) : auth_user(auth);
}

struct slice
auth_mechanism(const struct auth *auth)
{
	return text_slice(&auth->mechanism);
}

void
auth_set_principal(const struct auth *auth, struct principal *principal)
{
	enum proof proof = PROOF_PASSWORD;

	if (auth->tls != NULL)
		proof = PROOF_CERTIFICATE;
	else if (auth->is_dovecots)
		proof = PROOF_DOVECOT;
	principal_set(principal, auth->generation, auth->listener,
		      &(struct principal_claim){
			      .proof = proof,
			      .tls = auth->tls,
			      .user = auth_user(auth),
			      .mechanism = auth_mechanism(auth),
		      });
}
