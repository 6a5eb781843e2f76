#include "milter/rules.h"

/* RFC 6376 5.4.1, and behind it what design says beyond: List-Unsubscribe-Post
 * has to be signed by RFC 8058 4, the MIME fields say how the body reads. */
static const struct policy_field built_in[] = {
	{SLICE_LITERAL("From"), true},
	{SLICE_LITERAL("Reply-To"), true},
	{SLICE_LITERAL("Subject"), true},
	{SLICE_LITERAL("Date"), true},
	{SLICE_LITERAL("To"), true},
	{SLICE_LITERAL("Cc"), true},
	{SLICE_LITERAL("Resent-Date"), false},
	{SLICE_LITERAL("Resent-From"), false},
	{SLICE_LITERAL("Resent-To"), false},
	{SLICE_LITERAL("Resent-Cc"), false},
	{SLICE_LITERAL("In-Reply-To"), false},
	{SLICE_LITERAL("References"), false},
	{SLICE_LITERAL("List-Id"), false},
	{SLICE_LITERAL("List-Help"), false},
	{SLICE_LITERAL("List-Unsubscribe"), false},
	{SLICE_LITERAL("List-Subscribe"), false},
	{SLICE_LITERAL("List-Post"), false},
	{SLICE_LITERAL("List-Owner"), false},
	{SLICE_LITERAL("List-Archive"), false},
	{SLICE_LITERAL("Message-ID"), false},
	{SLICE_LITERAL("MIME-Version"), false},
	{SLICE_LITERAL("Content-Type"), false},
	{SLICE_LITERAL("Content-Transfer-Encoding"), false},
	{SLICE_LITERAL("List-Unsubscribe-Post"), false},
};

const struct policy_field *
policy_fields(size_t *count_out)
{
	*count_out = COUNT(built_in);
	return built_in;
}

/* Fields that every host on the way may add, change or take away. */
static const char *const passing[] = {
	"Received",	  "Return-Path", "DKIM-Signature",
	"Delivered-To",	  "Bcc",	 "Resent-Bcc",
	"Received-SPF",	  "ARC-Seal",	 "ARC-Message-Signature",
	"ARC-Authentication-Results",	 "Authentication-Results",
};

const char *
policy_name_problem(struct slice name)
{
	if (name.len == 0)
		return "is empty";
	for (size_t i = 0; i < name.len; i++)
		if (name.bytes[i] <= ' ' || name.bytes[i] >= 0x7f ||
		    name.bytes[i] == ':' || name.bytes[i] == ';')
			return "is not the name of a field";
	for (size_t i = 0; i < COUNT(passing); i++)
		if (slice_eq_nocase(name, SLICE(passing[i])))
			return "changes on the way and must not be signed "
			       "(RFC 6376 5.4.1)";
	return NULL;
}

struct names {
	const struct slice *items;
	size_t count;
};

/* Adds a field, or oversigns the one that is there. */
static void
field_add(struct policy_rules *rules, struct policy_field *fields,
	  struct slice name, bool is_oversigned)
{
	for (size_t i = 0; i < rules->fields_count; i++) {
		if (!slice_eq_nocase(fields[i].name, name))
			continue;
		fields[i].is_oversigned |= is_oversigned;
		return;
	}
	fields[rules->fields_count++] =
		(struct policy_field){name, is_oversigned};
}

static bool
field_has(const struct policy_rules *rules, const struct policy_field *fields,
	  size_t built_in_i)
{
	for (size_t i = 0; i < rules->fields_count; i++)
		if (slice_eq_nocase(fields[i].name, built_in[built_in_i].name))
			return true;
	return false;
}

static bool
says_none(struct names names)
{
	return names.count == 1 &&
	       slice_eq_nocase(names.items[0], SLICE(POLICY_NO_NAME));
}

/* From first: whatever the lists say, it is signed (RFC 6376 5.4). */
static void
fields_make(struct names headers, struct names oversign, struct arena *arena,
	    struct policy_rules *rules)
{
	struct policy_field *fields = arena_array(
		arena, 1 + COUNT(built_in) + headers.count + oversign.count,
		sizeof(*fields));

	field_add(rules, fields, SLICE("From"), false);
	for (size_t i = 0; i < headers.count; i++)
		field_add(rules, fields, arena_copy(arena, headers.items[i]),
			  false);
	for (size_t i = 0; headers.count == 0 && i < COUNT(built_in); i++)
		field_add(rules, fields, built_in[i].name, false);
	rules->fields = fields;
	if (says_none(oversign))
		return;
	for (size_t i = 0; i < oversign.count; i++)
		field_add(rules, fields, arena_copy(arena, oversign.items[i]),
			  true);
	/* A list of headers alone says what is signed: it is not made longer. */
	for (size_t i = 0; oversign.count == 0 && i < COUNT(built_in); i++)
		if (built_in[i].is_oversigned &&
		    (headers.count == 0 || field_has(rules, fields, i)))
			field_add(rules, fields, built_in[i].name, true);
}

void
rules_make(const struct signing_options *options,
	   const struct domain_signing_options *domain, struct arena *arena,
	   struct policy_rules *rules_out)
{
	struct names headers = {options->headers, options->headers_count};
	struct names oversign = {options->oversign, options->oversign_count};
	struct policy_rules rules = {
		.header_canon = options->header_canon,
		.body_canon = options->body_canon,
		.expire_s = options->expire_ms / 1000,
	};

	if (domain != NULL && domain->has_canonicalization) {
		rules.header_canon = domain->header_canon;
		rules.body_canon = domain->body_canon;
	}
	if (domain != NULL && domain->headers_count > 0)
		headers = (struct names){domain->headers,
					 domain->headers_count};
	if (domain != NULL && domain->oversign_count > 0)
		oversign = (struct names){domain->oversign,
					  domain->oversign_count};
	if (domain != NULL && domain->has_expire)
		rules.expire_s = domain->expire_ms / 1000;
	if (domain != NULL)
		rules.identity = arena_copy(arena, domain->identity);
	fields_make(headers, oversign, arena, &rules);
	*rules_out = rules;
}
