/*
 * check - whether the DNS publishes the key that signs. Pure: is given what was
 * found there.
 */
#ifndef KEYS_CHECK_H
#define KEYS_CHECK_H

#include "keys/keyring.h"

/* More records at one name are not looked at: RFC 6376 3.6.2.2 has one. */
#define CHECK_RECORDS_MAX 10

enum check_answer { CHECK_FOUND, CHECK_ABSENT, CHECK_UNANSWERED };

enum check_verdict {
	CHECK_OK,
	CHECK_WARN,    /* signatures verify, but somebody should know */
	CHECK_FAIL,    /* signatures do not verify */
	CHECK_UNKNOWN, /* the DNS does not answer now */
};

/* Whoever has a resolver: the texts of all TXT records at the name, each with
 * its strings joined; they live until the next call. */
typedef enum check_answer check_ask_fn(void *owner, struct slice name,
				       struct slice texts[CHECK_RECORDS_MAX],
				       size_t *count_out);

/* What a verifier will make of the selector's signatures; `why` is a sentence
 * for who is to mend it. A retired selector signs nothing: its record may go. */
enum check_verdict check_selector(const struct keyring_selector *selector,
				  enum check_answer answer,
				  const struct slice *texts, size_t count,
				  struct text *why);
/* What that means today: a selector that does not sign yet breaks no mail, so
 * that its CHECK_FAIL is a CHECK_WARN. */
enum check_verdict check_today(const struct keyring_selector *selector,
			       enum check_verdict verdict, struct text *why);
/* "ok", "warn", "fail", "unknown" */
const char *check_verdict_name(enum check_verdict verdict);

#endif
