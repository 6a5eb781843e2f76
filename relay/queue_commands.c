#include "relay/queue_commands.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "relay/identity.h"
#include "relay/queue/browse.h"
#include "relay/queue/listing.h"

/* Shown of a header; what an accepted one may have is an option's. */
#define HEADER_SHOWN_MAX ((size_t)4 * MIB)

struct arguments {
	bool as_json;
	int count;
	char **words;
};

static int
fault_tell(const struct fault *fault)
{
	fprintf(stderr, "signet: %s\n", fault->text);
	return fault_exit_code(fault);
}

static void
damaged_tell(const struct message_id *id, struct slice destination,
	     const struct fault *fault)
{
	char text[MESSAGE_ID_TEXT + 1];

	message_id_write(id, text);
	fprintf(stderr, "signet: %s: to %.*s: %s\n", text,
		SLICE_ARG(destination), fault->text);
}

/* --- the store --- */

/* Into the state directory as long as we may, then as the relay's user. */
static bool
state_enter(const struct options *options, struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};
	CLEAN(text_done) struct text warning = {0};
	struct identity relay, signer;

	text_add(&path, options->state_dir);
	if (!identity_find(options, &relay, &signer, &warning, fault))
		return false;
	if (chdir(text_string(&path)) != 0)
		return fault_errno(fault, "state_dir '%s'", text_string(&path));
	return identity_become(&relay, fault);
}

static bool
queue_open(const struct options *options, struct browse **browse_out,
	   struct fault *fault)
{
	if (!state_enter(options, fault))
		return false;
	if (browse_open(damaged_tell, browse_out, fault))
		return true;
	if (fault->kind == FAULT_DENIED)
		fault_put_before(fault, "the queue is for root and for the "
					"relay's user");
	return false;
}

static void
deliveries_done(struct list *deliveries)
{
	struct list *item;

	while ((item = list_take_first(deliveries)) != NULL)
		delivery_free(CONTAINER(item, struct delivery, link));
}

/* --- one message after the other --- */

typedef void listing_fn(const struct listing *listing, struct text *out);

static size_t
deliveries_count(const struct list *deliveries)
{
	size_t count = 0;

	for (const struct list *item = deliveries->next; item != deliveries;
	     item = item->next)
		count++;
	return count;
}

/* Writes each message of the list by itself. */
static void
deliveries_write(struct list *deliveries, listing_fn *write, struct text *out)
{
	size_t count = deliveries_count(deliveries), filled = 0, first = 0;
	CLEAN(clean_memory)
	const struct delivery **rows = memory_array(count, sizeof(*rows));

	LIST_EACH (item, deliveries)
		rows[filled++] = CONTAINER(item, struct delivery, link);
	for (size_t i = 1; i <= count; i++) {
		struct listing listing = {&rows[first], i - first,
					  clock_wall_ms()};

		if (i < count && rows[i]->message == rows[first]->message)
			continue;
		write(&listing, out);
		first = i;
	}
}

static bool
text_print(struct text *text)
{
	bool is_written = fwrite(text_string(text), 1, text->len, stdout) ==
			  text->len;

	text_clear(text);
	return is_written;
}

static int
output_end(bool is_written)
{
	if (is_written && fflush(stdout) == 0)
		return EX_OK;
	fputs("signet: cannot write the list\n", stderr);
	return EX_IOERR;
}

/* --- list --- */

static int
list_run(const struct options *options, const struct arguments *arguments)
{
	CLEAN(browse_close_clean) struct browse *browse = NULL;
	CLEAN(text_done) struct text out = {0};
	struct fault fault = {0};
	struct list deliveries;
	bool is_written = true;

	if (!queue_open(options, &browse, &fault)) {
		/* Where no relay has ever run, nothing waits. */
		int code = fault_tell(&fault);

		return fault.kind == FAULT_ABSENT ? EX_OK : code;
	}
	for (;;) {
		if (!browse_next(browse, &deliveries, &fault))
			return fault_tell(&fault);
		if (list_is_empty(&deliveries) || !is_written)
			break;
		deliveries_write(&deliveries,
				 arguments->as_json ? listing_write_json
						    : listing_write_text,
				 &out);
		is_written = text_print(&out);
		deliveries_done(&deliveries);
	}
	deliveries_done(&deliveries);
	return output_end(is_written);
}

/* --- show --- */

static int
unknown_tell(const char *id)
{
	fprintf(stderr, "signet: %s: no such message in the queue\n", id);
	return EX_DATAERR;
}

static void
header_write(struct browse *browse, const struct message *message,
	     struct text *out)
{
	CLEAN(text_done) struct text header = {0};
	struct fault fault;

	text_add_byte(out, '\n');
	listing_write_visible(message->prefix, true, out);
	if (!browse_header(browse, message, HEADER_SHOWN_MAX, &header, &fault))
		fprintf(stderr, "signet: the header: %s\n", fault.text);
	listing_write_visible(text_slice(&header), true, out);
}

static int
show_one(struct browse *browse, const char *word, struct text *out)
{
	struct fault fault = {0};
	struct message_id id;
	struct list deliveries;

	if (!message_id_read(SLICE(word), &id))
		return unknown_tell(word);
	if (!browse_find(browse, &id, &deliveries, &fault))
		return fault.kind == FAULT_ABSENT ? unknown_tell(word)
						  : fault_tell(&fault);
	if (list_is_empty(&deliveries)) /* all damaged, and told */
		return EX_DATAERR;
	deliveries_write(&deliveries, listing_write_all, out);
	header_write(browse,
		     CONTAINER(deliveries.next, struct delivery, link)->message,
		     out);
	deliveries_done(&deliveries);
	return EX_OK;
}

static int
show_run(const struct options *options, const struct arguments *arguments)
{
	CLEAN(browse_close_clean) struct browse *browse = NULL;
	CLEAN(text_done) struct text out = {0};
	struct fault fault = {0};
	int code = EX_OK;

	if (!queue_open(options, &browse, &fault))
		return fault.kind == FAULT_ABSENT
			       ? unknown_tell(arguments->words[0])
			       : fault_tell(&fault);
	for (int i = 0; i < arguments->count && code == EX_OK; i++) {
		if (i > 0)
			text_add_byte(&out, '\n');
		code = show_one(browse, arguments->words[i], &out);
	}
	return output_end(text_print(&out)) == EX_OK ? code : EX_IOERR;
}

/* --- arguments --- */

static const struct subcommand {
	const char *name;
	const char *options; /* for getopt_long(); 'j' is --json */
	bool wants_ids;
	int (*run)(const struct options *options,
		   const struct arguments *arguments);
	const char *usage;
} subcommands[] = {
	{"list", "j", false, list_run, "queue list [--json]"},
	{"show", "", true, show_run, "queue show ID..."},
};

static const struct subcommand *
subcommand_find(const char *name)
{
	for (size_t i = 0; name != NULL && i < COUNT(subcommands); i++)
		if (strcmp(subcommands[i].name, name) == 0)
			return &subcommands[i];
	return NULL;
}

static int
usage_tell(const struct subcommand *subcommand)
{
	for (size_t i = 0; i < COUNT(subcommands); i++)
		if (subcommand == NULL || subcommand == &subcommands[i])
			fprintf(stderr, "usage: signet [-c FILE] %s\n",
				subcommands[i].usage);
	return EX_USAGE;
}

static bool
arguments_read(const struct subcommand *subcommand, int argc, char **argv,
	       struct arguments *arguments)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'}, {0}};
	int option;

	optind = 0; /* from the beginning, also a second time */
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) !=
	       -1) {
		if (option == '?' ||
		    strchr(subcommand->options, option) == NULL)
			return false;
		arguments->as_json = true;
	}
	arguments->count = argc - optind;
	arguments->words = argv + optind;
	return subcommand->wants_ids ? arguments->count > 0
				     : arguments->count == 0;
}

int
queue_command(const struct options *options, int argc, char **argv)
{
	const struct subcommand *subcommand =
		subcommand_find(argc > 1 ? argv[1] : NULL);
	struct arguments arguments = {0};

	if (subcommand == NULL)
		return usage_tell(NULL);
	if (!arguments_read(subcommand, argc - 1, argv + 1, &arguments))
		return usage_tell(subcommand);
	return options == NULL ? EX_OK : subcommand->run(options, &arguments);
}
