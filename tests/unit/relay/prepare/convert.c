/*
 * Conversion with a real spool, store and loop, real keys and the verifier's
 * own judgement; the signer is in this process, and spoils what it makes where
 * a test wants it.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/limits.h"
#include "relay/net/signing.h"
#include "relay/prepare/convert.h"
#include "relay/queue/spool.h"
#include "tests/fake/log.h"
#include "tests/unit/milter/stage.h"
#include "tests/unit/relay/queue/queue.h"

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;
static struct options options;
static struct generation generation;

/* --- what the signer does elsewhere --- */

enum signer { SIGNER_GOOD, SIGNER_GONE, SIGNER_WRONG };
static enum signer signer;

static struct signing_answer {
	struct post post;
	struct signing_order *order;
	struct signature *signatures;
	size_t count;
} * answer_open;
static unsigned answers_posted;

static void
signature_make(struct signature *signature)
{
	CLEAN(key_free_clean)
	struct key *key =
		stage_key(key_public_algorithm(signature->selector->key));

	cr_assert(key_sign(key, signature->digest, signature->signature,
			   &signature->signature_len, NULL));
	if (signer == SIGNER_WRONG)
		signature->signature[9] ^= 1;
}

static void
answer_run(struct post *post)
{
	struct signing_answer *answer =
		CONTAINER(post, struct signing_answer, post);
	struct signing_order *order = answer->order;
	struct fault fault;

	answers_posted--;
	if (order != NULL) {
		answer_open = NULL;
		for (size_t i = 0; i < answer->count; i++)
			signature_make(&answer->signatures[i]);
		fault_fill(&fault, FAULT_BUSY, "no signer");
		order->done(order, signer == SIGNER_GONE ? &fault : NULL);
	}
	free(answer);
}

void
signing_start(struct signing *signing, struct signing_order *order,
	      struct signature *signatures, size_t count)
{
	(void)signing;
	cr_assert_null(answer_open);
	answer_open = memory_new(sizeof(*answer_open));
	answer_open->order = order;
	answer_open->signatures = signatures;
	answer_open->count = count;
	answers_posted++;
	loop_post(&loop, &answer_open->post, answer_run);
}

void
signing_cancel(struct signing_order *order)
{
	cr_assert_eq(order, answer_open->order);
	TAKE(answer_open)->order = NULL;
}

/* --- the stand --- */

static void
begin(void)
{
	static const struct signing_options signing = {.unsigned_action =
							       UNSIGNED_RELAY};

	stand_begin(path, &store, &loop, &keep);
	options.limits.max_header_size = MIB;
	generation = (struct generation){.options = &options,
					 .policy = stage_policy(&signing),
					 .references = 1};
}

static void
end(void)
{
	cr_expect_eq(spool_room_memory(store_spool_room(store)), 0,
		     "message bytes are still counted");
	cr_expect_eq(generation.references, 1, "the generation is kept");
	policy_unref(generation.policy);
	stand_end(path, store, &loop, &keep);
}

static bool is_spooled;

static void
on_spooled(void *owner, enum spool_event event)
{
	(void)owner;
	cr_assert_neq(event, SPOOL_FAILED);
	is_spooled |= event == SPOOL_DONE;
}

/* As it would have been received. */
static struct message *
original_make(const char *prefix, struct slice bytes)
{
	struct message *message = message_new(SLICE("a@example.com"));
	struct spool *spool =
		spool_new(store, &loop, message, on_spooled, NULL);
	const char *blank = strstr(bytes.bytes, "\r\n\r\n");

	message_add_recipient(message, SLICE("b@example.org"),
			      SLICE("example.org"));
	message->prefix = arena_copy(&message->arena, SLICE(prefix));
	is_spooled = false;
	(void)spool_write(spool, bytes);
	spool_finish(spool);
	while (!is_spooled)
		uv_run(&loop.uv, UV_RUN_ONCE);
	message->body.has_8bit = true;
	message->body.header_len =
		blank == NULL ? bytes.len : (size_t)(blank - bytes.bytes) + 4;
	return message;
}

static struct {
	bool is_done;
	struct message *message;
	const struct changes *changes;
	enum outcome_trouble trouble;
	char detail[256];
} seen;

static void
on_done(void *owner, const struct convert_result *result)
{
	cr_assert_eq(owner, &seen);
	seen.is_done = true;
	seen.message = result->message;
	seen.changes = result->changes;
	seen.trouble = result->trouble;
	snprintf(seen.detail, sizeof(seen.detail), "%.*s",
		 SLICE_ARG(result->detail));
}

static struct convert *
convert_begin(struct message *message)
{
	struct convert *convert;

	memset(&seen, 0, sizeof(seen));
	convert_start(&(struct convert_setup){.loop = &loop,
					      .store = store,
					      .generation = &generation,
					      .message = message,
					      .done = on_done,
					      .owner = &seen},
		      &convert);
	cr_assert_not(seen.is_done, "from inside convert_start()");
	return convert;
}

static void
convert_wait(struct message *message)
{
	(void)convert_begin(message);
	while (!seen.is_done)
		uv_run(&loop.uv, UV_RUN_ONCE);
}

static void
version_read(const struct message *message, struct text *out)
{
	text_add(out, message->prefix);
	for (size_t i = 0; i < message->body.chunks_count; i++)
		text_add(out, message->body.chunks[i]);
}

/* --- the table --- */

#define OLD "DKIM-Signature: v=1; d=example.com; b=old\r\n"
#define TRACE "Received: from a\r\n\tby b; now\r\nDate: today\r\n"
#define FROM "From: <joe@example.com>\r\n"
#define MIME "MIME-Version: 1.0\r\n"
#define UTF8 "Content-Type: text/plain; charset=utf-8\r\n"
#define QP "Content-Transfer-Encoding: quoted-printable\r\n"
#define EIGHT "Content-Transfer-Encoding: 8bit\r\n"
#define SMILE "h\xc3\xbcte und mehr Text\r\n"
#define QUOTED "h=C3=BCte und mehr Text\r\n"

static const struct row {
	const char *name, *prefix, *message;
	enum signer signer;
	/* What comes out behind our signatures; NULL: none does. */
	const char *version;
	size_t signatures;
	enum outcome_trouble trouble;
	const char *detail;
} rows[] = {
	{"text that says what it is", OLD TRACE,
	 FROM MIME UTF8 EIGHT "\r\n" SMILE, SIGNER_GOOD,
	 TRACE FROM MIME UTF8 QP "\r\n" QUOTED, 2, 0, NULL},
	{"text that does not", OLD OLD TRACE, FROM "\r\n" SMILE, SIGNER_GOOD,
	 TRACE FROM MIME UTF8 QP "\r\n" QUOTED, 2, 0, NULL},
	{"nobody signs, or has", TRACE, "From: <joe@example.org>\r\n\r\n" SMILE,
	 SIGNER_GOOD,
	 TRACE "From: <joe@example.org>\r\n" MIME UTF8 QP "\r\n" QUOTED, 0, 0,
	 NULL},
	{"nobody had signed yet", TRACE, FROM "\r\n" SMILE, SIGNER_GOOD,
	 TRACE FROM MIME UTF8 QP "\r\n" QUOTED, 2, 0, NULL},
	{"a report: nothing of ours on top but signatures", OLD,
	 FROM MIME UTF8 EIGHT "\r\n" SMILE, SIGNER_GOOD,
	 FROM MIME UTF8 QP "\r\n" QUOTED, 2, 0, NULL},
	{"a signature of our domain that it brought along", OLD TRACE,
	 "DKIM-Signature: v=1; d=Example.COM; h=From;\r\n\ts=x; b=x\r\n" FROM
	 "\r\n" SMILE,
	 SIGNER_GOOD, TRACE FROM MIME UTF8 QP "\r\n" QUOTED, 2, 0, NULL},
	{"a signature of somebody else", OLD TRACE,
	 "DKIM-Signature: v=1; d=example.org; h=From; s=x; b=x\r\n" FROM
	 "\r\n" SMILE,
	 SIGNER_GOOD, NULL, 0, TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has a DKIM-Signature that is not ours"},
	{"one that cannot be read", OLD TRACE,
	 "DKIM-Signature: d\r\n" FROM "\r\n" SMILE, SIGNER_GOOD, NULL, 0,
	 TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has a DKIM-Signature that is not ours"},
	{"one of a domain that does not sign it now", TRACE,
	 "DKIM-Signature: v=1; d=example.net; h=From; s=x; b=x\r\n" FROM
	 "\r\n" SMILE,
	 SIGNER_GOOD, NULL, 0, TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has a DKIM-Signature that is not ours"},
	{"an ARC set", OLD TRACE, "ARC-Seal: i=1\r\n" FROM "\r\n" SMILE,
	 SIGNER_GOOD, NULL, 0, TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has an ARC set"},
	{"8-bit text in the header", OLD TRACE,
	 FROM "Subject: \xc3\xbc\r\n\r\n" SMILE, SIGNER_GOOD, NULL, 0,
	 TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has 8-bit text in a header"},
	{"header only", OLD TRACE, FROM "Subject: \xc3\xbc\r\n", SIGNER_GOOD,
	 NULL, 0, TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has 8-bit text in a header"},
	{"8-bit text that we put on top", OLD "X: \xc3\xbc\r\n",
	 FROM "\r\n" SMILE, SIGNER_GOOD, NULL, 0, TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has 8-bit text that cannot be encoded"},
	{"a signed part", OLD TRACE,
	 FROM MIME "Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n"
		   "\r\n" SMILE "--b--\r\n",
	 SIGNER_GOOD, NULL, 0, TROUBLE_NO_8BITMIME,
	 "it cannot be converted: it has a signed part (multipart/signed)"},
	{"it was signed, and there is no key any more", OLD TRACE,
	 "From: <joe@idle.example>\r\n\r\n" SMILE, SIGNER_GOOD, NULL, 0,
	 TROUBLE_UNSIGNED, "no selector of idle.example is active"},
	{"no signer", OLD TRACE, FROM "\r\n" SMILE, SIGNER_GONE, NULL, 0,
	 TROUBLE_UNSIGNED, "no signer"},
	{"a signer that signs something else", OLD TRACE, FROM "\r\n" SMILE,
	 SIGNER_WRONG, NULL, 0, TROUBLE_UNSIGNED,
	 "our own signature with selector rsa of example.com does not verify: "
	 "the header is not what was signed, or another key signed it"},
};

/* What is sent without its body where a report wants the header only. */
static void
header_end_check(const struct message *message, struct text *whole)
{
	const char *bytes = text_string(whole);
	const char *blank = strstr(bytes, "\r\n\r\n");

	cr_assert_not_null(blank);
	cr_expect_eq(message->prefix.len + message->body.header_len,
		     (size_t)(blank + 4 - bytes));
}

static void
row_check(const struct row *row)
{
	CLEAN(text_done) struct text whole = {0};
	struct slice rest, field;
	size_t count = 0;

	if (row->version == NULL) {
		cr_expect_null(seen.message, "%s", row->name);
		cr_expect_eq(seen.trouble, row->trouble, "%s: %d", row->name,
			     (int)seen.trouble);
		cr_expect_str_eq(seen.detail, row->detail, "%s: %s", row->name,
				 seen.detail);
		return;
	}
	cr_assert_not_null(seen.message, "%s: %s", row->name, seen.detail);
	version_read(seen.message, &whole);
	rest = text_slice(&whole);
	while (slice_starts(rest, SLICE("DKIM-Signature: ")) &&
	       mime_field_next(&rest, &field))
		count++;
	cr_expect_eq(count, row->signatures, "%s: %zu", row->name, count);
	cr_expect_eq(seen.changes->signatures_count, row->signatures);
	cr_expect(seen.changes->repair.encodes_quoted, "%s", row->name);
	cr_expect(slice_eq(rest, SLICE(row->version)), "%s:\n%.*s", row->name,
		  SLICE_ARG(rest));
	cr_expect_not(seen.message->body.has_8bit);
	header_end_check(seen.message, &whole);
}

Test(convert, messages, .timeout = 120)
{
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *row = &rows[i];
		struct message *message;

		begin();
		message = original_make(row->prefix, SLICE(row->message));
		signer = row->signer;
		convert_wait(message);
		row_check(row);
		if (seen.message != NULL)
			message_unref(seen.message);
		message_unref(message);
		end();
		fake_log_clear();
	}
}

/* --- what is large, and what goes wrong on the way --- */

static void
large_write(struct text *out)
{
	text_add_string(out, FROM "\r\n");
	while (out->len < 2 * MIB)
		text_add_string(out, SMILE);
}

/* Chunks end where they like: within the header, at its end, within a line. */
Test(convert, many_chunks_in_memory, .timeout = 120)
{
	CLEAN(text_done) struct text bytes = {0}, expected = {0}, whole = {0};
	struct message *message;
	const char *trace;

	begin();
	text_add_string(&bytes, FROM MIME UTF8);
	while (bytes.len < BODY_CHUNK + 1000)
		text_add_string(&bytes, "X: and more of the same\r\n");
	text_add_string(&expected, TRACE);
	text_add(&expected, text_slice(&bytes));
	text_add_string(&expected, QP "\r\n");
	text_add_string(&bytes, "\r\n");
	while (bytes.len < 4 * BODY_CHUNK) {
		text_add_string(&bytes, SMILE);
		text_add_string(&expected, QUOTED);
	}
	message = original_make(OLD TRACE, text_slice(&bytes));
	cr_assert_eq(message->body.chunks_count, 5);
	convert_wait(message);
	cr_assert_not_null(seen.message, "%s", seen.detail);
	version_read(seen.message, &whole);
	trace = strstr(text_string(&whole), TRACE);
	cr_assert_not_null(trace);
	cr_expect_str_eq(trace, text_string(&expected));
	message_unref(seen.message);
	message_unref(message);
	end();
}

static bool
file_exists(const struct message_id *id)
{
	char name[160], text[MESSAGE_ID_TEXT + 1];

	message_id_write(id, text);
	snprintf(name, sizeof(name), "%s/spool/%s", path, text);
	return access(name, F_OK) == 0;
}

/* What is made goes to a file at its own pace, and is waited for. */
static void
large_test(uint64_t memory_bytes)
{
	CLEAN(text_done) struct text bytes = {0};
	struct message *message;
	struct message_id id;

	begin();
	large_write(&bytes);
	message = original_make(OLD TRACE, text_slice(&bytes));
	cr_assert(message->body.is_file);
	store_set_limits(store, &(struct store_limits){
			.memory_bytes = memory_bytes});
	convert_wait(message);
	cr_assert_not_null(seen.message, "%s", seen.detail);
	cr_expect(seen.message->body.is_file);
	cr_expect_gt(seen.message->body.size, message->body.size);
	cr_expect_eq(seen.message->body.header_len,
		     strlen(FROM MIME UTF8 QP "\r\n"));
	cr_expect_eq(seen.changes->signatures_count, 2);
	id = seen.message->id;
	cr_expect(file_exists(&id));
	/* It was never stored: it goes with its last user. */
	message_unref(seen.message);
	cr_expect_not(file_exists(&id));
	cr_expect(file_exists(&message->id));
	message_unref(message);
	end();
}

Test(convert, large, .timeout = 120)
{
	large_test(256 * MIB);
}

Test(convert, large_with_little_memory, .timeout = 120)
{
	large_test(0);
}

/* What is in a file is verified as well, and what does not verify stays here. */
Test(convert, large_with_a_signature_that_is_wrong, .timeout = 120)
{
	CLEAN(text_done) struct text bytes = {0};
	struct message *message;

	begin();
	large_write(&bytes);
	message = original_make(OLD TRACE, text_slice(&bytes));
	cr_assert(message->body.is_file);
	signer = SIGNER_WRONG;
	convert_wait(message);
	cr_expect_null(seen.message);
	cr_expect_eq(seen.trouble, TROUBLE_UNSIGNED);
	cr_expect_not_null(strstr(seen.detail, "does not verify"), "%s",
			   seen.detail);
	cr_expect_eq(fake_log_count("error ", "is not what was signed"), 1);
	message_unref(message);
	end();
}

Test(convert, a_body_that_is_gone, .timeout = 120)
{
	CLEAN(text_done) struct text bytes = {0};
	struct message *message;

	begin();
	large_write(&bytes);
	message = original_make(OLD TRACE, text_slice(&bytes));
	spool_remove(store_spool_room(store), &message->id);
	convert_wait(message);
	cr_expect_null(seen.message);
	cr_expect_eq(seen.trouble, TROUBLE_DAMAGED);
	message_unref(message);
	end();
}

Test(convert, no_room, .timeout = 120)
{
	CLEAN(text_done) struct text bytes = {0};
	struct message *message;

	begin();
	large_write(&bytes);
	message = original_make(OLD TRACE, text_slice(&bytes));
	store_set_limits(store, &(struct store_limits){
			.memory_bytes = 256 * MIB,
			.min_free_bytes = UINT64_MAX / 2});
	convert_wait(message);
	cr_expect_null(seen.message);
	cr_expect_eq(seen.trouble, TROUBLE_LOCAL, "%s", seen.detail);
	message_unref(message);
	end();
}

static bool
loop_is_held(void)
{
	bool is_held;

	uv_mutex_lock(&loop.mutex);
	is_held = loop.holds > 0;
	uv_mutex_unlock(&loop.mutex);
	return is_held;
}

/* Wherever it is, nothing is left of it, and nobody is told. */
Test(convert, cancelled, .timeout = 120)
{
	CLEAN(text_done) struct text bytes = {0};

	large_write(&bytes);
	for (int turns = 0; turns < 100; turns++) {
		struct message *message;
		struct convert *convert;
		bool is_large = turns % 2 == 1;

		begin();
		message = original_make(OLD TRACE,
					is_large ? text_slice(&bytes)
						 : SLICE(FROM "\r\n" SMILE));
		convert = convert_begin(message);
		for (int i = 0; i < turns / 2 && !seen.is_done; i++)
			uv_run(&loop.uv, UV_RUN_ONCE);
		if (seen.is_done) {
			message_unref(seen.message);
		} else {
			convert_cancel(&convert);
			cr_expect_null(convert);
		}
		message_unref(message);
		/* What a thread has in hand ends in its own time. */
		while (generation.references > 1 || answers_posted > 0 ||
		       loop_is_held() ||
		       spool_room_memory(store_spool_room(store)) > 0)
			uv_run(&loop.uv, UV_RUN_ONCE);
		end();
	}
}
