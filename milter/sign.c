#include "milter/sign.h"

#include "base/base64.h"

/* Writes words so that no line is longer than SIGN_LINE_MAX where it can be
 * helped; a line that goes on starts with a tab. */
struct folder {
	struct text *out;
	size_t line_len;
};

static void
fold_start(struct folder *folder)
{
	text_add_string(folder->out, "\r\n\t");
	folder->line_len = 1;
}

/* A word that is not broken, with a space before it or, where it does not fit,
 * a fold. */
static void
fold_word(struct folder *folder, struct slice word)
{
	if (folder->line_len + 1 + word.len > SIGN_LINE_MAX) {
		fold_start(folder);
	} else {
		text_add_byte(folder->out, ' ');
		folder->line_len++;
	}
	text_add(folder->out, word);
	folder->line_len += word.len;
}

/* Goes on directly behind what stands there, or behind a fold. */
static void
fold_part(struct folder *folder, struct slice part)
{
	if (folder->line_len + part.len > SIGN_LINE_MAX)
		fold_start(folder);
	text_add(folder->out, part);
	folder->line_len += part.len;
}

static void
tag_write(struct folder *folder, const char *name, struct slice value)
{
	CLEAN(text_done) struct text tag = {0};

	text_addf(&tag, "%s=", name);
	text_add(&tag, value);
	text_add_byte(&tag, ';');
	fold_word(folder, text_slice(&tag));
}

/* h=: may be folded behind each colon. */
static void
names_write(struct folder *folder, const struct sign_field *field)
{
	CLEAN(text_done) struct text part = {0};

	for (size_t i = 0; i < field->names_count; i++) {
		bool is_last = i + 1 == field->names_count;

		text_clear(&part);
		if (i == 0)
			text_add_string(&part, "h=");
		text_add(&part, field->names[i]);
		text_add_byte(&part, is_last ? ';' : ':');
		if (i == 0)
			fold_word(folder, text_slice(&part));
		else
			fold_part(folder, text_slice(&part));
	}
}

/* dkim-quoted-printable (RFC 6376 2.11). */
static void
identity_write(struct folder *folder, struct slice identity)
{
	CLEAN(text_done) struct text value = {0};

	for (size_t i = 0; i < identity.len; i++) {
		char c = identity.bytes[i];

		if (c > ' ' && c < 0x7f && c != ';' && c != '=')
			text_add_byte(&value, c);
		else
			text_addf(&value, "=%02X", (unsigned char)c);
	}
	tag_write(folder, "i", text_slice(&value));
}

static void
number_write(struct folder *folder, const char *name, uint64_t number)
{
	CLEAN(text_done) struct text value = {0};

	text_addf(&value, "%llu", (unsigned long long)number);
	tag_write(folder, name, text_slice(&value));
}

void
sign_field_write(const struct sign_field *field, struct text *out)
{
	CLEAN(text_done) struct text value = {0};
	struct folder folder = {.out = out};

	ASSERT(field->names_count > 0);
	text_add_string(out, "DKIM-Signature:");
	folder.line_len = strlen("DKIM-Signature:");
	tag_write(&folder, "v", SLICE("1"));
	tag_write(&folder, "a", SLICE(key_algorithm_name(field->algorithm)));
	text_addf(&value, "%s/%s", canon_name(field->header_canon),
		  canon_name(field->body_canon));
	tag_write(&folder, "c", text_slice(&value));
	tag_write(&folder, "d", field->domain);
	tag_write(&folder, "s", field->selector);
	if (field->identity.len > 0)
		identity_write(&folder, field->identity);
	number_write(&folder, "t", field->time_s);
	if (field->expire_s > 0)
		number_write(&folder, "x", field->time_s + field->expire_s);
	names_write(&folder, field);
	text_clear(&value);
	base64_write(&value, slice_of(field->body_hash,
				      sizeof(field->body_hash)));
	tag_write(&folder, "bh", text_slice(&value));
	fold_start(&folder);
	text_add_string(out, "b=");
}

void
sign_field_complete(struct slice signature, struct text *out)
{
	CLEAN(text_done) struct text encoded = {0};
	struct slice rest;
	size_t room = SIGN_LINE_MAX - strlen("\tb=");

	ASSERT(signature.len > 0);
	base64_write(&encoded, signature);
	for (rest = text_slice(&encoded); rest.len > room;
	     rest = slice_from(rest, room), room = SIGN_LINE_MAX - 1) {
		text_add(out, slice_sub(rest, 0, room));
		text_add_string(out, "\r\n\t");
	}
	text_add(out, rest);
	text_add_string(out, "\r\n");
}

void
sign_digest(const struct digest *fields, enum canonicalization canon,
	    struct slice unfinished, uint8_t out[DIGEST_SIZE])
{
	CLEAN(digest_free_clean) struct digest *digest = digest_dup(fields);
	CLEAN(text_done) struct text canonical = {0};

	canon_header(canon, unfinished, &canonical);
	digest_feed(digest, text_slice(&canonical));
	digest_finish(digest, out);
}
