/*
 * probe - a look at one SMTP server: does it answer, and does it speak TLS?
 * Waits.
 */
#ifndef RELAY_DOCTOR_PROBE_H
#define RELAY_DOCTOR_PROBE_H

#include "relay/net/address.h"
#include "relay/net/tls.h"

enum probe_end {
	PROBE_UNREACHED,   /* no connection, or nobody who greets */
	PROBE_REFUSED,     /* it does not want us, or is no SMTP server */
	PROBE_CLEAR,       /* it does not offer STARTTLS */
	PROBE_BROKEN_TLS,  /* it offers it, and it fails */
	PROBE_SECURED,
};

struct probe_terms {
	struct address address;
	const struct address *from; /* NULL: the kernel's choice */
	struct slice host;          /* whose certificate it should be */
	struct slice helo;
	struct tls_context *context;
};

#define PROBE_WORDS_SIZE 256

struct probe {
	enum probe_end end;
	bool is_verified;             /* of SECURED: the certificate */
	char words[PROBE_WORDS_SIZE]; /* what it said, or what is wrong */
};

void probe_run(const struct probe_terms *terms, struct probe *probe_out);

#endif
