#include <search.h>
#include <stdlib.h>
#include <sys/random.h>

#include "relay/limits.h"
#include "relay/net/dns.h"
#include "relay/net/dns_cache.h"
#include "relay/net/dns_exchange.h"
#include "relay/net/dns_packet.h"
#include "relay/net/turns.h"

/*
 * A question is asked once for all queries that wait for it. It is on the wire
 * (has an exchange) or in the backlog, until an answer or the end of its tries;
 * its queries then move to `ready`, from where the timer hands them out: so
 * that no callback comes from inside dns_start(), and whoever cancels is simply
 * no longer in the list.
 *
 * Tries go round the resolvers, beginning with the one that answered last. The
 * last round goes over TCP, for networks that let no UDP through.
 */
struct question {
	struct dns_key key;      /* the first member: the tree compares it */
	struct dns *dns;
	struct list link;        /* in dns->asked or dns->backlog */
	struct list waiting;     /* of struct dns_query */
	struct dns_result *result;
	struct dns_question asked; /* the name; or where its aliases led */
	struct dns_exchange *exchange;
	const char *reason;      /* of the last failure */
	uint64_t ttl_ms;
	uint16_t id;
	unsigned tries, aliases, resolver;
	bool is_tcp, without_edns;
	bool is_asked;           /* not in the backlog any more */
	bool is_prompt;          /* as the promptest of its queries */
};

struct dns {
	struct loop *loop;
	struct address resolvers[DNS_RESOLVERS_MAX];
	size_t resolvers_count;
	unsigned preferred;      /* the resolver that answered last */
	struct dns_cache cache;
	void *questions;         /* tree */
	size_t questions_count, asked_count;
	struct list asked;
	struct turns backlog;
	bool is_asking;          /* backlog_ask() is under way */
	struct list ready;       /* queries with an answer */
	uv_timer_t timer;
	size_t queries_open;
};

static void question_ask(struct question *question);
static void ready_deliver(uv_timer_t *timer);

/* The answer of a query that is ready; NULL while it waits. */
static struct dns_result *
query_result(const struct dns_query *query)
{
	return query->state;
}

static void
query_ready(struct dns *dns, struct dns_query *query, struct dns_result *result)
{
	result->references++;
	query->state = result;
	query->question = NULL;
	list_add_last(&dns->ready, &query->link);
	if (!uv_is_active((uv_handle_t *)&dns->timer))
		uv_timer_start(&dns->timer, ready_deliver, 0, 0);
}

static void
ready_deliver(uv_timer_t *timer)
{
	struct dns *dns = timer->data;
	struct list batch, *item;

	/* What becomes ready meanwhile waits for the next turn. A query that
	 * is cancelled leaves whatever list it is in. */
	list_init(&batch);
	while ((item = list_take_first(&dns->ready)) != NULL)
		list_add_last(&batch, item);
	while ((item = list_take_first(&batch)) != NULL) {
		struct dns_query *query =
			CONTAINER(item, struct dns_query, link);
		struct dns_result *result = query_result(query);

		ASSERT(dns->queries_open > 0);
		dns->queries_open--;
		query->dns = NULL;
		query->state = NULL;
		query->done(query, &result->answer);
		dns_result_unref(result);
	}
}

static void
timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void
question_free(struct question *question)
{
	struct dns *dns = question->dns;

	ASSERT(list_is_empty(&question->waiting));
	ASSERT(dns->questions_count > 0);
	if (question->exchange != NULL)
		dns_exchange_cancel(question->exchange);
	tdelete(&question->key, &dns->questions, dns_key_compare);
	dns->questions_count--;
	list_remove(&question->link);
	dns_result_unref(question->result);
	free(question);
}

/* Lets those of the backlog onto the wire for whom there is room. One that
 * fails at once, without a resolver, makes room for the next: that one is asked
 * by the loop that is under way, not from inside it. */
static void
backlog_ask(struct dns *dns)
{
	struct list *item;

	if (dns->is_asking)
		return;
	dns->is_asking = true;
	while (dns->asked_count < DNS_SOCKETS_MAX &&
	       (item = turns_take(&dns->backlog)) != NULL) {
		struct question *question =
			CONTAINER(item, struct question, link);

		question->is_asked = true;
		dns->asked_count++;
		list_add_last(&dns->asked, item);
		question_ask(question);
	}
	dns->is_asking = false;
}

static void
question_end(struct question *question)
{
	struct dns *dns = question->dns;
	struct list *item;

	while ((item = list_take_first(&question->waiting)) != NULL)
		query_ready(dns, CONTAINER(item, struct dns_query, link),
			    question->result);
	question_free(question);
	ASSERT(dns->asked_count > 0);
	dns->asked_count--;
	backlog_ask(dns);
}

static void
question_fail(struct question *question, const char *reason)
{
	question->result->answer =
		(struct dns_answer){DNS_FAILED, NULL, 0, reason};
	question_end(question);
}

static void
question_answered(struct question *question, const struct dns_answer *answer,
		  uint64_t ttl_ms)
{
	struct dns *dns = question->dns;

	if (ttl_ms < question->ttl_ms)
		question->ttl_ms = ttl_ms;
	dns->preferred = question->resolver;
	question->result->answer = *answer;
	dns_cache_add(&dns->cache, question->result, clock_now_ms(),
		      question->ttl_ms);
	question_end(question);
}

/* On to the next resolver, or the next round. */
static void
question_try_next(struct question *question, const char *reason)
{
	struct dns *dns = question->dns;

	question->reason = reason;
	question->tries++;
	/* Old routers, and filters, drop what has it without a word. */
	question->without_edns = question->tries >= dns->resolvers_count;
	if (dns->resolvers_count == 0 ||
	    question->tries >= DNS_TRIES * dns->resolvers_count) {
		question_fail(question, reason);
		return;
	}
	question->resolver =
		(question->resolver + 1) % (unsigned)dns->resolvers_count;
	question->is_tcp =
		question->tries >= (DNS_TRIES - 1) * dns->resolvers_count;
	question_ask(question);
}

static void
question_follow(struct question *question, const struct dns_name *alias,
		uint64_t ttl_ms)
{
	if (++question->aliases > DNS_ALIASES_MAX) {
		question_fail(question, "too many aliases");
		return;
	}
	if (ttl_ms < question->ttl_ms)
		question->ttl_ms = ttl_ms;
	question->asked.name = *alias;
	question->is_tcp = false;
	question_ask(question);
}

static void
question_take(struct question *question, enum dns_packet_status status,
	      const struct dns_packet_answer *answer)
{
	switch (status) {
	case DNS_PACKET_ANSWER:
		question_answered(question, &answer->answer, answer->ttl_ms);
		return;
	case DNS_PACKET_ALIAS:
		question_follow(question, &answer->alias, answer->ttl_ms);
		return;
	case DNS_PACKET_TRUNCATED:
		if (question->is_tcp) {
			question_try_next(question, "truncated over TCP");
			return;
		}
		question->is_tcp = true;
		question_ask(question);
		return;
	case DNS_PACKET_NO_EDNS:
		if (question->without_edns) {
			question_try_next(question, answer->answer.reason);
			return;
		}
		question->without_edns = true;
		question_ask(question);
		return;
	case DNS_PACKET_BAD:
		question_try_next(question, answer->answer.reason);
		return;
	case DNS_PACKET_FOREIGN:
		break;
	}
	ASSERT(status != DNS_PACKET_FOREIGN);
}

static bool
exchange_packet(void *owner, struct slice packet)
{
	struct question *question = owner;
	struct dns_packet_answer answer = {.ttl_ms = 0};
	enum dns_packet_status status =
		dns_packet_read(packet, &question->asked, question->id,
				&question->result->arena, &answer);

	if (status == DNS_PACKET_FOREIGN)
		return false;
	/* The exchange ends itself when we say that this was the answer. */
	question->exchange = NULL;
	question_take(question, status, &answer);
	return true;
}

static void
exchange_failed(void *owner, const char *reason)
{
	struct question *question = owner;

	question->exchange = NULL;
	question_try_next(question, reason);
}

static const struct dns_exchange_events exchange_events = {
	exchange_packet,
	exchange_failed,
};

static uint16_t
random_id(void)
{
	uint16_t id;

	ASSERT(getrandom(&id, sizeof(id), 0) == (ssize_t)sizeof(id));
	return id;
}

static void
question_ask(struct question *question)
{
	struct dns *dns = question->dns;
	CLEAN(text_done) struct text packet = {0};

	ASSERT(question->exchange == NULL);
	if (dns->resolvers_count == 0) {
		question_fail(question, "no resolver is configured");
		return;
	}
	question->id = random_id();
	if (!dns_packet_write(&question->asked, question->id,
			      !question->without_edns, &packet)) {
		question_fail(question, "the question cannot be written");
		return;
	}
	/* A reload may have left fewer of them. */
	question->resolver %= (unsigned)dns->resolvers_count;
	question->exchange = dns_exchange_start(
		dns->loop, &dns->resolvers[question->resolver],
		question->is_tcp, text_slice(&packet), &exchange_events,
		question);
}

bool
dns_new(struct loop *loop, const struct address *resolvers, size_t count,
	struct dns **dns_out, struct fault *fault)
{
	struct dns *dns = memory_new(sizeof(*dns));

	dns->loop = loop;
	if (uv_timer_init(&loop->uv, &dns->timer) != 0) {
		free(dns);
		return fault_set(fault, FAULT_SYSTEM, "no timer for DNS");
	}
	dns->timer.data = dns;
	list_init(&dns->asked);
	turns_init(&dns->backlog);
	list_init(&dns->ready);
	dns_cache_init(&dns->cache);
	dns_reconfigure(dns, resolvers, count);
	*dns_out = dns;
	return true;
}

/* Who waits for an answer, and who asks the same again, waits for one of the
 * new resolvers. */
static void
asked_restart(struct dns *dns)
{
	LIST_EACH(item, &dns->asked) {
		struct question *question =
			CONTAINER(item, struct question, link);

		if (question->exchange == NULL)
			continue;
		dns_exchange_cancel(TAKE(question->exchange));
		question->tries = question->resolver = 0;
		question->is_tcp = question->without_edns = false;
		question_ask(question);
	}
}

void
dns_reconfigure(struct dns *dns, const struct address *resolvers, size_t count)
{
	if (count > DNS_RESOLVERS_MAX)
		count = DNS_RESOLVERS_MAX;
	if (count > 0)
		memcpy(dns->resolvers, resolvers, count * sizeof(*resolvers));
	dns->resolvers_count = count;
	dns->preferred = 0;
	dns_cache_clear(&dns->cache);
	asked_restart(dns);
}

void
dns_close(struct dns *dns)
{
	struct list *item;

	ASSERT(dns->queries_open == 0);
	/* Questions that nobody waits for any more. */
	while ((item = list_take_first(&dns->asked)) != NULL)
		question_free(CONTAINER(item, struct question, link));
	while ((item = turns_take(&dns->backlog)) != NULL)
		question_free(CONTAINER(item, struct question, link));
	dns_cache_done(&dns->cache);
	uv_close((uv_handle_t *)&dns->timer, timer_closed);
}

static struct question *
question_new(struct dns *dns, const struct dns_name *name, enum dns_type type)
{
	struct question *question = memory_new(sizeof(*question));

	question->dns = dns;
	question->result =
		dns_result_new(slice_of(name->bytes, name->len), type);
	question->key = question->result->key;
	question->asked = (struct dns_question){*name, type};
	question->ttl_ms = DNS_TTL_MAX_MS;
	question->resolver = dns->preferred;
	list_init(&question->waiting);
	list_init(&question->link);
	if (tsearch(&question->key, &dns->questions, dns_key_compare) == NULL)
		abort(); /* out of memory, as everywhere */
	dns->questions_count++;
	return question;
}

/* Ends at once, without having asked. */
static void
query_refuse(struct dns *dns, struct dns_query *query, enum dns_status status,
	     const char *reason)
{
	struct dns_result *result = dns_result_new(SLICE_NONE, DNS_A);

	result->answer = (struct dns_answer){status, NULL, 0, reason};
	query_ready(dns, query, result);
	dns_result_unref(result);
}

/* It enters the backlog, or goes over to who is prompt there. */
static void
question_wait(struct question *question, bool is_prompt)
{
	if (question->is_asked)
		return;
	question->is_prompt = is_prompt;
	list_remove(&question->link);
	list_add_last(turns_queue(&question->dns->backlog, is_prompt),
		      &question->link);
}

static void
query_join(struct dns_query *query, struct question *question)
{
	query->question = question;
	list_add_last(&question->waiting, &query->link);
	if (query->is_prompt && !question->is_prompt)
		question_wait(question, true);
}

static void
query_ask(struct dns *dns, struct dns_query *query, const struct dns_name *name,
	  enum dns_type type)
{
	struct dns_key key = {slice_of(name->bytes, name->len), type};
	void *node = tfind(&key, &dns->questions, dns_key_compare);
	struct question *question;

	if (node != NULL) {
		query_join(query, *(struct question **)node);
		return;
	}
	if (dns->questions_count >= DNS_QUERIES_MAX) {
		query_refuse(dns, query, DNS_FAILED,
			     "too many questions under way");
		return;
	}
	question = question_new(dns, name, type);
	question_wait(question, query->is_prompt);
	query_join(query, question);
	backlog_ask(dns);
}

void
dns_start(struct dns *dns, struct dns_query *query, struct slice name,
	  enum dns_type type)
{
	struct dns_name parsed;
	struct dns_result *result;

	ASSERT(query->done != NULL);
	query->dns = dns;
	query->state = NULL;
	query->question = NULL;
	list_init(&query->link);
	dns->queries_open++;
	if (!dns_name_parse(name, &parsed)) {
		query_refuse(dns, query, DNS_NO_NAME, "not a domain name");
		return;
	}
	result = dns_cache_find(
		&dns->cache,
		&(struct dns_key){slice_of(parsed.bytes, parsed.len), type},
		clock_now_ms());
	if (result == NULL) {
		query_ask(dns, query, &parsed, type);
		return;
	}
	query_ready(dns, query, result);
	dns_result_unref(result);
}

void
dns_hurry(struct dns_query *query)
{
	query->is_prompt = true;
	if (query->question != NULL && !query->question->is_prompt)
		question_wait(query->question, true);
}

/* The question goes on: its answer will be of use to the next one. */
void
dns_cancel(struct dns_query *query)
{
	struct dns *dns = query->dns;

	ASSERT(dns != NULL);
	ASSERT(dns->queries_open > 0);
	dns->queries_open--;
	list_remove(&query->link);
	if (query->state != NULL)
		dns_result_unref(query_result(query));
	query->state = NULL;
	query->question = NULL;
	query->dns = NULL;
}
