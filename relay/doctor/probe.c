#include "relay/doctor/probe.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "relay/net/dialogue.h"

/* For the connection, and for each answer. */
#define WAIT_MS (10 * SECOND)

struct visit {
	const struct probe_terms *terms;
	struct probe *probe;
	struct dialogue dialogue;
	struct tls *tls;
	struct text plain;
};

static void
visit_done(struct visit *visit)
{
	dialogue_done(&visit->dialogue);
	if (visit->tls != NULL)
		tls_free(visit->tls);
	text_done(&visit->plain);
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
	struct fault fault = {0};

	if (dialogue_connect(&visit->terms->address, visit->terms->from,
			     visit->dialogue.wait_ms,
			     &visit->dialogue.descriptor, &fault))
		return true;
	return end(visit, PROBE_UNREACHED, "",
		   SLICE(fault.system == EINPROGRESS ? "no answer"
						     : strerror(fault.system)));
}

static bool
no_reply(struct visit *visit, const struct fault *fault)
{
	if (visit->dialogue.is_broken)
		return end(visit, PROBE_REFUSED, "", SLICE(fault->text));
	return end(visit, PROBE_UNREACHED,
		   "it accepts the connection and says nothing", SLICE_NONE);
}

static bool
greeting_wait(struct visit *visit)
{
	struct fault fault = {0};

	return dialogue_reply(&visit->dialogue, &fault) ||
	       no_reply(visit, &fault);
}

static bool
command_run(struct visit *visit, const char *command, struct slice argument)
{
	CLEAN(text_done) struct text line = {0};
	struct fault fault = {0};

	text_addf(&line, "%s%.*s", command, SLICE_ARG(argument));
	return dialogue_command(&visit->dialogue, text_slice(&line), &fault) ||
	       no_reply(visit, &fault);
}

static bool
is_refused(struct visit *visit)
{
	char code[8];

	if (dialogue_is_good(&visit->dialogue))
		return false;
	snprintf(code, sizeof(code), "%u ", visit->dialogue.reply.code);
	end(visit, PROBE_REFUSED, code, visit->dialogue.reply.text);
	return true;
}

static bool
offers_tls(const struct visit *visit)
{
	struct slice lines = visit->dialogue.reply.text, line;

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
	struct dialogue *dialogue = &visit->dialogue;
	uint64_t until_ms = clock_now_ms() + dialogue->wait_ms;
	enum tls_status status;

	visit->tls = tls_new_client(&client);
	status = tls_send(visit->tls, SLICE_NONE, &dialogue->out);
	while (status == TLS_OK && !tls_is_established(visit->tls)) {
		if (!dialogue_flush(dialogue, NULL) ||
		    clock_now_ms() > until_ms || !dialogue_fill(dialogue, NULL))
			return end(visit, PROBE_BROKEN_TLS,
				   "it hangs up in the handshake", SLICE_NONE);
		status = tls_receive(visit->tls, text_slice(&dialogue->in),
				     &visit->plain, &dialogue->out);
		text_clear(&dialogue->in);
	}
	if (status != TLS_OK)
		return end(visit, PROBE_BROKEN_TLS, "",
			   SLICE(tls_fault(visit->tls)->text));
	(void)!dialogue_flush(dialogue, NULL);
	return true;
}

static void
visit_run(struct visit *visit)
{
	if (!connection_open(visit) || !greeting_wait(visit) ||
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
	if (visit->dialogue.reply.code != 220) {
		end(visit, PROBE_BROKEN_TLS, "", visit->dialogue.reply.text);
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
	tls_finish(visit->tls, &visit->dialogue.out);
	(void)!dialogue_flush(&visit->dialogue, NULL);
}

void
probe_run(const struct probe_terms *terms, struct probe *probe_out)
{
	CLEAN(visit_done) struct visit visit = {
		.terms = terms,
		.probe = probe_out,
		.dialogue = {.descriptor = -1, .wait_ms = WAIT_MS},
	};

	*probe_out = (struct probe){0};
	visit_run(&visit);
}
