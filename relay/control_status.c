#include <unistd.h>

#include "relay/control_private.h"

static void
status_write(const struct control_task *task, struct text *out)
{
	bool as_json = task->request.as_json;
	struct store_counters store;
	struct schedule_counters outcomes;

	store_count(task->store, &store);
	schedule_count(task->schedule, &outcomes);
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{"pid", (uint64_t)getpid()},
		{"uptime", (clock_now_ms() - task->started_ms) / SECOND},
		{"accepted", store.puts},
		{"delivered", outcomes.delivered},
		{"deferred", outcomes.deferred},
		{"bounced", outcomes.bounced},
		{"queued", store.due},
		{"held", store.held},
		{"damaged", store.damaged},
	};

	text_addf(out, as_json ? "{\"version\": \"%s\"" : "version: %s\n",
		  SIGNET_VERSION);
	for (size_t i = 0; i < COUNT(rows); i++)
		text_addf(out, "%s%s%s%llu%s", as_json ? ", \"" : "",
			  rows[i].name, as_json ? "\": " : ": ",
			  (unsigned long long)rows[i].value,
			  as_json ? "" : "\n");
	if (as_json)
		text_add_string(out, "}\n");
}

void
control_status_start(struct control_task *task)
{
	text_add_string(&task->reply, "ok\n\n");
	status_write(task, &task->reply);
	control_task_done(task);
}
