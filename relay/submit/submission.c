#include "relay/submit/submission.h"

#include <errno.h>

#include "base/clock.h"
#include "relay/net/dialogue.h"
#include "relay/net/wire.h"

/* RFC 5321 4.5.3.2; of the answer to the end of the data 10 minutes. */
#define WAIT_MS (10 * MINUTE)
#define WRITE_SIZE ((size_t)64 << 10)

/* ---- where ---- */

static bool
is_wildcard(const struct address *address)
{
	if (address->any.sa_family == AF_INET6)
		return IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
	return address->any.sa_family == AF_INET &&
	       address->v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

/* Whoever connects to an address of this machine from there has the same one. */
static void
address_near(const struct listener_options *listener,
	     struct address *address_out)
{
	*address_out = listener->address;
	if (!is_wildcard(address_out))
		return;
	if (!listener->is_any && address_out->any.sa_family == AF_INET6)
		address_out->v6.sin6_addr = in6addr_loopback;
	else
		*address_out = (struct address){
			.v4 = {.sin_family = AF_INET,
			       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
			       .sin_port =
				       htons(address_port(&listener->address))},
			.len = sizeof(struct sockaddr_in)};
}

static bool
listener_takes(const struct listener_options *listener,
	       struct address *address_out)
{
	address_near(listener, address_out);
	return listener->tls != LISTENER_TLS_IMPLICIT &&
	       listener->auth != AUTH_REQUIRED &&
	       networks_contain(listener->allow_from,
				listener->allow_from_count, address_out) &&
	       !networks_contain(listener->proxy_from,
				 listener->proxy_from_count, address_out);
}

bool
submission_place(const struct options *options, struct address *address_out,
		 struct fault *fault)
{
	struct address address;

	for (int wants_local = 1; wants_local >= 0; wants_local--)
		for (size_t i = 0; i < options->listeners_count; i++) {
			const struct listener_options *listener =
				&options->listeners[i];
			bool is_local =
				listener->address.any.sa_family == AF_UNIX;

			if (is_local == (wants_local != 0) &&
			    listener_takes(listener, &address)) {
				*address_out = address;
				return true;
			}
		}
	return fault_set(fault, FAULT_INPUT,
			 "no listener takes mail from this machine without a "
			 "login (where systemd opens the socket, its address "
			 "is not known here): add one, as listener \"local\" "
			 "{ address = \"127.0.0.1:2525\" }");
}

bool
submission_connect(const struct address *address, int *socket_out,
		   struct fault *fault)
{
	char text[ADDRESS_TEXT_SIZE];

	if (dialogue_connect(address, NULL, WAIT_MS, socket_out, fault))
		return true;
	address_write(address, text);
	if (fault->system == ENOENT || fault->system == ECONNREFUSED)
		return fault_set(fault, FAULT_ABSENT,
				 "no relay answers at %s: is `signet relay` "
				 "running?",
				 text);
	return fault_within(fault, "%s", text);
}

/* ---- the conversation ---- */

/* One connection. */
struct session {
	const struct submission *submission;
	struct dialogue dialogue;
	struct text line;          /* a command */
	bool offers_8bit, offers_size, offers_utf8, offers_dsn;
	bool at_line_start;        /* of the data */
};

static void
session_done(struct session *session)
{
	dialogue_done(&session->dialogue);
	text_done(&session->line);
}

static void
command_tell(const struct session *session)
{
	CLEAN(text_done) struct text said = {0};

	if (session->submission->tell == NULL)
		return;
	text_add_string(&said, ">>> ");
	text_add(&said, text_slice(&session->line));
	session->submission->tell(text_slice(&said));
}

/* As it came: "250-" before each line but the last. */
static void
reply_tell(const struct session *session)
{
	const struct reply_in *reply = &session->dialogue.reply;
	struct slice rest = reply->text, line = SLICE_NONE;

	if (session->submission->tell == NULL)
		return;
	do {
		CLEAN(text_done) struct text said = {0};

		(void)!slice_split(&rest, '\n', &line);
		text_addf(&said, "<<< %u%c%.*s", reply->code,
			  rest.len > 0 ? '-' : ' ', SLICE_ARG(line));
		session->submission->tell(text_slice(&said));
	} while (rest.len > 0);
}

/* The command that is in `line`, and the answer to it. */
static bool
command_run(struct session *session, struct fault *fault)
{
	bool is_answered;

	command_tell(session);
	is_answered = dialogue_command(&session->dialogue,
				       text_slice(&session->line), fault);
	text_clear(&session->line);
	if (!is_answered)
		return fault_within(fault, "the relay");
	reply_tell(session);
	return true;
}

static bool
command_simple(struct session *session, const char *command,
	       struct fault *fault)
{
	text_add_string(&session->line, command);
	return command_run(session, fault);
}

static bool
refused(const struct session *session, const char *what, struct slice detail,
	struct fault *fault)
{
	const struct reply_in *reply = &session->dialogue.reply;
	enum fault_kind kind =
		reply->code / 100 == 5 ? FAULT_INPUT : FAULT_BUSY;

	return fault_set(fault, kind, "%s%.*s: %u %.*s", what,
			 SLICE_ARG(detail), reply->code,
			 SLICE_ARG(reply->text));
}

static bool
is_good(const struct session *session)
{
	return dialogue_is_good(&session->dialogue);
}

static void
offers_note(struct session *session)
{
	struct slice lines = session->dialogue.reply.text, line;
	struct slice word = SLICE_NONE;

	while (slice_split(&lines, '\n', &line)) {
		if (!slice_split(&line, ' ', &word))
			continue;
		session->offers_8bit |=
			slice_eq_nocase(word, SLICE("8BITMIME"));
		session->offers_size |= slice_eq_nocase(word, SLICE("SIZE"));
		session->offers_utf8 |=
			slice_eq_nocase(word, SLICE("SMTPUTF8"));
		session->offers_dsn |= slice_eq_nocase(word, SLICE("DSN"));
	}
}

static bool
greeting_run(struct session *session, struct fault *fault)
{
	if (!dialogue_reply(&session->dialogue, fault))
		return fault_within(fault, "the relay");
	reply_tell(session);
	if (!is_good(session))
		return refused(session, "greeting", SLICE_NONE, fault);
	text_addf(&session->line, "EHLO %.*s",
		  SLICE_ARG(session->submission->helo));
	if (!command_run(session, fault))
		return false;
	if (!is_good(session))
		return refused(session, "EHLO", SLICE_NONE, fault);
	offers_note(session);
	return true;
}

/* Whether an address is more than ASCII (RFC 6531 3.4). */
static bool
needs_utf8(const struct submission *submission)
{
	if (!slice_is_ascii(submission->from))
		return true;
	for (size_t i = 0; i < submission->to_count; i++)
		if (!slice_is_ascii(submission->to[i]))
			return true;
	return false;
}

static bool
mail_run(struct session *session, const struct letter *letter,
	 struct fault *fault)
{
	const struct submission *submission = session->submission;
	struct text *line = &session->line;

	text_addf(line, "MAIL FROM:<%.*s>", SLICE_ARG(submission->from));
	if (session->offers_size)
		text_addf(line, " SIZE=%llu",
			  (unsigned long long)letter_size(letter));
	if (session->offers_8bit && letter->has_8bit)
		text_add_string(line, " BODY=8BITMIME");
	if (session->offers_utf8 && needs_utf8(submission))
		text_add_string(line, " SMTPUTF8");
	if (session->offers_dsn && submission->ret.len > 0)
		text_addf(line, " RET=%.*s", SLICE_ARG(submission->ret));
	if (session->offers_dsn && submission->envid.len > 0)
		text_addf(line, " ENVID=%.*s", SLICE_ARG(submission->envid));
	return command_run(session, fault) &&
	       (is_good(session) ||
		refused(session, "sender ", submission->from, fault));
}

/* Those from `first` on, as many as the relay takes at once. */
static bool
recipients_run(struct session *session, size_t first, size_t *taken_out,
	       struct fault *fault)
{
	const struct submission *submission = session->submission;
	size_t taken = 0;

	while (first + taken < submission->to_count) {
		struct slice to = submission->to[first + taken];

		text_addf(&session->line, "RCPT TO:<%.*s>", SLICE_ARG(to));
		if (session->offers_dsn && submission->notify.len > 0)
			text_addf(&session->line, " NOTIFY=%.*s",
				  SLICE_ARG(submission->notify));
		if (!command_run(session, fault))
			return false;
		if (session->dialogue.reply.code == 452 && taken > 0)
			break;
		if (!is_good(session))
			return refused(session, "recipient ", to, fault);
		taken++;
	}
	*taken_out = taken;
	return true;
}

static bool
data_take(void *owner, struct slice bytes, struct fault *fault)
{
	struct session *session = owner;
	struct text *out = &session->dialogue.out;

	wire_stuff(out, bytes, &session->at_line_start);
	return out->len < WRITE_SIZE ||
	       dialogue_flush(&session->dialogue, fault);
}

static bool
data_run(struct session *session, struct letter *letter,
	 struct fault *fault)
{
	if (!command_simple(session, "DATA", fault))
		return false;
	if (session->dialogue.reply.code != 354)
		return refused(session, "DATA", SLICE_NONE, fault);
	session->at_line_start = true;
	if (!letter_write(letter, data_take, session, fault))
		return false;
	if (!command_simple(session, ".", fault))
		return false;
	return is_good(session) ||
	       refused(session, "message", SLICE_NONE, fault);
}

/* Whether the relay has only had enough of this connection. */
static bool
is_worn(const struct session *session, size_t done)
{
	return done > 0 && session->dialogue.reply.code == 421;
}

/* On one connection, from *done on, of whom each is taken for good; as far as the
 * relay goes on with it. */
static bool
session_run(struct session *session, struct letter *letter, size_t *done,
	    struct fault *fault)
{
	size_t before = *done, taken = 0;

	while (*done < session->submission->to_count) {
		/* Nothing of it is taken before the end of the data. */
		if (!mail_run(session, letter, fault))
			return is_worn(session, *done - before);
		if (!recipients_run(session, *done, &taken, fault) ||
		    !data_run(session, letter, fault))
			return false;
		*done += taken;
	}
	(void)!command_simple(session, "QUIT", NULL);
	return true;
}

bool
submission_send(const struct submission *submission,
		const struct address *address, struct letter *letter,
		struct fault *fault)
{
	size_t done = 0;

	while (done < submission->to_count) {
		CLEAN(session_done) struct session session = {
			.submission = submission,
			.dialogue = {.descriptor = -1, .wait_ms = WAIT_MS},
		};

		if (submission_connect(address, &session.dialogue.descriptor,
				       fault) &&
		    greeting_run(&session, fault) &&
		    session_run(&session, letter, &done, fault))
			continue;
		if (done > 0)
			fault_put_before(fault,
					 "the first %zu of %zu recipients are "
					 "taken; then",
					 done, submission->to_count);
		return false;
	}
	return true;
}
