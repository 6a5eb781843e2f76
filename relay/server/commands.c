#include "relay/server/commands.h"

#include "relay/server/authentication.h"
#include "relay/server/commands_private.h"
#include "relay/server/front.h"

#define IN(state) (1u << SESSION_##state)
#define ANYWHERE (IN(START) | IN(READY) | IN(MAIL) | IN(RCPT) | IN(BDAT))

struct command {
	const char *verb;
	unsigned allowed; /* IN() bits of the states it is legal in */
	/* Judges without changing anything. NULL: no objection. */
	const struct reply *(*check)(const struct session *session,
				     struct slice args, struct parsed *out);
	/* Acts. Only ever called after check had no objection. */
	enum step (*run)(struct session *session, const struct parsed *parsed);
	/* MAIL: its refusal is one of mail or of a recipient, an event.
	 * LAST: of a group of commands (RFC 2920 3.1).
	 * LINES: what comes behind it may be lines of a message, no commands.
	 * FREE: what may come behind it is not RFC 2920's to say. */
	unsigned flags;
};

#define MAIL 1u
#define LAST 2u
#define LINES 4u
#define FREE 8u

static const struct reply reply_ok = {250, "2.0.0", "Ok"};
static const struct reply reply_bye = {221, "2.0.0", "Bye"};
static const struct reply reply_start_tls = {220, "2.0.0", "Ready to start TLS"};
static const struct reply reply_vrfy = {
	252, "2.5.0", "Cannot say, but will take the message and try"};
static const struct reply reply_help = {
	214, "2.0.0",
	"EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\n"
	"RFC 5321 has the rest"};

static const struct reply reply_unknown = {
	500, "5.5.2", "Command not recognized: HELP lists those that are"};
static const struct reply reply_foreign = {
	500, "5.5.2", "This is SMTP, not HTTP; closing the connection"};
static const struct reply reply_haste = {
	503, "5.5.0",
	"The message came before its 354 (RFC 2920 3.1), closing the "
	"connection",
	"the listener's option lenient forgives it"};
static const struct reply reply_ahead = {
	503, "5.5.0",
	"Commands came before a reply that they have to wait for (RFC 2920 3.1; "
	"without EHLO, each has to), closing the connection",
	"the listener's option lenient forgives it"};
static const struct reply reply_not_done = {502, "5.5.1",
					    "Command not implemented"};
static const struct reply reply_nested = {
	503, "5.5.1", "A transaction is open already: RSET ends it"};
static const struct reply reply_no_sender = {
	503, "5.5.1", "No sender was taken: MAIL FROM comes first"};
static const struct reply reply_bad_helo = {
	501, "5.5.4",
	"Give a host name or an address in brackets",
	"the listener's option lenient does without"};
static const struct reply reply_need_arg = {501, "5.5.4",
					    "A parameter is missing"};
static const struct reply reply_no_tls = {502, "5.5.1",
					  "STARTTLS is not offered here"};
static const struct reply reply_has_tls = {503, "5.5.1",
					   "TLS is in use already"};
static const struct reply reply_injection = {
	501, "5.5.0", "Nothing may follow STARTTLS before the handshake"};

const struct reply command_reply_sequence = {
	503, "5.5.1",
	"Bad sequence of commands: MAIL FROM, RCPT TO, then DATA or BDAT"};
const struct reply command_reply_greet_first = {
	503, "5.5.1", "Say EHLO or HELO first",
	"the listener's option lenient does without"};
const struct reply command_reply_no_args = {501, "5.5.4",
					    "No parameters are allowed here"};
const struct reply command_reply_session_full = {
	421, "4.7.0", "Enough messages on this connection, connect again"};

/* --- EHLO, HELO: RFC 5321 4.1.1.1 --- */

static const struct reply *
helo_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	/* Names with underscores, spaces and worse are in use: RFC 5321 4.1.4
	 * wants no refusal for that. */
	if (args.len > DOMAIN_MAX)
		return &reply_bad_helo;
	if (args.len == 0 && !session->listener->lenient)
		return &reply_bad_helo;
	out->word = args;
	return NULL;
}

static void
greet(struct session *session, const struct parsed *parsed, bool is_esmtp)
{
	session_reset(session);
	text_clear(&session->helo);
	/* Empty it would stand for "not greeted". */
	text_add(&session->helo, parsed->word.len > 0 ? parsed->word
						      : SLICE("unknown"));
	if (parsed->word.len == 0)
		session_legacy(session, LEGACY_NAME);
	session->is_esmtp = is_esmtp;
	if (session->state != SESSION_READY)
		session_enter(session, SESSION_READY);
}

/* Who says neither EHLO nor HELO. */
static void
greet_for(struct session *session)
{
	session_legacy(session, LEGACY_GREETING);
	greet(session, &(struct parsed){.word = SLICE("unknown")}, false);
}

static bool
offers_starttls(const struct session *session)
{
	return session->tls != NULL && !session->is_secured &&
	       session->listener->tls == LISTENER_TLS_STARTTLS;
}

static enum step
ehlo_run(struct session *session, const struct parsed *parsed)
{
	static const struct reply extensions = {250, NULL, ""};
	CLEAN(text_done) struct text lines = {0}, mechanisms = {0};
	const struct options *options = session_options(session);

	greet(session, parsed, true);
	text_addf(&lines, "%.*s\nPIPELINING\nSIZE %llu\n8BITMIME\n",
		  SLICE_ARG(options->hostname),
		  (unsigned long long)options->limits.max_message_size);
	if (offers_starttls(session))
		text_add_string(&lines, "STARTTLS\n");
	authentication_offer(session, &mechanisms);
	if (mechanisms.len > 0)
		text_addf(&lines, "AUTH %s\n", text_string(&mechanisms));
	if (front_offers(session, CLAIMS_XCLIENT))
		text_add_string(&lines, "XCLIENT " CLAIMS_XCLIENT_NAMES "\n");
	if (front_offers(session, CLAIMS_XFORWARD))
		text_add_string(&lines,
				"XFORWARD " CLAIMS_XFORWARD_NAMES "\n");
	text_addf(&lines,
		  "ENHANCEDSTATUSCODES\nSMTPUTF8\nDSN\nCHUNKING\n"
		  "LIMITS RCPTMAX=%llu",
		  (unsigned long long)options->limits.max_recipients);
	if (options->limits.max_messages_per_session > 0)
		text_addf(&lines, " MAILMAX=%llu",
			  (unsigned long long)
				  options->limits.max_messages_per_session);
	return session_reply_idle(session, &extensions, text_slice(&lines));
}

static enum step
helo_run(struct session *session, const struct parsed *parsed)
{
	static const struct reply hello = {250, NULL, ""};

	greet(session, parsed, false);
	return session_reply_idle(session, &hello,
				  session_options(session)->hostname);
}

/* --- STARTTLS: RFC 3207 --- */

static const struct reply *
starttls_check(const struct session *session, struct slice args,
	       struct parsed *out)
{
	(void)out;
	if (session->is_secured)
		return &reply_has_tls;
	if (!offers_starttls(session))
		return &reply_no_tls;
	if (args.len > 0)
		return &command_reply_no_args;
	return NULL;
}

static enum step
starttls_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	if (session->has_more) {
		/* RFC 3207 4.2: what was said in clear must not count as said
		 * over TLS. */
		session_refuse(session, &reply_injection, SLICE_NONE);
		return STEP_CLOSE;
	}
	session_reply(session, &reply_start_tls, SLICE_NONE);
	return STEP_SECURE;
}

/* --- AUTH: RFC 4954 --- */

static const struct reply *
auth_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	return authentication_check(session, args, &out->word, &out->initial);
}

static enum step
auth_run(struct session *session, const struct parsed *parsed)
{
	return authentication_begin(session, parsed->word, parsed->initial);
}

/* --- XCLIENT, XFORWARD: front.h --- */

static const struct reply *
xclient_check(const struct session *session, struct slice args,
	      struct parsed *out)
{
	return front_check(session, CLAIMS_XCLIENT, args, &out->arena,
			   &out->claims);
}

static enum step
xclient_run(struct session *session, const struct parsed *parsed)
{
	return front_replace(session, &parsed->claims);
}

static const struct reply *
xforward_check(const struct session *session, struct slice args,
	       struct parsed *out)
{
	return front_check(session, CLAIMS_XFORWARD, args, &out->arena,
			   &out->claims);
}

static enum step
xforward_run(struct session *session, const struct parsed *parsed)
{
	return front_note(session, &parsed->claims);
}

/* --- the rest --- */

bool
command_session_is_full(const struct session *session)
{
	uint64_t max =
		session_options(session)->limits.max_messages_per_session;

	return max > 0 && session->messages >= max;
}

/* Postfix and Sendmail ask so whether a connection that they have kept is still
 * good, and take another where it is not; at MAIL they would defer. */
static const struct reply *
probe_check(const struct session *session)
{
	return session->transaction == NULL && command_session_is_full(session)
		       ? &command_reply_session_full
		       : NULL;
}

static const struct reply *
rset_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)out;
	return args.len > 0 ? &command_reply_no_args : probe_check(session);
}

static const struct reply *
noop_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)args;
	(void)out;
	return probe_check(session);
}

static const struct reply *
any_check(const struct session *session, struct slice args, struct parsed *out)
{
	(void)session;
	(void)args;
	(void)out;
	return NULL;
}

static const struct reply *
vrfy_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)session;
	(void)out;
	return args.len == 0 ? &reply_need_arg : NULL;
}

static const struct reply *
expn_check(const struct session *session, struct slice args,
	   struct parsed *out)
{
	(void)session;
	(void)args;
	(void)out;
	return &reply_not_done;
}

static enum step
rset_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	session_reset(session);
	return session_reply_idle(session, &reply_ok, SLICE_NONE);
}

static enum step
noop_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	return session_reply_idle(session, &reply_ok, SLICE_NONE);
}

static enum step
vrfy_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	return session_reply_idle(session, &reply_vrfy, SLICE_NONE);
}

static enum step
help_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	return session_reply_idle(session, &reply_help, SLICE_NONE);
}

static enum step
quit_run(struct session *session, const struct parsed *parsed)
{
	(void)parsed;
	session->has_quit = true;
	session_reply(session, &reply_bye, SLICE_NONE);
	return STEP_CLOSE;
}

/* clang-format off */
static const struct command commands[] = {
	/* verb       legal in             check           run           flags */
	{ "EHLO",     ANYWHERE,            helo_check,     ehlo_run,     LAST },
	{ "HELO",     ANYWHERE,            helo_check,     helo_run,     LAST },
	{ "STARTTLS", IN(READY),           starttls_check, starttls_run, FREE },
	{ "AUTH",     IN(READY),           auth_check,     auth_run,     0 },
	{ "XCLIENT",  IN(START) | IN(READY), xclient_check, xclient_run, 0 },
	{ "XFORWARD", IN(START) | IN(READY), xforward_check, xforward_run, 0 },
	{ "MAIL",     IN(READY),           mail_check,     mail_run,     MAIL },
	{ "RCPT",     IN(MAIL) | IN(RCPT), rcpt_check,     rcpt_run,     MAIL },
	{ "DATA",     IN(MAIL) | IN(RCPT), data_check,     data_run,     MAIL | LAST | LINES },
	{ "BDAT",     ANYWHERE,            bdat_check,     bdat_run,     MAIL | FREE },
	{ "RSET",     ANYWHERE,            rset_check,     rset_run,     0 },
	{ "VRFY",     ANYWHERE,            vrfy_check,     vrfy_run,     LAST },
	{ "EXPN",     ANYWHERE,            expn_check,     NULL,         LAST },
	{ "HELP",     ANYWHERE,            any_check,      help_run,     0 },
	{ "NOOP",     ANYWHERE,            noop_check,     noop_run,     LAST },
	{ "QUIT",     ANYWHERE,            any_check,      quit_run,     FREE },
};
/* clang-format on */

static const struct command *
command_find(struct slice line, struct slice *verb_out, struct slice *args_out)
{
	size_t len = 0;

	line = slice_trim(line); /* scripts indent */
	while (len < line.len && !ascii_is_wsp(line.bytes[len]))
		len++;
	*verb_out = slice_sub(line, 0, len);
	*args_out = slice_trim(slice_from(line, len));
	for (size_t i = 0; i < COUNT(commands); i++)
		if (slice_eq_nocase(*verb_out, SLICE(commands[i].verb)))
			return &commands[i];
	return NULL;
}

static const struct reply *
out_of_place(const struct session *session, const struct command *command)
{
	if (session->state == SESSION_START)
		return &command_reply_greet_first;
	if (session->state == SESSION_READY &&
	    (command->flags & MAIL) != 0)
		return &reply_no_sender;
	if (session->transaction != NULL &&
	    (command->allowed & IN(READY)) != 0)
		return &reply_nested;
	return &command_reply_sequence;
}

static void
parsed_done(struct parsed *parsed)
{
	text_done(&parsed->room);
	arena_done(&parsed->arena);
	text_done(&parsed->sender);
}

/* The lines of a message that was sent too early are no commands. */
static bool
is_followed(const struct session *session, const struct command *command)
{
	return (command->flags & LINES) != 0 && session->has_more;
}

static enum step
refuse_out_of_place(struct session *session, const struct command *command)
{
	const struct reply *refusal = out_of_place(session, command);
	enum step step;

	if (refusal == &command_reply_greet_first && command->run == mail_run)
		session_lost(session, "mail without EHLO or HELO");
	step = session->is_discarding
		       ? session_refuse_behind(session, refusal)
		       : session_refuse(session, refusal, SLICE_NONE);
	return is_followed(session, command) ? STEP_CLOSE : step;
}

/* What a client sends ahead it sends whatever the answer is: so does who talks
 * another protocol, or does not know to whom. */
static bool
is_hasty(struct session *session, const struct command *command)
{
	bool is_last = (command->flags & LAST) != 0 ||
		       (!session->is_esmtp && (command->flags & FREE) == 0);

	if (!is_last || !session->has_more)
		return false;
	if (session->listener->lenient)
		session_legacy(session, is_followed(session, command)
						? LEGACY_HASTE
						: LEGACY_AHEAD);
	return !session->listener->lenient;
}

static enum step
refuse_hasty(struct session *session, const struct command *command)
{
	bool is_message = is_followed(session, command);

	session_lost(session, is_message ? "a message before its 354"
					 : "commands before their turn");
	session_reply(session, is_message ? &reply_haste : &reply_ahead,
		      SLICE_NONE);
	return STEP_CLOSE;
}

static enum step
refuse(struct session *session, const struct command *command,
       const struct reply *refusal, struct slice argument)
{
	enum step step;

	/* No device comes further than that, and few say why. */
	if (refusal == &reply_bad_helo)
		session_lost(session, "EHLO or HELO without a host name");
	if ((command->flags & MAIL) == 0) {
		step = session_refuse(session, refusal, SLICE_NONE);
		return refusal->code == 421 ? STEP_CLOSE : step;
	}
	step = session_reject(session, refusal, SLICE_NONE, argument,
			      SLICE(refusal->text));
	session->is_discarding = session->transaction == NULL;
	return refusal->code == 421 || is_followed(session, command) ? STEP_CLOSE
								     : step;
}

enum step
command_run(struct session *session, struct slice line)
{
	CLEAN(parsed_done) struct parsed parsed = {.address = SLICE_NONE};
	const struct reply *refusal;
	struct slice verb, args;
	const struct command *command = command_find(line, &verb, &args);

	if (command == NULL && conduct_is_foreign(verb)) {
		session_refuse(session, &reply_foreign, SLICE_NONE);
		return STEP_CLOSE;
	}
	if (command == NULL)
		return session_refuse(session, &reply_unknown, SLICE_NONE);
	if (is_hasty(session, command))
		return refuse_hasty(session, command);
	if (session->state == SESSION_START && session->listener->lenient &&
	    (command->run == mail_run || command->run == auth_run))
		greet_for(session);
	if ((command->allowed & (1u << session->state)) == 0)
		return refuse_out_of_place(session, command);
	refusal = command->check(session, args, &parsed);
	if (refusal == NULL)
		return command->run(session, &parsed);
	return refuse(session, command, refusal,
		      parsed.address.len > 0 ? parsed.address : args);
}
