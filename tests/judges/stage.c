/*
 * stage - signet's own signing stage and verifier, over a whole corpus in one
 * process: what tests/system/test_judges.py judges.
 *
 * usage: judge-stage sign CANONICALIZATION TIME KEYS_DIR DOMAIN...
 *        judge-stage verify TIME RECORDS
 *        judge-stage again TIME KEY
 *        judge-stage cuts KEYS_DIR DOMAIN OTHER
 *
 * Messages come as frames (frames.h), in CRLF. Each DOMAIN has the selectors
 * "rsa" and "ed", whose keys are KEYS_DIR/DOMAIN/rsa.pem and ed.pem.
 *
 * sign    answers with a frame for each: the DKIM-Signature fields
 * verify  writes a line for each message: "d= s= a= status" of each signature,
 *         tabs between them
 * again   takes the uppermost DKIM-Signature field, whoever made it, and writes
 *         a line: the bh= and the b= that our own canonicalization, hashes and
 *         KEY make for that very field and message, in base64
 * cuts    feeds each message cut at every byte, and byte by byte, and writes a
 *         line for each: "same", or where the signatures differ; DOMAIN signs
 *         with relaxed/relaxed, and OTHER beside it with simple/simple
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "milter/bodyhash.h"
#include "milter/claim.h"
#include "milter/fields.h"
#include "milter/header.h"
#include "milter/pipeline.h"
#include "milter/sign.h"
#include "milter/verify.h"
#include "tests/judges/frames.h"

#define DOMAINS_MAX 16

/* ---- a message in pieces ---- */

struct sink {
	void *owner;
	void (*field)(void *owner, struct slice field);
	void (*end_of_header)(void *owner);
	void (*body)(void *owner, struct slice bytes);
};

struct cutter {
	const struct sink *sink;
	struct header_reader reader;
	bool in_body;
};

static void
cutter_feed(struct cutter *cutter, struct slice piece)
{
	const struct sink *sink = cutter->sink;
	enum header_status status = HEADER_END;
	struct slice field;

	while (!cutter->in_body &&
	       (status = header_read(&cutter->reader, &piece, &field)) ==
		       HEADER_FIELD)
		sink->field(sink->owner, field);
	if (!cutter->in_body && status == HEADER_END) {
		sink->end_of_header(sink->owner);
		cutter->in_body = true;
	}
	if (cutter->in_body && piece.len > 0)
		sink->body(sink->owner, piece);
}

static void
cutter_finish(struct cutter *cutter)
{
	const struct sink *sink = cutter->sink;
	struct slice field;

	if (!cutter->in_body) {
		while (header_read_last(&cutter->reader, &field) ==
		       HEADER_FIELD)
			sink->field(sink->owner, field);
		sink->end_of_header(sink->owner);
	}
	header_reader_done(&cutter->reader);
}

/* Two pieces, the first of `first` bytes, or pieces of one byte each. */
static void
message_feed(const struct sink *sink, struct slice message, size_t first,
	     bool in_bytes)
{
	struct cutter cutter = {.sink = sink};

	header_reader_init(&cutter.reader, HEADER_SIZE_DEFAULT);
	if (in_bytes) {
		for (size_t i = 0; i < message.len; i++)
			cutter_feed(&cutter, slice_sub(message, i, 1));
	} else {
		cutter_feed(&cutter, slice_sub(message, 0, first));
		cutter_feed(&cutter, slice_from(message, first));
	}
	cutter_finish(&cutter);
}

/* ---- who signs ---- */

static struct key *
key_load(const char *path)
{
	CLEAN(text_done) struct text pem = {0};
	struct key *key = NULL;
	struct fault fault = {0};

	file_read(path, &pem);
	if (!key_read(text_slice(&pem), &key, &fault))
		judge_give_up(path, fault.text);
	return key;
}

/* The keys in the order of the selectors, two for each domain. */
struct signers {
	struct key *keys[2 * DOMAINS_MAX];
	size_t count;
	struct policy *policy;
};

static void
signers_load(struct signers *signers, const char *directory, char **domains,
	     size_t count, const struct signing_options *options)
{
	static struct selector_options selectors[] = {
		{.name = SLICE_LITERAL("rsa")}, {.name = SLICE_LITERAL("ed")}};
	struct domain_options sections[DOMAINS_MAX] = {{{0}}};
	struct key_public *publics[COUNT(signers->keys)];
	struct keys_options keys = {.domains = sections,
				    .domains_count = count};
	struct keyring *keyring;

	if (count > DOMAINS_MAX)
		judge_give_up("too many domains", domains[DOMAINS_MAX]);
	for (size_t i = 0; i < 2 * count; i++) {
		CLEAN(text_done) struct text path = {0};

		sections[i / 2] = (struct domain_options){
			.name = SLICE(domains[i / 2]),
			.selectors = selectors,
			.selectors_count = COUNT(selectors)};
		text_addf(&path, "%s/%s/%s.pem", directory, domains[i / 2],
			  i % 2 == 0 ? "rsa" : "ed");
		signers->keys[i] = key_load(text_string(&path));
		publics[i] = key_public_of(signers->keys[i]);
	}
	signers->count = 2 * count;
	keyring = keyring_new(&keys, publics, 2 * count);
	signers->policy = policy_new(keyring, options);
	keyring_unref(keyring);
}

static void
signers_done(struct signers *signers)
{
	for (size_t i = 0; i < signers->count; i++)
		key_free(signers->keys[i]);
	policy_unref(signers->policy);
}

static void
pipeline_field(void *owner, struct slice field)
{
	pipeline_header(owner, field);
}

static void
pipeline_end_header(void *owner)
{
	(void)pipeline_end_of_header(owner);
}

static void
pipeline_bytes(void *owner, struct slice bytes)
{
	pipeline_body(owner, bytes);
}

static struct sink
pipeline_sink(struct pipeline *pipeline)
{
	return (struct sink){pipeline, pipeline_field, pipeline_end_header,
			     pipeline_bytes};
}

static void
canon_read(const char *text, struct signing_options *options)
{
	struct slice rest = SLICE(text), part;

	if (!slice_split(&rest, '/', &part) ||
	    !canon_find(part, &options->header_canon) ||
	    !canon_find(rest, &options->body_canon))
		judge_give_up("not a canonicalization", text);
}

/* ---- sign ---- */

static void
message_sign(const struct signers *signers, uint64_t time_s,
	     struct slice message, struct text *out)
{
	CLEAN(pipeline_free_clean)
	struct pipeline *pipeline = pipeline_new(signers->policy, time_s);
	struct sink sink = pipeline_sink(pipeline);
	struct signature *signatures;
	size_t count;

	message_feed(&sink, message, message.len, false);
	signatures = pipeline_end(pipeline, &count);
	for (size_t i = 0; i < count; i++) {
		struct signature *one = &signatures[i];

		if (!key_sign(signers->keys[one->selector->number], one->digest,
			      one->signature, &one->signature_len, NULL))
			judge_give_up("key_sign", "failed");
	}
	pipeline_write(pipeline, out);
}

static int
sign(char **arguments, size_t domains)
{
	CLEAN(text_done) struct text message = {0};
	struct signing_options options = {0};
	struct signers signers = {0};
	uint64_t time_s = strtoull(arguments[1], NULL, 10);

	canon_read(arguments[0], &options);
	signers_load(&signers, arguments[2], arguments + 3, domains, &options);
	while (frame_read(&message)) {
		CLEAN(text_done) struct text fields = {0};

		message_sign(&signers, time_s, text_slice(&message), &fields);
		frame_write(text_slice(&fields));
	}
	signers_done(&signers);
	return 0;
}

/* ---- cuts ---- */

#define DIGESTS_MAX 4 /* two domains, two keys */

struct digests {
	size_t count;
	uint8_t bytes[DIGESTS_MAX][KEY_DIGEST_SIZE];
};

static void
digests_make(const struct signers *signers, struct slice message, size_t first,
	     bool in_bytes, struct digests *out)
{
	CLEAN(pipeline_free_clean)
	struct pipeline *pipeline = pipeline_new(signers->policy, 1);
	struct sink sink = pipeline_sink(pipeline);
	const struct signature *signatures;

	memset(out, 0, sizeof(*out));
	message_feed(&sink, message, first, in_bytes);
	signatures = pipeline_end(pipeline, &out->count);
	if (out->count == 0 || out->count > DIGESTS_MAX)
		judge_give_up("a message", "is not signed as expected");
	for (size_t i = 0; i < out->count; i++)
		memcpy(out->bytes[i], signatures[i].digest, KEY_DIGEST_SIZE);
}

/* Cuts from `start` on. False once it has said where they differ. */
static bool
message_cut(const struct signers *signers, struct slice message, size_t start)
{
	struct digests whole, cut;

	digests_make(signers, message, message.len, false, &whole);
	digests_make(signers, message, 0, true, &cut);
	if (memcmp(&whole, &cut, sizeof(cut)) != 0) {
		puts("differs byte by byte");
		return false;
	}
	for (size_t i = start; i < message.len; i++) {
		digests_make(signers, message, i, false, &cut);
		if (memcmp(&whole, &cut, sizeof(cut)) != 0) {
			printf("differs cut at %zu\n", i);
			return false;
		}
	}
	return true;
}

/* Where two messages differ first, less the two bytes of a line end. */
static size_t
alike_len(struct slice a, struct slice b)
{
	size_t len = 0;

	while (len < a.len && len < b.len && a.bytes[len] == b.bytes[len])
		len++;
	return len > 2 ? len - 2 : 0;
}

/* Where a message begins like the one before, that one was cut there. */
static int
cuts(char **arguments)
{
	CLEAN(text_done) struct text message = {0}, last = {0};
	struct slice other = SLICE(arguments[2]);
	const struct domain_signing_options sections[] = {
		{.also_sign = &other, .also_sign_count = 1},
		{.has_canonicalization = true}};
	const struct signing_options options = {.header_canon = CANON_RELAXED,
						.body_canon = CANON_RELAXED,
						.domains = sections};
	struct signers signers = {0};

	signers_load(&signers, arguments[0], arguments + 1, COUNT(sections),
		     &options);
	while (frame_read(&message)) {
		if (message_cut(
			    &signers, text_slice(&message),
			    alike_len(text_slice(&message), text_slice(&last))))
			puts("same");
		text_clear(&last);
		text_add(&last, text_slice(&message));
	}
	signers_done(&signers);
	return 0;
}

/* ---- verify ---- */

static void
verifier_field(void *owner, struct slice field)
{
	verifier_header(owner, field);
}

static void
verifier_end_header(void *owner)
{
	verifier_end_of_header(owner);
}

static void
verifier_bytes(void *owner, struct slice bytes)
{
	verifier_body(owner, bytes);
}

static void
key_answer(const struct records *records, struct verifier *verifier, size_t i,
	   struct slice query)
{
	struct slice found[VERIFY_RECORDS_MAX];
	size_t count = 0;

	while (count < COUNT(found) &&
	       records_find(records, query, count, &found[count]))
		count++;
	verifier_answer(verifier, i, count > 0 ? LOOKUP_FOUND : LOOKUP_ABSENT,
			found, count);
}

static void
message_verify(const struct records *records, uint64_t time_s,
	       struct slice message)
{
	CLEAN(verifier_free_clean)
	struct verifier *verifier = verifier_new(time_s);
	struct sink sink = {verifier, verifier_field, verifier_end_header,
			    verifier_bytes};
	const struct verification *results;
	size_t count;

	message_feed(&sink, message, message.len, false);
	results = verifier_end(verifier, &count);
	for (size_t i = 0; i < count; i++) {
		if (results[i].status == VERIFY_PENDING)
			key_answer(records, verifier, i, results[i].query);
		printf("\t%.*s %.*s %.*s %s", SLICE_ARG(results[i].domain),
		       SLICE_ARG(results[i].selector),
		       SLICE_ARG(results[i].algorithm),
		       verify_status_name(results[i].status));
	}
	printf("\n");
}

static int
verify(char **arguments)
{
	CLEAN(text_done) struct text message = {0};
	uint64_t time_s = strtoull(arguments[0], NULL, 10);
	struct records records;

	records_read(&records, arguments[1]);
	while (frame_read(&message))
		message_verify(&records, time_s, text_slice(&message));
	records_done(&records);
	return 0;
}

/* ---- again ---- */

/* What the uppermost signature says, and what it is over. */
struct again {
	uint64_t time_s;
	struct arena arena;
	struct fields fields;
	struct claim claim;
	bool has_claim;
	struct bodyhash *body;
};

static void
again_field(void *owner, struct slice field)
{
	struct again *again = owner;
	struct slice name, value;
	struct slice whole = arena_copy(&again->arena, field);
	struct fault fault = {0};

	if (header_field_parse(whole, &name, &value) != NULL)
		judge_give_up("the header", "has a line that is no field");
	if (!again->has_claim &&
	    slice_eq_nocase(name, SLICE("DKIM-Signature"))) {
		if (!claim_parse(whole, value, again->time_s, &again->arena,
				 &again->claim, &fault))
			judge_give_up("DKIM-Signature", fault.text);
		again->has_claim = true;
		return;
	}
	fields_add(&again->fields, name, whole);
}

static void
again_end_of_header(void *owner)
{
	struct again *again = owner;

	if (!again->has_claim)
		judge_give_up("a message", "has no DKIM-Signature");
	again->body = bodyhash_new(again->claim.body_canon);
}

static void
again_body(void *owner, struct slice bytes)
{
	bodyhash_feed(((struct again *)owner)->body, bytes);
}

static void
message_again(uint64_t time_s, struct key *key, struct slice message)
{
	struct again again = {.time_s = time_s};
	const struct claim *claim = &again.claim;
	struct sink sink = {&again, again_field, again_end_of_header,
			    again_body};
	CLEAN(text_done) struct text line = {0};
	struct digest *digest;
	uint8_t hash[DIGEST_SIZE], signature[KEY_SIGNATURE_MAX];
	size_t len;

	message_feed(&sink, message, message.len, false);
	bodyhash_finish(again.body);
	base64_write(&line,
		     slice_of(bodyhash_result(again.body, BODYHASH_WHOLE),
			      DIGEST_SIZE));
	digest = fields_digest(&again.fields, claim->names, claim->names_count,
			       claim->header_canon);
	sign_digest(digest, claim->header_canon, claim->unfinished, hash);
	if (!key_sign(key, hash, signature, &len, NULL))
		judge_give_up("key_sign", "failed");
	text_add_byte(&line, ' ');
	base64_write(&line, slice_of(signature, len));
	puts(text_string(&line));
	digest_free(digest);
	bodyhash_free(again.body);
	fields_done(&again.fields);
	arena_done(&again.arena);
}

static int
again(char **arguments)
{
	CLEAN(text_done) struct text message = {0};
	uint64_t time_s = strtoull(arguments[0], NULL, 10);
	CLEAN(key_free_clean) struct key *key = key_load(arguments[1]);

	while (frame_read(&message))
		message_again(time_s, key, text_slice(&message));
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc >= 6 && strcmp(argv[1], "sign") == 0)
		return sign(argv + 2, (size_t)argc - 5);
	if (argc == 4 && strcmp(argv[1], "verify") == 0)
		return verify(argv + 2);
	if (argc == 4 && strcmp(argv[1], "again") == 0)
		return again(argv + 2);
	if (argc == 5 && strcmp(argv[1], "cuts") == 0)
		return cuts(argv + 2);
	return 64;
}
