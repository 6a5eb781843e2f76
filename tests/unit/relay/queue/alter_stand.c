#include "tests/unit/relay/queue/alter_stand.h"

#include <criterion/criterion.h>

#include <stdlib.h>

#include "tests/fake/log.h"

char path[64];
struct store *store;
struct loop loop;
bool is_done;
struct fault last_fault;
struct store_read_page page;
size_t damages_seen;

static uv_timer_t keep;

void
alter_stand_init(void)
{
	stand_begin(path, &store, &loop, &keep);
}

void
alter_stand_done(void)
{
	stand_end(path, store, &loop, &keep);
	fake_log_clear();
}

void
run_until_done(void)
{
	while (!is_done)
		uv_run(&loop.uv, UV_RUN_ONCE);
}

static void
alter_done(struct store_alter *alter, const struct fault *fault)
{
	(void)alter;
	is_done = true;
	last_fault = fault != NULL ? *fault : (struct fault){0};
}

struct store_alter_row
alter(enum alteration alteration, const struct message_id *id,
      const char *destination)
{
	struct store_alter_row row = {.id = *id,
				      .destination = SLICE(destination)};
	struct store_alter alter = {.alteration = alteration,
				    .now_ms = NOW_MS,
				    .rows = &row,
				    .count = 1,
				    .loop = &loop,
				    .done = alter_done};

	is_done = false;
	store_alter(store, &alter);
	run_until_done();
	cr_expect_eq(last_fault.kind, FAULT_NONE, "%s", last_fault.text);
	cr_expect_gt(alter.version, 0);
	return row;
}

static void
put_done(struct store_put *put, const struct fault *fault)
{
	is_done = true;
	cr_assert_null(fault);
	deliveries_free(&put->deliveries);
}

void
put(struct message *message)
{
	struct store_put put = {.message = message,
				.loop = &loop,
				.done = put_done};

	is_done = false;
	store_put(store, &put);
	run_until_done();
}

static void
page_done(struct store_read_page *read, const struct fault *fault)
{
	(void)read;
	is_done = true;
	last_fault = fault != NULL ? *fault : (struct fault){0};
}

size_t
page_read(void)
{
	struct list *item;

	page.loop = &loop;
	page.done = page_done;
	page.max = page.max == 0 ? STORE_PAGE_MAX : page.max;
	is_done = false;
	store_read_page(store, &page);
	run_until_done();
	damages_seen = list_count(&page.damages);
	while ((item = list_take_first(&page.damages)) != NULL)
		free(CONTAINER(item, struct store_damage, link));
	return list_count(&page.deliveries);
}

void
set_aside(const struct message_id *id, uint64_t due_ms)
{
	cr_assert(engine_begin(store->engine, NULL));
	cr_assert(engine_set_aside(store->engine, SLICE("d7.example"), due_ms,
				   id, SLICE("spoilt"), NULL));
	cr_assert(engine_commit(store->engine, NULL));
}
