#include "relay/import/signing_rules.h"

#include <stdlib.h>

#include "relay/import/dataset.h"
#include "relay/import/glob.h"
#include "relay/import/rows.h"
#include "relay/options_values.h"

#define NAME_MAX_BYTES 253 /* of a domain */

struct maker {
	struct opendkim_conf *conf;
	struct slice directory;
	struct arena *arena;
	struct signing_rules *rules;
	struct report *report;
	struct conf_errors *errors;
	/* KeyTable, sorted by name, then by line. */
	struct table_key *keys;
	size_t keys_count;
	bool is_full;
};

struct table_key {
	struct slice name;
	struct slice signs_as, selector, key_path;
	struct conf_place place;
	size_t position;
	bool is_used;
};

static void
rule_add(struct maker *maker, const struct signing_rule *rule)
{
	struct signing_rules *rules = maker->rules;

	if (rules->count == SIGNING_RULES_MAX) {
		if (!maker->is_full)
			conf_error(maker->errors, rule->place,
				   "more than %d addresses and keys",
				   SIGNING_RULES_MAX);
		maker->is_full = true;
		return;
	}
	rules->rules = rows_grow(maker->arena, rules->rules, rules->count,
				 sizeof(*rules->rules));
	rules->rules[rules->count++] = *rule;
}

static struct slice
lower_copy(struct arena *arena, struct slice text)
{
	char *bytes = arena_new(arena, text.len + 1);

	for (size_t i = 0; i < text.len; i++)
		bytes[i] = ascii_lower(text.bytes[i]);
	return slice_of(bytes, text.len);
}

/* ---- KeyTable ---- */

/* What regcomp(3) would not take literally; OpenDKIM escapes "." and "+". */
static bool
is_expression(struct slice pattern)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (pattern.bytes[i] == '\0' ||
		    strchr("[](){}?^$|\\", pattern.bytes[i]) != NULL)
			return true;
	return false;
}

static int
key_compare(const void *a, const void *b)
{
	const struct table_key *left = a, *right = b;
	int order = slice_compare(left->name, right->name);

	if (order != 0)
		return order;
	return left->position < right->position ? -1 : 1;
}

static bool
is_path(struct slice data)
{
	return slice_starts(data, SLICE("/")) ||
	       slice_starts(data, SLICE("./")) ||
	       slice_starts(data, SLICE("../"));
}

/* OpenDKIM takes any; one that is no name in the DNS verifies nowhere, and what
 * would become of it here need not be what was meant. */
static void
selector_judge(struct maker *maker, struct slice selector,
	       struct conf_place place)
{
	struct fault fault;

	if (!selector_check(selector, &fault))
		report_decisive(maker->report, place, "%s", fault.text);
}

/* "%" is the author's domain there, and "*" only itself: d=*, of which nobody
 * finds the record. Here it would be the author's. */
static void
signing_domain_judge(struct maker *maker, struct slice domain,
		     struct conf_place place)
{
	if (slice_find(domain, '*') >= 0)
		report_decisive(maker->report, place,
				"'%.*s' is no domain that could sign; the "
				"author's is written %%",
				SLICE_ARG(domain));
}

/* "example.com:2026:/etc/dkimkeys/2026.private" */
static void
key_read(struct maker *maker, const struct dataset_row *row)
{
	struct slice rest = row->value;
	struct table_key key = {.name = row->key,
				.place = row->place,
				.position = maker->keys_count};

	if (!slice_split(&rest, ':', &key.signs_as) ||
	    !slice_split(&rest, ':', &key.selector) || rest.len == 0 ||
	    key.signs_as.len == 0 || key.selector.len == 0) {
		conf_error(maker->errors, row->place,
			   "'%.*s' has no DOMAIN:SELECTOR:PATH",
			   SLICE_ARG(row->key));
		return;
	}
	if (row->key.len > NAME_MAX_BYTES || key.signs_as.len > NAME_MAX_BYTES) {
		conf_error(maker->errors, row->place,
			   "a name of more than %d bytes", NAME_MAX_BYTES);
		return;
	}
	signing_domain_judge(maker, key.signs_as, row->place);
	selector_judge(maker, key.selector, row->place);
	if (is_path(rest))
		key.key_path = dataset_path(rest, maker->directory,
					    maker->arena);
	maker->keys[maker->keys_count++] = key;
}

static void
keys_read(struct maker *maker, const struct opendkim_setting *setting)
{
	struct dataset dataset = {0};

	if (!dataset_read(setting->value, maker->directory, setting->place,
			  maker->arena, &dataset, maker->errors))
		return;
	maker->keys = arena_array(maker->arena, dataset.count,
				  sizeof(*maker->keys));
	for (size_t i = 0; i < dataset.count; i++)
		if (dataset.is_patterns &&
		    (!glob_is_literal(dataset.rows[i].key) ||
		     is_expression(dataset.rows[i].key)))
			report_decisive(maker->report, dataset.rows[i].place,
					"'%.*s' is a pattern of names: write "
					"a line for each key",
					SLICE_ARG(dataset.rows[i].key));
		else
			key_read(maker, &dataset.rows[i]);
	if (maker->keys_count > 1)
		qsort(maker->keys, maker->keys_count, sizeof(*maker->keys),
		      key_compare);
}

/* The first line of that name, whose case matters. */
static struct table_key *
key_find(const struct maker *maker, struct slice name)
{
	size_t low = 0, high = maker->keys_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (slice_compare(maker->keys[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < maker->keys_count &&
			       slice_eq(maker->keys[low].name, name)
		       ? &maker->keys[low]
		       : NULL;
}

/* ---- SigningTable ---- */

static void
key_use(struct maker *maker, struct table_key *key,
	const struct signing_rule *like)
{
	struct signing_rule rule = *like;

	key->is_used = true;
	if (key->key_path.len == 0) {
		report_decisive(maker->report, key->place,
				"the key of '%.*s' stands in the table: write "
				"it to a file, mode 0600, and name that",
				SLICE_ARG(key->name));
		return;
	}
	rule.signs_as = lower_copy(maker->arena, key->signs_as);
	rule.selector = key->selector;
	rule.key_path = key->key_path;
	rule_add(maker, &rule);
}

/* Letters, digits and hyphens, with a dot: where authors may be. */
static bool
is_domain(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (!ascii_is_alpha(name.bytes[i]) &&
		    !ascii_is_digit(name.bytes[i]) && name.bytes[i] != '-' &&
		    name.bytes[i] != '.')
			return false;
	return slice_find(name, '.') > 0;
}

/* The key is named like the author's domain. */
static void
named_keys_use(struct maker *maker, const struct signing_rule *like)
{
	if (!glob_is_literal(like->domain)) {
		report_note(maker->report, like->place,
			    "'%%': OpenDKIM answers 451 to authors whose "
			    "domain has no key in the KeyTable; signet passes "
			    "their mail on unsigned");
	}
	for (size_t i = 0; i < maker->keys_count; i++) {
		struct table_key *key = &maker->keys[i];
		struct signing_rule rule = *like;

		if (!is_domain(key->name) ||
		    (i > 0 && slice_eq(key[-1].name, key->name)) ||
		    !glob_covers(like->domain, key->name))
			continue;
		rule.domain = lower_copy(maker->arena, key->name);
		key_use(maker, key, &rule);
	}
}

/* value: "key" or "key:identity". */
static void
pattern_add(struct maker *maker, const struct dataset_row *row,
	    struct slice local, struct slice domain)
{
	struct signing_rule rule = {
		.local = lower_copy(maker->arena, local),
		.domain = lower_copy(maker->arena, domain),
		.place = row->place};
	struct slice name, identity = row->value;
	struct table_key *key;

	if (domain.len == 0) {
		report_note(maker->report, row->place,
			    "'%.*s' matches no address",
			    SLICE_ARG(row->key));
		return;
	}
	if (!slice_split(&identity, ':', &name) || name.len == 0) {
		conf_error(maker->errors, row->place, "'%.*s' names no key",
			   SLICE_ARG(row->key));
		return;
	}
	rule.identity = identity;
	if (identity.len > 0 && slice_find(identity, '@') < 0)
		report_decisive(maker->report, row->place,
				"i=%.*s has no \"@\": OpenDKIM signs nothing "
				"then, signet signs without i=",
				SLICE_ARG(identity));
	if (slice_eq(name, SLICE("%"))) {
		named_keys_use(maker, &rule);
		return;
	}
	key = key_find(maker, name);
	if (key == NULL)
		report_decisive(maker->report, row->place,
				"the KeyTable has no '%.*s': OpenDKIM answers "
				"451 to this mail, signet passes it on "
				"unsigned",
				SLICE_ARG(name));
	else
		key_use(maker, key, &rule);
}

/* Of an address, matched as a whole: without "@" in the pattern, each "*" may
 * be what stands for it. */
static void
starred_add(struct maker *maker, const struct dataset_row *row)
{
	struct slice key = row->key;

	if (glob_is_literal(key)) {
		report_note(maker->report, row->place,
			    "'%.*s' matches no address in a refile: (\"*@%.*s\" "
			    "would), so OpenDKIM signs nothing for it either",
			    SLICE_ARG(key), SLICE_ARG(key));
		return;
	}
	for (size_t i = 0; i < key.len; i++)
		if (key.bytes[i] == '*')
			pattern_add(maker, row, slice_sub(key, 0, i + 1),
				    slice_from(key, i));
}

static void
refile_row_read(struct maker *maker, const struct dataset_row *row)
{
	ptrdiff_t at = slice_find_last(row->key, '@');

	if (is_expression(row->key))
		report_decisive(maker->report, row->place,
				"'%.*s' is more than a pattern with \"*\": "
				"write one line for each address or domain "
				"that it is meant to match",
				SLICE_ARG(row->key));
	else if (at < 0)
		starred_add(maker, row);
	else
		pattern_add(maker, row, slice_sub(row->key, 0, (size_t)at),
			    slice_from(row->key, (size_t)at + 1));
}

/* How early a plain key is looked up: user@host, host, then user@.domain and
 * .domain for ever shorter domains, user@*, and "*". */
struct plain_row {
	const struct dataset_row *row;
	struct slice local, domain;
	unsigned class;
	size_t position;
};

enum { PLAIN_ADDRESS, PLAIN_HOST, PLAIN_PARENT, PLAIN_USER, PLAIN_ALL };

static int
plain_compare(const void *a, const void *b)
{
	const struct plain_row *left = a, *right = b;

	if (left->class != right->class)
		return left->class < right->class ? -1 : 1;
	if (left->class == PLAIN_PARENT &&
	    left->domain.len != right->domain.len)
		return left->domain.len > right->domain.len ? -1 : 1;
	if (left->class == PLAIN_PARENT &&
	    (left->local.len == 1) != (right->local.len == 1))
		return left->local.len == 1 ? 1 : -1; /* "*" after a user */
	return left->position < right->position ? -1 : 1;
}

static struct plain_row
plain_row_of(struct maker *maker, const struct dataset_row *row)
{
	struct slice key = row->key;
	ptrdiff_t at = slice_find_last(key, '@');
	struct plain_row plain = {.row = row, .local = SLICE("*")};

	if (at >= 0)
		plain.local = slice_sub(key, 0, (size_t)at);
	plain.domain = slice_from(key, at < 0 ? 0 : (size_t)at + 1);
	if (slice_eq(plain.domain, SLICE("*"))) {
		plain.class = at >= 0 ? PLAIN_USER : PLAIN_ALL;
	} else if (slice_starts(plain.domain, SLICE("."))) {
		plain.class = PLAIN_PARENT;
		plain.domain = arena_printf(maker->arena, "*%.*s",
					    SLICE_ARG(plain.domain));
	} else {
		plain.class = at >= 0 ? PLAIN_ADDRESS : PLAIN_HOST;
	}
	return plain;
}

/* A "*" in a key of a plain table is a "*", but where it is all of a domain. */
static bool
is_never_found(const struct plain_row *plain)
{
	struct slice key = plain->row->key;
	ptrdiff_t star = slice_find(key, '*');

	return star >= 0 &&
	       (plain->class < PLAIN_USER || (size_t)star + 1 != key.len);
}

static void
plain_rows_read(struct maker *maker, const struct dataset *dataset)
{
	struct plain_row *rows =
		arena_array(maker->arena, dataset->count, sizeof(*rows));
	size_t count = 0;

	for (size_t i = 0; i < dataset->count; i++) {
		rows[count] = plain_row_of(maker, &dataset->rows[i]);
		rows[count].position = i;
		if (is_never_found(&rows[count]))
			report_note(maker->report, dataset->rows[i].place,
				    "'%.*s' matches no address, for the table "
				    "is no refile:, so OpenDKIM signs nothing "
				    "for it either",
				    SLICE_ARG(dataset->rows[i].key));
		else
			count++;
	}
	if (count > 1)
		qsort(rows, count, sizeof(*rows), plain_compare);
	for (size_t i = 0; i < count; i++)
		pattern_add(maker, rows[i].row, rows[i].local, rows[i].domain);
}

/* Only the first line of a key is found. */
static int
row_compare(const void *a, const void *b)
{
	const struct dataset_row *const *left = a, *const *right = b;
	size_t common = (*left)->key.len < (*right)->key.len
				? (*left)->key.len
				: (*right)->key.len;

	for (size_t i = 0; i < common; i++) {
		int x = (unsigned char)ascii_lower((*left)->key.bytes[i]);
		int y = (unsigned char)ascii_lower((*right)->key.bytes[i]);

		if (x != y)
			return x - y;
	}
	if ((*left)->key.len != (*right)->key.len)
		return (*left)->key.len < (*right)->key.len ? -1 : 1;
	return *left < *right ? -1 : 1; /* of one array */
}

static void
doubles_drop(struct maker *maker, struct dataset *dataset)
{
	const struct dataset_row **sorted =
		arena_array(maker->arena, dataset->count, sizeof(*sorted));
	bool *is_double =
		arena_array(maker->arena, dataset->count, sizeof(*is_double));
	size_t kept = 0;

	for (size_t i = 0; i < dataset->count; i++)
		sorted[i] = &dataset->rows[i];
	if (dataset->count > 1)
		qsort(sorted, dataset->count, sizeof(*sorted), row_compare);
	for (size_t i = 1; i < dataset->count; i++) {
		if (!slice_eq_nocase(sorted[i]->key, sorted[i - 1]->key))
			continue;
		is_double[sorted[i] - dataset->rows] = true;
		report_note(maker->report, sorted[i]->place,
			    "'%.*s' stands in an earlier line, which is what "
			    "OpenDKIM finds",
			    SLICE_ARG(sorted[i]->key));
	}
	for (size_t i = 0; i < dataset->count; i++)
		if (!is_double[i])
			dataset->rows[kept++] = dataset->rows[i];
	dataset->count = kept;
}

static bool
keys_are_short(struct maker *maker, const struct dataset *dataset)
{
	for (size_t i = 0; i < dataset->count; i++)
		if (dataset->rows[i].key.len > GLOB_MAX / 2) {
			conf_error(maker->errors, dataset->rows[i].place,
				   "an address of more than %d bytes",
				   GLOB_MAX / 2);
			return false;
		}
	return true;
}

static void
table_read(struct maker *maker, const struct opendkim_setting *setting)
{
	struct dataset dataset = {0};

	if (!dataset_read(setting->value, maker->directory, setting->place,
			  maker->arena, &dataset, maker->errors) ||
	    !keys_are_short(maker, &dataset))
		return;
	if (!dataset.is_patterns) {
		doubles_drop(maker, &dataset);
		plain_rows_read(maker, &dataset);
		return;
	}
	for (size_t i = 0; i < dataset.count; i++)
		refile_row_read(maker, &dataset.rows[i]);
}

/* ---- Domain, Selector, KeyFile ---- */

static int
longer_first(const void *a, const void *b)
{
	const struct dataset_row *left = a, *right = b;

	return left->key.len == right->key.len ? 0
	       : left->key.len > right->key.len ? -1
						: 1;
}

/* Patterns are for a refile:, and signed in the author's own name. */
static bool
domains_are_readable(struct maker *maker, const struct dataset *dataset)
{
	for (size_t i = 0; i < dataset->count; i++) {
		const struct dataset_row *row = &dataset->rows[i];

		if (is_expression(row->key) ||
		    (!dataset->is_patterns && !glob_is_literal(row->key) &&
		     !slice_eq(row->key, SLICE("*")))) {
			conf_error(maker->errors, row->place,
				   "Domain: '%.*s' is neither a domain nor a "
				   "pattern in a refile:",
				   SLICE_ARG(row->key));
			return false;
		}
	}
	return true;
}

/* The exact domain, then "*", then, with SubDomains, the closest parent. */
static void
domains_read(struct maker *maker, struct dataset *dataset,
	     const struct signing_rule *like, bool has_subdomains)
{
	struct signing_rule rule = *like;

	if (dataset->count > 1)
		qsort(dataset->rows, dataset->count, sizeof(*dataset->rows),
		      longer_first);
	for (unsigned round = 0; round < 3; round++) {
		for (size_t i = 0; i < dataset->count; i++) {
			struct slice name = lower_copy(maker->arena,
						       dataset->rows[i].key);
			bool is_all = slice_eq(name, SLICE("*"));
			bool is_own = is_all || !glob_is_literal(name);

			if (is_all != (round == 1) ||
			    (round == 2 && (!has_subdomains || is_own)))
				continue;
			rule.place = dataset->rows[i].place;
			rule.signs_as = is_own ? SLICE("%") : name;
			rule.domain = round == 2 ? arena_printf(
							   maker->arena,
							   "*.%.*s",
							   SLICE_ARG(name))
						 : name;
			rule_add(maker, &rule);
		}
	}
}

static void
single_key_read(struct maker *maker)
{
	const struct opendkim_setting *domain =
		opendkim_setting(maker->conf, "Domain");
	const struct opendkim_setting *selector =
		opendkim_setting(maker->conf, "Selector");
	const struct opendkim_setting *file =
		opendkim_setting(maker->conf, "KeyFile");
	bool has_subdomains = opendkim_is_true(maker->conf, "SubDomains");
	struct signing_rule rule = {.local = SLICE("*")};
	struct dataset dataset = {0};

	if (domain == NULL && selector == NULL && file == NULL)
		return; /* verifies only */
	if (domain == NULL || selector == NULL || file == NULL) {
		conf_error(maker->errors,
			   opendkim_place(maker->conf, domain),
			   "Domain, Selector and KeyFile belong together");
		return;
	}
	rule.selector = selector->value;
	selector_judge(maker, rule.selector, selector->place);
	rule.key_path =
		dataset_path(file->value, maker->directory, maker->arena);
	if (dataset_read(domain->value, maker->directory, domain->place,
			 maker->arena, &dataset, maker->errors) &&
	    keys_are_short(maker, &dataset) &&
	    domains_are_readable(maker, &dataset))
		domains_read(maker, &dataset, &rule, has_subdomains);
}

/* ---- all of it ---- */

static void
ignored_report(struct maker *maker)
{
	static const char *const names[] = {"Domain", "Selector", "KeyFile",
					    "SubDomains"};

	for (size_t i = 0; i < COUNT(names); i++) {
		const struct opendkim_setting *setting =
			opendkim_setting(maker->conf, names[i]);

		if (setting != NULL)
			report_note(maker->report, setting->place,
				    "%s counts for nothing beside a KeyTable",
				    names[i]);
	}
}

static void
unused_report(struct maker *maker)
{
	for (size_t i = 0; i < maker->keys_count; i++)
		if (!maker->keys[i].is_used)
			report_note(maker->report, maker->keys[i].place,
				    "no line of the SigningTable leads to the "
				    "key '%.*s'",
				    SLICE_ARG(maker->keys[i].name));
}

void
signing_rules_read(struct opendkim_conf *conf, struct slice directory,
		   struct arena *arena, struct signing_rules *rules_out,
		   struct report *report, struct conf_errors *errors)
{
	struct maker maker = {.conf = conf,
			      .directory = directory,
			      .arena = arena,
			      .rules = rules_out,
			      .report = report,
			      .errors = errors};
	const struct opendkim_setting *keys =
		opendkim_setting(conf, "KeyTable");
	const struct opendkim_setting *table =
		opendkim_setting(conf, "SigningTable");

	*rules_out = (struct signing_rules){
		.is_multiple = opendkim_is_true(conf, "MultipleSignatures")};
	if (keys == NULL && table == NULL) {
		/* Only a SigningTable is gone through to its end. */
		rules_out->is_multiple = false;
		single_key_read(&maker);
		return;
	}
	ignored_report(&maker);
	if (keys == NULL || table == NULL) {
		conf_error(errors, opendkim_place(conf, keys ? keys : table),
			   "KeyTable and SigningTable belong together");
		return;
	}
	keys_read(&maker, keys);
	if (rules_out->is_multiple)
		report_note(report,
			    opendkim_setting(conf, "MultipleSignatures")->place,
			    "MultipleSignatures: of more than two matches, "
			    "OpenDKIM 2.11 signs with the first and the last; "
			    "here all sign, as its manual has it");
	if (errors->count == 0)
		table_read(&maker, table);
	if (errors->count == 0)
		unused_report(&maker);
}
