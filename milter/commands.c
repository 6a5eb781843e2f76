#include "milter/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/output.h"
#include "keys/signer.h"
#include "milter/emit.h"
#include "milter/explain.h"
#include "milter/feeder.h"
#include "milter/input.h"
#include "milter/inspect.h"
#include "milter/own_signer.h"
#include "milter/proof.h"

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

/* [--] [FILE], from argv[1] on. */
static bool
path_take(int argc, char **argv, const char **path_out)
{
	int i = 1;

	if (i < argc && strcmp(argv[i], "--") == 0)
		i++;
	else if (i < argc && argv[i][0] == '-' && argv[i][1] != '\0')
		return false;
	if (argc - i > 1)
		return false;
	*path_out = i < argc ? argv[i] : NULL;
	return true;
}

/* ---- signet sign ---- */

struct signing {
	const struct milter_options *options;
	uint64_t time_s;
	const char *path;
	struct own_signer signer;
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

static bool
proof_take(void *owner, struct slice bytes, struct fault *fault)
{
	(void)fault;
	proof_feed(owner, bytes);
	return true;
}

static bool
output_take(void *owner, struct slice bytes, struct fault *fault)
{
	(void)owner;
	return input_write_bytes(STDOUT_FILENO, bytes, fault);
}

/* Nothing is written before the message, as it will be written, has been
 * verified: it is the first of its selectors. */
static int
message_write(struct signing *signing, struct input *input)
{
	const struct pipeline *pipeline = signing->pipeline;
	CLEAN(text_done) struct text fields = {0};
	CLEAN(proof_free_clean) struct proof *proof = proof_new(pipeline);
	struct fault fault = {0};

	pipeline_write(pipeline, &fields);
	if (!emit_message(pipeline, text_slice(&fields), input, proof_take,
			  proof, &fault))
		return complain(&fault);
	if (!proof_finish(proof, &fault)) {
		complain(&fault);
		return EX_TEMPFAIL;
	}
	if (!emit_message(pipeline, text_slice(&fields), input, output_take,
			  NULL, &fault))
		return complain(&fault);
	return EX_OK;
}

static int
message_pass(struct input *input)
{
	struct fault fault = {0};

	return input_write(input, STDOUT_FILENO, &fault) ? EX_OK
							 : complain(&fault);
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
		if (!own_signer_sign(&signing->signer, signatures, count,
				     &fault)) {
			complain(&fault);
			return EX_TEMPFAIL;
		}
		return message_write(signing, input);
	case VERDICT_RELAY:
		fprintf(stderr, "signet: not signed: %.*s\n",
			SLICE_ARG(signing->decision->reason));
		return message_pass(input);
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

static int
sign_run(struct signing *signing)
{
	const struct milter_options *options = signing->options;
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	struct fault fault = {0};
	int code;

	if (!own_signer_start(0, 0, &options->keys, options->strict_modes,
			      &signing->signer, &keyring, &fault)) {
		complain(&fault);
		return own_signer_exit_code(&fault);
	}
	signing->policy = policy_new(keyring, &options->signing);
	code = sign_with_signer(signing);
	pipeline_free(signing->pipeline);
	policy_unref(signing->policy);
	own_signer_stop(&signing->signer);
	return code;
}

/* word: NULL where none is left. */
static bool
time_read(const char *word, uint64_t *time_s)
{
	if (word != NULL && slice_number(SLICE(word), time_s) &&
	    *time_s <= TIME_MAX_S)
		return true;
	fputs("signet: --time: seconds since 1970 have to follow\n", stderr);
	return false;
}

static bool
sign_arguments(struct signing *signing, int argc, char **argv)
{
	bool has_path = false, takes_options = true;

	signing->time_s = clock_wall_ms() / 1000;
	for (int i = 1; i < argc; i++) {
		if (takes_options && strcmp(argv[i], "--") == 0) {
			takes_options = false;
		} else if (takes_options && strcmp(argv[i], "--time") == 0) {
			if (!time_read(argv[++i], &signing->time_s))
				return false;
		} else if (has_path || (takes_options && argv[i][0] == '-' &&
					argv[i][1] != '\0')) {
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

	if (!sign_arguments(&signing, argc, argv))
		return usage("sign [--time UNIX] [FILE]");
	return options == NULL ? EX_OK : sign_run(&signing);
}

/* ---- signet explain ---- */

/* Without the public halves: who signs does not depend on them. */
static struct keyring *
keyring_without_keys(const struct keys_options *options)
{
	CLEAN(clean_memory) struct key_public **publics = NULL;
	size_t count = 0;

	for (size_t i = 0; i < options->domains_count; i++)
		count += options->domains[i].selectors_count;
	publics = memory_array(count, sizeof(struct key_public *));
	return keyring_new(options, publics, count);
}

static void
ignore_warning(void *owner, const char *text)
{
	(void)owner;
	(void)text;
}

/* What is wrong with the keys is part of the explanation. */
static struct keyring *
keyring_load(const struct milter_options *options, struct fault *fault)
{
	struct signer_process signer;
	struct keyring *keyring = NULL;

	if (options->keys.domains_count > 0 &&
	    signer_start(0, 0, &signer, fault)) {
		if (!signer_load(&signer, &options->keys,
				 options->strict_modes, ignore_warning, NULL,
				 &keyring, fault))
			keyring = NULL;
		signer_stop(&signer);
	}
	return keyring != NULL ? keyring : keyring_without_keys(&options->keys);
}

static int
explanation_print(const struct explain *explain)
{
	CLEAN(text_done) struct text out = {0};
	bool is_taken = explain_write(explain, &out);
	int code;

	code = output_write(text_slice(&out));
	return code != EX_OK ? code : is_taken ? EX_OK : EX_DATAERR;
}

static bool
normalizes_any(const struct milter_options *options)
{
	for (size_t i = 0; i < options->listeners_count; i++)
		if (options->listeners[i].normalizes)
			return true;
	return false;
}

static int
explain_run(const struct milter_options *options, const char *path)
{
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	CLEAN(policy_unref_clean) struct policy *policy = NULL;
	CLEAN(input_free_clean) struct input *input = NULL;
	CLEAN(examination_done) struct examination examination = {0};
	struct fault keys_fault = {0}, fault = {0};
	const struct explain explain = {.examination = &examination,
					.options = options,
					.keys_fault = &keys_fault,
					.header_fault = &fault};
	struct examine_setup setup = {
		.time_s = clock_wall_ms() / 1000,
		.prepare = &options->prepare,
		.max_message_size = options->max_message_size,
		.max_header_size = options->max_header_size,
		.max_hops = options->max_hops,
		.may_normalize = normalizes_any(options),
	};

	keyring = keyring_load(options, &keys_fault);
	policy = policy_new(keyring, &options->signing);
	setup.policy = policy;
	if (!input_open(path, INPUT_EXPLAIN, &input, &fault))
		return message_complain(&fault);
	if (!examine(&setup, input, &examination, &fault) &&
	    fault.kind != FAULT_LIMIT)
		return message_complain(&fault);
	return explanation_print(&explain);
}

int
explain_command(const struct milter_options *options, int argc, char **argv)
{
	const char *path = NULL;

	if (!path_take(argc, argv, &path))
		return usage("explain [FILE]");
	return options == NULL ? EX_OK : explain_run(options, path);
}

/* ---- signet verify ---- */

/* Long enough to ask each of a few resolvers more than once. */
#define DNS_TIMEOUT_MS (30 * SECOND)

static void
inspect_take_field(void *owner, struct slice field)
{
	inspect_header(owner, field);
}

static void
inspect_take_end(void *owner)
{
	inspect_end_of_header(owner);
}

static void
inspect_take_body(void *owner, struct slice bytes)
{
	inspect_body(owner, bytes);
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

/* Behind it comes "...". */
#define NOTES_LEN_MAX 200

/* n= is a word to people, in dkim-quoted-printable (RFC 6376 2.11). */
static void
notes_add(struct text *line, struct slice notes)
{
	size_t len = 0, i = 0;

	text_add_string(line, "; the key's record says \"");
	for (; i < notes.len && len < NOTES_LEN_MAX; i++, len++) {
		char c = notes.bytes[i];
		int high = -1, low = -1;

		if (c == '=' && i + 2 < notes.len) {
			high = ascii_hex_upper(notes.bytes[i + 1]);
			low = ascii_hex_upper(notes.bytes[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			c = (char)(high << 4 | low);
			i += 2;
		}
		text_add_byte(line, c >= ' ' && c < 0x7f && c != '"' ? c : '?');
	}
	text_add_string(line, i < notes.len ? "...\"" : "\"");
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
	if (result->notes.len > 0)
		notes_add(&line, result->notes);
	puts(text_string(&line));
}

static int
results_report(struct inspect *inspect)
{
	size_t count;
	const struct verification *results = inspect_end(inspect, &count);
	size_t ignored = inspect_ignored(inspect);
	bool is_good = count > 0 && ignored == 0;
	bool is_temporary = false;

	for (size_t i = 0; i < count; i++) {
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
	if (output_end() != EX_OK)
		return EX_TEMPFAIL;
	if (is_temporary)
		return EX_TEMPFAIL;
	return is_good ? EX_OK : EX_DATAERR;
}

int
verify_command(const struct milter_options *options, int argc, char **argv)
{
	CLEAN(inspect_free_clean) struct inspect *inspect = NULL;
	CLEAN(input_free_clean) struct input *input = NULL;
	struct feeder feeder = {.field = inspect_take_field,
				.end_of_header = inspect_take_end,
				.body = inspect_take_body};
	const char *path = NULL;
	struct fault fault = {0};

	if (!path_take(argc, argv, &path))
		return usage("verify [FILE]");
	if (options == NULL)
		return EX_OK;
	inspect = inspect_new(options->records, DNS_TIMEOUT_MS,
			      clock_wall_ms() / 1000);
	feeder.owner = inspect;
	if (!input_open(path, INPUT_VERIFY, &input, &fault) ||
	    !feeder_run(&feeder, input, options->max_header_size, &fault))
		return message_complain(&fault);
	return results_report(inspect);
}
