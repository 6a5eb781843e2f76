#include "keys/record.h"

#include "base/base64.h"

#define LABEL_MAX 63
#define NAME_MAX_DNS 253 /* in text form, without the last dot */
#define NAME_MIDDLE "._domainkey."

static bool
has_item(struct slice value, const char *wanted)
{
	struct slice item;

	while (tags_next_item(&value, &item))
		if (slice_eq_nocase(item, SLICE(wanted)))
			return true;
	return false;
}

static bool
has_item_or_is_absent(const struct tags *tags, const char *name,
		      const char *wanted)
{
	const struct tag *tag = tags_find(tags, name);

	return tag == NULL || has_item(tag->value, wanted);
}

/* Seen of dkimpy and Mail::DKIM in Debian 12, which fail what differs. */
static bool
is_plain(const struct tags *tags, const char *name, const char *one,
	 const char *other)
{
	const struct tag *tag = tags_find(tags, name);

	return tag == NULL || slice_eq(tag->value, SLICE(one)) ||
	       slice_eq(tag->value, SLICE(other));
}

static struct slice
value_of(const struct tags *tags, const char *name, struct slice fallback)
{
	const struct tag *tag = tags_find(tags, name);

	return tag == NULL ? fallback : tag->value;
}

static bool
version_check(const struct tags *tags, struct fault *fault)
{
	const struct tag *version = tags_find(tags, "v");

	if (version == NULL)
		return true;
	if (version != &tags->items[0])
		return fault_set(fault, FAULT_INPUT,
				 "key record: v= is not the first tag");
	if (!slice_eq(version->value, SLICE("DKIM1")))
		return fault_set(fault, FAULT_INPUT,
				 "key record: v= is not DKIM1");
	return true;
}

static void
kind_read(const struct tags *tags, struct record *record)
{
	static const enum key_algorithm known[] = {KEY_RSA_SHA256,
						   KEY_ED25519_SHA256};

	record->kind = value_of(tags, "k", SLICE("rsa"));
	for (size_t i = 0; i < COUNT(known); i++) {
		if (slice_eq_nocase(record->kind,
				    SLICE(key_algorithm_kind(known[i])))) {
			record->is_known = true;
			record->algorithm = known[i];
		}
	}
}

bool
record_parse(struct slice txt, struct record *out, struct fault *fault)
{
	struct record record = {0};
	const struct tag *key;
	struct slice flags;
	struct tags tags;

	if (!tags_parse(txt, &tags, fault))
		return fault_within(fault, "key record");
	if (!version_check(&tags, fault))
		return false;
	key = tags_find(&tags, "p");
	if (key == NULL)
		return fault_set(fault, FAULT_INPUT, "key record: no p= tag");
	if (!base64_read(&record.key, key->value)) {
		text_done(&record.key);
		return fault_set(fault, FAULT_INPUT,
				 "key record: p= is not base64");
	}
	flags = value_of(&tags, "t", SLICE_NONE);
	record.is_revoked = record.key.len == 0;
	record.takes_sha256 = has_item_or_is_absent(&tags, "h", "sha256");
	record.for_email = has_item_or_is_absent(&tags, "s", "*") ||
			   has_item_or_is_absent(&tags, "s", "email");
	record.is_testing = has_item(flags, "y");
	record.is_strict = has_item(flags, "s");
	record.is_unusual = !is_plain(&tags, "k", "rsa", "ed25519") ||
			    !is_plain(&tags, "h", "sha256", "sha1:sha256") ||
			    !is_plain(&tags, "s", "*", "email") ||
			    !is_plain(&tags, "g", "*", "*");
	record.notes = value_of(&tags, "n", SLICE_NONE);
	kind_read(&tags, &record);
	*out = record;
	return true;
}

void
record_done(struct record *record)
{
	text_done(&record->key);
}

void
record_write(const struct key_public *key, struct text *out)
{
	text_addf(out, "v=DKIM1; k=%s; p=",
		  key_algorithm_kind(key_public_algorithm(key)));
	base64_write(out, key_public_record(key));
}

void
record_name_write(struct slice selector, struct slice domain, struct text *out)
{
	text_add(out, selector);
	text_add_string(out, NAME_MIDDLE);
	text_add(out, domain);
}

/* RFC 1035 5.1: what would end the string, or is not to be seen. */
static void
string_byte_add(struct text *out, char c)
{
	if (c == '"' || c == '\\')
		text_addf(out, "\\%c", c);
	else if (c < ' ' || c > '~')
		text_addf(out, "\\%03u", (unsigned char)c);
	else
		text_add_byte(out, c);
}

void
record_write_strings(struct slice text, struct text *out)
{
	while (text.len > 0) {
		struct slice part = slice_sub(text, 0, RECORD_STRING_MAX);

		text_add_string(out, " \"");
		for (size_t i = 0; i < part.len; i++)
			string_byte_add(out, part.bytes[i]);
		text_add_byte(out, '"');
		text = slice_from(text, part.len);
	}
}

void
record_write_zone(struct slice selector, struct slice domain,
		  const struct key_public *key, struct text *out)
{
	CLEAN(text_done) struct text text = {0};

	record_write(key, &text);
	record_name_write(selector, domain, out);
	text_add_string(out, ". IN TXT");
	record_write_strings(text_slice(&text), out);
	text_add_byte(out, '\n');
}

static bool
label_check(struct slice label)
{
	if (label.len == 0 || label.len > LABEL_MAX || label.bytes[0] == '-' ||
	    label.bytes[label.len - 1] == '-')
		return false;
	for (size_t i = 0; i < label.len; i++) {
		char c = label.bytes[i];

		if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' &&
		    c != '_')
			return false;
	}
	return true;
}

bool
record_label_check(struct slice name)
{
	struct slice label;

	if (name.len == 0 || name.len > NAME_MAX_DNS ||
	    name.bytes[name.len - 1] == '.')
		return false;
	while (slice_split(&name, '.', &label))
		if (!label_check(label))
			return false;
	return true;
}

bool
record_names_check(struct slice selector, struct slice domain,
		   struct fault *fault)
{
	if (!record_label_check(domain))
		return fault_set(fault, FAULT_INPUT,
				 "not a domain name (letters, digits, hyphens; "
				 "a name with others has a form that begins "
				 "with \"xn--\")");
	if (!record_label_check(selector))
		return fault_set(fault, FAULT_INPUT,
				 "not a selector name (letters, digits, "
				 "hyphens, underscores, dots between them)");
	if (selector.len + sizeof(NAME_MIDDLE) - 1 + domain.len > NAME_MAX_DNS)
		return fault_set(fault, FAULT_INPUT,
				 "domain and selector are together too long "
				 "for the DNS");
	return true;
}
