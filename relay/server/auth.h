/*
 * auth - one authentication (RFC 4954) that is under way: from AUTH to its
 * verdict. Each step is taken by a worker thread, since passwords are hashed
 * there, or by Dovecot. Dovecot is asked only when the client has said what the
 * mechanism begins with, PLAIN's and LOGIN's whole: who says nothing takes no
 * place there. Workers take addresses by turns, those first from which somebody
 * has logged in of late, and drop what has been given up meanwhile, and what is
 * of an address, or has a name, that has to wait by then (SASL_TROUBLE).
 *
 * Ownership   auth_start() hands over; auth_cancel() ends it in any state and
 *             clears the pointer. Holds a reference of the generation, whose
 *             users it asks.
 * Events      answered() comes once for auth_start() and for each
 *             auth_respond(), from the loop, never from inside them, never
 *             after auth_cancel(); but where auth_prompts() says that nobody
 *             is asked yet.
 */
#ifndef RELAY_SERVER_AUTH_H
#define RELAY_SERVER_AUTH_H

#include "relay/generation.h"
#include "relay/net/loop.h"
#include "relay/net/worker.h"
#include "relay/server/dovecot.h"
#include "relay/server/principal.h"
#include "relay/server/sasl_server.h"

struct auth;
struct offenders;

/* challenge: in base64, for SASL_CHALLENGE. The auth is still there, and may be
 * cancelled or given a response from inside. */
typedef void auth_answered_fn(void *owner, enum sasl_verdict verdict,
			      struct slice challenge);

struct auth_setup {
	struct loop *loop;
	struct worker *worker;
	struct generation *generation; /* a reference is taken */
	size_t listener;               /* of the generation: whose users */
	struct slice mechanism;
	/* Whom the client's certificate has shown, for EXTERNAL; copied. */
	const struct principal *certified;
	/* Who is asked instead of the users; NULL: nobody. */
	struct dovecot *dovecot;
	bool is_secured;
	const struct address *client; /* for Dovecot; NULL: it has none */
	/* By whom jobs take turns, and who says that no more is tried. */
	const struct address *address;
	struct offenders *offenders;
	auth_answered_fn *answered;
	void *owner;
};

/* has_initial: AUTH came with a response, decoded. FAULT_LIMIT: the worker, or
 * Dovecot, has too much to do. FAULT_BUSY: Dovecot does not answer.
 * FAULT_DENIED: it is not asked, since address or name have to wait. */
bool auth_start(const struct auth_setup *setup, bool has_initial,
		struct slice initial, struct auth **auth_out,
		struct fault *fault) MUST_USE;
/* Faults as above: cancel it. */
bool auth_respond(struct auth *auth, struct slice response,
		  struct fault *fault) MUST_USE;
/* Behind either: whether the client has to say more before anybody is asked.
 * prompt: in base64, static. */
bool auth_prompts(const struct auth *auth, struct slice *prompt_out);
void auth_cancel(struct auth **auth);

/* Whom the client says to be; empty as long as it has not said. Not while a
 * step is under way. */
struct slice auth_user(const struct auth *auth);
/* The same as the client has spelt it: Dovecot may call him otherwise. Empty
 * where that is not seen. */
struct slice auth_user_given(const struct auth *auth);
struct slice auth_mechanism(const struct auth *auth);
/* Once he is in: who he is, by the generation that was asked. */
void auth_set_principal(const struct auth *auth, struct principal *principal);

#endif
