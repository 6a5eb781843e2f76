/*
 * signing_rules - which authors OpenDKIM signs for, with what: its KeyTable
 * and SigningTable, or Domain, Selector and KeyFile, as one ordered list of
 * patterns.
 *
 * The order of the list is the order in which OpenDKIM tries them: a plain
 * SigningTable, which is looked up from the full address to "*", is sorted so.
 * The first that matches signs, or each, where is_multiple.
 */
#ifndef RELAY_IMPORT_SIGNING_RULES_H
#define RELAY_IMPORT_SIGNING_RULES_H

#include "relay/import/opendkim_conf.h"

#define SIGNING_RULES_MAX 50000

struct signing_rule {
	struct slice local, domain; /* patterns; what they match may be empty */
	struct slice signs_as;  /* d=; "%": the author's domain */
	struct slice selector;
	struct slice key_path;  /* "%" in it stands for d= */
	struct slice identity;  /* i=, as in the table: "%" stands for the
				   author's domain; empty: none */
	struct conf_place place;
};

struct signing_rules {
	struct signing_rule *rules;
	size_t count;
	bool is_multiple;
};

/* directory: where relative paths start. What cannot be read goes to the
 * errors, what has no counterpart to the report. */
void signing_rules_read(struct opendkim_conf *conf, struct slice directory,
			struct arena *arena, struct signing_rules *rules_out,
			struct report *report, struct conf_errors *errors);

#endif
