#include "milter/explain.h"

#include "base/clock.h"
#include "milter/explain_relay.h"
#include "milter/senders.h"

static const struct decision *
decision_of(const struct explain *explain)
{
	return pipeline_decision(explain->examination->pipeline);
}

static const struct domain_options *
options_of(const struct explain *explain, const struct keyring_domain *section)
{
	const struct keyring *keyring =
		policy_keyring(pipeline_policy(explain->examination->pipeline));

	return &explain->options->keys
			.domains[section - keyring_domain_at(keyring, 0)];
}

static void
place_write(const struct domain_options *options, struct text *out)
{
	text_addf(out, "domain \"%.*s\"", SLICE_ARG(options->name));
	if (options->file != NULL)
		text_addf(out, " (%s:%u)", options->file, options->line);
}

/* ---- the author, the section ---- */

static void
author_write(const struct explain *explain, struct text *out)
{
	struct slice author = decision_of(explain)->author_domain;

	if (author.len > 0)
		text_addf(out, "The author's domain, in From, is %.*s.\n",
			  SLICE_ARG(author));
	else
		text_add_string(out, "No author's domain was found.\n");
}

static void
section_write(const struct explain *explain, struct text *out)
{
	const struct decision *decision = decision_of(explain);
	const struct keyring_domain *section = decision->domain;

	if (section == NULL) {
		if (decision->author_domain.len > 0)
			text_add_string(out, "No section of the configuration "
					     "matches it.\n");
		return;
	}
	text_add_string(out, "The section ");
	place_write(options_of(explain, section), out);
	text_add_string(out, " matches: ");
	if (section->is_default)
		text_add_string(out, "it is for every domain without a "
				     "section of its own");
	else if (slice_eq_nocase(section->name, decision->author_domain))
		text_add_string(out, "it is that domain's own");
	else
		text_add_string(out, "it is the closest domain above, and has "
				     "subdomains = true");
	text_add_string(out, ".\n");
}

/* ---- the selectors ---- */

static bool
is_signer(const struct decision *decision,
	  const struct keyring_selector *selector)
{
	for (size_t i = 0; i < decision->signers_count; i++)
		if (decision->signers[i].selector == selector)
			return true;
	return false;
}

static void
patterns_write(const struct keyring_selector *selector, struct text *out)
{
	for (size_t i = 0; i < selector->from_count; i++)
		text_addf(out, "%s\"%.*s\"", i > 0 ? ", " : "",
			  SLICE_ARG(selector->from[i]));
}

/* Why an active selector does not sign. */
static void
passed_over_write(const struct explain *explain,
		  const struct keyring_selector *selector, struct text *out)
{
	if (decision_of(explain)->verdict != VERDICT_SIGN ||
	    decision_of(explain)->senders_count > 0) {
		text_add_string(out, "does not sign this message");
	} else if (selector->from_count > 0) {
		text_add_string(out, "does not sign: it is for the senders ");
		patterns_write(selector, out);
	} else {
		text_add_string(out, "does not sign: another selector names "
				     "this sender");
	}
}

static void
selector_write(const struct explain *explain,
	       const struct keyring_selector *selector, struct text *out)
{
	const struct decision *decision = decision_of(explain);

	text_addf(out, "  selector \"%.*s\": %s", SLICE_ARG(selector->name),
		  selector_state_name(selector->state));
	if (selector->key != NULL)
		text_addf(
			out, ", %s with %u bits",
			key_algorithm_name(key_public_algorithm(selector->key)),
			key_public_bits(selector->key));
	text_add_string(out, ", ");
	switch (selector->state) {
	case SELECTOR_ACTIVE:
		if (!is_signer(decision, selector)) {
			passed_over_write(explain, selector, out);
		} else if (selector->from_count > 0 &&
			   decision->senders_count == 0) {
			text_add_string(out, "signs: it names this sender, ");
			patterns_write(selector, out);
		} else {
			text_add_string(out, "signs");
		}
		break;
	case SELECTOR_PUBLISH:
		text_add_string(out, "does not sign: it is only published "
				     "until it becomes active");
		break;
	case SELECTOR_RETIRED:
		text_add_string(out, "does not sign: it stays published for "
				     "mail that it has signed");
		break;
	}
	text_add_string(out, "\n");
}

static void
selectors_write(const struct explain *explain,
		const struct keyring_domain *section, struct text *out)
{
	for (size_t i = 0; i < section->selectors_count; i++)
		selector_write(explain, &section->selectors[i], out);
}

/* Sections that also_sign brings in, each once. */
static void
others_write(const struct explain *explain, struct text *out)
{
	const struct policy *policy =
		pipeline_policy(explain->examination->pipeline);
	const struct keyring_domain *const *others;
	size_t count;

	others = policy_also(policy, decision_of(explain)->domain, &count);
	for (size_t i = 0; i < count; i++) {
		text_add_string(out, "also_sign brings in the section ");
		place_write(options_of(explain, others[i]), out);
		text_add_string(out, ".\n");
		selectors_write(explain, others[i], out);
	}
}

/* ---- sender sections ---- */

/* Each section once, with those of its selectors that are named. */
static void
target_write(const struct explain *explain, const struct sender *sender,
	     size_t i, struct text *out)
{
	const struct sender_target *target = &sender->targets[i];

	if (i == 0 || sender->targets[i - 1].section != target->section) {
		text_add_string(out, "It names keys of the section ");
		place_write(options_of(explain, target->section), out);
		text_add_string(out, ".\n");
	}
	if (target->selector != NULL)
		selector_write(explain, target->selector, out);
	else
		selectors_write(explain, target->section, out);
}

static void
sender_write(const struct explain *explain, const struct sender *sender,
	     struct text *out)
{
	text_addf(out, "The section sender \"%.*s\"",
		  SLICE_ARG(sender->pattern));
	if (sender->file != NULL)
		text_addf(out, " (%s:%u)", sender->file, sender->line);
	text_add_string(out, " matches the author's address, and decides.\n");
	for (size_t i = 0; i < sender->targets_count; i++)
		target_write(explain, sender, i, out);
	if (sender->targets_count == 0)
		text_add_string(out, "It names nobody who signs.\n");
}

static void
senders_write(const struct explain *explain, struct text *out)
{
	const struct decision *decision = decision_of(explain);
	const struct policy *policy =
		pipeline_policy(explain->examination->pipeline);
	size_t count = policy_senders(policy)->count;

	for (size_t i = 0; i < decision->senders_count; i++)
		sender_write(explain, decision->senders[i], out);
	if (decision->senders_count == 0 && !decision->senders_differ &&
	    count > 0 && decision->author_domain.len > 0)
		text_addf(out, "None of the %zu sender sections matches.\n",
			  count);
}

/* ---- the signatures ---- */

static void
time_write(uint64_t seconds, struct text *out)
{
	char date[CLOCK_DATE_SIZE];

	clock_write_date(seconds * 1000, date);
	text_add_string(out, date);
}

static void
names_write(const struct explain *explain, const struct policy_rules *rules,
	    struct text *out)
{
	size_t count, column = 6;
	const struct slice *names =
		pipeline_names(explain->examination->pipeline, rules, &count);

	text_add_string(out, "    h=");
	for (size_t i = 0; i < count; i++) {
		if (i > 0 && column + names[i].len > 76) {
			text_add_string(out, "\n      ");
			column = 6;
		}
		text_addf(out, "%.*s%s", SLICE_ARG(names[i]),
			  i + 1 < count ? ":" : "\n");
		column += names[i].len + 1;
	}
}

static void
signer_write(const struct explain *explain, const struct policy_signer *signer,
	     struct text *out)
{
	const struct policy_rules *rules = signer->rules;

	text_add_string(out, "  DKIM-Signature:");
	if (signer->selector->key != NULL)
		text_addf(out, " a=%s",
			  key_algorithm_name(
				  key_public_algorithm(signer->selector->key)));
	text_addf(out, " c=%s/%s d=%.*s s=%.*s",
		  canon_name(rules->header_canon),
		  canon_name(rules->body_canon), SLICE_ARG(signer->domain),
		  SLICE_ARG(signer->selector->name));
	if (signer->identity.len > 0)
		text_addf(out, " i=%.*s", SLICE_ARG(signer->identity));
	text_add_string(out, "\n");
	names_write(explain, rules, out);
	if (rules->expire_s > 0) {
		text_add_string(out, "    signed now, it expires (x=) on ");
		time_write(pipeline_time(explain->examination->pipeline) +
				   rules->expire_s,
			   out);
		text_add_string(out, "\n");
	} else {
		text_add_string(out, "    it does not expire (no x=)\n");
	}
}

static void
signers_write(const struct explain *explain, struct text *out)
{
	const struct decision *decision = decision_of(explain);

	text_addf(out, "%zu signature%s would be put on top:\n",
		  decision->signers_count,
		  decision->signers_count == 1 ? "" : "s");
	for (size_t i = 0; i < decision->signers_count; i++)
		signer_write(explain, &decision->signers[i], out);
	if (decision->signed_by.len > 0)
		text_addf(out, "It carries a signature of %.*s already: %s.\n",
			  SLICE_ARG(decision->signed_by),
			  decision->strips
				  ? "such ones are taken away "
				    "(signing.existing = \"strip\")"
				  : "that one stays (signing.existing = "
				    "\"keep\")");
}

/* ---- the end ---- */

/* The sentence is the one of the log and of the reply. */
static void
verdict_write(const struct explain *explain, struct text *out)
{
	const struct decision *decision = decision_of(explain);

	switch (decision->verdict) {
	case VERDICT_SIGN:
		text_add_string(out, "Signed: ");
		break;
	case VERDICT_RELAY:
		text_add_string(out, "Passed on without a signature of ours: ");
		break;
	case VERDICT_REJECT:
		text_add_string(out, "Refused, since signing.unsigned = "
				     "\"reject\": ");
		break;
	}
	text_add(out, decision->reason);
	text_add(out, text_slice(&explain->examination->remarks));
	text_add_string(out, ".\n");
}

/* What the message wrote reaches a terminal. */
static void
plain_make(struct text *text)
{
	for (size_t i = 0; i < text->len;) {
		size_t len = slice_utf8_length(text_slice(text), i);
		unsigned char c = (unsigned char)text->bytes[i];

		/* C1 controls are 0xC2 0x80 to 0xC2 0x9F. */
		if (len == 0 || (c < ' ' && c != '\n') || c == 0x7f ||
		    (c == 0xc2 && (unsigned char)text->bytes[i + 1] < 0xa0)) {
			text->bytes[i] = '?';
			i++;
		} else {
			i += len;
		}
	}
}

static void
decision_write(const struct explain *explain, bool is_refused, struct text *out)
{
	const struct decision *decision = decision_of(explain);

	author_write(explain, out);
	senders_write(explain, out);
	if (decision->senders_count == 0 && !decision->senders_differ)
		section_write(explain, out);
	if (decision->domain != NULL) {
		selectors_write(explain, decision->domain, out);
		others_write(explain, out);
	}
	if (!is_refused && decision->verdict != VERDICT_REJECT)
		explain_changes_write(explain, out);
	if (decision->verdict == VERDICT_SIGN)
		signers_write(explain, out);
	verdict_write(explain, out);
	explain_rewriting_write(explain, out);
	if (decision->verdict == VERDICT_SIGN &&
	    explain->keys_fault->kind != FAULT_NONE)
		text_addf(out,
			  "But the keys cannot be loaded, and until then such "
			  "mail waits (451): %s\n",
			  explain->keys_fault->text);
}

bool
explain_write(const struct explain *explain, struct text *out)
{
	CLEAN(text_done) struct text text = {0}, refusal = {0};
	bool is_refused = explain_refusal_write(explain, &refusal);

	if (explain->examination->decision != NULL)
		decision_write(explain, is_refused, &text);
	if (is_refused)
		text_addf(&text, "But the relay refuses it: %s.\n",
			  text_string(&refusal));
	plain_make(&text);
	text_add(out, text_slice(&text));
	return !is_refused;
}
