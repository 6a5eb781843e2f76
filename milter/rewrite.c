#include "milter/rewrite.h"

#include "milter/author.h"
#include "milter/encoded_word.h"
#include "milter/mailbox.h"
#include "milter/senders.h"

/* RFC 5321 4.5.3.1.1 */
#define LOCAL_MAX_OCTETS 64
#define REPLY_TO_MAX 10
/* Of what From was, for the log. */
#define REMARK_MAX 200

/* ---- addresses ---- */

/* Names that no public DNS has: RFC 6761, 6762, 8375, and what devices and
 * resolvers make up. */
static bool
is_private_name(struct slice domain)
{
	static const char *const names[] = {
		"localhost", "local", "localdomain", "invalid",  "test",
		"example",   "onion", "home.arpa",   "internal", "intranet",
		"lan",       "home",  "corp",        "private",  "workgroup",
	};

	for (size_t i = 0; i < COUNT(names); i++)
		if (senders_is_within(domain, SLICE(names[i])))
			return true;
	return false;
}

/* Whether mail to that domain, in A-labels, may leave this site. */
static bool
is_public(struct slice domain)
{
	ptrdiff_t dot = slice_find_last(domain, '.');
	uint64_t number;

	return domain.len > 0 && domain.bytes[0] != '[' && dot > 0 &&
	       !slice_number(slice_from(domain, (size_t)dot + 1), &number) &&
	       !is_private_name(domain);
}

static bool
is_allowed(const struct rewrite *rewrite, struct slice local,
	   struct slice domain)
{
	return rewrite->allowed_count == 0 ||
	       senders_any_matches(rewrite->allowed, rewrite->allowed_count,
				   local, domain);
}

static bool
keeps_local(const struct rewrite_rule *rule)
{
	return slice_starts(rule->to, SLICE("*@"));
}

/* The address that the rule gives to who had this local part. */
static void
address_write(const struct rewrite_rule *rule, struct slice local,
	      struct text *out)
{
	if (!keeps_local(rule)) {
		text_add(out, rule->to);
		return;
	}
	if (local.len > LOCAL_MAX_OCTETS || !mailbox_is_dot_atom(local))
		local = SLICE("postmaster");
	text_add(out, local);
	text_add(out, slice_from(rule->to, 1));
}

/* ---- the reverse-path ---- */

/* A domain that we sign for, or below one. */
static bool
is_within_ours(const struct policy *policy, struct slice domain)
{
	for (;;) {
		const struct keyring_domain *section =
			keyring_find(policy_keyring(policy), domain);
		ptrdiff_t dot = slice_find(domain, '.');

		if (section != NULL)
			return true;
		if (dot < 0)
			return false;
		domain = slice_from(domain, (size_t)dot + 1);
	}
}

static bool
sender_is_ours(const struct rewrite *rewrite, struct slice local,
	       struct slice domain)
{
	return local.len > 0 && is_public(domain) &&
	       is_allowed(rewrite, local, domain) &&
	       is_within_ours(rewrite->policy, domain);
}

bool
rewrite_sender(const struct rewrite *rewrite, struct slice path,
	       struct slice local, struct slice domain, struct text *out)
{
	const struct rewrite_rule *rule = &rewrite->sender;

	if (rule->to.len == 0 || path.len == 0)
		return false;
	if (rule->when == REWRITE_NEEDED &&
	    sender_is_ours(rewrite, local, domain))
		return false;
	address_write(rule, local, out);
	return !slice_eq(text_slice(out), path);
}

/* ---- what a header says ---- */

void
rewrite_facts_done(struct rewrite_facts *facts)
{
	text_done(&facts->from);
}

/* RFC 3834 5: whatever it says, but "no". */
static bool
is_automatic(struct slice value)
{
	struct slice rest = slice_trim(value), word;

	return slice_split(&rest, ';', &word) &&
	       !slice_eq_nocase(slice_trim(word), SLICE("no"));
}

void
rewrite_note(struct rewrite_facts *facts, struct slice name, struct slice value)
{
	if (slice_eq_nocase(name, SLICE("From"))) {
		if (facts->from_count++ == 0)
			text_add(&facts->from, value);
	} else if (slice_eq_nocase(name, SLICE("Reply-To"))) {
		facts->has_reply_to = true;
	} else if (slice_eq_nocase(name, SLICE("Sender"))) {
		facts->has_sender = true;
	} else if (slice_eq_nocase(name, SLICE("DKIM-Signature")) ||
		   slice_eq_nocase(name, SLICE("ARC-Message-Signature")) ||
		   slice_eq_nocase(name, SLICE("ARC-Seal"))) {
		facts->is_signed = true;
	} else if (slice_eq_nocase(name, SLICE("Content-Type"))) {
		facts->is_report |= slice_starts_nocase(
			slice_trim(value), SLICE("multipart/report"));
	} else if (slice_eq_nocase(name, SLICE("Auto-Submitted"))) {
		facts->is_report |= is_automatic(value);
	}
}

/* ---- deciding ---- */

static bool
authors_are_ours(const struct rewrite *rewrite, const struct authors *authors,
		 const struct rewrite_facts *facts, struct arena *arena)
{
	struct decision decision;

	for (size_t i = 0; i < authors->count; i++)
		if (!is_public(authors->domains[i]) ||
		    !is_allowed(rewrite, authors->locals[i],
				authors->domains[i]))
			return false;
	policy_decide(rewrite->policy,
		      &(struct header_facts){.from_count = facts->from_count,
					     .from = text_slice(&facts->from)},
		      arena, &decision);
	return decision.verdict == VERDICT_SIGN;
}

/* Those that the mail from From can be answered to. */
static void
reply_to_write(const struct authors *authors, struct text *out)
{
	size_t count = 0;

	for (size_t i = 0; i < authors->count && count < REPLY_TO_MAX; i++) {
		struct slice local = authors->locals[i];
		struct slice domain = authors->domains[i];

		if (local.len > LOCAL_MAX_OCTETS ||
		    !mailbox_is_dot_atom(local) || !is_public(domain))
			continue;
		text_addf(out, "%s%.*s@%.*s",
			  count++ == 0 ? "Reply-To: " : ",\r\n ",
			  SLICE_ARG(local), SLICE_ARG(domain));
	}
	if (count > 0)
		text_add_string(out, "\r\n");
}

static void
from_write(const struct rewrite_facts *facts, const struct authors *authors,
	   bool keeps_name, struct slice address, struct text *out)
{
	size_t before;

	text_add_string(out, "From: ");
	before = out->len;
	if (keeps_name && facts->from_count == 1 && authors->count <= 1)
		mailbox_name_write(text_slice(&facts->from), out);
	if (out->len > before)
		text_addf(out, " <%.*s>\r\n", SLICE_ARG(address));
	else
		text_addf(out, "%.*s\r\n", SLICE_ARG(address));
}

static bool
is_address(const struct authors *authors, struct slice address)
{
	size_t at = (size_t)slice_find_last(address, '@');

	return authors->count == 1 &&
	       slice_eq(authors->locals[0], slice_sub(address, 0, at)) &&
	       slice_eq_nocase(authors->domains[0],
			       slice_from(address, at + 1));
}

/* authors: count 0 where From cannot be read. */
static void
fields_write(const struct rewrite_facts *facts, const struct authors *authors,
	     bool keeps_name, struct slice address, struct text *out,
	     struct rewrite_report *report)
{
	size_t before;

	from_write(facts, authors, keeps_name, address, out);
	before = out->len;
	if (!facts->has_reply_to && !is_address(authors, address))
		reply_to_write(authors, out);
	*report = (struct rewrite_report){
		.rewrites_from = facts->from_count > 0,
		.adds_from = facts->from_count == 0,
		.adds_reply_to = out->len > before,
		.removes_sender = facts->has_sender,
	};
}

/* Whom From is to name. */
static void
author_write(const struct rewrite *rewrite, const struct rewrite_facts *facts,
	     const struct authors *authors, struct arena *arena,
	     struct text *out)
{
	const struct rewrite_rule *rule = &rewrite->from;

	if (facts->from_count == 1 && authors->count == 1 &&
	    authors->dispute == NULL && rule->when == REWRITE_NEEDED &&
	    authors_are_ours(rewrite, authors, facts, arena))
		mailbox_write(authors->locals[0], authors->domains[0], out);
	else
		address_write(rule,
			      authors->count > 0
				      ? authors->locals[0]
				      : mailbox_local(text_slice(&facts->from)),
			      out);
}

/* Whether nobody whose addresses are limited may be taken for another. */
static bool
name_is_fair(const struct rewrite *rewrite, const struct rewrite_facts *facts)
{
	return rewrite->allowed_count == 0 ||
	       encoded_words_problem(text_slice(&facts->from),
				     rewrite->allowed,
				     rewrite->allowed_count) == NULL;
}

/* Whether From may stay. */
static bool
from_is_fit(const struct rewrite *rewrite, const struct rewrite_facts *facts,
	    const struct authors *authors, struct slice address,
	    struct arena *arena)
{
	if (facts->from_count != 1 || authors->count == 0 ||
	    !name_is_fair(rewrite, facts) ||
	    (rewrite->allowed_count > 0 && authors->dispute != NULL))
		return false;
	return is_address(authors, address) ||
	       (rewrite->from.when == REWRITE_NEEDED &&
		authors_are_ours(rewrite, authors, facts, arena));
}

enum rewrite_outcome
rewrite_decide(const struct rewrite *rewrite, const struct rewrite_facts *facts,
	       bool is_null, struct text *fields,
	       struct rewrite_report *report_out)
{
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(text_done) struct text address = {0};
	struct authors authors = {0};
	struct fault fault;

	if (rewrite->from.to.len == 0)
		return REWRITE_NOTHING;
	if (facts->from_count > 0 &&
	    !authors_parse(text_slice(&facts->from), &arena, &authors, &fault))
		authors.count = 0;
	author_write(rewrite, facts, &authors, &arena, &address);
	if (from_is_fit(rewrite, facts, &authors, text_slice(&address), &arena))
		return REWRITE_NOTHING;
	if (facts->is_signed)
		return REWRITE_KEPT_SIGNED;
	if (facts->is_report && is_null)
		return REWRITE_KEPT_REPORT;
	fields_write(facts, &authors, name_is_fair(rewrite, facts),
		     text_slice(&address), fields, report_out);
	return REWRITE_DONE;
}

/* ---- the stream ---- */

void
rewriter_init(struct rewriter *rewriter, const struct rewrite *rewrite,
	      bool is_null, size_t header_max)
{
	*rewriter = (struct rewriter){.rewrite = rewrite, .is_null = is_null};
	header_reader_init(&rewriter->reader, header_max);
}

void
rewriter_done(struct rewriter *rewriter)
{
	header_reader_done(&rewriter->reader);
	text_done(&rewriter->held);
	rewrite_facts_done(&rewriter->facts);
}

static void
field_note(struct rewriter *rewriter, struct slice field)
{
	struct slice name, value;

	if (header_field_parse(field, &name, &value) == NULL)
		rewrite_note(&rewriter->facts, name, value);
}

/* Takes From's place, or none. */
static void
field_write(struct slice field, struct text *fields, struct text *out)
{
	struct slice name = SLICE_NONE, value;

	if (header_field_parse(field, &name, &value) != NULL)
		name = SLICE_NONE;
	if (slice_eq_nocase(name, SLICE("From"))) {
		text_add(out, text_slice(fields));
		text_clear(fields);
	} else if (!slice_eq_nocase(name, SLICE("Sender"))) {
		text_add(out, field);
		text_add_string(out, "\r\n");
	}
}

static void
header_write(struct rewriter *rewriter, struct text *fields, struct text *out)
{
	CLEAN(header_reader_done) struct header_reader reader;
	struct slice rest = text_slice(&rewriter->held), field;
	enum header_status status;

	header_reader_init(&reader, rest.len + 1);
	while ((status = header_read(&reader, &rest, &field)) == HEADER_FIELD)
		field_write(field, fields, out);
	ASSERT(status == HEADER_MORE || status == HEADER_END);
	while (status == HEADER_MORE &&
	       header_read_last(&reader, &field) == HEADER_FIELD)
		field_write(field, fields, out);
	text_add(out, text_slice(fields));
	if (status == HEADER_END)
		text_add_string(out, "\r\n");
}

/* The header is held whole. */
static void
header_end(struct rewriter *rewriter, struct text *out)
{
	CLEAN(text_done) struct text fields = {0};

	rewriter->is_passing = true;
	rewriter->outcome =
		rewrite_decide(rewriter->rewrite, &rewriter->facts,
			       rewriter->is_null, &fields, &rewriter->report);
	if (rewriter->outcome == REWRITE_DONE)
		header_write(rewriter, &fields, out);
	else
		text_add(out, text_slice(&rewriter->held));
	text_done(&rewriter->held);
}

/* Whoever reads the header next will say that it is too large. */
static void
give_up(struct rewriter *rewriter, struct text *out)
{
	rewriter->is_passing = true;
	text_add(out, text_slice(&rewriter->held));
	text_done(&rewriter->held);
}

void
rewriter_feed(struct rewriter *rewriter, struct slice bytes, struct text *out)
{
	struct slice rest = bytes, field;
	enum header_status status;

	if (rewriter->is_passing) {
		text_add(out, bytes);
		return;
	}
	while ((status = header_read(&rewriter->reader, &rest, &field)) ==
	       HEADER_FIELD)
		field_note(rewriter, field);
	text_add(&rewriter->held, slice_sub(bytes, 0, bytes.len - rest.len));
	switch (status) {
	case HEADER_FIELD:
	case HEADER_MORE:
		return;
	case HEADER_END:
		header_end(rewriter, out);
		break;
	case HEADER_TOO_LARGE:
		give_up(rewriter, out);
		break;
	}
	text_add(out, rest);
}

void
rewriter_finish(struct rewriter *rewriter, struct text *out)
{
	enum header_status status;
	struct slice field;

	if (rewriter->is_passing)
		return;
	while ((status = header_read_last(&rewriter->reader, &field)) ==
	       HEADER_FIELD)
		field_note(rewriter, field);
	if (status == HEADER_TOO_LARGE)
		give_up(rewriter, out);
	else
		header_end(rewriter, out);
}

void
rewriter_remark(const struct rewriter *rewriter, struct text *remarks)
{
	CLEAN(text_done) struct text was = {0};
	struct slice value;

	switch (rewriter->outcome) {
	case REWRITE_NOTHING:
		break;
	case REWRITE_KEPT_SIGNED:
		text_add_string(remarks, "; From stays: the message carries a "
					 "signature");
		break;
	case REWRITE_KEPT_REPORT:
		text_add_string(remarks, "; From stays: it is a report, or an "
					 "automatic reply");
		break;
	case REWRITE_DONE:
		if (!rewriter->report.rewrites_from)
			break;
		mailbox_unfold(text_slice(&rewriter->facts.from), &was);
		value = slice_trim(text_slice(&was));
		text_addf(remarks, "; From was %.*s%s",
			  SLICE_ARG(slice_sub(value, 0, REMARK_MAX)),
			  value.len > REMARK_MAX ? "..." : "");
		break;
	}
}
