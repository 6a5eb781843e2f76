#include "relay/server/auth.h"

#include <stdlib.h>

#include "base/base64.h"

struct auth {
	struct job job;
	struct worker *worker;
	struct generation *generation;
	size_t listener;
	const struct tls *tls; /* of EXTERNAL: where the certificate is */
	struct sasl_server *sasl;
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
	text_done(&auth->challenge);
	text_done(&auth->mechanism);
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

static void
run(struct job *job)
{
	struct auth *auth = CONTAINER(job, struct auth, job);

	text_clear(&auth->challenge);
	auth->verdict = sasl_server_step(auth->sasl, auth->has_response,
					 text_slice(&auth->response),
					 &auth->challenge);
}

static bool
submit(struct auth *auth, bool has_response, struct slice response,
       struct fault *fault)
{
	ASSERT(!auth->is_running);
	auth->has_response = has_response;
	text_add(&auth->response, response);
	auth->is_running = worker_submit(auth->worker, &auth->job);
	return auth->is_running ||
	       fault_set(fault, FAULT_LIMIT, "too many logins at once");
}

bool
auth_start(const struct auth_setup *setup, bool has_initial,
	   struct slice initial, struct auth **auth_out, struct fault *fault)
{
	struct auth *auth = memory_new(sizeof(*auth));
	struct sasl_setup sasl = {
		.mechanism = setup->mechanism,
		.users = setup->generation->listener_users[setup->listener],
	};

	if (slice_eq_nocase(setup->mechanism, SLICE(SASL_EXTERNAL))) {
		auth->tls = setup->certified->tls;
		sasl.certified = text_slice(&setup->certified->user);
	}
	auth->job.run = run;
	auth->job.done = on_done;
	auth->job.loop = setup->loop;
	auth->worker = setup->worker;
	auth->generation = generation_ref(setup->generation);
	auth->listener = setup->listener;
	auth->answered = setup->answered;
	auth->owner = setup->owner;
	text_add(&auth->mechanism, setup->mechanism);
	if (!sasl_server_open(&sasl, &auth->sasl, fault) ||
	    !submit(auth, has_initial, initial, fault)) {
		auth_free(auth);
		return false;
	}
	*auth_out = auth;
	return true;
}

bool
auth_respond(struct auth *auth, struct slice response, struct fault *fault)
{
	return submit(auth, true, response, fault);
}

void
auth_cancel(struct auth **handed_back)
{
	struct auth *auth = TAKE(*handed_back);

	if (auth == NULL)
		return;
	auth->answered = NULL;
	if (!auth->is_running)
		auth_free(auth); /* else on_done() does */
}

struct slice
auth_user(const struct auth *auth)
{
	ASSERT(!auth->is_running);
	return sasl_server_user(auth->sasl);
}

struct slice
auth_mechanism(const struct auth *auth)
{
	return text_slice(&auth->mechanism);
}

void
auth_set_principal(const struct auth *auth, struct principal *principal)
{
	principal_set(principal, auth->generation, auth->listener,
		      &(struct principal_claim){
			      .proof = auth->tls != NULL ? PROOF_CERTIFICATE
							 : PROOF_PASSWORD,
			      .tls = auth->tls,
			      .user = auth_user(auth),
			      .mechanism = auth_mechanism(auth),
		      });
}
