#include "relay/send/send_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "milter/feeder.h"
#include "milter/own_signer.h"
#include "milter/proof.h"
#include "relay/delivery/errand.h"
#include "relay/generation.h"
#include "relay/identity.h"
#include "relay/login.h"
#include "relay/net/dns.h"
#include "relay/send/composer.h"
#include "relay/send/send_arguments.h"
#include "relay/send/send_results.h"

#define READ_SIZE ((size_t)64 << 10)
/* Hosts are told good-bye, and given so long to say it, too. */
#define FAREWELL_MS (3 * SECOND)

struct sending {
	struct send_arguments arguments;
	struct options *options;     /* the generation's, once there is one */
	bool owns_options;
	struct arena arena;
	struct text text, html;      /* as read */
	struct attachment *attachments;
	struct own_signer signer;
	struct generation *generation;
	struct text composed;        /* what the message's body lies in */
	struct slice message_id;
	struct message *message;
	struct pipeline *pipeline;
	const struct decision *decision;
	struct loop loop;
	struct alarm farewell;
	struct errand *errand;
	struct send_results results;
};

static int
complain(const struct fault *fault)
{
	fprintf(stderr, "signet: send: %s\n", fault->text);
	return fault_exit_code(fault);
}

/* ---- files ---- */

static bool
descriptor_read(int descriptor, uint64_t max, struct text *out,
		struct fault *fault)
{
	for (;;) {
		char *room = text_room(out, READ_SIZE);
		ssize_t len = read(descriptor, room, READ_SIZE);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EISDIR)
			return fault_set(fault, FAULT_INPUT, "a directory");
		if (len < 0)
			return fault_errno(fault, "reading");
		if (len == 0)
			return true;
		text_added(out, (size_t)len);
		if (out->len > max)
			return fault_set(fault, FAULT_LIMIT,
					 "more than limits.max_message_size");
	}
}

static bool
file_read(const char *path, uint64_t max, struct text *out,
	  struct fault *fault)
{
	CLEAN(clean_descriptor) int opened = -1;
	int descriptor = STDIN_FILENO;

	if (strcmp(path, "-") != 0) {
		descriptor = opened = open(path, O_RDONLY | O_CLOEXEC);
		if (opened < 0)
			return fault_errno(fault, "'%s'", path);
	}
	return descriptor_read(descriptor, max, out, fault) ||
	       fault_within(fault, "'%s'", path);
}

static void
text_free(void *text)
{
	text_done(text);
	free(text);
}

static bool
attachments_read(struct sending *sending, struct fault *fault)
{
	const struct send_arguments *arguments = &sending->arguments;

	sending->attachments =
		arena_array(&sending->arena, arguments->attach_count,
			    sizeof(*sending->attachments));
	for (size_t i = 0; i < arguments->attach_count; i++) {
		const char *path = arguments->attach_paths[i];
		struct text *bytes = memory_new(sizeof(*bytes));

		arena_at_end(&sending->arena, text_free, bytes);
		if (!file_read(path, sending->options->limits.max_message_size,
			       bytes, fault))
			return false;
		sending->attachments[i] = (struct attachment){
			send_file_name(path), text_slice(bytes)};
	}
	return true;
}

static bool
files_read(struct sending *sending, struct fault *fault)
{
	const struct send_arguments *arguments = &sending->arguments;
	uint64_t max = sending->options->limits.max_message_size;

	return (arguments->text_path == NULL ||
		file_read(arguments->text_path, max, &sending->text, fault)) &&
	       (arguments->html_path == NULL ||
		file_read(arguments->html_path, max, &sending->html, fault)) &&
	       attachments_read(sending, fault);
}

/* ---- keys and passwords ---- */

static void
warn(const char *text)
{
	fprintf(stderr, "signet: warning: %s\n", text);
}

static bool
generation_make(struct sending *sending, struct keyring *keyring,
		struct fault *fault)
{
	struct options *options = sending->options;
	CLEAN(secret_cleanse) struct text passwords = {0};

	/* All that is composed is 7-bit but for what needs SMTPUTF8, and whoever
	 * has that has 8BITMIME (RFC 6531 3.1): nothing is ever converted. */
	options->delivery.without_8bitmime = WITHOUT_8BITMIME_BOUNCE;
	if (!login_read_all(options, warn, &passwords, fault)) {
		keyring_unref(keyring);
		return false;
	}
	sending->owns_options = false;
	return generation_new(options, keyring, NULL, text_slice(&passwords),
			      &sending->generation, fault);
}

/* Whatever only root may do is done before the end of this. */
static int
privileges_use(struct sending *sending)
{
	const struct options *options = sending->options;
	CLEAN(text_done) struct text warning = {0};
	struct identity relay, signer;
	struct keyring *keyring;
	struct fault fault = {0};

	if (!identity_find(options, &relay, &signer, &warning, &fault)) {
		complain(&fault);
		return EX_CONFIG;
	}
	if (!files_read(sending, &fault)) {
		int code = complain(&fault);

		return code == EX_UNAVAILABLE ? EX_DATAERR : code;
	}
	if (!own_signer_start(signer.uid, signer.gid, &options->keys,
			      options->strict_key_modes, &sending->signer,
			      &keyring, &fault)) {
		complain(&fault);
		return own_signer_exit_code(&fault);
	}
	if (!generation_make(sending, keyring, &fault)) {
		int code = complain(&fault);

		return code == EX_NOPERM || code == EX_TEMPFAIL ? code
								: EX_CONFIG;
	}
	return identity_stay(&relay, &fault) ? EX_OK : complain(&fault);
}

/* ---- the message ---- */

static bool
message_compose(struct sending *sending, struct fault *fault)
{
	const struct send_arguments *arguments = &sending->arguments;
	const struct limits_options *limits = &sending->options->limits;
	struct body *body = &sending->message->body;
	struct composition composition = {
		.from = text_slice(&arguments->from_value),
		.to = text_slice(&arguments->to_value),
		.cc = text_slice(&arguments->cc_value),
		.subject = arguments->subject,
		.wall_ms = sending->message->received_ms,
		.message_id = sending->message_id,
		.has_text = arguments->text_path != NULL,
		.has_html = arguments->html_path != NULL,
		.text = text_slice(&sending->text),
		.html = text_slice(&sending->html),
		.attachments = sending->attachments,
		.attachments_count = arguments->attach_count,
	};
	size_t header_len;

	if (!compose(&composition, &sending->composed, &header_len, fault))
		return false;
	if (sending->composed.len > limits->max_message_size)
		return fault_set(fault, FAULT_LIMIT,
				 "the message has %zu octets, more than "
				 "limits.max_message_size",
				 sending->composed.len);
	body->size = sending->composed.len;
	body->header_len = header_len;
	body->has_8bit_header = !slice_is_ascii(
		slice_sub(text_slice(&sending->composed), 0, header_len));
	body->has_8bit = body->has_8bit_header;
	sending->message->declared_smtputf8 = body->has_8bit_header;
	return true;
}

static void
message_cut(struct sending *sending)
{
	struct message *message = sending->message;
	struct slice rest = text_slice(&sending->composed);
	struct body *body = &message->body;

	body->chunks = arena_array(&message->arena, rest.len / BODY_CHUNK + 1,
				   sizeof(*body->chunks));
	for (; rest.len > 0; rest = slice_from(rest, BODY_CHUNK))
		body->chunks[body->chunks_count++] =
			slice_sub(rest, 0, BODY_CHUNK);
}

/* The domain is in A-labels, in lower case, or a literal. */
static bool
message_address(struct sending *sending, struct fault *fault)
{
	const struct send_arguments *arguments = &sending->arguments;
	const struct mailing *recipients = &arguments->recipients;
	char id[MESSAGE_ID_TEXT + 1];

	if (recipients->count > sending->options->limits.max_recipients)
		return fault_set(fault, FAULT_LIMIT,
				 "%zu recipients, more than "
				 "limits.max_recipients",
				 recipients->count);
	sending->message = message_new(arguments->from);
	for (size_t i = 0; i < recipients->count; i++) {
		struct slice address = recipients->addresses[i];
		ptrdiff_t at = slice_find_last(address, '@');

		message_add_recipient(sending->message, address,
				      slice_from(address, (size_t)at + 1));
	}
	message_id_write(&sending->message->id, id);
	sending->message_id =
		arena_printf(&sending->arena, "%s@%.*s", id,
			     SLICE_ARG(sending->options->hostname));
	return true;
}

/* ---- signing ---- */

static void
pipeline_take_field(void *owner, struct slice field)
{
	pipeline_header(((struct sending *)owner)->pipeline, field);
}

static void
pipeline_take_end(void *owner)
{
	struct sending *sending = owner;

	sending->decision = pipeline_end_of_header(sending->pipeline);
}

static void
pipeline_take_body(void *owner, struct slice bytes)
{
	pipeline_body(((struct sending *)owner)->pipeline, bytes);
}

static bool
message_hash(struct sending *sending, struct fault *fault)
{
	struct feeder feeder = {.owner = sending,
				.field = pipeline_take_field,
				.end_of_header = pipeline_take_end,
				.body = pipeline_take_body};
	bool is_fed;

	sending->pipeline =
		pipeline_new(sending->generation->policy,
			     sending->message->received_ms / 1000);
	feeder_init(&feeder,
		    (size_t)sending->options->limits.max_header_size);
	is_fed = feeder_feed(&feeder, text_slice(&sending->composed), fault);
	if (is_fed)
		feeder_finish(&feeder);
	feeder_done(&feeder);
	return is_fed;
}

static bool
signatures_make(struct sending *sending, struct signature *signatures,
		size_t count, struct fault *fault)
{
	struct message *message = sending->message;
	CLEAN(text_done) struct text fields = {0};

	if (!own_signer_sign(&sending->signer, signatures, count, fault))
		return false;
	pipeline_write(sending->pipeline, &fields);
	message->prefix = arena_copy(&message->arena, text_slice(&fields));
	return proof_memory(sending->pipeline, message->prefix,
			    message->body.chunks, message->body.chunks_count,
			    fault);
}

static int
message_sign(struct sending *sending)
{
	struct fault fault = {0};
	struct signature *signatures;
	size_t count;

	if (!message_hash(sending, &fault))
		return complain(&fault);
	signatures = pipeline_end(sending->pipeline, &count);
	switch (sending->decision->verdict) {
	case VERDICT_SIGN:
		if (signatures_make(sending, signatures, count, &fault))
			return EX_OK;
		complain(&fault);
		return EX_TEMPFAIL;
	case VERDICT_RELAY:
		fprintf(stderr, "signet: send: not signed: %.*s\n",
			SLICE_ARG(sending->decision->reason));
		return EX_OK;
	case VERDICT_REJECT:
		fprintf(stderr,
			"signet: send: refused, nobody signs it: %.*s\n",
			SLICE_ARG(sending->decision->reason));
		return EX_DATAERR;
	}
	return EX_SOFTWARE;
}

/* ---- delivery ---- */

static void
result_take(void *owner, size_t recipient,
	    const struct recipient_result *result)
{
	send_results_add(&((struct sending *)owner)->results, recipient,
			 result);
}

/* Who does not answer good-bye need not be waited for. */
static void
farewell_is_over(struct alarm *farewell)
{
	struct sending *sending = CONTAINER(farewell, struct sending, farewell);

	_exit(send_results_code(&sending->results));
}

static void
errand_is_done(void *owner)
{
	struct sending *sending = owner;

	dns_close(sending->loop.dns);
	alarm_set(&sending->farewell, FAREWELL_MS);
	/* It keeps no loop running. */
	uv_unref((uv_handle_t *)&sending->farewell.timer);
	loop_stop(&sending->loop);
}

static bool
errand_begin(struct sending *sending, struct fault *fault)
{
	const struct options *options = sending->options;
	struct loop *loop = &sending->loop;

	if (!loop_init(loop, 0, fault))
		return false;
	loop->generation = sending->generation;
	if (!dns_new(loop, options->dns.resolvers,
		     options->dns.resolvers_count, &loop->dns, fault)) {
		loop_done(loop);
		return false;
	}
	if (errand_start(
		    &(struct errand_setup){
			    .loop = loop,
			    .message = sending->message,
			    .deadline_ms = clock_now_ms() +
					   sending->arguments.timeout_ms,
			    .result = result_take,
			    .done = errand_is_done,
			    .owner = sending},
		    &sending->errand, fault))
		return true;
	dns_close(loop->dns);
	loop_done(loop);
	return false;
}

static int
message_deliver(struct sending *sending)
{
	struct fault fault = {0};

	sending->results = (struct send_results){
		.message = sending->message,
		.message_id = sending->message_id,
		.pipeline = sending->pipeline,
		.as_json = sending->arguments.as_json,
	};
	if (!errand_begin(sending, &fault)) {
		complain(&fault);
		return EX_TEMPFAIL;
	}
	alarm_init(&sending->farewell, &sending->loop, farewell_is_over);
	uv_run(&sending->loop.uv, UV_RUN_DEFAULT);
	alarm_close(&sending->farewell, NULL);
	loop_done(&sending->loop);
	errand_free(sending->errand);
	return send_results_code(&sending->results);
}

/* ---- the command ---- */

static int
sending_run(struct sending *sending)
{
	struct fault fault = {0};
	int code = privileges_use(sending);

	if (code != EX_OK)
		return code;
	if (!message_address(sending, &fault) ||
	    !message_compose(sending, &fault))
		return complain(&fault);
	message_cut(sending);
	code = message_sign(sending);
	return code == EX_OK ? message_deliver(sending) : code;
}

static void
sending_done(struct sending *sending)
{
	if (sending->message != NULL)
		message_unref(sending->message);
	pipeline_free(sending->pipeline);
	generation_unref(sending->generation);
	if (sending->owns_options)
		options_free(sending->options);
	own_signer_stop(&sending->signer);
	text_done(&sending->composed);
	text_done(&sending->text);
	text_done(&sending->html);
	send_arguments_done(&sending->arguments);
	arena_done(&sending->arena);
}

int
send_command(struct options *options, int argc, char **argv)
{
	CLEAN(sending_done) struct sending sending = {
		.options = options, .owns_options = options != NULL};
	struct fault fault = {0};

	if (!send_arguments_parse(argc, argv, &sending.arena,
				  &sending.arguments, &fault)) {
		fprintf(stderr, "signet: send: %s\nusage: signet [-c FILE] %s\n",
			fault.text, SEND_USAGE);
		return EX_USAGE;
	}
	if (options == NULL)
		return EX_OK;
	signal(SIGPIPE, SIG_IGN);
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_WARNING);
	return sending_run(&sending);
}
