#include "milter/claim.h"

#include "base/base64.h"
#include "base/tags.h"
#include "milter/bodyhash.h"
#include "milter/idn.h"

/* RFC 6376 3.5: l= has at most 76 digits; t= and x= have 12, and what is longer
 * may be taken for infinite. */
#define LENGTH_DIGITS_MAX 76
#define TIME_DIGITS_MAX 12
#define TIME_INFINITE (UINT64_MAX - 1)
#define TIME_NEVER UINT64_MAX

static bool
refuse(struct fault *fault, const char *why)
{
	return fault_set(fault, FAULT_INPUT, "%s", why);
}

static bool
refuse_limit(struct fault *fault, const char *why)
{
	return fault_set(fault, FAULT_LIMIT, "%s", why);
}

static bool
refuse_trust(struct fault *fault, const char *why)
{
	return fault_set(fault, FAULT_UNTRUSTED, "%s", why);
}

static struct slice
tag_value(const struct tags *tags, const char *name)
{
	const struct tag *tag = tags_find(tags, name);

	return tag == NULL ? SLICE_NONE : tag->value;
}

static bool
required_check(const struct tags *tags, struct fault *fault)
{
	static const char *const required[] = {"v", "a", "b", "bh",
					       "d", "h", "s"};

	for (size_t i = 0; i < COUNT(required); i++)
		if (tags_find(tags, required[i]) == NULL)
			return fault_set(fault, FAULT_INPUT,
					 "the tag %s= is missing", required[i]);
	if (!slice_eq(tag_value(tags, "v"), SLICE("1")))
		return refuse(fault, "v= is not 1");
	return true;
}

static bool
algorithm_read(struct slice name, struct claim *claim, struct fault *fault)
{
	if (slice_eq(name, SLICE("rsa-sha1")))
		return refuse_limit(fault, "RFC 8301 bars rsa-sha1");
	if (!key_algorithm_find(name, &claim->algorithm))
		return refuse(fault, "the algorithm of a= is not known");
	return true;
}

/* c=: "header" or "header/body"; body defaults to simple. */
static bool
canon_read(const struct tags *tags, struct claim *claim, struct fault *fault)
{
	struct slice header = tag_value(tags, "c"), body = SLICE("simple");
	ptrdiff_t slash = slice_find(header, '/');

	claim->header_canon = claim->body_canon = CANON_SIMPLE;
	if (tags_find(tags, "c") == NULL)
		return true;
	if (slash >= 0) {
		body = slice_from(header, (size_t)slash + 1);
		header.len = (size_t)slash;
	}
	if (!canon_find(header, &claim->header_canon) ||
	    !canon_find(body, &claim->body_canon))
		return refuse(fault, "the canonicalization of c= is not known");
	return true;
}

static bool
query_check(const struct tags *tags, struct fault *fault)
{
	struct slice rest = tag_value(tags, "q"), method;

	if (tags_find(tags, "q") == NULL)
		return true;
	while (tags_next_item(&rest, &method))
		if (slice_eq_nocase(method, SLICE("dns/txt")))
			return true;
	return refuse(fault, "no query method of q= is known");
}

static bool
names_check(struct slice name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.bytes[i] <= ' ' || name.bytes[i] >= 0x7f)
			return false;
	return name.len > 0;
}

static bool
names_read(struct slice value, struct arena *arena, struct claim *claim,
	   struct fault *fault)
{
	struct slice rest = value, name;
	size_t count = 0;
	bool has_from = false;

	while (tags_next_item(&rest, &name)) {
		if (!names_check(name))
			return refuse(fault, "h= is malformed");
		if (slice_eq_nocase(name, SLICE("From")))
			has_from = true;
		if (++count > CLAIM_NAMES_MAX)
			return refuse_limit(fault, "h= names too many fields");
	}
	if (!has_from)
		return refuse_trust(fault, "From is not signed");
	claim->names = arena_array(arena, count, sizeof(*claim->names));
	for (rest = value; tags_next_item(&rest, &name);)
		claim->names[claim->names_count++] = name;
	ASSERT(claim->names_count == count);
	return true;
}

static bool
number_read(const struct tags *tags, const char *name, size_t digits_max,
	    uint64_t absent, uint64_t *number_out, struct fault *fault)
{
	const struct tag *tag = tags_find(tags, name);
	uint64_t number;

	if (tag == NULL) {
		*number_out = absent;
		return true;
	}
	if (tag->value.len > digits_max || !slice_number(tag->value, &number))
		return fault_set(fault, FAULT_INPUT,
				 "%s= is not a number in range", name);
	*number_out = number;
	return true;
}

static bool
time_read(const struct tags *tags, const char *name, uint64_t absent,
	  uint64_t *time_out, struct fault *fault)
{
	struct slice value = tag_value(tags, name);

	if (value.len <= TIME_DIGITS_MAX)
		return number_read(tags, name, TIME_DIGITS_MAX, absent,
				   time_out, fault);
	for (size_t i = 0; i < value.len; i++)
		if (!ascii_is_digit(value.bytes[i]))
			return fault_set(fault, FAULT_INPUT,
					 "%s= is not a number in range", name);
	*time_out = TIME_INFINITE;
	return true;
}

static bool
times_check(const struct tags *tags, uint64_t time_s, struct fault *fault)
{
	uint64_t made = 0, expires = 0;

	if (!time_read(tags, "t", 0, &made, fault) ||
	    !time_read(tags, "x", TIME_NEVER, &expires, fault))
		return false;
	/* Of two that are infinite nobody knows. */
	if (tags_find(tags, "t") != NULL && expires <= made &&
	    expires != TIME_INFINITE)
		return refuse(fault, "x= is not behind t=");
	if (expires < time_s)
		return refuse_trust(fault, "the signature has expired");
	return true;
}

static struct slice
without_space(struct slice value, struct arena *arena)
{
	CLEAN(text_done) struct text out = {0};

	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		if (!ascii_is_wsp(c) && c != '\r' && c != '\n')
			text_add_byte(&out, c);
	}
	return arena_copy(arena, text_slice(&out));
}

static bool
length_read(const struct tags *tags, uint64_t *limit_out, struct fault *fault)
{
	if (!number_read(tags, "l", LENGTH_DIGITS_MAX, BODYHASH_WHOLE,
			 limit_out, fault))
		return false;
	/* No body is that long, and without l= it is the whole one. */
	if (tags_find(tags, "l") != NULL && *limit_out == BODYHASH_WHOLE)
		return refuse(fault, "l= is not a number in range");
	return true;
}

/* i=: its domain is that of d= or below it. */
static bool
identity_read(const struct tags *tags, struct arena *arena,
	      struct claim *claim, struct fault *fault)
{
	struct slice value, domain = claim->domain, above;
	ptrdiff_t at;

	claim->identity_domain = claim->domain;
	if (tags_find(tags, "i") == NULL)
		return true;
	value = without_space(tag_value(tags, "i"), arena);
	at = slice_find_last(value, '@');
	if (at < 0 ||
	    !idn_to_ascii(slice_from(value, (size_t)at + 1), arena,
			  &claim->identity_domain, NULL))
		return refuse(fault, "i= is malformed");
	value = claim->identity_domain;
	if (slice_eq(value, domain))
		return true;
	above = slice_from(value, value.len > domain.len
					  ? value.len - domain.len - 1
					  : value.len);
	if (above.len != domain.len + 1 || above.bytes[0] != '.' ||
	    !slice_eq(slice_from(above, 1), domain))
		return refuse_trust(fault,
				    "the domain of i= is not within d=");
	return true;
}

static bool
names_of_key_read(struct arena *arena, struct claim *claim,
		  struct fault *fault)
{
	if (!idn_to_ascii(claim->domain_text, arena, &claim->domain, NULL))
		return refuse(fault, "d= is not a domain");
	if (!idn_to_ascii(claim->selector_text, arena, &claim->selector, NULL))
		return refuse(fault, "s= is not a selector");
	if (claim->selector.len + strlen("._domainkey.") + claim->domain.len >
	    IDN_DOMAIN_MAX)
		return refuse(fault, "s= and d= are too long together");
	return true;
}

static bool
hashes_read(const struct tags *tags, struct arena *arena, struct claim *claim,
	    struct fault *fault)
{
	CLEAN(text_done) struct text decoded = {0};

	if (!base64_read(&decoded, tag_value(tags, "bh")) ||
	    decoded.len != DIGEST_SIZE)
		return refuse(fault, "bh= is not a SHA-256 hash in base64");
	memcpy(claim->body_hash, decoded.bytes, DIGEST_SIZE);
	text_clear(&decoded);
	if (!base64_read(&decoded, tag_value(tags, "b")) || decoded.len == 0)
		return refuse(fault, "b= is not base64");
	claim->signature = arena_copy(arena, text_slice(&decoded));
	return true;
}

/* RFC 6376 3.7: the value of b= goes, all white space around it too. */
static void
unfinished_make(const struct tags *tags, struct slice field,
		struct arena *arena, struct claim *claim)
{
	CLEAN(text_done) struct text text = {0};
	struct slice raw = tags_find(tags, "b")->raw;
	size_t before = (size_t)(raw.bytes - field.bytes);

	ASSERT(before + raw.len <= field.len);
	text_add(&text, slice_sub(field, 0, before));
	text_add(&text, slice_from(field, before + raw.len));
	claim->unfinished = arena_copy(arena, text_slice(&text));
}

bool
claim_parse(struct slice field, struct slice value, uint64_t time_s,
	    struct arena *arena, struct claim *claim, struct fault *fault)
{
	struct tags tags;

	*claim = (struct claim){0};
	if (!tags_parse(value, &tags, fault))
		return false;
	claim->domain_text = tag_value(&tags, "d");
	claim->selector_text = tag_value(&tags, "s");
	claim->algorithm_text = tag_value(&tags, "a");
	claim->b_text = tag_value(&tags, "b");
	if (!required_check(&tags, fault) ||
	    !algorithm_read(claim->algorithm_text, claim, fault) ||
	    !canon_read(&tags, claim, fault) || !query_check(&tags, fault) ||
	    !names_of_key_read(arena, claim, fault) ||
	    !identity_read(&tags, arena, claim, fault) ||
	    !names_read(tag_value(&tags, "h"), arena, claim, fault) ||
	    !length_read(&tags, &claim->body_limit, fault) ||
	    !times_check(&tags, time_s, fault) ||
	    !hashes_read(&tags, arena, claim, fault))
		return false;
	unfinished_make(&tags, field, arena, claim);
	return true;
}
