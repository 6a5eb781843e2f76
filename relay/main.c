/*
 * main - reads the command line as far as all commands share it, and
 * dispatches.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sysexits.h>

#include "base/output.h"
#include "keys/commands.h"
#include "keys/signer.h"
#include "milter/commands.h"
#include "milter/idn.h"
#include "relay/doctor/doctor_command.h"
#include "relay/import/opendkim_import.h"
#include "relay/key_dns.h"
#include "relay/milter_process.h"
#include "relay/options_commands.h"
#include "relay/passwd_command.h"
#include "relay/process.h"
#include "relay/queue_commands.h"
#include "relay/resolver.h"
#include "relay/send/send_arguments.h"
#include "relay/send/send_command.h"
#include "relay/server/rewriting.h"
#include "relay/status_command.h"
#include "relay/submit/sendmail_command.h"
#include "relay/supervisor.h"

#define CONFIG_DEFAULT "/etc/signet/signet.conf"
/* Where a child process finds the socket to whoever started it. */
#define CONTROL_DESCRIPTOR 3

struct invocation {
	const char *config_path;
	bool is_config_given; /* by -c */
	int argc;             /* argv[0] is the command's name */
	char **argv;
};

/* Each command judges its arguments before it reads the configuration: a
 * mistake there is to be told first. */

static int
relay_run(const struct invocation *invocation)
{
	return relay_command(invocation->config_path, invocation->argc,
			     invocation->argv);
}

static int
milter_run(const struct invocation *invocation)
{
	return milter_command(invocation->config_path, invocation->argc,
			      invocation->argv);
}

static int
milter_options_read(const struct invocation *invocation, bool may_default,
		    struct options **options_out,
		    struct milter_options *milter_out)
{
	int code =
		options_read(invocation->config_path, may_default, options_out);

	if (code == EX_OK)
		*milter_out = (struct milter_options){
			.keys = (*options_out)->keys,
			.signing = (*options_out)->signing,
			.strict_modes = (*options_out)->strict_key_modes,
			.max_header_size =
				(size_t)(*options_out)->limits.max_header_size,
			.prepare = (*options_out)->prepare,
			.max_message_size =
				(*options_out)->limits.max_message_size,
			.max_hops = (*options_out)->limits.max_hops,
		};
	return code;
}

static int
sign_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	struct milter_options milter;
	int code = sign_command(NULL, invocation->argc, invocation->argv);

	if (code == EX_OK)
		code = milter_options_read(invocation, false, &options,
					   &milter);
	if (code == EX_OK)
		code = sign_command(&milter, invocation->argc,
				    invocation->argv);
	return code;
}

static void
milter_listeners_set(struct options *options, struct milter_options *milter)
{
	struct milter_listener *listeners =
		arena_array(&options->arena, options->listeners_count,
			    sizeof(*listeners));

	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *from = &options->listeners[i];

		listeners[i].name = from->name;
		listeners[i].normalizes =
			from->bare_newlines == BARE_NEWLINES_NORMALIZE;
	}
	milter->listeners = listeners;
	milter->listeners_count = options->listeners_count;
}

static void
milter_rewriters_set(struct options *options, struct milter_options *milter)
{
	size_t max = options->listeners_count + options->accounts_count;
	struct milter_rewriter *rewriters =
		arena_array(&options->arena, max, sizeof(*rewriters));
	size_t count = 0;

	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *from = &options->listeners[i];

		if (from->rewrite.from.len > 0)
			rewriters[count++] = (struct milter_rewriter){
				"listener", from->name,
				rewriting_of(from, NULL, NULL)};
	}
	for (size_t i = 0; i < options->accounts_count; i++) {
		const struct account_options *from = &options->accounts[i];

		if (from->rewrite.from.len > 0)
			rewriters[count++] = (struct milter_rewriter){
				"account", from->user,
				rewriting_of(options->listeners, from, NULL)};
	}
	milter->rewriters = rewriters;
	milter->rewriters_count = count;
}

static int
explain_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	struct milter_options milter;
	int code = explain_command(NULL, invocation->argc, invocation->argv);

	if (code == EX_OK)
		code = milter_options_read(invocation, false, &options,
					   &milter);
	if (code == EX_OK) {
		milter_listeners_set(options, &milter);
		milter_rewriters_set(options, &milter);
		code = explain_command(&milter, invocation->argc,
				       invocation->argv);
	}
	return code;
}

static int
verify_with_dns(const struct options *options, struct milter_options *milter,
		const struct invocation *invocation)
{
	CLEAN(resolver_free_clean) struct resolver *resolver = NULL;
	struct fault fault = {0};

	if (!resolver_new(options->dns.resolvers, options->dns.resolvers_count,
			  &resolver, &fault)) {
		fprintf(stderr, "signet: %s\n", fault.text);
		return fault_exit_code(&fault);
	}
	milter->records = resolver_source(resolver);
	return verify_command(milter, invocation->argc, invocation->argv);
}

/* Needs no configuration: who verifies has perhaps nothing to sign. */
static int
verify_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	struct milter_options milter;
	int code = verify_command(NULL, invocation->argc, invocation->argv);

	if (code == EX_OK)
		code = milter_options_read(invocation,
					   !invocation->is_config_given,
					   &options, &milter);
	if (code == EX_OK)
		code = verify_with_dns(options, &milter, invocation);
	return code;
}

static int
key_with_dns(const struct options *options, int argc, char **argv)
{
	CLEAN(key_dns_done) struct key_dns dns = {.options = options};
	struct keys_dns asked = {.ask = key_dns_ask, .owner = &dns};

	return keys_command(&options->keys, &asked, argc, argv);
}

/* keys/ knows domains as A-labels only; here they may be given as read. Each word
 * is left alone or takes its place in the arena. */
static bool
words_to_ascii(int argc, char **argv, struct arena *arena)
{
	for (int i = 0; i < argc; i++) {
		struct slice word = SLICE(argv[i]);
		struct fault fault = {0};

		if (slice_is_ascii(word))
			continue;
		if (!idn_to_ascii(word, arena, &word, &fault)) {
			fprintf(stderr, "signet: %s: %s\n", argv[i],
				fault.text);
			return false;
		}
		argv[i] = arena_new(arena, word.len + 1);
		memcpy(argv[i], word.bytes, word.len);
	}
	return true;
}

static int
key_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	CLEAN(arena_done) struct arena arena = {0};
	int argc = invocation->argc - 1;
	char **argv = invocation->argv + 1;
	int code = keys_command(NULL, NULL, argc, argv);

	if (code == EX_OK && !words_to_ascii(argc, argv, &arena))
		code = EX_DATAERR;
	if (code == EX_OK)
		code = options_read(invocation->config_path, false, &options);
	if (code == EX_OK)
		code = strcmp(argv[0], "check") == 0 ||
				       strcmp(argv[0], "rotate") == 0
			       ? key_with_dns(options, argc, argv)
			       : keys_command(&options->keys, NULL, argc, argv);
	return code;
}

static int
queue_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	int code = queue_command(NULL, invocation->argc, invocation->argv);

	if (code == EX_OK)
		code = options_read(invocation->config_path, false, &options);
	if (code == EX_OK)
		code = queue_command(options, invocation->argc,
				     invocation->argv);
	return code;
}

static int
status_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	int code = status_command(NULL, invocation->argc, invocation->argv);

	if (code == EX_OK)
		code = options_read(invocation->config_path, false, &options);
	if (code == EX_OK)
		code = status_command(options, invocation->argc,
				      invocation->argv);
	return code;
}

static int
doctor_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	int code = doctor_command(NULL, invocation->argc, invocation->argv);

	if (code == EX_OK)
		code = options_read(invocation->config_path, false, &options);
	if (code == EX_OK)
		code = doctor_command(options, invocation->argc,
				      invocation->argv);
	return code;
}

/* It takes the options. */
static int
send_run(const struct invocation *invocation)
{
	struct options *options = NULL;
	int code = send_command(NULL, invocation->argc, invocation->argv);

	if (code == EX_OK)
		code = options_read(invocation->config_path, false, &options);
	if (code == EX_OK)
		code = send_command(options, invocation->argc,
				    invocation->argv);
	return code;
}

static int
sendmail_queue_run(const struct options *options, enum sendmail_act act)
{
	char *list[] = {"queue", "list", NULL};
	char *retry[] = {"queue", "retry", "--all", NULL};

	return act == SENDMAIL_LIST ? queue_command(options, 2, list)
				    : queue_command(options, 3, retry);
}

static int
sendmail_run(const struct invocation *invocation)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	enum sendmail_act act;
	int code = sendmail_judge(invocation->argc, invocation->argv, &act);

	if (code != EX_OK || act == SENDMAIL_NOTHING)
		return code;
	code = options_read(invocation->config_path, false, &options);
	if (code != EX_OK)
		return code;
	return act == SENDMAIL_LIST || act == SENDMAIL_RETRY
		       ? sendmail_queue_run(options, act)
		       : sendmail_command(options, invocation->argc,
					  invocation->argv);
}

static int
check_config_run(const struct invocation *invocation)
{
	return check_config_command(invocation->config_path, invocation->argc,
				    invocation->argv);
}

static int
import_run(const struct invocation *invocation)
{
	return import_command(invocation->argc, invocation->argv);
}

static int
options_run(const struct invocation *invocation)
{
	return options_command(invocation->argc, invocation->argv);
}

/* The processes that we start ourselves find a socket; who calls them by hand
 * has none. */
static int
passwd_run(const struct invocation *invocation)
{
	return passwd_command(invocation->argc, invocation->argv);
}

static bool
control_is_there(const struct invocation *invocation)
{
	struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(peer);
	int type = 0;
	socklen_t type_len = sizeof(type);

	if (getsockopt(CONTROL_DESCRIPTOR, SOL_SOCKET, SO_TYPE, &type,
		       &type_len) == 0 &&
	    type == SOCK_SEQPACKET &&
	    getsockname(CONTROL_DESCRIPTOR, (struct sockaddr *)&peer, &len) ==
		    0 &&
	    peer.ss_family == AF_UNIX)
		return true;
	fprintf(stderr,
		"signet: %s is a part of `signet relay` and `signet milter`, "
		"not for use by hand\n",
		invocation->argv[0]);
	return false;
}

static int
relay_process_run(const struct invocation *invocation)
{
	if (!control_is_there(invocation))
		return EX_USAGE;
	relay_process_main(CONTROL_DESCRIPTOR);
}

static int
milter_process_run(const struct invocation *invocation)
{
	if (!control_is_there(invocation))
		return EX_USAGE;
	milter_process_main(CONTROL_DESCRIPTOR);
}

static int
signer_process_run(const struct invocation *invocation)
{
	if (!control_is_there(invocation))
		return EX_USAGE;
	signer_main(CONTROL_DESCRIPTOR);
}

static const struct command {
	const char *name;
	int (*run)(const struct invocation *invocation);
	const char *usage; /* NULL: not for people */
	const char *help;
	const char *more; /* what its words do; NULL: nothing to add */
} commands[] = {
	{"relay", relay_run, "relay", "runs the SMTP relay in the foreground"},
	{"milter", milter_run, "milter",
	 "signs for Postfix and Sendmail, in the foreground"},
	{"sign", sign_run, "sign [--time UNIX] [FILE]",
	 "signs one message, from FILE or stdin to stdout"},
	{"verify", verify_run, "verify [FILE]",
	 "verifies each DKIM-Signature of a message"},
	{"explain", explain_run, "explain [FILE]",
	 "says how a message would be treated, and why"},
	{"key", key_run,
	 "key generate DOMAIN SELECTOR [-a rsa-sha256|ed25519-sha256] "
	 "[-b BITS]\n"
	 "       signet [-c FILE] key list [--json]\n"
	 "       signet [-c FILE] key dns DOMAIN\n"
	 "       signet [-c FILE] key check DOMAIN\n"
	 "       signet [-c FILE] key rotate DOMAIN",
	 "makes keys, lists them, prints and checks their DNS records",
	 "  generate   makes the key file and prints the record to publish\n"
	 "  list       every selector of the configuration, its state and key\n"
	 "  dns        prints the records to publish\n"
	 "  check      compares what the DNS publishes with the keys: exit 65\n"
	 "             where signatures will not verify, 75 without an answer\n"
	 "  rotate     does or names the next step in replacing the keys; call\n"
	 "             it again after each step\n"},
	{"queue", queue_run,
	 "queue list [--json] [--domain D] [--sender A]\n"
	 "       signet [-c FILE] queue show ID...\n"
	 "       signet [-c FILE] queue retry|flush|hold|release|delete\n"
	 "              ID... | [--domain D] [--sender A] | --all",
	 "shows and alters what waits to be delivered",
	 "  list       what waits, how often it was tried, when it is next, and\n"
	 "             the last reply; signet status says what it waits for\n"
	 "  show       all that is known of a message, and its header\n"
	 "  retry      tries it now, whatever was to be waited for; flush, too\n"
	 "  hold       keeps it from being tried and from expiring\n"
	 "  release    lets what is held be tried, now\n"
	 "  delete     removes it; nobody gets a report\n"
	 "D is a recipient's domain, A an envelope sender, <> the null one.\n"},
	{"status", status_run, "status [--json] [--all | --domain D]",
	 "asks a running relay what it has done"},
	{"doctor", doctor_run, "doctor [--json] [--address ADDRESS] DOMAIN",
	 "looks at a domain as receivers of its mail would"},
	{"send", send_run, SEND_USAGE,
	 "composes a message, signs and delivers it now"},
	{"sendmail", sendmail_run,
	 "sendmail [-t] [-i] [-f ADDRESS] [-F NAME] [-N DSN] [-R full|hdrs]\n"
	 "              [-V ENVID] [-v] [ADDRESS...]\n"
	 "       signet [-c FILE] sendmail -bs | -bp | -bi | -q",
	 "hands a message to the relay, as sendmail(8) does for programs"},
	{"check-config", check_config_run, "check-config",
	 "names every error of the configuration"},
	{"options", options_run, "options",
	 "writes the reference configuration to stdout"},
	{"passwd", passwd_run,
	 "passwd [--scram] FILE USER\n"
	 "       signet passwd --delete FILE USER",
	 "writes a user's password into a listener's auth_file"},
	{"import", import_run, "import opendkim FILE",
	 "writes the configuration that signs as an opendkim.conf does"},
	{"relay-process", relay_process_run, NULL, NULL},
	{"milter-process", milter_process_run, NULL, NULL},
	{"signer-process", signer_process_run, NULL, NULL},
};

static const struct command *
command_find(const char *name)
{
	for (size_t i = 0; i < COUNT(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void
usage_print(FILE *to)
{
	fputs("usage: signet [-c FILE] COMMAND [ARGUMENTS]\n\n", to);
	for (size_t i = 0; i < COUNT(commands); i++)
		if (commands[i].usage != NULL)
			fprintf(to, "  %-13s %s\n", commands[i].name,
				commands[i].help);
	fputs("\n  -c, --config FILE   instead of " CONFIG_DEFAULT "\n"
	      "      --help          of signet, or of a command\n"
	      "      --version\n\n"
	      "signet COMMAND --help is short; all of it is in signet(1).\n",
	      to);
}

static int
command_help(const struct command *command)
{
	printf("usage: signet [-c FILE] %s\n\n%s\n", command->usage,
	       command->help);
	if (command->more != NULL)
		printf("\n%s", command->more);
	return output_end();
}

/* A word of ours, as -c FILE is, may stand behind the command, too: takes all
 * such words out of its arguments. False: -c without a file. */
static bool
arguments_take(struct invocation *invocation, bool *wants_help_out)
{
	int kept = 1;

	for (int i = 1; i < invocation->argc; i++) {
		char *word = invocation->argv[i];
		bool is_config = strcmp(word, "-c") == 0 ||
				 strcmp(word, "--config") == 0;

		if (strcmp(word, "--") == 0) {
			while (i < invocation->argc)
				invocation->argv[kept++] =
					invocation->argv[i++];
		} else if (is_config && i + 1 == invocation->argc) {
			return false;
		} else if (is_config) {
			invocation->config_path = invocation->argv[++i];
			invocation->is_config_given = true;
		} else if (strncmp(word, "--config=", 9) == 0) {
			invocation->config_path = word + 9;
			invocation->is_config_given = true;
		} else if (strcmp(word, "--help") == 0) {
			*wants_help_out = true;
		} else {
			invocation->argv[kept++] = word;
		}
	}
	invocation->argc = kept;
	invocation->argv[kept] = NULL;
	return true;
}

/* What a file is opened as must never be 0, 1 or 2: it would be taken for the
 * terminal. Of the processes that we start ourselves, 3 is open as well. Where
 * nobody gave us an input, there is none, which is not an empty one; and what is
 * written where nobody gave us an output is lost, which has to be told. */
static void
standard_descriptors_open(void)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDWR};
	int descriptor;

	for (descriptor = 0; descriptor <= 2; descriptor++)
		if (fcntl(descriptor, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", modes[descriptor]) != descriptor)
			exit(EX_OSERR);
}

enum { OPTION_HELP = 256, OPTION_VERSION };

/* What stands before the command. Returns an exit code, or -1: go on. */
static int
options_before(struct invocation *invocation, int argc, char **argv)
{
	static const struct option long_options[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, OPTION_HELP},
		{"version", no_argument, NULL, OPTION_VERSION},
		{0},
	};
	int option;

	/* '+': the command's own options are not ours. */
	while ((option = getopt_long(argc, argv, "+c:", long_options, NULL)) !=
	       -1) {
		switch (option) {
		case 'c':
			invocation->config_path = optarg;
			invocation->is_config_given = true;
			break;
		case OPTION_HELP:
			usage_print(stdout);
			return output_end();
		case OPTION_VERSION:
			puts("signet " SIGNET_VERSION);
			return output_end();
		default: /* getopt_long() has said what is wrong */
			usage_print(stderr);
			return EX_USAGE;
		}
	}
	return -1;
}

/* What a link to us may be called, so that programs find their sendmail(8). */
static const struct command *
link_find(const char *path)
{
	static const char *const links[] = {"sendmail", "mailq", "newaliases"};
	const char *slash = strrchr(path, '/');

	for (size_t i = 0; i < COUNT(links); i++)
		if (strcmp(slash != NULL ? slash + 1 : path, links[i]) == 0)
			return command_find("sendmail");
	return NULL;
}

/* The name of the link stands in argv[0], and all of its words are its own. */
static int
link_run(const struct command *command, int argc, char **argv)
{
	struct invocation invocation = {.config_path = CONFIG_DEFAULT,
					.argc = argc,
					.argv = argv};
	char *slash = strrchr(argv[0], '/');

	if (slash != NULL)
		argv[0] = slash + 1;
	return command->run(&invocation);
}

int
main(int argc, char **argv)
{
	static char name[] = "signet"; /* for getopt_long()'s messages */
	struct invocation invocation = {.config_path = CONFIG_DEFAULT};
	const struct command *command;
	bool wants_help = false;
	int code;

	standard_descriptors_open();
	command = argc > 0 ? link_find(argv[0]) : NULL;
	if (command != NULL)
		return link_run(command, argc, argv);
	if (argc > 0)
		argv[0] = name;
	code = options_before(&invocation, argc, argv);
	if (code >= 0)
		return code;
	if (optind >= argc) {
		usage_print(stderr);
		return EX_USAGE;
	}
	if (strcmp(argv[optind], "help") == 0) {
		usage_print(stdout);
		return output_end();
	}
	command = command_find(argv[optind]);
	if (command == NULL) {
		fprintf(stderr, "signet: unknown command '%s'\n", argv[optind]);
		usage_print(stderr);
		return EX_USAGE;
	}
	invocation.argc = argc - optind;
	invocation.argv = argv + optind;
	if (!arguments_take(&invocation, &wants_help)) {
		fputs("signet: -c needs a file\n", stderr);
		return EX_USAGE;
	}
	if (wants_help && command->usage != NULL)
		return command_help(command);
	return command->run(&invocation);
}
