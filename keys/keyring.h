/*
 * keyring - which selectors sign for a domain.
 *
 * Immutable once made: a reload makes a new one, and who still uses the old
 * one keeps it by a reference. It knows public halves only.
 *
 * Names       Domains are A-labels in lower case.
 * Thread      Any; the reference count is atomic.
 */
#ifndef KEYS_KEYRING_H
#define KEYS_KEYRING_H

#include "keys/key.h"

enum selector_state { SELECTOR_ACTIVE, SELECTOR_PUBLISH, SELECTOR_RETIRED };

/* "active", "publish", "retired". */
const char *selector_state_name(enum selector_state state);

/* As configured; fills from the configuration file. */
struct selector_options {
	struct slice name;
	struct slice key_path; /* as written; relative to keys_dir */
	enum selector_state state;
	struct slice *from; /* senders it is for; none: every one */
	size_t from_count;
	unsigned line; /* of the configuration file, for messages */
	const char *file;
};

struct domain_options {
	struct slice name; /* "*": for every author domain without another */
	bool subdomains;
	struct selector_options *selectors;
	size_t selectors_count;
	unsigned line;
	const char *file;
};

/* What the rooms below relay/ are given of the configuration. */
struct keys_options {
	struct slice keys_dir;
	struct domain_options *domains;
	size_t domains_count;
};

/* Appends the path of a key file: key_path, below keys_dir where it is
 * relative. */
void keys_path_write(const struct keys_options *options, struct slice key_path,
		     struct text *out);

struct keyring_selector {
	struct slice name;
	enum selector_state state;
	struct key_public *key;
	struct slice *from; /* patterns: "*@news.example.com" */
	size_t from_count;
	size_t number;      /* counted through all domains in order */
};

struct keyring_domain {
	struct slice name;
	bool is_default; /* "*" */
	bool subdomains;
	struct keyring_selector *selectors;
	size_t selectors_count;
};

struct keyring;

/* Copies what it needs of the options. publics[i] belongs to the i-th
 * selector, counted through all domains in order; ownership of each moves to
 * the keyring. */
struct keyring *keyring_new(const struct keys_options *options,
			    struct key_public **publics, size_t count);
struct keyring *keyring_ref(struct keyring *keyring);
void keyring_unref(struct keyring *keyring);
CLEAN_POINTER(struct keyring, keyring_unref)

/* The section for this author domain: the exact one, else the closest parent
 * with `subdomains`, else "*" where it is a domain name at all. NULL where
 * there is none. Case does not matter. */
const struct keyring_domain *keyring_find(const struct keyring *keyring,
					  struct slice domain);
/* The section of that very name, "*" among them; or NULL. */
const struct keyring_domain *keyring_named(const struct keyring *keyring,
					   struct slice name);
size_t keyring_domains_count(const struct keyring *keyring);
const struct keyring_domain *keyring_domain_at(const struct keyring *keyring,
					       size_t i);

/* One compact, self-checked byte string of public halves in keyring order, to
 * hand the keyring from the supervisor to the relay; _read is the other end. */
void keyring_write_publics(const struct keyring *keyring, struct text *out);
bool keyring_read_publics(const struct keys_options *options,
			  struct slice bytes, struct keyring **keyring_out,
			  struct fault *fault) MUST_USE;

#endif
