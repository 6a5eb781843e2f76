#include "relay/options_senders.h"

#include <stdlib.h>

#include "milter/senders.h"
#include "relay/options_signing.h"

/* What stands before the domain in the name of a key's record (RFC 6376
 * 3.6.2.1). */
#define KEY_LABEL "._domainkey."

/* ---- values ---- */

bool
sender_sign_value(struct slice text, struct arena *arena, void *element,
		  struct fault *fault)
{
	struct sender_sign *sign = element;
	struct slice domain = text, label = SLICE(KEY_LABEL);

	for (size_t i = 1; i + label.len <= text.len; i++)
		if (slice_eq_nocase(slice_sub(text, i, label.len), label)) {
			sign->selector =
				arena_copy(arena, slice_sub(text, 0, i));
			domain = slice_from(text, i + label.len);
			break;
		}
	if (slice_eq(domain, SLICE("*"))) {
		sign->domain = SLICE("*");
		return true;
	}
	return domain_name_value(domain, arena, &sign->domain, fault);
}

bool
sender_identity_value(struct slice text, struct arena *arena, void *element,
		      struct fault *fault)
{
	ptrdiff_t at = slice_find_last(text, '@');
	struct slice any;

	if (at < 0 || !slice_eq(slice_from(text, (size_t)at + 1), SLICE("*")))
		return identity_value(text, arena, element, fault);
	/* The part before it, with some domain. */
	any = arena_printf(arena, "%.*s@example.com", (int)at, text.bytes);
	if (!identity_value(any, arena, element, fault))
		return false;
	*(struct slice *)element = arena_copy(arena, text);
	return true;
}

/* ---- settling and checking ---- */

void
senders_settle(struct options *options, struct conf_errors *errors)
{
	const struct conf_item *item = options->items->items;
	struct fault fault;

	for (size_t i = 0; i < options->signing.senders_count; i++) {
		struct sender_options *sender = &options->signing.senders[i];
		struct slice title = sender->pattern;

		item = conf_item_from(item, "sender");
		sender->file = item->place.file;
		sender->line = item->place.line;
		if (title.len > 0 && /* reported already */
		    !sender_pattern_value(title, &options->arena,
					  &sender->pattern, &fault)) {
			sender->pattern = title;
			conf_error_fault(errors, item->place, &fault);
		}
		item = item->next;
	}
}

struct checker {
	const struct options *options;
	struct conf_errors *errors;
	const struct domain_options **by_name; /* sorted */
};

static int
name_compare(const void *a, const void *b)
{
	const struct domain_options *const *left = a, *const *right = b;

	return slice_compare((*left)->name, (*right)->name);
}

static const struct domain_options *
domain_find(const struct checker *checker, struct slice name)
{
	const struct domain_options wanted = {.name = name};
	const struct domain_options *key = &wanted, **found;

	found = bsearch(&key, checker->by_name,
			checker->options->keys.domains_count, sizeof(key),
			name_compare);
	return found == NULL ? NULL : *found;
}

/* How many active keys it names; what is not there is reported. */
static size_t
sign_check(const struct checker *checker, const struct sender_sign *sign,
	   struct conf_place place)
{
	const struct domain_options *domain =
		domain_find(checker, sign->domain);
	bool is_there = false;
	size_t active = 0;

	for (size_t i = 0; domain != NULL && i < domain->selectors_count; i++) {
		const struct selector_options *selector = &domain->selectors[i];

		if (sign->selector.len > 0 &&
		    !slice_eq_nocase(selector->name, sign->selector))
			continue;
		is_there = true;
		active += selector->state == SELECTOR_ACTIVE;
	}
	if (is_there)
		return active;
	if (sign->selector.len > 0)
		conf_error(checker->errors, place,
			   "'sign': there is no selector \"%.*s\" in a domain "
			   "\"%.*s\"",
			   SLICE_ARG(sign->selector), SLICE_ARG(sign->domain));
	else
		conf_error(checker->errors, place,
			   "'sign': there is no domain \"%.*s\" with a "
			   "selector",
			   SLICE_ARG(sign->domain));
	return 1; /* one error is enough */
}

/* RFC 6376 3.5: i= is within d=. What is within one of them may be meant for
 * that one. */
static void
sender_identity_check(const struct checker *checker,
		      const struct sender_options *sender,
		      struct conf_place place)
{
	struct slice identity = sender->identity, domain;

	domain = slice_from(identity,
			    (size_t)(slice_find_last(identity, '@') + 1));
	if (identity.len == 0 || slice_eq(domain, SLICE("*")))
		return;
	for (size_t i = 0; i < sender->sign_count; i++)
		if (slice_eq(sender->sign[i].domain, SLICE("*")) ||
		    senders_is_within(domain, sender->sign[i].domain))
			return;
	conf_error(checker->errors, place,
		   "'identity': '%.*s' is not within a domain of 'sign' "
		   "(RFC 6376 3.5)",
		   SLICE_ARG(identity));
}

static void
sender_check(const struct checker *checker, const struct sender_options *sender,
	     const struct conf_item *item)
{
	struct conf_place place = conf_item_place(item, "sign");
	size_t active = 0;

	for (size_t i = 0; i < sender->sign_count; i++)
		active += sign_check(checker, &sender->sign[i], place);
	if (sender->sign_count > 0 && active == 0)
		conf_error(checker->errors, place,
			   "'sign' names no active selector");
	if (active > POLICY_SIGNERS_MAX)
		conf_error(checker->errors, place,
			   "'sign' names %zu active selectors: at most %d may "
			   "sign a message",
			   active, POLICY_SIGNERS_MAX);
	sender_identity_check(checker, sender,
			      conf_item_place(item, "identity"));
}

void
senders_check(const struct options *options, struct conf_errors *errors)
{
	size_t count = options->keys.domains_count;
	CLEAN(clean_memory)
	const struct domain_options **by_name =
		memory_array(count, sizeof(*by_name));
	struct checker checker = {options, errors, by_name};
	const struct conf_item *item = options->items->items;

	for (size_t i = 0; i < count; i++)
		by_name[i] = &options->keys.domains[i];
	if (count > 1)
		qsort(by_name, count, sizeof(*by_name), name_compare);
	for (size_t i = 0; i < options->signing.senders_count; i++) {
		item = conf_item_from(item, "sender");
		sender_check(&checker, &options->signing.senders[i], item);
		item = item->next;
	}
}

/* ---- warning ---- */

static const struct selector_options *
selector_find(const struct options *options, const struct sender_sign *sign)
{
	for (size_t i = 0; i < options->keys.domains_count; i++) {
		const struct domain_options *domain = &options->keys.domains[i];

		if (!slice_eq(domain->name, sign->domain))
			continue;
		for (size_t j = 0; j < domain->selectors_count; j++)
			if (slice_eq_nocase(domain->selectors[j].name,
					    sign->selector))
				return &domain->selectors[j];
	}
	return NULL;
}

static void
sender_warn(const struct options *options, const struct sender_options *sender,
	    void (*warn)(const char *text))
{
	for (size_t i = 0; i < sender->sign_count; i++) {
		const struct sender_sign *sign = &sender->sign[i];
		const struct selector_options *selector =
			selector_find(options, sign);
		CLEAN(text_done) struct text said = {0};

		if (selector == NULL || selector->state == SELECTOR_ACTIVE)
			continue;
		text_addf(&said,
			  "%s:%u: 'sign' names the selector \"%.*s\" of "
			  "\"%.*s\", which is not active and signs nothing",
			  sender->file, sender->line, SLICE_ARG(sign->selector),
			  SLICE_ARG(sign->domain));
		warn(text_string(&said));
	}
}

void
senders_warn(const struct options *options, void (*warn)(const char *text))
{
	for (size_t i = 0; i < options->signing.senders_count; i++)
		sender_warn(options, &options->signing.senders[i], warn);
}
