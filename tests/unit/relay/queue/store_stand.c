#include "tests/unit/relay/queue/store_stand.h"

#include <criterion/criterion.h>

#include "tests/fake/log.h"

char path[64];
struct loop loop;
struct store *store;

static uv_async_t keep;

void
begin(void)
{
	threaded_begin(path, &store, &loop, &keep);
}

void
finish(void)
{
	threaded_end(path, store, &loop, &keep);
	fake_log_clear();
}

struct delivery *
first(struct list *deliveries)
{
	cr_assert_not(list_is_empty(deliveries));
	return CONTAINER(deliveries->next, struct delivery, link);
}
