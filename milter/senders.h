/*
 * senders - the sender sections of the configuration: an ordered list of
 * patterns of From addresses, each with who signs the mail of whom it matches.
 *
 * Patterns    "*@news.example.com": "*" stands for any bytes, also none; ASCII
 *             case does not matter.
 * Looking up  Patterns of one domain are found by that domain; only those with
 *             a "*" in it are gone through.
 */
#ifndef MILTER_SENDERS_H
#define MILTER_SENDERS_H

#include "milter/policy.h"

/* Of those that match one sender; each is good for a signature, or more. */
#define SENDERS_USED_MAX (2 * POLICY_SIGNERS_MAX)

/* Who is to sign: one selector or, where that is NULL, those that its section
 * has for the sender. */
struct sender_target {
	const struct keyring_domain *section;
	const struct keyring_selector *selector;
};

struct sender {
	struct slice pattern;
	const struct sender_target *targets; /* none: nobody signs */
	size_t targets_count;
	struct slice identity; /* i=; "@*": of the author's domain */
	size_t number;         /* in the order of the configuration, from 0 */
	const char *file;      /* of the configuration */
	unsigned line;
};

struct senders {
	const struct sender *senders; /* in their order */
	size_t count;
	const struct sender **exact; /* by domain, then by their order */
	size_t exact_count;
	const struct sender **open; /* "*" in their domain; in their order */
	size_t open_count;
};

/* Copies into the arena, but for what lies in the keyring. */
void senders_make(const struct signing_options *options,
		  const struct keyring *keyring, struct arena *arena,
		  struct senders *senders_out);
/* The first that matches this address, or the first behind `last`; NULL: there
 * is none. */
const struct sender *senders_next(const struct senders *senders,
				  struct slice local, struct slice domain,
				  const struct sender *last);
/* i= of a signature that a sender section asks of d= `domain` for this author;
 * empty where it would not be within that (RFC 6376 3.5). */
struct slice senders_identity(const struct sender *sender,
			      struct slice author_domain, struct slice domain,
			      struct arena *arena);

/* Whether a pattern matches an address. */
bool senders_pattern_matches(struct slice pattern, struct slice local,
			     struct slice domain);
/* Whether one of them does. */
bool senders_any_matches(const struct slice *patterns, size_t count,
			 struct slice local, struct slice domain);
/* Whether a domain is another one, or below it. */
bool senders_is_within(struct slice name, struct slice domain);

#endif
