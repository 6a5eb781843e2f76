#include "milter/sign.h"

#include "base/base64.h"

/* Writes words so that no line goes beyond a margin where it can be helped; a
 * line that goes on starts with a tab. The margin, what counts toward it and
 * the order of the tags are OpenDKIM's: with the same key, time and fields the
 * same bytes are signed, and RSA gives the same b=. */
#define MARGIN 75
#define TAB_WIDTH 8
/* What most fields need: their text then grows once. */
#define FIELD_USUAL 800

struct folder {
	struct text *out;
	size_t column;
};

static void
fold_start(struct folder *folder)
{
	text_add_string(folder->out, "\r\n\t");
	folder->column = TAB_WIDTH;
}

/* In front of a word of this length that is not broken: a space or, where it
 * does not fit, a fold. */
static void
fold_word(struct folder *folder, size_t len)
{
	if (folder->column + len > MARGIN) {
		fold_start(folder);
	} else {
		text_add_byte(folder->out, ' ');
		folder->column++;
	}
	folder->column += len;
}

static void
tag_write(struct folder *folder, const char *name, struct slice value)
{
	fold_word(folder, strlen(name) + strlen("=;") + value.len);
	text_add_string(folder->out, name);
	text_add_byte(folder->out, '=');
	text_add(folder->out, value);
	text_add_byte(folder->out, ';');
}

/* h=: on a line of its own where it is too long for one, and then folded
 * behind colons. */
static void
names_write(struct folder *folder, const struct sign_field *field)
{
	CLEAN(text_done) struct text tag = {0};
	struct slice rest, part;
	bool is_first = true;

	text_room(&tag, FIELD_USUAL);
	for (size_t i = 0; i < field->names_count; i++) {
		text_add_string(&tag, i == 0 ? "h=" : ":");
		text_add(&tag, field->names[i]);
	}
	text_add_byte(&tag, ';');
	rest = text_slice(&tag);
	if (TAB_WIDTH + rest.len <= MARGIN) {
		fold_word(folder, rest.len);
		text_add(folder->out, rest);
		return;
	}
	fold_start(folder);
	while (slice_split(&rest, ':', &part)) {
		if (!is_first) {
			text_add_byte(folder->out, ':');
			if (folder->column + 1 + part.len > MARGIN) {
				fold_start(folder);
				text_add_byte(folder->out, ' ');
			}
			folder->column++;
		}
		is_first = false;
		text_add(folder->out, part);
		folder->column += part.len;
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
	text_room(out, FIELD_USUAL);
	text_add_string(out, "DKIM-Signature:");
	folder.column = strlen("DKIM-Signature:");
	tag_write(&folder, "v", SLICE("1"));
	tag_write(&folder, "a", SLICE(key_algorithm_name(field->algorithm)));
	text_add_string(&value, canon_name(field->header_canon));
	text_add_byte(&value, '/');
	text_add_string(&value, canon_name(field->body_canon));
	tag_write(&folder, "c", text_slice(&value));
	tag_write(&folder, "d", field->domain);
	tag_write(&folder, "s", field->selector);
	number_write(&folder, "t", field->time_s);
	if (field->expire_s > 0)
		number_write(&folder, "x", field->time_s + field->expire_s);
	if (field->identity.len > 0)
		identity_write(&folder, field->identity);
	text_clear(&value);
	base64_write(&value, slice_of(field->body_hash,
				      sizeof(field->body_hash)));
	tag_write(&folder, "bh", text_slice(&value));
	names_write(&folder, field);
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
	text_room(out, encoded.len + encoded.len / 8);
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
