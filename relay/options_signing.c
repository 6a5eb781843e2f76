#include "relay/options_signing.h"

#include <stdlib.h>

#include "base/clock.h"
#include "milter/idn.h"
#include "milter/mailbox.h"
#include "milter/senders.h"
#include "relay/options_values.h"

#define EXPIRE_MAX_MS (3650 * DAY)

/* ---- values ---- */

static bool
canonicalization_read(struct slice text, enum canonicalization *header_out,
		      enum canonicalization *body_out, struct fault *fault)
{
	struct slice body = text, header;

	/* RFC 6376 3.5: a c= without body means simple for it. Asking for both
	 * leaves nobody guessing. */
	if (slice_split(&body, '/', &header) &&
	    canon_find(header, header_out) && canon_find(body, body_out))
		return true;
	return fault_set(fault, FAULT_INPUT,
			 "'%.*s' is none of: relaxed/relaxed, relaxed/simple, "
			 "simple/relaxed, simple/simple",
			 SLICE_ARG(text));
}

bool
canonicalization_value(struct slice text, struct arena *arena, void *element,
		       struct fault *fault)
{
	struct signing_options *signing = element;

	(void)arena;
	return canonicalization_read(text, &signing->header_canon,
				     &signing->body_canon, fault);
}

bool
domain_canonicalization_value(struct slice text, struct arena *arena,
			      void *element, struct fault *fault)
{
	struct domain_section *section = element;

	(void)arena;
	section->signing.has_canonicalization = text.len > 0;
	return text.len == 0 ||
	       canonicalization_read(text, &section->signing.header_canon,
				     &section->signing.body_canon, fault);
}

bool
domain_expire_value(struct slice text, struct arena *arena, void *element,
		    struct fault *fault)
{
	static const struct conf_option duration = {
		.key = "domain.expire",
		.kind = CONF_DURATION,
		.size = sizeof(uint64_t),
		.max = EXPIRE_MAX_MS,
	};
	struct domain_section *section = element;

	section->signing.has_expire = text.len > 0;
	return text.len == 0 ||
	       conf_value_read(&duration, text, arena,
			       &section->signing.expire_ms, fault);
}

bool
field_name_value(struct slice text, struct arena *arena, void *element,
		 struct fault *fault)
{
	const char *problem = policy_name_problem(text);

	*(struct slice *)element = arena_copy(arena, text);
	return problem == NULL || fault_set(fault, FAULT_INPUT, "'%.*s' %s",
					    SLICE_ARG(text), problem);
}

bool
domain_name_value(struct slice text, struct arena *arena, void *element,
		  struct fault *fault)
{
	struct slice name = text;

	if (!idn_to_ascii(text, arena, &name, fault))
		return fault_within(fault, "'%.*s'", SLICE_ARG(text));
	*(struct slice *)element = name;
	return domain_check(name, fault);
}

/* What may stand before the "@" without quotes (RFC 5322 3.2.3). */
static bool
local_check(struct slice local, const char *also)
{
	for (size_t i = 0; i < local.len; i++) {
		char c = local.bytes[i];

		if (!ascii_is_alpha(c) && !ascii_is_digit(c) &&
		    (c == '\0' ||
		     (strchr("!#$%&'+-/=?^_`{|}~.", c) == NULL &&
		      strchr(also, c) == NULL)))
			return false;
	}
	return local.len <= 64;
}

static bool
address_read(struct slice text, struct arena *arena, struct slice domain,
	     size_t local_len, struct slice *address_out, struct fault *fault)
{
	struct slice ascii = domain;

	if (!idn_to_ascii(domain, arena, &ascii, fault) ||
	    !domain_check(ascii, fault))
		return fault_within(fault, "'%.*s'", SLICE_ARG(text));
	*address_out = arena_printf(arena, "%.*s@%.*s", (int)local_len,
				    text.bytes, SLICE_ARG(ascii));
	return true;
}

bool
identity_value(struct slice text, struct arena *arena, void *element,
	       struct fault *fault)
{
	ptrdiff_t at = slice_find_last(text, '@');
	struct slice local = slice_sub(text, 0, at < 0 ? 0 : (size_t)at);

	*(struct slice *)element = SLICE_NONE;
	if (text.len == 0)
		return true;
	if (at < 0 || !local_check(local, "*"))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is neither \"user@example.com\" nor "
				 "\"@example.com\"",
				 SLICE_ARG(text));
	return address_read(text, arena, slice_from(text, (size_t)at + 1),
			    local.len, element, fault);
}

/* A domain with "*" in it: letters, digits, hyphens and dots beside that. */
static bool
domain_pattern_check(struct slice domain)
{
	for (size_t i = 0; i < domain.len; i++) {
		char c = domain.bytes[i];

		if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' &&
		    c != '.' && c != '*' && c != '_')
			return false;
	}
	return domain.len > 0 && domain.len <= IDN_DOMAIN_MAX;
}

/* What addresses are compared with: without the quotes that `"a b"` needs. */
static bool
local_pattern_read(struct slice local, struct text *out)
{
	if (local.len < 2 || local.bytes[0] != '"') {
		text_add(out, local);
		return local.len > 0 && local_check(local, "*");
	}
	if (!mailbox_is_quoted(local))
		return false;
	mailbox_unquote(local, out);
	return out->len > 0 && out->len <= 64;
}

bool
sender_pattern_value(struct slice text, struct arena *arena, void *element,
		     struct fault *fault)
{
	CLEAN(text_done) struct text local = {0};
	ptrdiff_t at = slice_find_last(text, '@');
	struct slice domain;

	*(struct slice *)element = SLICE_NONE;
	domain = slice_from(text, at < 0 ? text.len : (size_t)at + 1);
	if (at > 0 && local_pattern_read(slice_sub(text, 0, (size_t)at),
					 &local)) {
		bool is_open = slice_find(domain, '*') >= 0;
		size_t len = local.len;

		text_addf(&local, "@%.*s", SLICE_ARG(domain));
		if (!is_open)
			return address_read(text_slice(&local), arena, domain,
					    len, element, fault);
		if (domain_pattern_check(domain)) {
			*(struct slice *)element =
				arena_copy(arena, text_slice(&local));
			return true;
		}
	}
	return fault_set(fault, FAULT_INPUT,
			 "'%.*s' is not a sender pattern such as "
			 "\"*@news.example.com\"",
			 SLICE_ARG(text));
}

/* ---- sections ---- */

void
signing_options_split(struct options *options)
{
	size_t count = options->keys.domains_count;
	struct domain_signing_options *signing =
		arena_array(&options->arena, count, sizeof(*signing));

	options->keys.domains =
		arena_array(&options->arena, count,
			    sizeof(*options->keys.domains));
	for (size_t i = 0; i < count; i++) {
		options->keys.domains[i] = options->domains[i].keys;
		signing[i] = options->domains[i].signing;
	}
	options->signing.domains = signing;
}

static struct slice
domain_of(struct slice address)
{
	return slice_from(address,
			  (size_t)slice_find_last(address, '@') + 1);
}

struct checker {
	const struct options *options;
	struct conf_errors *errors;
	const struct domain_options **by_name; /* sorted */
};

static int
domain_compare(const void *a, const void *b)
{
	const struct domain_options *const *left = a, *const *right = b;

	return slice_compare((*left)->name, (*right)->name);
}

static const struct domain_options *
domain_find(const struct checker *checker, struct slice name)
{
	const struct domain_options wanted = {.name = name};
	const struct domain_options *key = &wanted;
	const struct domain_options **found;

	found = bsearch(&key, checker->by_name,
			checker->options->keys.domains_count, sizeof(key),
			domain_compare);
	return found == NULL ? NULL : *found;
}

static size_t
active_count(const struct domain_options *domain)
{
	size_t count = 0;

	for (size_t i = 0; i < domain->selectors_count; i++)
		count += domain->selectors[i].state == SELECTOR_ACTIVE;
	return count;
}

static void
identity_check(const struct checker *checker, size_t i,
	       const struct conf_item *item)
{
	const struct domain_options *domain =
		&checker->options->keys.domains[i];
	struct slice identity =
		checker->options->signing.domains[i].identity;
	struct conf_place place = conf_item_place(item, "identity");

	if (identity.len == 0)
		return;
	if (slice_eq(domain->name, SLICE("*")))
		conf_error(checker->errors, place,
			   "'identity' has no meaning in the domain \"*\", "
			   "whose d= is the author's");
	else if (!senders_is_within(domain_of(identity), domain->name))
		conf_error(checker->errors, place,
			   "'identity': '%.*s' is not within the domain "
			   "\"%.*s\" (RFC 6376 3.5)",
			   SLICE_ARG(identity), SLICE_ARG(domain->name));
}

/* Whether the k-th of also_sign stands before it, too. */
static bool
is_listed(const struct domain_signing_options *signing, size_t k)
{
	for (size_t i = 0; i < k; i++)
		if (slice_eq(signing->also_sign[i], signing->also_sign[k]))
			return true;
	return false;
}

static void
also_check(const struct checker *checker, size_t i,
	   const struct conf_item *item)
{
	const struct domain_options *domain =
		&checker->options->keys.domains[i];
	const struct domain_signing_options *signing =
		&checker->options->signing.domains[i];
	struct conf_place place = conf_item_place(item, "also_sign");
	size_t count = active_count(domain);

	for (size_t k = 0; k < signing->also_sign_count; k++) {
		struct slice name = signing->also_sign[k];
		const struct domain_options *other = domain_find(checker, name);

		if (other == NULL || other->selectors_count == 0)
			conf_error(checker->errors, place,
				   "'also_sign': there is no domain \"%.*s\" "
				   "with a selector",
				   SLICE_ARG(name));
		else if (other == domain || is_listed(signing, k))
			conf_error(checker->errors, place,
				   "'also_sign': the domain \"%.*s\" signs "
				   "already",
				   SLICE_ARG(name));
		else
			count += active_count(other);
	}
	if (count > POLICY_SIGNERS_MAX)
		conf_error(checker->errors, place,
			   "the domain \"%.*s\" has %zu active selectors, with "
			   "those of also_sign: at most %d may sign a message",
			   SLICE_ARG(domain->name), count, POLICY_SIGNERS_MAX);
	if (domain->name.len > 0 && domain->selectors_count == 0 &&
	    signing->also_sign_count == 0)
		conf_error(checker->errors, item->place,
			   "the domain \"%.*s\" has no selector",
			   SLICE_ARG(domain->name));
}

/* The section of an author's domain, as the keyring finds it. */
static const struct domain_options *
section_of(const struct checker *checker, struct slice name)
{
	const struct domain_options *found = domain_find(checker, name);
	struct slice parent = name, label;

	while (found == NULL && slice_split(&parent, '.', &label)) {
		found = domain_find(checker, parent);
		if (found != NULL && !found->subdomains)
			found = NULL;
	}
	return found != NULL ? found : domain_find(checker, SLICE("*"));
}

/* Whether mail of that author's domain comes to this section by also_sign. */
static bool
is_asked_for(const struct checker *checker, struct slice name,
	     const struct domain_options *domain)
{
	const struct domain_options *from = section_of(checker, name);
	const struct domain_signing_options *signing;

	if (from == NULL)
		return false;
	signing = &checker->options->signing
			   .domains[from - checker->options->keys.domains];
	for (size_t i = 0; i < signing->also_sign_count; i++)
		if (slice_eq(signing->also_sign[i], domain->name))
			return true;
	return false;
}

/* A pattern that no author of this section can fit, nor one of those that it
 * signs for, is a mistake. */
static void
pattern_check_within(const struct checker *checker,
		     const struct domain_options *domain,
		     struct slice pattern, struct conf_place place)
{
	struct slice name = domain_of(pattern);

	if (pattern.len == 0 || slice_find(name, '*') >= 0 ||
	    slice_eq(domain->name, SLICE("*")) ||
	    slice_eq_nocase(name, domain->name) ||
	    (domain->subdomains && senders_is_within(name, domain->name)) ||
	    is_asked_for(checker, name, domain))
		return;
	conf_error(checker->errors, place,
		   "'from': '%.*s' is nobody of the domain \"%.*s\"%s",
		   SLICE_ARG(pattern), SLICE_ARG(domain->name),
		   senders_is_within(name, domain->name)
			   ? "; subdomains = true is missing"
			   : "");
}

static void
patterns_check(const struct checker *checker, size_t i,
	       const struct conf_item *item)
{
	const struct domain_options *domain =
		&checker->options->keys.domains[i];

	for (size_t k = 0; k < domain->selectors_count; k++) {
		const struct selector_options *selector =
			&domain->selectors[k];
		const struct conf_item *section =
			conf_item_find(item, "selector", k);

		for (size_t n = 0; n < selector->from_count; n++)
			pattern_check_within(checker, domain,
					     selector->from[n],
					     conf_item_place(section, "from"));
	}
}

/* Beside others it would be the name of a field. */
static void
oversign_check(const struct slice *names, size_t count,
	       const struct conf_item *section, struct conf_errors *errors)
{
	for (size_t i = 0; i < count && count > 1; i++)
		if (slice_eq_nocase(names[i], SLICE(POLICY_NO_NAME)))
			conf_error(errors,
				   conf_item_place(section, "oversign"),
				   "'oversign': \"" POLICY_NO_NAME
				   "\" stands alone");
}

void
signing_options_check(const struct options *options,
		      struct conf_errors *errors)
{
	size_t count = options->keys.domains_count;
	CLEAN(clean_memory) const struct domain_options **by_name =
		memory_array(count, sizeof(*by_name));
	struct checker checker = {options, errors, by_name};
	const struct conf_item *item = options->items->items;
	const struct signing_options *signing = &options->signing;

	oversign_check(signing->oversign, signing->oversign_count,
		       conf_item_find(options->items, "signing", 0), errors);
	for (size_t i = 0; i < count; i++)
		by_name[i] = &options->keys.domains[i];
	if (count > 1)
		qsort(by_name, count, sizeof(*by_name), domain_compare);
	for (size_t i = 0; i < count; i++, item = item->next) {
		item = conf_item_from(item, "domain");
		identity_check(&checker, i, item);
		also_check(&checker, i, item);
		patterns_check(&checker, i, item);
		oversign_check(signing->domains[i].oversign,
			       signing->domains[i].oversign_count, item,
			       errors);
	}
}
