#include "milter/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/signer.h"
#include "milter/header.h"
#include "milter/input.h"
#include "milter/pipeline.h"

/* t= has at most 12 digits (RFC 6376 3.5). */
#define TIME_MAX_S 999999999999

static int
complain(const struct fault *fault)
{
	fprintf(stderr, "signet: %s\n", fault->text);
	return fault_exit_code(fault);
}

/* A message that is not there is bad input. */
static int
message_complain(const struct fault *fault)
{
	int code = complain(fault);

	return code == EX_UNAVAILABLE ? EX_DATAERR : code;
}

static int
usage(const char *text)
{
	fprintf(stderr, "signet: usage: signet %s\n", text);
	return EX_USAGE;
}

/* ---- feeding a message to the stage or to the verifier ---- */

struct feeder {
	void *owner;
	void (*field)(void *owner, struct slice field);
	void (*end_of_header)(void *owner);
	void (*body)(void *owner, struct slice bytes);
	struct header_reader header;
	bool in_body;
};

static void
feeder_end_header(struct feeder *feeder)
{
	feeder->end_of_header(feeder->owner);
	feeder->in_body = true;
}

static bool
feeder_header(struct feeder *feeder, struct slice *piece, struct fault *fault)
{
	struct slice field;

	for (;;) {
		switch (header_read(&feeder->header, piece, &field)) {
		case HEADER_MORE:
			return true;
		case HEADER_FIELD:
			feeder->field(feeder->owner, field);
			break;
		case HEADER_END:
			feeder_end_header(feeder);
			return true;
		case HEADER_TOO_LARGE:
			return fault_set(fault, FAULT_LIMIT,
					 "the header is larger than %zu bytes",
					 feeder->header.size_max);
		}
	}
}

static bool
feeder_piece(struct feeder *feeder, struct slice piece, struct fault *fault)
{
	if (!feeder->in_body && !feeder_header(feeder, &piece, fault))
		return false;
	if (feeder->in_body && piece.len > 0)
		feeder->body(feeder->owner, piece);
	return true;
}

/* The whole message. */
static bool
feeder_run(struct feeder *feeder, struct input *input, size_t header_max,
	   struct fault *fault)
{
	struct slice piece, field;
	bool is_good;

	header_reader_init(&feeder->header, header_max != 0
						    ? header_max
						    : HEADER_SIZE_DEFAULT);
	do
		is_good = input_read(input, &piece, fault) &&
			  feeder_piece(feeder, piece, fault);
	while (is_good && piece.len > 0);
	if (is_good && !feeder->in_body) {
		while (header_read_last(&feeder->header, &field) ==
		       HEADER_FIELD)
			feeder->field(feeder->owner, field);
		feeder_end_header(feeder);
	}
	header_reader_done(&feeder->header);
	return is_good;
}

/* ---- signet sign ---- */

struct signing {
	const struct milter_options *options;
	uint64_t time_s;
	const char *path;
	struct signer_process signer;
	struct signer_client *client;
	struct policy *policy;
	struct pipeline *pipeline;
	const struct decision *decision;
};

static void
pipeline_take_field(void *owner, struct slice field)
{
	pipeline_header(((struct signing *)owner)->pipeline, field);
}

static void
pipeline_take_end(void *owner)
{
	struct signing *signing = owner;

	signing->decision = pipeline_end_of_header(signing->pipeline);
}

static void
pipeline_take_body(void *owner, struct slice bytes)
{
	pipeline_body(((struct signing *)owner)->pipeline, bytes);
}

static void
warn(void *owner, const char *text)
{
	(void)owner;
	fprintf(stderr, "signet: warning: %s\n", text);
}

/* One call of the signer process for a signature. */
struct ask {
	struct signer_call call;
	struct fault fault;
};

static void
ask_done(struct signer_call *call, const struct fault *fault)
{
	struct ask *ask = CONTAINER(call, struct ask, call);

	if (fault != NULL)
		ask->fault = *fault;
}

static bool
signatures_ask(struct signing *signing, struct signature *signatures,
	       size_t count, struct fault *fault)
{
	CLEAN(clean_memory) struct ask *asks =
		memory_array(count, sizeof(*asks));

	for (size_t i = 0; i < count; i++) {
		struct signer_call *call = &asks[i].call;

		call->key = *key_public_id(signatures[i].selector->key);
		memcpy(call->digest, signatures[i].digest, KEY_DIGEST_SIZE);
		call->done = ask_done;
		signer_client_start(signing->client, call);
	}
	signer_client_wait(signing->client);
	for (size_t i = 0; i < count; i++) {
		const struct signer_call *call = &asks[i].call;

		if (asks[i].fault.kind != FAULT_NONE) {
			*fault = asks[i].fault;
			return fault_within(
				fault, "signing with selector %.*s of %.*s",
				SLICE_ARG(signatures[i].selector->name),
				SLICE_ARG(signatures[i].domain));
		}
		ASSERT(call->signature_len > 0);
		memcpy(signatures[i].signature, call->signature,
		       call->signature_len);
		signatures[i].signature_len = call->signature_len;
	}
	return true;
}

static int
message_write(struct signing *signing, struct input *input, bool is_signed)
{
	CLEAN(text_done) struct text fields = {0};
	struct fault fault = {0};

	if (is_signed)
		pipeline_write(signing->pipeline, &fields);
	if (!input_write_bytes(STDOUT_FILENO, text_slice(&fields), &fault) ||
	    !input_write(input, STDOUT_FILENO, &fault))
		return complain(&fault);
	return EX_OK;
}

static int
message_sign(struct signing *signing, struct input *input)
{
	size_t count;
	struct signature *signatures =
		pipeline_end(signing->pipeline, &count);
	struct fault fault = {0};

	switch (signing->decision->verdict) {
	case VERDICT_SIGN:
		if (!signatures_ask(signing, signatures, count, &fault)) {
			complain(&fault);
			return EX_TEMPFAIL;
		}
		return message_write(signing, input, true);
	case VERDICT_RELAY:
		fprintf(stderr, "signet: not signed: %.*s\n",
			SLICE_ARG(signing->decision->reason));
		return message_write(signing, input, false);
	case VERDICT_REJECT:
		fprintf(stderr, "signet: refused, nobody signs it: %.*s\n",
			SLICE_ARG(signing->decision->reason));
		return EX_DATAERR;
	}
	return EX_SOFTWARE;
}

static int
sign_with_signer(struct signing *signing)
{
	CLEAN(input_free_clean) struct input *input = NULL;
	struct feeder feeder = {.owner = signing,
				.field = pipeline_take_field,
				.end_of_header = pipeline_take_end,
				.body = pipeline_take_body};
	struct fault fault = {0};

	signing->pipeline = pipeline_new(signing->policy, signing->time_s);
	if (!input_open(signing->path, INPUT_SIGN, &input, &fault) ||
	    !feeder_run(&feeder, input, signing->options->max_header_size,
			&fault))
		return message_complain(&fault);
	return message_sign(signing, input);
}

/* A key that cannot be used is a bad configuration, whatever is wrong with
 * it; only a signer that cannot be had may work another time. */
static int
keys_complain(const struct fault *fault)
{
	int code = complain(fault);

	return code == EX_TEMPFAIL || code == EX_NOPERM ? code : EX_CONFIG;
}

static int
sign_run(struct signing *signing)
{
	const struct milter_options *options = signing->options;
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	struct fault fault = {0};
	int descriptor;

	if (!signer_load(&signing->signer, &options->keys,
			 options->strict_modes, warn, NULL, &keyring, &fault))
		return keys_complain(&fault);
	if (!signer_attach(&signing->signer, &descriptor, &fault))
		return complain(&fault);
	signing->client = signer_client_new(descriptor);
	signing->policy = policy_new(keyring, &options->signing);
	return sign_with_signer(signing);
}

static bool
sign_arguments(struct signing *signing, int argc, char **argv)
{
	bool has_path = false;

	signing->time_s = clock_wall_ms() / 1000;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--time") == 0) {
			if (++i == argc ||
			    !slice_number(SLICE(argv[i]), &signing->time_s) ||
			    signing->time_s > TIME_MAX_S)
				return false;
		} else if (has_path ||
			   (argv[i][0] == '-' && argv[i][1] != '\0')) {
			return false;
		} else {
			signing->path = argv[i];
			has_path = true;
		}
	}
	return true;
}

int
sign_command(const struct milter_options *options, int argc, char **argv)
{
	struct signing signing = {.options = options};
	struct fault fault = {0};
	int code;

	if (!sign_arguments(&signing, argc, argv))
		return usage("sign [--time UNIX] [FILE]");
	if (options == NULL)
		return EX_OK;
	if (!signer_start(0, 0, &signing.signer, &fault))
		return complain(&fault);
	code = sign_run(&signing);
	pipeline_free(signing.pipeline);
	policy_unref(signing.policy);
	signer_client_free(signing.client);
	signer_stop(&signing.signer);
	return code;
}

/* ---- signet verify ---- */

static void
verifier_take_field(void *owner, struct slice field)
{
	verifier_header(owner, field);
}

static void
verifier_take_end(void *owner)
{
	verifier_end_of_header(owner);
}

static void
verifier_take_body(void *owner, struct slice bytes)
{
	verifier_body(owner, bytes);
}

static void
key_ask(const struct milter_options *options, struct verifier *verifier,
	size_t i, struct slice query)
{
	struct text texts[VERIFY_RECORDS_MAX] = {0};
	struct slice records[VERIFY_RECORDS_MAX];
	size_t count = 0;
	enum lookup_status status =
		options->lookup_txt(options->lookup_owner, query, texts,
				    VERIFY_RECORDS_MAX, &count);

	ASSERT(count <= VERIFY_RECORDS_MAX);
	if (status == LOOKUP_FOUND && count == 0)
		status = LOOKUP_ABSENT;
	for (size_t k = 0; k < count; k++)
		records[k] = text_slice(&texts[k]);
	verifier_answer(verifier, i, status, records, count);
	for (size_t k = 0; k < VERIFY_RECORDS_MAX; k++)
		text_done(&texts[k]);
}

/* What the message wrote reaches the terminal: printable ASCII only. */
static void
plain_add(struct text *line, const char *name, struct slice value)
{
	text_add_string(line, name);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.bytes[i];

		text_add_byte(line, c > ' ' && c < 0x7f ? c : '?');
	}
}

static void
result_print(const struct verification *result)
{
	CLEAN(text_done) struct text line = {0};

	text_add_string(&line, verify_status_name(result->status));
	plain_add(&line, " d=", result->domain);
	plain_add(&line, " s=", result->selector);
	plain_add(&line, " a=", result->algorithm);
	text_add_byte(&line, ' ');
	text_add(&line, result->reason);
	puts(text_string(&line));
}

static int
results_report(const struct milter_options *options, struct verifier *verifier)
{
	size_t count;
	const struct verification *results = verifier_end(verifier, &count);
	size_t ignored = verifier_ignored(verifier);
	bool is_good = count > 0 && ignored == 0;
	bool is_temporary = false;

	for (size_t i = 0; i < count; i++) {
		if (results[i].status == VERIFY_PENDING)
			key_ask(options, verifier, i, results[i].query);
		result_print(&results[i]);
		if (results[i].status == VERIFY_TEMPERROR)
			is_temporary = true;
		else if (results[i].status != VERIFY_PASS)
			is_good = false;
	}
	if (count == 0)
		fputs("signet: the message has no DKIM-Signature\n", stderr);
	if (ignored > 0)
		fprintf(stderr, "signet: %zu more are not looked at\n",
			ignored);
	/* What did not fit into the buffer failed before the flush. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fputs("signet: writing the results failed\n", stderr);
		return EX_TEMPFAIL;
	}
	if (is_temporary)
		return EX_TEMPFAIL;
	return is_good ? EX_OK : EX_DATAERR;
}

int
verify_command(const struct milter_options *options, int argc, char **argv)
{
	CLEAN(verifier_free_clean) struct verifier *verifier =
		verifier_new(clock_wall_ms() / 1000);
	CLEAN(input_free_clean) struct input *input = NULL;
	struct feeder feeder = {.owner = verifier,
				.field = verifier_take_field,
				.end_of_header = verifier_take_end,
				.body = verifier_take_body};
	struct fault fault = {0};

	if (argc > 2 ||
	    (argc == 2 && argv[1][0] == '-' && argv[1][1] != '\0'))
		return usage("verify [FILE]");
	if (options == NULL)
		return EX_OK;
	if (!input_open(argc == 2 ? argv[1] : NULL, INPUT_VERIFY, &input, &fault) ||
	    !feeder_run(&feeder, input, options->max_header_size, &fault))
		return message_complain(&fault);
	return results_report(options, verifier);
}
