/*
 * bench-signing - the loops of tests/bench/signing that are ours, and the parts
 * that every signer has.
 *
 *	bench-signing stage KEY MESSAGE COUNT    the signing stage, relaxed/
 *	                                         relaxed; the key in this process
 *	bench-signing signer KEY MESSAGE COUNT   the same, the key in the signer
 *	                                         process
 *	bench-signing rsa KEY MESSAGE COUNT      signing a digest, nothing else
 *	bench-signing sha256 KEY MESSAGE COUNT   SHA-256 of the message, nothing
 *	                                         else
 *
 * Writes the seconds of CPU (of both processes) and of the clock.
 */
#include "tests/bench/signing.h"

#include <unistd.h>

#include "keys/signer.h"
#include "milter/header.h"
#include "milter/digest.h"
#include "milter/pipeline.h"

struct bench {
	struct key *key;
	struct policy *policy;
	struct slice message;
	/* Only where the signer process signs: */
	struct signer_process process;
	struct signer_client *client;
};

static struct selector_options selector = {.name = SLICE_LITERAL("rsa")};
static struct domain_options domain = {.name = SLICE_LITERAL("example.com"),
				       .selectors = &selector,
				       .selectors_count = 1};
static const struct signing_options signing = {.header_canon = CANON_RELAXED,
					       .body_canon = CANON_RELAXED};

static void
done(struct signer_call *call, const struct fault *fault)
{
	(void)call;
	ASSERT(fault == NULL);
}

static void
signature_make(struct bench *bench, struct signature *signature)
{
	struct signer_call call = {
		.key = *key_public_id(signature->selector->key), .done = done};

	if (bench->client == NULL) {
		ASSERT(key_sign(bench->key, signature->digest,
				signature->signature,
				&signature->signature_len, NULL));
		return;
	}
	memcpy(call.digest, signature->digest, KEY_DIGEST_SIZE);
	signer_client_start(bench->client, &call);
	signer_client_wait(bench->client);
	memcpy(signature->signature, call.signature, call.signature_len);
	signature->signature_len = call.signature_len;
}

static void
message_sign(struct bench *bench)
{
	CLEAN(pipeline_free_clean) struct pipeline *pipeline =
		pipeline_new(bench->policy, 1795291200);
	CLEAN(text_done) struct text fields = {0};
	struct slice rest = bench->message, field;
	struct header_reader reader;
	struct signature *signatures;
	size_t count;

	header_reader_init(&reader, HEADER_SIZE_DEFAULT);
	while (header_read(&reader, &rest, &field) == HEADER_FIELD)
		pipeline_header(pipeline, field);
	header_reader_done(&reader);
	(void)pipeline_end_of_header(pipeline);
	for (; rest.len > 0; rest = slice_from(rest, PIECE_BYTES))
		pipeline_body(pipeline, slice_sub(rest, 0, PIECE_BYTES));
	signatures = pipeline_end(pipeline, &count);
	ASSERT(count == 1);
	signature_make(bench, &signatures[0]);
	pipeline_write(pipeline, &fields);
}

static void
digest_sign(struct bench *bench)
{
	uint8_t digest[KEY_DIGEST_SIZE] = {0}, signature[KEY_SIGNATURE_MAX];
	size_t len;

	ASSERT(key_sign(bench->key, digest, signature, &len, NULL));
}

static void
message_hash(struct bench *bench)
{
	CLEAN(digest_free_clean) struct digest *digest = digest_new();
	struct slice rest = bench->message;
	uint8_t out[DIGEST_SIZE];

	for (; rest.len > 0; rest = slice_from(rest, PIECE_BYTES))
		digest_feed(digest, slice_sub(rest, 0, PIECE_BYTES));
	digest_finish(digest, out);
}

static double
cpu_s(const struct bench *bench)
{
	double sum = seconds(CLOCK_PROCESS_CPUTIME_ID);
	clockid_t clock;

	if (bench->client != NULL) {
		ASSERT(clock_getcpuclockid(bench->process.pid, &clock) == 0);
		sum += seconds(clock);
	}
	return sum;
}

static void
measure(struct bench *bench, void (*once)(struct bench *), size_t count)
{
	double cpu, clock;

	once(bench); /* what happens the first time only */
	cpu = cpu_s(bench);
	clock = seconds(CLOCK_MONOTONIC);
	for (size_t i = 0; i < count; i++)
		once(bench);
	bench_print(cpu_s(bench) - cpu, seconds(CLOCK_MONOTONIC) - clock);
}

static void
bench_keys(struct bench *bench, const char *path, bool in_process)
{
	CLEAN(secret_cleanse) struct text pem = {0};
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	struct keys_options options = {.keys_dir = SLICE("."),
				       .domains = &domain,
				       .domains_count = 1};
	struct key_public *public;
	int descriptor;

	selector.key_path = SLICE(path);
	bench_file(path, &pem);
	ASSERT(key_read(text_slice(&pem), &bench->key, NULL));
	if (in_process) {
		public = key_public_of(bench->key);
		keyring = keyring_new(&options, &public, 1);
	} else {
		ASSERT(signer_start(0, 0, &bench->process, NULL));
		ASSERT(signer_load(&bench->process, &options, false, NULL,
				   NULL, &keyring, NULL));
		ASSERT(signer_attach(&bench->process, &descriptor, NULL));
		bench->client = signer_client_new(descriptor);
	}
	bench->policy = policy_new(keyring, &signing);
}

static const struct {
	const char *name;
	void (*once)(struct bench *);
	bool in_process;
} loops[] = {
	{"stage", message_sign, true},
	{"signer", message_sign, false},
	{"rsa", digest_sign, true},
	{"sha256", message_hash, true},
};

int
main(int argc, char **argv)
{
	CLEAN(text_done) struct text message = {0};
	struct bench bench = {0};

	if (argc == 2 && strcmp(argv[1], "signer-process") == 0)
		signer_main(3);
	for (size_t i = 0; argc == 5 && i < COUNT(loops); i++) {
		if (strcmp(argv[1], loops[i].name) != 0)
			continue;
		bench_file(argv[3], &message);
		bench.message = text_slice(&message);
		bench_keys(&bench, argv[2], loops[i].in_process);
		measure(&bench, loops[i].once, strtoul(argv[4], NULL, 10));
		policy_unref(bench.policy);
		key_free(bench.key);
		if (bench.client != NULL) {
			signer_client_free(bench.client);
			signer_stop(&bench.process);
		}
		return 0;
	}
	fprintf(stderr, "usage: %s LOOP KEY MESSAGE COUNT\n", argv[0]);
	return 64;
}
