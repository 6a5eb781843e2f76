#include "tests/unit/relay/queue/queue.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- directories --- */

void
directory_make(char path[64])
{
	const char *base = getenv("TMPDIR");

	snprintf(path, 64, "%.30s/signet-queue-XXXXXX",
		 base != NULL ? base : "/tmp");
	ASSERT(mkdtemp(path) != NULL);
}

static int
remove_one(const char *path, const struct stat *status, int kind,
	   struct FTW *where)
{
	(void)status;
	(void)kind;
	(void)where;
	return remove(path);
}

void
directory_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* --- messages --- */

char
message_byte(size_t offset)
{
	return (char)('!' + offset * 7 % 90);
}

static void
body_fill(struct message *message, size_t size)
{
	struct body *body = &message->body;
	size_t count = (size + BODY_CHUNK - 1) / BODY_CHUNK;

	body->size = size;
	body->header_len = size;
	body->chunks_count = count;
	body->chunks = arena_array(&message->arena, count,
				   sizeof(*body->chunks));
	for (size_t i = 0; i < count; i++) {
		size_t len = size - i * BODY_CHUNK;
		char *bytes;

		if (len > BODY_CHUNK)
			len = BODY_CHUNK;
		bytes = arena_new(&message->arena, len);
		for (size_t at = 0; at < len; at++)
			bytes[at] = message_byte(i * BODY_CHUNK + at);
		body->chunks[i] = slice_of(bytes, len);
	}
}

struct message *
message_make(const char *from, const char *recipients, size_t body_size)
{
	struct message *message = message_new(SLICE(from));
	struct slice rest = SLICE(recipients), address;

	while (slice_split(&rest, ' ', &address))
		message_add_recipient(
			message, address,
			slice_from(address,
				   (size_t)slice_find(address, '@') + 1));
	message->prefix = arena_copy(&message->arena,
				     SLICE("X-Prefix: one\r\n"));
	body_fill(message, body_size);
	return message;
}

/* --- waiting --- */

struct waiter {
	uv_mutex_t mutex;
	uv_cond_t cond;
	bool is_done, has_failed;
	struct fault fault;
};

static void
waiter_init(struct waiter *waiter)
{
	*waiter = (struct waiter){0};
	uv_mutex_init(&waiter->mutex);
	uv_cond_init(&waiter->cond);
}

static void
waiter_wake(struct waiter *waiter, const struct fault *fault)
{
	uv_mutex_lock(&waiter->mutex);
	waiter->is_done = true;
	waiter->has_failed = fault != NULL;
	if (fault != NULL)
		waiter->fault = *fault;
	uv_cond_signal(&waiter->cond);
	uv_mutex_unlock(&waiter->mutex);
}

static bool
waiter_wait(struct waiter *waiter, struct fault *fault)
{
	uv_mutex_lock(&waiter->mutex);
	while (!waiter->is_done)
		uv_cond_wait(&waiter->cond, &waiter->mutex);
	uv_mutex_unlock(&waiter->mutex);
	uv_mutex_destroy(&waiter->mutex);
	uv_cond_destroy(&waiter->cond);
	if (waiter->has_failed && fault != NULL)
		*fault = waiter->fault;
	return !waiter->has_failed;
}

static void
move_all(struct list *from, struct list *to)
{
	struct list *item;

	while ((item = list_take_first(from)) != NULL)
		list_add_last(to, item);
}

static void
put_done(struct store_put *put, const struct fault *fault)
{
	waiter_wake(put->private, fault);
}

bool
put_wait(struct store *store, struct loop *loop, struct message *message,
	 struct list *deliveries_out, struct fault *fault)
{
	struct waiter waiter;
	/* Outlives the callback, which the store's thread may still be in. */
	struct store_put *put = memory_new(sizeof(*put));
	bool is_done;

	waiter_init(&waiter);
	*put = (struct store_put){.message = message, .loop = loop,
				  .done = put_done, .private = &waiter};
	store_put(store, put);
	is_done = waiter_wait(&waiter, fault);
	if (deliveries_out != NULL)
		move_all(&put->deliveries, deliveries_out);
	else
		deliveries_free(&put->deliveries);
	free(put);
	return is_done;
}

struct beat {
	struct store_beat beat;
	struct waiter waiter;
};

static void
beat_back(struct post *post)
{
	waiter_wake(&CONTAINER(post, struct beat, beat.post)->waiter, NULL);
}

void
beat_wait(struct store *store, struct loop *loop)
{
	struct beat beat = {.beat = {.loop = loop, .back = beat_back}};

	waiter_init(&beat.waiter);
	store_beat(store, &beat.beat);
	ASSERT(waiter_wait(&beat.waiter, NULL));
}

static void
settle_done(struct store_settle *settle, const struct fault *fault)
{
	waiter_wake(settle->private, fault);
}

bool
settle_wait(struct store *store, struct loop *loop, struct delivery *delivery,
	    uint64_t due_ms, struct message *report, struct fault *fault)
{
	struct waiter waiter;
	struct store_settle *settle = memory_new(sizeof(*settle));
	bool is_done;

	waiter_init(&waiter);
	*settle = (struct store_settle){.delivery = delivery, .due_ms = due_ms,
					.loop = loop,
					.done = settle_done,
					.private = &waiter};
	if (report != NULL)
		settle->reports[settle->reports_count++].message = report;
	store_settle(store, settle);
	is_done = waiter_wait(&waiter, fault);
	if (report != NULL)
		deliveries_free(&settle->reports[0].deliveries);
	free(settle);
	return is_done;
}

/* Settlements that wait together for one answer. */
struct settle_group {
	struct waiter waiter;
	size_t left;
	struct fault fault;
	bool has_failed;
	struct store_settle settles[];
};

/* On the loop, one after the other. */
static void
settle_group_done(struct store_settle *settle, const struct fault *fault)
{
	struct settle_group *group = settle->private;

	if (fault != NULL) {
		group->has_failed = true;
		group->fault = *fault;
	}
	if (--group->left == 0)
		waiter_wake(&group->waiter,
			    group->has_failed ? &group->fault : NULL);
}

bool
settle_all_wait(struct store *store, struct loop *loop,
		struct list *deliveries, struct fault *fault)
{
	size_t count = list_count(deliveries), i = 0;
	struct settle_group *group = memory_new(
		sizeof(*group) + count * sizeof(group->settles[0]));
	bool is_done = true;

	waiter_init(&group->waiter);
	group->left = count;
	LIST_EACH (item, deliveries)
		group->settles[i++] = (struct store_settle){
			.delivery = CONTAINER(item, struct delivery, link),
			.loop = loop,
			.done = settle_group_done,
			.private = group};
	for (i = 0; i < count; i++)
		store_settle(store, &group->settles[i]);
	if (count > 0)
		is_done = waiter_wait(&group->waiter, fault);
	free(group);
	return is_done;
}

static void
due_done(struct store_read_due *read, const struct fault *fault)
{
	waiter_wake(read->private, fault);
}

bool
due_wait(struct store *store, struct loop *loop, const char *destination,
	 uint64_t until_ms, size_t max, struct list *deliveries,
	 uint64_t *next_due_ms_out, struct fault *fault)
{
	struct waiter waiter;
	struct store_read_due *read = memory_new(sizeof(*read));
	bool is_done;

	waiter_init(&waiter);
	*read = (struct store_read_due){.destination = SLICE(destination),
					.until_ms = until_ms, .max = max,
					.loop = loop, .done = due_done,
					.private = &waiter};
	store_read_due(store, read);
	is_done = waiter_wait(&waiter, fault);
	move_all(&read->deliveries, deliveries);
	if (next_due_ms_out != NULL)
		*next_due_ms_out = read->next_due_ms;
	free(read);
	return is_done;
}

static void
body_done(struct store_read_body *read, const struct fault *fault)
{
	waiter_wake(read->private, fault);
}

bool
body_wait(struct store *store, struct loop *loop, struct message *message,
	  struct text *out, struct fault *fault)
{
	bool is_done = true;

	while (is_done && out->len < message->body.size) {
		struct waiter waiter;
		struct store_read_body *read = memory_new(sizeof(*read));

		waiter_init(&waiter);
		*read = (struct store_read_body){.message = message,
						 .offset = out->len,
						 .max = BODY_CHUNK,
						 .loop = loop,
						 .done = body_done,
						 .private = &waiter};
		store_read_body(store, read);
		is_done = waiter_wait(&waiter, fault);
		text_add(out, text_slice(&read->bytes));
		text_done(&read->bytes);
		free(read);
	}
	return is_done;
}

size_t
list_count(const struct list *list)
{
	size_t count = 0;

	for (const struct list *item = list->next; item != list;
	     item = item->next)
		count++;
	return count;
}

static void
on_keep(uv_timer_t *timer)
{
	(void)timer;
}

void
stand_begin(char path[64], struct store **store, struct loop *loop,
	    uv_timer_t *keep)
{
	directory_make(path);
	*store = store_of(path);
	ASSERT(loop_init(loop, 0, NULL));
	uv_timer_init(&loop->uv, keep);
	uv_timer_start(keep, on_keep, 50, 50);
}

void
stand_end(const char *path, struct store *store, struct loop *loop,
	  uv_timer_t *keep)
{
	uv_close((uv_handle_t *)keep, NULL);
	store_close(store);
	loop_done(loop);
	directory_remove(path);
}

struct store *
store_of(const char *path)
{
	struct store *store = NULL;

	ASSERT(store_open(path, 0, &store, NULL));
	return store;
}

static void
on_last(uv_async_t *handle)
{
	uv_close((uv_handle_t *)handle, NULL);
}

void
threaded_begin(char path[64], struct store **store, struct loop *loop,
	       uv_async_t *keep)
{
	directory_make(path);
	ASSERT(loop_init(loop, 0, NULL));
	uv_async_init(&loop->uv, keep, on_last);
	*store = store_of(path);
	ASSERT(loop_start(loop, NULL));
}

void
threaded_end(const char *path, struct store *store, struct loop *loop,
	     uv_async_t *keep)
{
	uv_async_send(keep);
	loop_stop(loop);
	loop_join(loop);
	store_close(store);
	loop_done(loop);
	directory_remove(path);
}
