/* What `signet send` is told, line by line as arguments, and the message that
 * comes of it: no field but ours, no line too long, all of it ASCII but for
 * addresses that are not. */
#include <stdlib.h>

#include "milter/header.h"
#include "relay/send/composer.h"
#include "relay/send/send_arguments.h"

#define ARGUMENTS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const char *const ours[] = {
	"Date", "From", "To", "Cc", "Subject", "Message-ID", "MIME-Version",
	"Content-Type", "Content-Transfer-Encoding"};

static bool
is_ours(struct slice name)
{
	for (size_t i = 0; i < COUNT(ours); i++)
		if (slice_eq(name, SLICE(ours[i])))
			return true;
	return false;
}

/* Each of them once, in order. */
static void
header_check(struct slice header)
{
	struct header_reader reader;
	struct slice field, name, value;
	size_t count = 0;

	header_reader_init(&reader, header.len + 1);
	while (header_read(&reader, &header, &field) == HEADER_FIELD) {
		ASSERT(header_field_parse(field, &name, &value) == NULL);
		ASSERT(is_ours(name));
		count++;
	}
	ASSERT(header.len == 0);
	ASSERT(count <= COUNT(ours));
	header_reader_done(&reader);
}

static void
body_check(struct slice body)
{
	struct slice line;

	ASSERT(slice_is_ascii(body));
	while (slice_split(&body, '\n', &line))
		ASSERT(line.len > 0 && line.len <= 79 &&
		       slice_find(line, '\r') == (ptrdiff_t)line.len - 1);
}

static void
message_check(const struct send_arguments *arguments, struct slice text)
{
	CLEAN(text_done) struct text out = {0};
	struct attachment attachment = {SLICE_NONE, text};
	struct composition composition = {
		.from = text_slice(&arguments->from_value),
		.to = text_slice(&arguments->to_value),
		.cc = text_slice(&arguments->cc_value),
		.subject = arguments->subject,
		.message_id = SLICE("ID@example.com"),
		.has_text = arguments->text_path != NULL,
		.has_html = arguments->html_path != NULL,
		.text = text,
		.html = text,
		.attachments = &attachment,
		.attachments_count = arguments->attach_count > 0,
	};
	struct fault fault;
	size_t header_len;

	if (arguments->attach_count > 0)
		attachment.name = send_file_name(arguments->attach_paths[0]);
	if (!compose(&composition, &out, &header_len, &fault))
		return;
	ASSERT(header_len <= out.len);
	header_check(slice_sub(text_slice(&out), 0, header_len));
	body_check(slice_from(text_slice(&out), header_len));
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(arena_done) struct arena arena = {0};
	struct slice rest = slice_of(bytes, len), word;
	struct send_arguments arguments;
	struct fault fault = {0};
	char *argv[ARGUMENTS_MAX + 2] = {(char[]){"send"}};
	int argc = 1;

	/* Words end in NUL, so that they may have line ends. */
	while (argc <= ARGUMENTS_MAX && slice_split(&rest, '\0', &word))
		argv[argc++] = slice_dup(word);
	argv[argc] = NULL;
	if (send_arguments_parse(argc, argv, &arena, &arguments, &fault)) {
		ASSERT(arguments.recipients.count > 0);
		message_check(&arguments, slice_of(bytes, len));
		send_arguments_done(&arguments);
	} else {
		ASSERT(fault.kind != FAULT_NONE);
	}
	for (int i = 1; i < argc; i++)
		free(argv[i]);
	return 0;
}
