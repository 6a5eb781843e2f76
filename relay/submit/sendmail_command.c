#include "relay/submit/sendmail_command.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "milter/author.h"
#include "relay/submit/dialogue.h"
#include "relay/submit/phrase.h"
#include "relay/submit/submission.h"

#define RECIPIENTS_MAX 10000

struct arguments {
	enum sendmail_act act;
	bool takes_recipients, ignores_dots, is_verbose, has_from;
	struct slice from, full_name;
	struct slice ret, envid, notify;
	char **to;
	size_t to_count;
};

/* ---- arguments ---- */

static bool
mode_set(struct arguments *arguments, const char *mode)
{
	static const struct {
		char letter;
		enum sendmail_act act;
	} modes[] = {{'m', SENDMAIL_SUBMIT},
		     {'s', SENDMAIL_DIALOGUE},
		     {'p', SENDMAIL_LIST},
		     {'i', SENDMAIL_NOTHING}};

	for (size_t i = 0; i < COUNT(modes); i++)
		if (mode[0] == modes[i].letter && mode[1] == '\0') {
			arguments->act = modes[i].act;
			return true;
		}
	fprintf(stderr,
		"signet: sendmail: -b%s: not here; -bm, -bs, -bp and -bi are, "
		"and `signet relay` is the daemon\n",
		mode);
	return false;
}

/* -qRexample.net and the like mean less than all. */
static bool
retry_set(struct arguments *arguments, const char *which)
{
	arguments->act = SENDMAIL_RETRY;
	if (which == NULL)
		return true;
	fprintf(stderr,
		"signet: sendmail: -q%s: not here; -q is for all, and `signet "
		"queue retry` takes IDs, --domain and --sender\n",
		which);
	return false;
}

/* -oi and the like: those that matter here; the others are about a queue that
 * is not ours to arrange. */
static void
option_set(struct arguments *arguments, const char *option)
{
	if (strcmp(option, "i") == 0 || strcasecmp(option, "iTrue") == 0 ||
	    strcasecmp(option, "IgnoreDots") == 0 ||
	    strcasecmp(option, "IgnoreDots=true") == 0)
		arguments->ignores_dots = true;
}

static bool
notify_check(const char *text)
{
	static const char *const words[] = {"NEVER", "SUCCESS", "FAILURE",
					    "DELAY"};
	struct slice rest = SLICE(text), word;
	size_t count = 0, known = 0;
	bool has_never = false;

	while (slice_split(&rest, ',', &word)) {
		count++;
		for (size_t i = 0; i < COUNT(words); i++)
			known += slice_eq_nocase(word, SLICE(words[i]));
		has_never |= slice_eq_nocase(word, SLICE("NEVER"));
	}
	return count > 0 && known == count && (!has_never || count == 1);
}

/* RFC 3461 4.4: xtext, which we ask for as it is to be sent. */
static bool
envid_check(const char *text)
{
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~' || text[i] == '=')
			return false;
	return len > 0 && len <= 100;
}

static bool
report_set(struct arguments *arguments, int flag, const char *text)
{
	bool is_good = flag == 'N'   ? notify_check(text)
		       : flag == 'V' ? envid_check(text)
				     : strcasecmp(text, "full") == 0 ||
					       strcasecmp(text, "hdrs") == 0;

	if (!is_good) {
		fprintf(stderr, "signet: sendmail: -%c %s: %s\n", flag, text,
			flag == 'N' ? "never, or some of success,failure,delay"
			: flag == 'V' ? "1 to 100 printable octets"
				      : "full or hdrs");
		return false;
	}
	*(flag == 'N'   ? &arguments->notify
	  : flag == 'V' ? &arguments->envid
			: &arguments->ret) = SLICE(text);
	return true;
}

static bool
flag_take(struct arguments *arguments, int flag)
{
	switch (flag) {
	case 'b':
		return mode_set(arguments, optarg);
	case 'f':
	case 'r':
		arguments->from = SLICE(optarg);
		arguments->has_from = true;
		return true;
	case 'F':
		arguments->full_name = SLICE(optarg);
		return true;
	case 'i':
		arguments->ignores_dots = true;
		return true;
	case 't':
		arguments->takes_recipients = true;
		return true;
	case 'v':
		arguments->is_verbose = true;
		return true;
	case 'q':
		return retry_set(arguments, optarg);
	case 'o':
	case 'O':
		option_set(arguments, optarg);
		return true;
	case 'N':
	case 'R':
	case 'V':
		return report_set(arguments, flag, optarg);
	case 'I':
		arguments->act = SENDMAIL_NOTHING;
		return true;
	case 'A':
	case 'B': /* the message itself shows it */
	case 'G':
	case 'h':
	case 'L':
	case 'm':
	case 'n':
	case 'p':
	case 'U':
		return true;
	default:
		fprintf(stderr, "signet: sendmail: -%c: %s\n", optopt,
			flag == ':' ? "its value is missing"
				    : "an unknown flag");
		return false;
	}
}

static bool
usage_tell(void)
{
	fputs("usage: signet [-c FILE] sendmail [-ti] [-oi] [-f ADDRESS] "
	      "[-F NAME] [-N DSN] [-R full|hdrs]\n"
	      "              [-V ENVID] [-v] [ADDRESS...]\n"
	      "usage: signet [-c FILE] sendmail -bs | -bp | -bi | -q\n",
	      stderr);
	return false;
}

static bool
arguments_parse(int argc, char **argv, struct arguments *out)
{
	int flag;

	*out = (struct arguments){.act = SENDMAIL_SUBMIT};
	if (strcmp(argv[0], "mailq") == 0)
		out->act = SENDMAIL_LIST;
	else if (strcmp(argv[0], "newaliases") == 0)
		out->act = SENDMAIL_NOTHING;
	optind = 0;
	opterr = 0;
	while ((flag = getopt(argc, argv,
			      ":A:B:b:F:f:Gh:IiL:mN:nO:o:p:q::R:r:tUV:v")) != -1)
		if (!flag_take(out, flag))
			return usage_tell();
	out->to = argv + optind;
	out->to_count = (size_t)(argc - optind);
	if (out->act == SENDMAIL_SUBMIT && out->to_count == 0 &&
	    !out->takes_recipients) {
		fputs("signet: sendmail: no recipients: name them, or give -t\n",
		      stderr);
		return usage_tell();
	}
	return true;
}

int
sendmail_judge(int argc, char **argv, enum sendmail_act *act_out)
{
	struct arguments arguments;

	if (!arguments_parse(argc, argv, &arguments))
		return EX_USAGE;
	*act_out = arguments.act;
	return EX_OK;
}

/* ---- who sends ---- */

struct sender {
	struct slice address;   /* reverse-path */
	struct slice from;      /* value of From, should it be missing */
};

/* A name need not be one that may stand there unquoted: "EXAMPLE\\alice". */
static struct slice
login_address(struct slice hostname, struct arena *arena)
{
	const struct passwd *entry = getpwuid(getuid());
	CLEAN(text_done) struct text address = {0};
	struct slice name = entry != NULL && entry->pw_name[0] != '\0'
				    ? SLICE(entry->pw_name)
				    : arena_printf(arena, "uid%u",
						   (unsigned)getuid());

	mailbox_write(name, hostname, &address);
	return arena_copy(arena, text_slice(&address));
}

/* Of the user whose name stands in the envelope: passwd(5)'s, where "&" is the
 * login name, up to its first comma. */
static struct slice
full_name(struct arena *arena)
{
	const struct passwd *entry = getpwuid(getuid());
	const char *name = getenv("NAME");
	CLEAN(text_done) struct text text = {0};
	struct slice gecos, part = SLICE_NONE;

	if (name != NULL && name[0] != '\0')
		return SLICE(name);
	if (entry == NULL || entry->pw_gecos == NULL)
		return SLICE_NONE;
	gecos = SLICE(entry->pw_gecos);
	slice_split(&gecos, ',', &part);
	for (size_t i = 0; i < part.len; i++)
		if (part.bytes[i] != '&')
			text_add_byte(&text, part.bytes[i]);
		else
			text_add_string(&text, entry->pw_name);
	return arena_copy(arena, text_slice(&text));
}

static bool
sender_settle(const struct arguments *arguments, struct slice hostname,
	      struct arena *arena, struct sender *sender_out,
	      struct fault *fault)
{
	struct slice address[2], name = arguments->full_name;
	struct mailing mailing = {
		.addresses = address, .max = 1, .domain = hostname};
	struct slice given = slice_trim(arguments->from);
	CLEAN(text_done) struct text from = {0};
	bool is_null = arguments->has_from &&
		       (given.len == 0 || slice_eq(given, SLICE("<>")));

	if (!arguments->has_from)
		given = login_address(hostname, arena);
	if (is_null)
		given = SLICE("MAILER-DAEMON");
	if (!mailing_add(&mailing, given, arena, fault))
		return fault_within(fault, "sender '%.*s'", SLICE_ARG(given));
	if (mailing.count == 0)
		return fault_set(fault, FAULT_INPUT,
				 "sender '%.*s': not an address",
				 SLICE_ARG(given));
	if (name.len == 0 && !arguments->has_from)
		name = full_name(arena);
	if (name.len > 0) {
		phrase_write(name, strlen("From: "), &from);
		text_addf(&from, " <%.*s>", SLICE_ARG(address[0]));
	} else {
		text_add(&from, address[0]);
	}
	sender_out->address = is_null ? SLICE_NONE : address[0];
	sender_out->from = arena_copy(arena, text_slice(&from));
	return true;
}

/* ---- submitting ---- */

static void
line_tell(struct slice line)
{
	fprintf(stderr, "%.*s\n", SLICE_ARG(line));
}

/* Who handed it in: the relay sees only where a connection comes from. */
static struct slice
trace_field(struct slice hostname, struct arena *arena)
{
	char date[CLOCK_DATE_SIZE];

	clock_write_date(clock_wall_ms(), date);
	return arena_printf(arena,
			    "Received: by %.*s (signet sendmail, from userid "
			    "%u);\r\n\t%s\r\n",
			    SLICE_ARG(hostname), (unsigned)getuid(), date);
}

static bool
recipients_settle(const struct arguments *arguments,
		  const struct letter *letter, struct slice hostname,
		  struct arena *arena, struct mailing *mailing_out,
		  struct fault *fault)
{
	struct mailing mailing = {
		.addresses = arena_array(arena, RECIPIENTS_MAX,
					 sizeof(struct slice)),
		.max = RECIPIENTS_MAX,
		.domain = hostname,
	};

	for (size_t i = 0; i < arguments->to_count; i++)
		if (!mailing_add(&mailing, SLICE(arguments->to[i]), arena,
				 fault))
			return fault_within(fault, "recipient '%s'",
					    arguments->to[i]);
	for (size_t i = 0; i < letter->recipients_count; i++)
		if (!mailing_add(&mailing, letter->recipients[i], arena,
				 fault))
			return false;
	if (mailing.count == 0)
		return fault_set(fault, FAULT_INPUT,
				 "the message names no recipient in To, Cc or "
				 "Bcc");
	*mailing_out = mailing;
	return true;
}

static bool
letter_submit(const struct options *options, const struct address *address,
	      const struct arguments *arguments, struct arena *arena,
	      struct letter *letter, struct fault *fault)
{
	struct sender sender;
	struct mailing mailing;
	struct submission submission = {
		.helo = options->hostname,
		.ret = arguments->ret,
		.envid = arguments->envid,
		.notify = arguments->notify,
		.tell = arguments->is_verbose ? line_tell : NULL,
	};

	if (!sender_settle(arguments, options->hostname, arena, &sender, fault))
		return false;
	if (!letter_read(&(struct letter_terms){
				 .takes_recipients =
					 arguments->takes_recipients,
				 .ends_at_dot = !arguments->ignores_dots,
				 .domain = options->hostname,
				 .from = sender.from,
				 .trace = trace_field(options->hostname, arena),
				 .header_max =
					 (size_t)options->limits
						 .max_header_size,
				 .recipients_max = RECIPIENTS_MAX,
			 },
			 arena, letter, fault) ||
	    !recipients_settle(arguments, letter, options->hostname, arena,
			       &mailing, fault))
		return false;
	submission.from = sender.address;
	submission.to = mailing.addresses;
	submission.to_count = mailing.count;
	return submission_send(&submission, address, letter, fault);
}

/* ---- -bs ---- */

/* Standard input and output become a session of the relay. */
static bool
session_run(const struct address *address, struct fault *fault)
{
	CLEAN(clean_descriptor) int relay = -1;

	return submission_connect(address, &relay, fault) &&
	       dialogue_run(relay, fault);
}

/* ---- the command ---- */

int
sendmail_command(const struct options *options, int argc, char **argv)
{
	struct arguments arguments;
	CLEAN(arena_done) struct arena arena = {0};
	CLEAN(letter_done) struct letter letter = {0};
	struct address address;
	struct fault fault;
	bool is_done;

	if (!arguments_parse(argc, argv, &arguments))
		return EX_USAGE;
	if (!submission_place(options, &address, &fault)) {
		fprintf(stderr, "signet: %s\n", fault.text);
		return EX_CONFIG;
	}
	is_done = arguments.act == SENDMAIL_DIALOGUE
			  ? session_run(&address, &fault)
			  : letter_submit(options, &address, &arguments, &arena,
					  &letter, &fault);
	if (is_done)
		return EX_OK;
	fprintf(stderr, "signet: sendmail: %s\n", fault.text);
	return fault_exit_code(&fault);
}
