#include "relay/submit/submission.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "relay/net/reply.h"
#include "relay/net/wire.h"

/* RFC 5321 4.5.3.2; of the answer to the end of the data 10 minutes. */
#define WAIT_SECONDS 600
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
	struct timeval wait = {.tv_sec = WAIT_SECONDS};
	char text[ADDRESS_TEXT_SIZE];
	int on = 1;
	CLEAN(clean_descriptor)
	int descriptor = socket(address->any.sa_family,
				SOCK_STREAM | SOCK_CLOEXEC, 0);

	address_write(address, text);
	if (descriptor < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait,
		       sizeof(wait)) != 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait,
		       sizeof(wait)) != 0)
		return fault_errno(fault, "socket");
	(void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on,
			 sizeof(on));
	if (connect(descriptor, &address->any, address->len) != 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return fault_set(fault, FAULT_ABSENT,
					 "no relay answers at %s: is `signet "
					 "relay` running?",
					 text);
		return fault_errno(fault, "%s", text);
	}
	*socket_out = descriptor_take(&descriptor);
	return true;
}

/* ---- the conversation ---- */

struct dialogue {
	const struct submission *submission;
	int descriptor;
	struct text in, out, line; /* unread; unsent; a command */
	struct reply_reader reader;
	struct reply_in reply;     /* the last one */
	bool offers_8bit, offers_size, offers_utf8, offers_dsn;
	bool at_line_start;        /* of the data */
};

static void
dialogue_done(struct dialogue *dialogue)
{
	clean_descriptor(&dialogue->descriptor);
	text_done(&dialogue->in);
	text_done(&dialogue->out);
	text_done(&dialogue->line);
	reply_reader_done(&dialogue->reader);
}

static void
tell(const struct dialogue *dialogue, const char *before, struct slice text)
{
	CLEAN(text_done) struct text line = {0};

	if (dialogue->submission->tell == NULL)
		return;
	text_add_string(&line, before);
	text_add(&line, text);
	dialogue->submission->tell(text_slice(&line));
}

static bool
out_flush(struct dialogue *dialogue, struct fault *fault)
{
	struct slice rest = text_slice(&dialogue->out);

	while (rest.len > 0) {
		ssize_t sent = send(dialogue->descriptor, rest.bytes, rest.len,
				    MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return fault_errno(fault, "sending to the relay");
		rest = slice_from(rest, (size_t)sent);
	}
	text_clear(&dialogue->out);
	return true;
}

static bool
in_fill(struct dialogue *dialogue, struct fault *fault)
{
	ssize_t len;

	do
		len = recv(dialogue->descriptor,
			   text_room(&dialogue->in, 4 * KIB), 4 * KIB, 0);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return fault_errno(fault, "waiting for the relay");
	if (len == 0)
		return fault_set(fault, FAULT_BUSY, "the relay has hung up");
	text_added(&dialogue->in, (size_t)len);
	return true;
}

static bool
reply_wait(struct dialogue *dialogue, struct fault *fault)
{
	for (;;) {
		size_t used = 0;
		enum reply_status status =
			reply_read(&dialogue->reader,
				   text_slice(&dialogue->in), &used,
				   &dialogue->reply);

		text_drop_front(&dialogue->in, used);
		if (status == REPLY_BROKEN)
			return fault_set(fault, FAULT_SYSTEM,
					 "what answers there is no SMTP "
					 "server");
		if (status == REPLY_COMPLETE)
			break;
		if (!in_fill(dialogue, fault))
			return false;
	}
	tell(dialogue, "<<< ", dialogue->reply.text);
	return true;
}

/* The command that is in `line`, and the answer to it. */
static bool
command_run(struct dialogue *dialogue, struct fault *fault)
{
	tell(dialogue, ">>> ", text_slice(&dialogue->line));
	text_add(&dialogue->out, text_slice(&dialogue->line));
	text_add_string(&dialogue->out, "\r\n");
	text_clear(&dialogue->line);
	return out_flush(dialogue, fault) && reply_wait(dialogue, fault);
}

static bool
command_simple(struct dialogue *dialogue, const char *command,
	       struct fault *fault)
{
	text_add_string(&dialogue->line, command);
	return command_run(dialogue, fault);
}

static bool
refused(const struct dialogue *dialogue, const char *what, struct slice detail,
	struct fault *fault)
{
	enum fault_kind kind = dialogue->reply.code / 100 == 5 ? FAULT_INPUT
							       : FAULT_BUSY;

	return fault_set(fault, kind, "%s%.*s: %u %.*s", what,
			 SLICE_ARG(detail), dialogue->reply.code,
			 SLICE_ARG(dialogue->reply.text));
}

static bool
is_good(const struct dialogue *dialogue)
{
	return dialogue->reply.code / 100 == 2;
}

static void
offers_note(struct dialogue *dialogue)
{
	struct slice lines = dialogue->reply.text, line, word = SLICE_NONE;

	while (slice_split(&lines, '\n', &line)) {
		if (!slice_split(&line, ' ', &word))
			continue;
		dialogue->offers_8bit |=
			slice_eq_nocase(word, SLICE("8BITMIME"));
		dialogue->offers_size |= slice_eq_nocase(word, SLICE("SIZE"));
		dialogue->offers_utf8 |=
			slice_eq_nocase(word, SLICE("SMTPUTF8"));
		dialogue->offers_dsn |= slice_eq_nocase(word, SLICE("DSN"));
	}
}

static bool
greeting_run(struct dialogue *dialogue, struct fault *fault)
{
	if (!reply_wait(dialogue, fault))
		return false;
	if (!is_good(dialogue))
		return refused(dialogue, "greeting", SLICE_NONE, fault);
	text_addf(&dialogue->line, "EHLO %.*s",
		  SLICE_ARG(dialogue->submission->helo));
	if (!command_run(dialogue, fault))
		return false;
	if (!is_good(dialogue))
		return refused(dialogue, "EHLO", SLICE_NONE, fault);
	offers_note(dialogue);
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
mail_run(struct dialogue *dialogue, const struct letter *letter,
	 struct fault *fault)
{
	const struct submission *submission = dialogue->submission;
	struct text *line = &dialogue->line;

	text_addf(line, "MAIL FROM:<%.*s>", SLICE_ARG(submission->from));
	if (dialogue->offers_size)
		text_addf(line, " SIZE=%llu",
			  (unsigned long long)letter_size(letter));
	if (dialogue->offers_8bit && letter->has_8bit)
		text_add_string(line, " BODY=8BITMIME");
	if (dialogue->offers_utf8 && needs_utf8(submission))
		text_add_string(line, " SMTPUTF8");
	if (dialogue->offers_dsn && submission->ret.len > 0)
		text_addf(line, " RET=%.*s", SLICE_ARG(submission->ret));
	if (dialogue->offers_dsn && submission->envid.len > 0)
		text_addf(line, " ENVID=%.*s", SLICE_ARG(submission->envid));
	return command_run(dialogue, fault) &&
	       (is_good(dialogue) ||
		refused(dialogue, "sender ", submission->from, fault));
}

/* Those from `first` on, as many as the relay takes at once. */
static bool
recipients_run(struct dialogue *dialogue, size_t first, size_t *taken_out,
	       struct fault *fault)
{
	const struct submission *submission = dialogue->submission;
	size_t taken = 0;

	while (first + taken < submission->to_count) {
		struct slice to = submission->to[first + taken];

		text_addf(&dialogue->line, "RCPT TO:<%.*s>", SLICE_ARG(to));
		if (dialogue->offers_dsn && submission->notify.len > 0)
			text_addf(&dialogue->line, " NOTIFY=%.*s",
				  SLICE_ARG(submission->notify));
		if (!command_run(dialogue, fault))
			return false;
		if (dialogue->reply.code == 452 && taken > 0)
			break;
		if (!is_good(dialogue))
			return refused(dialogue, "recipient ", to, fault);
		taken++;
	}
	*taken_out = taken;
	return true;
}

static bool
data_take(void *owner, struct slice bytes, struct fault *fault)
{
	struct dialogue *dialogue = owner;

	wire_stuff(&dialogue->out, bytes, &dialogue->at_line_start);
	return dialogue->out.len < WRITE_SIZE || out_flush(dialogue, fault);
}

static bool
data_run(struct dialogue *dialogue, struct letter *letter,
	 struct fault *fault)
{
	if (!command_simple(dialogue, "DATA", fault))
		return false;
	if (dialogue->reply.code != 354)
		return refused(dialogue, "DATA", SLICE_NONE, fault);
	dialogue->at_line_start = true;
	if (!letter_write(letter, data_take, dialogue, fault))
		return false;
	if (!command_simple(dialogue, ".", fault))
		return false;
	return is_good(dialogue) ||
	       refused(dialogue, "message", SLICE_NONE, fault);
}

bool
submission_send(const struct submission *submission,
		const struct address *address, struct letter *letter,
		struct fault *fault)
{
	CLEAN(dialogue_done) struct dialogue dialogue = {
		.submission = submission, .descriptor = -1};
	size_t done = 0, taken = 0;

	if (!submission_connect(address, &dialogue.descriptor, fault) ||
	    !greeting_run(&dialogue, fault))
		return false;
	while (done < submission->to_count) {
		if (!mail_run(&dialogue, letter, fault) ||
		    !recipients_run(&dialogue, done, &taken, fault) ||
		    !data_run(&dialogue, letter, fault)) {
			if (done > 0)
				fault_put_before(fault,
						 "the first %zu of %zu "
						 "recipients are taken; then",
						 done, submission->to_count);
			return false;
		}
		done += taken;
	}
	(void)!command_simple(&dialogue, "QUIT", NULL);
	return true;
}
