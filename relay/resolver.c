#include "relay/resolver.h"

#include <signal.h>
#include <stdlib.h>

#include "relay/limits.h"
#include "relay/resolver_ask.h"

struct resolver {
	struct loop loop;
	struct dns *dns;
	struct records_source source;
	struct post close;
};

struct question {
	struct dns_query query;
	struct records *records;
	struct slice name;
	/* Under the mutex until is_done, then never changed. */
	bool is_done;
	enum lookup_status status;
	struct slice texts[VERIFY_RECORDS_MAX];
	size_t count;
};

struct records {
	struct resolver *resolver;
	struct post start, end;
	uint64_t deadline_ms;
	uv_mutex_t mutex;
	uv_cond_t answered;
	/* The names; once posted, what the loop puts in under the mutex. */
	struct arena arena;
	size_t count;
	struct question questions[];
};

/* ---- on the loop ---- */

static enum lookup_status
status_of(const struct dns_answer *answer)
{
	switch (answer->status) {
	case DNS_FOUND:
		return answer->count > 0 ? LOOKUP_FOUND : LOOKUP_ABSENT;
	case DNS_NO_DATA:
	case DNS_NO_NAME:
		return LOOKUP_ABSENT;
	case DNS_FAILED:
		return LOOKUP_FAILED;
	}
	return LOOKUP_FAILED;
}

static void
question_done(struct dns_query *query, const struct dns_answer *answer)
{
	struct question *question = CONTAINER(query, struct question, query);
	struct records *records = question->records;

	uv_mutex_lock(&records->mutex);
	ASSERT(!question->is_done);
	question->status = status_of(answer);
	if (question->status == LOOKUP_FOUND)
		for (size_t i = 0;
		     i < answer->count && i < COUNT(question->texts); i++)
			question->texts[question->count++] =
				arena_copy(&records->arena,
					   answer->records[i].name);
	question->is_done = true;
	uv_cond_signal(&records->answered);
	uv_mutex_unlock(&records->mutex);
}

static void
start_run(struct post *post)
{
	struct records *records = CONTAINER(post, struct records, start);

	for (size_t i = 0; i < records->count; i++) {
		struct question *question = &records->questions[i];

		question->query.done = question_done;
		dns_start(records->resolver->dns, &question->query,
			  question->name, DNS_TXT);
	}
}

static void
end_run(struct post *post)
{
	struct records *records = CONTAINER(post, struct records, end);

	for (size_t i = 0; i < records->count; i++)
		if (!records->questions[i].is_done)
			dns_cancel(&records->questions[i].query);
	uv_mutex_destroy(&records->mutex);
	uv_cond_destroy(&records->answered);
	arena_done(&records->arena);
	free(records);
}

/* ---- on the threads that wait ---- */

static struct records *
records_start(void *owner, const struct slice *names, size_t count,
	      uint64_t timeout_ms)
{
	struct resolver *resolver = owner;
	struct records *records =
		memory_new(sizeof(*records) +
			   count * sizeof(records->questions[0]));

	records->resolver = resolver;
	records->deadline_ms = clock_now_ms() + timeout_ms;
	ASSERT(uv_mutex_init(&records->mutex) == 0);
	ASSERT(uv_cond_init(&records->answered) == 0);
	records->count = count;
	for (size_t i = 0; i < count; i++) {
		records->questions[i].records = records;
		records->questions[i].name =
			arena_copy(&records->arena, names[i]);
	}
	loop_post(&resolver->loop, &records->start, start_run);
	return records;
}

/* Under the mutex. */
static void
question_wait(struct records *records, const struct question *question)
{
	while (!question->is_done) {
		uint64_t now_ms = clock_now_ms();

		if (now_ms >= records->deadline_ms)
			return;
		uv_cond_timedwait(&records->answered, &records->mutex,
				  (records->deadline_ms - now_ms) * 1000000);
	}
}

static enum lookup_status
records_take(struct records *records, size_t i, struct slice *texts,
	     size_t max, size_t *count_out)
{
	const struct question *question = &records->questions[i];
	enum lookup_status status = LOOKUP_FAILED;

	ASSERT(i < records->count);
	*count_out = 0;
	uv_mutex_lock(&records->mutex);
	question_wait(records, question);
	if (question->is_done) {
		status = question->status;
		for (size_t k = 0; k < question->count && k < max; k++)
			texts[(*count_out)++] = question->texts[k];
	}
	uv_mutex_unlock(&records->mutex);
	return status;
}

static void
records_end(struct records *records)
{
	loop_post(&records->resolver->loop, &records->end, end_run);
}

/* ---- the resolver ---- */

static bool
thread_start(struct resolver *resolver, struct fault *fault)
{
	sigset_t all, before;
	bool is_good;

	sigfillset(&all);
	ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	is_good = loop_start(&resolver->loop, fault);
	ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	return is_good;
}

bool
resolver_new(const struct address *servers, size_t count,
	     struct resolver **resolver_out, struct fault *fault)
{
	struct resolver *resolver = memory_new(sizeof(*resolver));

	if (!loop_init(&resolver->loop, 0, fault)) {
		free(resolver);
		return false;
	}
	if (!dns_new(&resolver->loop, servers, count, &resolver->dns, fault)) {
		loop_done(&resolver->loop);
		free(resolver);
		return false;
	}
	resolver->source = (struct records_source){.owner = resolver,
						   .start = records_start,
						   .take = records_take,
						   .end = records_end};
	if (!thread_start(resolver, fault)) {
		dns_close(resolver->dns);
		loop_done(&resolver->loop);
		free(resolver);
		return false;
	}
	*resolver_out = resolver;
	return true;
}

static void
close_run(struct post *post)
{
	struct resolver *resolver = CONTAINER(post, struct resolver, close);

	dns_close(resolver->dns);
	loop_stop(&resolver->loop);
}

void
resolver_free(struct resolver *resolver)
{
	if (resolver == NULL)
		return;
	/* Behind whatever was ended before, and the stop behind it: a loop that
	 * is told to stop leaves what was posted meanwhile. */
	loop_post(&resolver->loop, &resolver->close, close_run);
	loop_join(&resolver->loop);
	loop_done(&resolver->loop);
	free(resolver);
}

struct servers {
	struct post post;
	struct resolver *resolver;
	size_t count;
	struct address items[];
};

static void
reconfigure_run(struct post *post)
{
	struct servers *servers = CONTAINER(post, struct servers, post);

	dns_reconfigure(servers->resolver->dns, servers->items,
			servers->count);
	free(servers);
}

void
resolver_reconfigure(struct resolver *resolver, const struct address *addresses,
		     size_t count)
{
	struct servers *servers = memory_new(
		sizeof(*servers) + count * sizeof(servers->items[0]));

	servers->resolver = resolver;
	servers->count = count;
	for (size_t i = 0; i < count; i++)
		servers->items[i] = addresses[i];
	loop_post(&resolver->loop, &servers->post, reconfigure_run);
}

const struct records_source *
resolver_source(struct resolver *resolver)
{
	return &resolver->source;
}

/* ---- one question ---- */

struct lookup {
	struct post post;
	struct dns_query query;
	struct resolver *resolver;
	struct slice name;
	enum dns_type type;
	struct arena *arena;
	struct dns_answer *answer;
	uv_sem_t answered;
};

static void
lookup_done(struct dns_query *query, const struct dns_answer *answer)
{
	struct lookup *lookup = CONTAINER(query, struct lookup, query);

	*lookup->answer = *answer;
	lookup->answer->records = arena_array(lookup->arena, answer->count,
					      sizeof(*answer->records));
	for (size_t i = 0; i < answer->count; i++) {
		lookup->answer->records[i] = answer->records[i];
		lookup->answer->records[i].name =
			arena_copy(lookup->arena, answer->records[i].name);
	}
	uv_sem_post(&lookup->answered);
}

static void
lookup_run(struct post *post)
{
	struct lookup *lookup = CONTAINER(post, struct lookup, post);

	lookup->query.done = lookup_done;
	dns_start(lookup->resolver->dns, &lookup->query, lookup->name,
		  lookup->type);
}

void
resolver_ask(struct resolver *resolver, struct slice name, enum dns_type type,
	     struct arena *arena, struct dns_answer *answer_out)
{
	struct lookup lookup = {.resolver = resolver,
				.name = name,
				.type = type,
				.arena = arena,
				.answer = answer_out};

	ASSERT(uv_sem_init(&lookup.answered, 0) == 0);
	loop_post(&resolver->loop, &lookup.post, lookup_run);
	uv_sem_wait(&lookup.answered);
	uv_sem_destroy(&lookup.answered);
}
