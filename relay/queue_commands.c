#include "relay/queue_commands.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "milter/idn.h"
#include "relay/queue_private.h"
#include "relay/server/path.h"

int
queue_fault_tell(const struct fault *fault)
{
	fprintf(stderr, "signet: %s\n", fault->text);
	return fault_exit_code(fault);
}

int
queue_unknown_tell(const char *id)
{
	fprintf(stderr, "signet: %s: no such message in the queue\n", id);
	return EX_DATAERR;
}

/* --- arguments --- */

/* What stands on the command line. */
enum { HAS_JSON = 1, HAS_ALL = 2, HAS_SELECTION = 4, HAS_IDS = 8 };

static const struct subcommand {
	const char *name;
	enum control_verb verb;
	unsigned may, needs; /* of these at least one; IDs stand alone */
	int (*run)(const struct options *options,
		   const struct queue_arguments *arguments);
	const char *usage;
} subcommands[] = {
	{"list", CONTROL_LIST, HAS_JSON | HAS_SELECTION, 0, queue_list,
	 "queue list [--json] [--domain D] [--sender A]"},
	{"show", CONTROL_SHOW, HAS_IDS, HAS_IDS, queue_show,
	 "queue show ID..."},
#define SELECTS (HAS_ALL | HAS_SELECTION | HAS_IDS)
#define SELECTS_USAGE " ID... | [--domain D] [--sender A] | --all"
	{"retry", CONTROL_RETRY, SELECTS, SELECTS, queue_alter,
	 "queue retry" SELECTS_USAGE},
	{"flush", CONTROL_RETRY, SELECTS, SELECTS, queue_alter,
	 "queue flush" SELECTS_USAGE},
	{"hold", CONTROL_HOLD, SELECTS, SELECTS, queue_alter,
	 "queue hold" SELECTS_USAGE},
	{"release", CONTROL_RELEASE, SELECTS, SELECTS, queue_alter,
	 "queue release" SELECTS_USAGE},
	{"delete", CONTROL_DELETE, SELECTS, SELECTS, queue_alter,
	 "queue delete" SELECTS_USAGE},
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

/* As recipients' domains are stored. */
static bool
domain_take(struct queue_arguments *arguments, const char *word)
{
	struct selection *selection = &arguments->request.selection;
	struct slice domain = SLICE(word);
	struct fault fault = {0};

	if (selection->has_domain)
		return false;
	selection->has_domain = true;
	selection->domain = domain;
	if (domain.len > 0 && domain.bytes[0] == '[')
		return true;
	if (idn_to_ascii(domain, &arguments->arena, &selection->domain,
			 &fault))
		return true;
	fprintf(stderr, "signet: '%s': %s\n", word, fault.text);
	return false;
}

/* As it is stored: a local part with dots where none may stand is quoted. */
static struct slice
sender_stored(struct slice sender, struct arena *arena)
{
	CLEAN(text_done) struct text given = {0}, quoted = {0};
	struct path path;
	struct slice rest;

	text_addf(&given, "<%.*s>", SLICE_ARG(sender));
	if (path_parse(text_slice(&given), &path, &rest) != PATH_OK ||
	    !path.needs_quotes)
		return sender;
	text_addf(&quoted, "\"%.*s\"@%.*s", SLICE_ARG(path.local),
		  SLICE_ARG(path.domain));
	return arena_copy(arena, text_slice(&quoted));
}

static bool
sender_take(struct queue_arguments *arguments, const char *word)
{
	struct selection *selection = &arguments->request.selection;
	struct slice sender = SLICE(word);

	if (selection->has_sender)
		return false;
	if (sender.len >= 2 && sender.bytes[0] == '<' &&
	    sender.bytes[sender.len - 1] == '>')
		sender = slice_sub(sender, 1, sender.len - 2);
	selection->has_sender = true;
	selection->sender = sender_stored(sender, &arguments->arena);
	return true;
}

static bool
option_take(struct queue_arguments *arguments, int option, unsigned *has)
{
	switch (option) {
	case 'j':
		*has |= HAS_JSON;
		arguments->request.as_json = true;
		return true;
	case 'a':
		*has |= HAS_ALL;
		arguments->request.is_all = true;
		return true;
	case 'd':
		*has |= HAS_SELECTION;
		return domain_take(arguments, optarg);
	case 's':
		*has |= HAS_SELECTION;
		return sender_take(arguments, optarg);
	default: /* getopt_long() has said what is wrong */
		return false;
	}
}

/* IDs, a selection, or all: which of them is meant must be plain, the more so
 * for `delete`. */
static bool
arguments_agree(const struct subcommand *subcommand, unsigned has)
{
	unsigned which = has & SELECTS;

	return (has & ~subcommand->may) == 0 &&
	       (subcommand->needs == 0 || (has & subcommand->needs) != 0) &&
	       (which & (which - 1)) == 0;
}

static bool
arguments_read(const struct subcommand *subcommand, int argc, char **argv,
	       struct queue_arguments *arguments)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'},
		{"all", no_argument, NULL, 'a'},
		{"domain", required_argument, NULL, 'd'},
		{"sender", required_argument, NULL, 's'},
		{0}};
	static char name[] = "signet"; /* for getopt_long()'s messages */
	char *word = argv[0];
	bool is_good = true;
	unsigned has = 0;
	int option;

	arguments->request.verb = subcommand->verb;
	argv[0] = name;
	optind = 0; /* from the beginning, also a second time */
	while (is_good && (option = getopt_long(argc, argv, "", long_options,
						NULL)) != -1)
		is_good = option_take(arguments, option, &has);
	argv[0] = word;
	if (!is_good)
		return false;
	arguments->count = argc - optind;
	arguments->ids = argv + optind;
	if (arguments->count > 0)
		has |= HAS_IDS;
	return arguments_agree(subcommand, has);
}

int
queue_command(const struct options *options, int argc, char **argv)
{
	const struct subcommand *subcommand =
		subcommand_find(argc > 1 ? argv[1] : NULL);
	struct queue_arguments arguments = {0};
	int code = EX_OK;

	if (subcommand == NULL)
		return usage_tell(NULL);
	if (!arguments_read(subcommand, argc - 1, argv + 1, &arguments))
		code = usage_tell(subcommand);
	else if (options != NULL)
		code = subcommand->run(options, &arguments);
	arena_done(&arguments.arena);
	return code;
}
