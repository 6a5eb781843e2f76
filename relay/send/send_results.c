#include "relay/send/send_results.h"

#include <sysexits.h>

#include "base/output.h"

/* ---- JSON, with the names that the log has ---- */

static void
member_add(struct text *out, const char *name, struct slice value)
{
	text_addf(out, ", \"%s\": ", name);
	text_add_json(out, value);
}

static void
signatures_add(const struct send_results *results, struct text *out)
{
	size_t count;
	const struct signature *signatures =
		pipeline_signatures(results->pipeline, &count);

	text_add_string(out, ", \"signatures\": [");
	for (size_t i = 0; i < count; i++) {
		text_add_string(out, i == 0 ? "{\"domain\": "
					    : ", {\"domain\": ");
		text_add_json(out, signatures[i].domain);
		member_add(out, "selector", signatures[i].selector->name);
		member_add(out, "algorithm",
			   SLICE(key_algorithm_name(key_public_algorithm(
				   signatures[i].selector->key))));
		text_add_byte(out, '}');
	}
	text_add_byte(out, ']');
}

static void
json_write(const struct send_results *results,
	   const struct recipient *recipient,
	   const struct recipient_result *result, struct text *out)
{
	char id[MESSAGE_ID_TEXT + 1];
	bool is_delivered = result->outcome == OUTCOME_DELIVERED;

	message_id_write(&results->message->id, id);
	text_add_string(out, "{\"to\": ");
	text_add_json(out, recipient->address);
	member_add(out, "domain", recipient->destination);
	text_addf(out, ", \"delivered\": %s", is_delivered ? "true" : "false");
	member_add(out, "outcome", SLICE(outcome_event(result->outcome)));
	member_add(out, "mx", result->mx);
	member_add(out, "address", result->address);
	member_add(out, "tls", result->tls);
	member_add(out, "certificate", result->certificate);
	member_add(out, "status", result->status);
	member_add(out, "reply", result->reply);
	member_add(out, "from", results->message->reverse_path);
	member_add(out, "id", SLICE(id));
	member_add(out, "message_id", results->message_id);
	text_addf(out, ", \"size\": %llu",
		  (unsigned long long)message_size(results->message));
	signatures_add(results, out);
	text_add_string(out, "}\n");
}

/* ---- words ---- */

/* Nothing of what a host says moves the cursor. */
static void
words_add(struct text *out, struct slice words)
{
	for (size_t i = 0; i < words.len; i++) {
		char c = words.bytes[i];

		text_add_byte(out, (unsigned char)c < ' ' || c == 0x7f ? '?'
								       : c);
	}
}

static void
text_write(const struct recipient *recipient,
	   const struct recipient_result *result, struct text *out)
{
	bool has_tls = result->tls.len > 0 &&
		       !slice_eq(result->tls, SLICE("none"));

	words_add(out, recipient->address);
	text_add_string(out,
			result->outcome == OUTCOME_DELIVERED ? ": delivered"
			: result->outcome == OUTCOME_FAILED
				? ": not delivered, refused"
				: ": not delivered, may work later");
	if (result->mx.len > 0 || result->address.len > 0) {
		text_add_string(out, ": ");
		words_add(out, result->mx);
		text_addf(out, " (%.*s", SLICE_ARG(result->address));
		if (has_tls)
			text_addf(out, ", %.*s, certificate %.*s",
				  SLICE_ARG(result->tls),
				  SLICE_ARG(result->certificate));
		else if (result->tls.len > 0)
			text_add_string(out, ", no TLS");
		text_add_byte(out, ')');
	}
	text_add_string(out, ": ");
	words_add(out, result->reply);
	text_add_byte(out, '\n');
}

/* ---- all of them ---- */

/* RFC 3463 3.5, X.4.X: the network, or the DNS. */
static bool
is_unreached(const struct recipient_result *result)
{
	return result->outcome == OUTCOME_DEFERRED &&
	       !outcome_is_reply(result->reply) &&
	       slice_starts(result->status, SLICE("4.4."));
}

void
send_results_add(struct send_results *results, size_t recipient,
		 const struct recipient_result *result)
{
	const struct recipient *whom = &results->message->recipients[recipient];
	CLEAN(text_done) struct text out = {0};

	results->failed += result->outcome == OUTCOME_FAILED;
	if (is_unreached(result))
		results->unreached++;
	else if (result->outcome == OUTCOME_DEFERRED)
		results->deferred++;
	if (results->as_json)
		json_write(results, whom, result, &out);
	else
		text_write(whom, result, &out);
	/* Said once: stdio stays with its first failure. */
	if (!results->is_unwritten)
		results->is_unwritten =
			output_write(text_slice(&out)) != EX_OK;
}

int
send_results_code(const struct send_results *results)
{
	if (results->failed > 0)
		return EX_DATAERR;
	if (results->deferred > 0)
		return EX_TEMPFAIL;
	if (results->unreached > 0)
		return EX_UNAVAILABLE;
	/* Not "try again": they have it. */
	return results->is_unwritten ? EX_IOERR : EX_OK;
}
