#include <stdlib.h>
#include <unistd.h>

#include "relay/control_private.h"
#include "relay/net/signing.h"
#include "relay/queue/listing.h"

/* --- counters --- */

static uint64_t
signatures_count(const struct control_parts *parts,
		 enum key_algorithm algorithm)
{
	uint64_t count = 0;

	for (size_t i = 0; i < parts->loops_count; i++)
		count += signing_count(parts->loops[i].signing, algorithm);
	return count;
}

static void
counters_write(const struct control_survey *survey, struct text *out)
{
	const struct control_task *task = survey->task;
	bool as_json = task->request.as_json;
	struct store_counters store;
	struct schedule_counters outcomes;
	struct server_counters server;

	store_count(task->parts->store, &store);
	schedule_count(task->parts->schedule, &outcomes);
	server_count(task->parts->server, &server);
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		/* The supervisor's: this process heeds no SIGTERM or SIGHUP. */
		{"pid", (uint64_t)getppid()},
		{"uptime", (clock_now_ms() - task->started_ms) / SECOND},
		{"accepted", store.puts},
		{"delivered", outcomes.delivered},
		{"deferred", outcomes.deferred},
		{"bounced", outcomes.bounced},
		{"rejected", server.rejected},
		{"signed_rsa_sha256",
		 signatures_count(task->parts, KEY_RSA_SHA256)},
		{"signed_ed25519_sha256",
		 signatures_count(task->parts, KEY_ED25519_SHA256)},
		{"sessions", server.sessions},
		{"connections", survey->connections},
		{"queued", store.due},
		{"held", store.held},
		{"bytes", store.bytes},
		{"messages", store.messages},
		{"message_bytes", store.message_bytes},
		{"incoming_bytes", store.incoming},
		{"memory_bytes", store.memory + store.held_memory},
		{"damaged", store.damaged},
	};

	text_addf(out, as_json ? "{\"version\": \"%s\"" : "version: %s\n",
		  SIGNET_VERSION);
	for (size_t i = 0; i < COUNT(rows); i++)
		text_addf(out, "%s%s%s%llu%s", as_json ? ", \"" : "",
			  rows[i].name, as_json ? "\": " : ": ",
			  (unsigned long long)rows[i].value,
			  as_json ? "" : "\n");
}

/* --- destinations --- */

static size_t
depth_shown(size_t depth)
{
	return depth > STATUS_DEPTH_MAX ? STATUS_DEPTH_MAX : depth;
}

static void
destination_write_text(const struct control_destination *destination,
		       struct text *out)
{
	text_add_string(out, "  ");
	listing_write_destination(SLICE(destination->name), out);
	text_addf(out, ": %s%zu queued",
		  destination->due > STATUS_DEPTH_MAX ? ">" : "",
		  depth_shown(destination->due));
	if (destination->held > 0)
		text_addf(out, ", %s%zu held",
			  destination->held > STATUS_DEPTH_MAX ? ">" : "",
			  depth_shown(destination->held));
	if (destination->connections > 0)
		text_addf(out, ", %zu connection%s", destination->connections,
			  destination->connections == 1 ? "" : "s");
	if (destination->paused_ms > 0)
		text_addf(out, ", paused for %llus",
			  (unsigned long long)(destination->paused_ms /
						       SECOND +
					       1));
	if (destination->is_paced)
		text_add_string(out, ", paced by max_rate");
	if (destination->trouble.len > 0) {
		text_add_string(out, ": ");
		listing_write_visible(destination->trouble, false, out);
	}
	text_add_byte(out, '\n');
}

static void
destination_write_json(const struct control_destination *destination,
		       struct text *out)
{
	char next[CLOCK_ISO_SIZE];

	text_add_string(out, "{\"name\": ");
	text_add_json(out, SLICE(destination->name));
	text_addf(out,
		  ", \"queued\": %zu, \"queued_is_more\": %s, \"held\": %zu, "
		  "\"held_is_more\": %s, \"connections\": %zu, \"idle\": %zu, "
		  "\"window\": %zu, \"paced\": %s, \"paused\": %llu.%03u, "
		  "\"next\": ",
		  depth_shown(destination->due),
		  destination->due > STATUS_DEPTH_MAX ? "true" : "false",
		  depth_shown(destination->held),
		  destination->held > STATUS_DEPTH_MAX ? "true" : "false",
		  destination->connections, destination->idle,
		  destination->window,
		  destination->is_paced ? "true" : "false",
		  (unsigned long long)(destination->paused_ms / SECOND),
		  (unsigned)(destination->paused_ms % SECOND));
	if (destination->next_due_ms > 0) {
		clock_write_iso(destination->next_due_ms, next);
		text_addf(out, "\"%s\"", next);
	} else {
		text_add_string(out, "null");
	}
	text_add_string(out, ", \"trouble\": ");
	text_add_json(out, destination->trouble);
	text_add_byte(out, '}');
}

static void
nothing_write(const struct control_survey *survey, struct text *out)
{
	text_add_string(out, "  ");
	listing_write_visible(survey->task->request.selection.domain, false,
			      out);
	text_add_string(out, ": nothing in the queue\n");
}

static void
survey_write(const struct control_survey *survey, struct text *out)
{
	bool as_json = survey->task->request.as_json;

	text_addf(out, as_json ? ", \"destinations_total\": %zu, "
				 "\"destinations\": ["
			       : "destinations: %zu\n",
		  survey->total);
	for (size_t i = 0; i < survey->count; i++) {
		if (as_json && i > 0)
			text_add_string(out, ", ");
		if (as_json)
			destination_write_json(&survey->destinations[i], out);
		else
			destination_write_text(&survey->destinations[i], out);
	}
	if (as_json)
		text_add_string(out, "]}\n");
	else if (survey->has_nothing)
		nothing_write(survey, out);
	else if (survey->count == survey->wanted &&
		 survey->total > survey->count)
		text_addf(out, "  and %zu more\n",
			  survey->total - survey->count);
}

static void
survey_done(struct control_survey *survey)
{
	struct control_task *task = survey->task;

	if (control_is_closing(task->control)) {
		/* The loops let go of what is counted. */
		control_survey_free(survey);
		free(survey);
		control_task_stopping(task);
		return;
	}
	text_add_string(&task->reply, "ok\n\n");
	counters_write(survey, &task->reply);
	survey_write(survey, &task->reply);
	control_survey_free(survey);
	free(survey);
	control_task_done(task);
}

void
control_status_start(struct control_task *task)
{
	struct control_survey *survey = memory_new(sizeof(*survey));

	survey->task = task;
	survey->wanted = task->request.is_all ? STATUS_DESTINATIONS_MAX
					      : STATUS_DESTINATIONS;
	survey->done = survey_done;
	control_survey_start(survey);
}
