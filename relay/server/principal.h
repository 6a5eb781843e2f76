/*
 * principal - who the client of a session has shown to be, and what of the
 * configuration that rests on. A reload may take it away again.
 *
 * Ownership   Within a session. Holds a reference of the generation that knows
 *             him.
 */
#ifndef RELAY_SERVER_PRINCIPAL_H
#define RELAY_SERVER_PRINCIPAL_H

#include "relay/generation.h"

struct rates;

enum proof {
	PROOF_PASSWORD,    /* an entry of auth_file */
	PROOF_DOVECOT,     /* the word of auth_dovecot */
	PROOF_CERTIFICATE, /* what the connection's TLS has shown */
	PROOF_FRONT,       /* the word of a client of xclient_from */
};

/* The texts are copied. */
struct principal_claim {
	enum proof proof;
	const struct tls *tls;  /* of a certificate: the connection's */
	struct slice user;
	struct slice mechanism; /* of SASL; "": without AUTH */
};

struct principal {
	struct generation *generation; /* NULL: nobody */
	size_t listener;               /* of the generation: his */
	enum proof proof;
	const struct tls *tls;
	struct address front;
	struct text user, mechanism;
	const struct account_options *account; /* NULL: may do all */
};

/* Whoever it was is forgotten. */
void principal_set(struct principal *principal, struct generation *generation,
		   size_t listener, const struct principal_claim *claim);
/* By the word of that client. */
void principal_set_by_front(struct principal *principal,
			    struct generation *generation, size_t listener,
			    const struct address *front, struct slice user);
void principal_forget(struct principal *principal);
bool principal_is_known(const struct principal *principal);
/* By AUTH (RFC 4954), be it with a certificate. */
bool principal_has_logged_in(const struct principal *principal);
/* For the log: the mechanism, or "certificate"; nothing where he is not known. */
struct slice principal_how(const struct principal *principal);

/* Whether this generation, too, would let him in: as the same, with the same
 * password or certificate, whose days have not ended. */
bool principal_holds(const struct principal *principal,
		     const struct generation *now);
/* What it lets him do. */
const struct account_options *
principal_account(const struct principal *principal,
		  const struct generation *now);
/* From here on it is that generation which knows him. Where principal_holds()
 * says so. */
void principal_renew(struct principal *principal, struct generation *now);

/* What he has sent counts against his account: messages and recipients. */
enum principal_use { USE_MESSAGE, USE_RECIPIENT };
bool principal_may_spend(const struct principal *principal,
			 const struct account_options *account,
			 struct rates *rates, enum principal_use use);
void principal_spend(const struct principal *principal, struct rates *rates,
		     enum principal_use use);

#endif
