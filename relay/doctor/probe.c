#include "relay/doctor/probe.h"

#include <errno.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/limits.h"
#include "relay/net/reply.h"

/* For the connection, and for each answer. */
#define WAIT_SECONDS 10

struct visit {
	const struct probe_terms *terms;
	struct probe *probe;
	int descriptor;
	struct tls *tls;
	struct text in, out, plain;
	struct reply_reader reader;
	struct reply_in reply;
};

static void
visit_done(struct visit *visit)
{
	clean_descriptor(&visit->descriptor);
	if (visit->tls != NULL)
		tls_free(visit->tls);
	text_done(&visit->in);
	text_done(&visit->out);
	text_done(&visit->plain);
	reply_reader_done(&visit->reader);
}

static bool
end(struct visit *visit, enum probe_end how, const char *what,
    struct slice words)
{
	visit->probe->end = how;
	snprintf(visit->probe->words, sizeof(visit->probe->words), "%s%.*s",
		 what, SLICE_ARG(words));
	return false;
}

static bool
connection_open(struct visit *visit)
{
	const struct probe_terms *terms = visit->terms;
	struct timeval wait = {.tv_sec = WAIT_SECONDS};
	int descriptor = socket(terms->address.any.sa_family,
				SOCK_STREAM | SOCK_CLOEXEC, 0);

	visit->descriptor = descriptor;
	/* The kernel bounds connect() by the second, too. */
	if (descriptor < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait,
		       sizeof(wait)) != 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait,
		       sizeof(wait)) != 0 ||
	    (terms->from != NULL &&
	     bind(descriptor, &terms->from->any, terms->from->len) != 0) ||
	    connect(descriptor, &terms->address.any, terms->address.len) != 0)
		return end(visit, PROBE_UNREACHED, "",
			   SLICE(errno == EINPROGRESS ? "no answer"
						      : strerror(errno)));
	return true;
}

static bool
out_send(struct visit *visit)
{
	struct slice rest = text_slice(&visit->out);

	while (rest.len > 0) {
		ssize_t sent = send(visit->descriptor, rest.bytes, rest.len,
				    MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		rest = slice_from(rest, (size_t)sent);
	}
	text_clear(&visit->out);
	return true;
}

static bool
in_receive(struct visit *visit)
{
	ssize_t len = recv(visit->descriptor, text_room(&visit->in, 4 * KIB),
			   4 * KIB, 0);

	if (len > 0)
		text_added(&visit->in, (size_t)len);
	return len > 0;
}

static bool
reply_wait(struct visit *visit)
{
	uint64_t until_ms = clock_now_ms() + WAIT_SECONDS * SECOND;

	for (;;) {
		size_t used = 0;
		enum reply_status status =
			reply_read(&visit->reader, text_slice(&visit->in),
				   &used, &visit->reply);

		text_drop_front(&visit->in, used);
		if (status == REPLY_COMPLETE)
			return true;
		if (status == REPLY_BROKEN)
			return end(visit, PROBE_REFUSED,
				   "what answers there is no SMTP server",
				   SLICE_NONE);
		if (clock_now_ms() > until_ms || !in_receive(visit))
			return end(visit, PROBE_UNREACHED,
				   "it accepts the connection and says nothing",
				   SLICE_NONE);
	}
}

static bool
command_run(struct visit *visit, const char *command, struct slice argument)
{
	text_addf(&visit->out, "%s%.*s\r\n", command, SLICE_ARG(argument));
	if (!out_send(visit))
		return end(visit, PROBE_UNREACHED, "it has hung up",
			   SLICE_NONE);
	return reply_wait(visit);
}

static bool
is_refused(struct visit *visit)
{
	char code[8];

	if (visit->reply.code / 100 == 2)
		return false;
	snprintf(code, sizeof(code), "%u ", visit->reply.code);
	end(visit, PROBE_REFUSED, code, visit->reply.text);
	return true;
}

static bool
offers_tls(const struct visit *visit)
{
	struct slice lines = visit->reply.text, line;

	while (slice_split(&lines, '\n', &line))
		if (slice_eq_nocase(slice_trim(line), SLICE("STARTTLS")))
			return true;
	return false;
}

static bool
handshake_run(struct visit *visit)
{
	struct tls_client client = {.context = visit->terms->context,
				    .server_name = visit->terms->host,
				    .min = TLS_1_2,
				    .security_level = -1};
	uint64_t until_ms = clock_now_ms() + WAIT_SECONDS * SECOND;
	enum tls_status status;

	visit->tls = tls_new_client(&client);
	status = tls_send(visit->tls, SLICE_NONE, &visit->out);
	while (status == TLS_OK && !tls_is_established(visit->tls)) {
		if (!out_send(visit) || clock_now_ms() > until_ms ||
		    !in_receive(visit))
			return end(visit, PROBE_BROKEN_TLS,
				   "it hangs up in the handshake", SLICE_NONE);
		status = tls_receive(visit->tls, text_slice(&visit->in),
				     &visit->plain, &visit->out);
		text_clear(&visit->in);
	}
	if (status != TLS_OK)
		return end(visit, PROBE_BROKEN_TLS, "",
			   SLICE(tls_fault(visit->tls)->text));
	(void)!out_send(visit);
	return true;
}

static void
visit_run(struct visit *visit)
{
	if (!connection_open(visit) || !reply_wait(visit) ||
	    is_refused(visit) ||
	    !command_run(visit, "EHLO ", visit->terms->helo) ||
	    is_refused(visit))
		return;
	if (!offers_tls(visit)) {
		end(visit, PROBE_CLEAR, "it does not offer STARTTLS",
		    SLICE_NONE);
		return;
	}
	if (!command_run(visit, "STARTTLS", SLICE_NONE))
		return;
	if (visit->reply.code != 220) {
		end(visit, PROBE_BROKEN_TLS, "", visit->reply.text);
		return;
	}
	if (!handshake_run(visit))
		return;
	visit->probe->is_verified = tls_is_verified(visit->tls);
	visit->probe->end = PROBE_SECURED;
	snprintf(visit->probe->words, sizeof(visit->probe->words), "%s, %s",
		 tls_version(visit->tls),
		 visit->probe->is_verified ? "and its certificate is good"
					   : tls_certificate(visit->tls));
	tls_finish(visit->tls, &visit->out);
	(void)!out_send(visit);
}

void
probe_run(const struct probe_terms *terms, struct probe *probe_out)
{
	CLEAN(visit_done) struct visit visit = {
		.terms = terms, .probe = probe_out, .descriptor = -1};

	*probe_out = (struct probe){0};
	visit_run(&visit);
}
