#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/queue/spool.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/*
 * Writing to a file is this file's in place of the C library's: a call takes so
 * many bytes, every other one is interrupted, or it fails.
 */
static size_t taken_max = SIZE_MAX;
static bool is_interrupting;
static int write_errno;

ssize_t
pwritev(int file, const struct iovec *parts, int count, off_t offset)
{
	static atomic_uint calls;
	size_t left = taken_max, taken = 0;

	errno = write_errno;
	if (write_errno != 0)
		return -1;
	errno = EINTR;
	if (is_interrupting && atomic_fetch_add(&calls, 1) % 2 == 0)
		return -1;
	for (int i = 0; i < count && left > 0; i++) {
		size_t len = parts[i].iov_len < left ? parts[i].iov_len : left;
		ssize_t put = pwrite(file, parts[i].iov_base, len,
				     offset + (off_t)taken);

		cr_assert_eq(put, (ssize_t)len);
		taken += len;
		left -= len;
	}
	return (ssize_t)taken;
}

static char path[64];
static struct loop loop;
static struct store *store;

static uv_timer_t keep;
static size_t descriptors; /* that were open at first */

static size_t
descriptors_count(void)
{
	DIR *list = opendir("/proc/self/fd");
	size_t count = 0;

	cr_assert_not_null(list);
	while (readdir(list) != NULL)
		count++;
	closedir(list);
	return count;
}

static void
begin(void)
{
	stand_begin(path, &store, &loop, &keep);
	descriptors = descriptors_count();
}

static void
end(void)
{
	/* Behind the last job's answer, if that is still on its way. */
	uv_timer_stop(&keep);
	loop_stop(&loop);
	uv_run(&loop.uv, UV_RUN_DEFAULT);
	/* Here Criterion counts no expectation that fails, but an abort. */
	ASSERT(spool_room_memory(store_spool_room(store)) == 0);
	ASSERT(descriptors_count() == descriptors);
	stand_end(path, store, &loop, &keep);
}

static struct {
	unsigned drained, done, failed;
	uint64_t memory; /* at most, of all messages */
} seen;

static void
on_event(void *owner, enum spool_event event)
{
	(void)owner;
	switch (event) {
	case SPOOL_DRAINED:
		seen.drained++;
		return;
	case SPOOL_DONE:
		seen.done++;
		return;
	case SPOOL_FAILED:
		seen.failed++;
		return;
	}
}

static bool
file_exists(const struct message *message)
{
	char name[160], id[MESSAGE_ID_TEXT + 1];

	message_id_write(&message->id, id);
	snprintf(name, sizeof(name), "%s/spool/%s", path, id);
	return access(name, F_OK) == 0;
}

/* Writes pieces of this size, waiting whenever told to. */
static struct spool *
spool_fill(struct message *message, size_t size, size_t piece)
{
	struct spool *spool =
		spool_new(store, &loop, message, on_event, NULL);
	CLEAN(text_done) struct text bytes = {0};

	for (size_t at = 0; at < size && seen.failed == 0;) {
		size_t len = size - at < piece ? size - at : piece;
		unsigned drained = seen.drained;
		bool goes_on;
		uint64_t memory;

		text_clear(&bytes);
		for (size_t i = 0; i < len; i++)
			text_add_byte(&bytes, message_byte(at + i));
		at += len;
		goes_on = spool_write(spool, text_slice(&bytes));
		memory = spool_room_memory(store_spool_room(store));
		if (memory > seen.memory)
			seen.memory = memory;
		if (goes_on)
			continue;
		while (seen.drained == drained && seen.failed == 0)
			uv_run(&loop.uv, UV_RUN_ONCE);
	}
	return spool;
}

/* From every offset around the ends of chunks, in pieces of many sizes. */
static void
expect_readable(struct message *message, size_t size, const char *name)
{
	static const size_t sizes[] = {1, 5000, BODY_CHUNK, BODY_CHUNK + 1,
				       BODY_READ_MAX, SIZE_MAX};
	struct spool_room *room = store_spool_room(store);

	for (size_t i = 0; i < 12 * COUNT(sizes); i++) {
		CLEAN(text_done) struct text bytes = {0}, now = {0};
		size_t at = i / COUNT(sizes) / 3 * 3 * BODY_CHUNK +
			    i / COUNT(sizes) % 3 * (BODY_CHUNK - 1);
		size_t max = sizes[i % COUNT(sizes)], wanted;
		struct fault fault = {0};

		if (at >= size)
			break;
		wanted = BODY_READ_MAX - at % BODY_CHUNK;
		if (wanted > max)
			wanted = max;
		if (wanted > size - at)
			wanted = size - at;
		text_add_string(&bytes, "x");
		cr_assert(spool_read(room, message, at, max, &bytes, &fault),
			  "%s: %s", name, fault.text);
		cr_assert_eq(bytes.len, 1 + wanted, "%s: %zu at %zu: %zu", name,
			     max, at, bytes.len - 1);
		for (size_t j = 0; j < wanted; j++)
			cr_assert_eq(bytes.bytes[1 + j], message_byte(at + j),
				     "%s: %zu at %zu", name, j, at);
		/* Just written: it is in memory. */
		cr_assert(spool_read_now(room, message, at, max, &now));
		cr_assert(slice_eq(text_slice(&now),
				   slice_from(text_slice(&bytes), 1)));
	}
}

static void
expect_stored(struct message *message, size_t size, const char *name)
{
	size_t wrong = 0, at = 0;

	if (!message->body.is_file) {
		for (size_t i = 0; i < message->body.chunks_count; i++)
			for (size_t j = 0; j < message->body.chunks[i].len; j++)
				wrong += message->body.chunks[i].bytes[j] !=
					 message_byte(at++);
	} else {
		CLEAN(text_done) struct text bytes = {0};
		struct fault fault = {0};

		while (bytes.len < size &&
		       spool_read(store_spool_room(store), message, bytes.len,
				  5000, &bytes, &fault))
			;
		cr_expect_eq(fault.kind, FAULT_NONE, "%s: %s", name,
			     fault.text);
		for (at = 0; at < bytes.len; at++)
			wrong += bytes.bytes[at] != message_byte(at);
		expect_readable(message, size, name);
	}
	cr_expect_eq(at, size, "%s: %zu bytes", name, at);
	cr_expect_eq(wrong, 0, "%s: %zu bytes differ", name, wrong);
}

static const struct spool_row {
	const char *name;
	size_t size, piece;
	uint64_t memory;
	bool is_file;
} spool_rows[] = {
	{"nothing", 0, 1, 1 << 20, false},
	{"a byte", 1, 1, 1 << 20, false},
	{"a small one in small pieces", 5000, 7, 1 << 20, false},
	{"a chunk", BODY_CHUNK, 1000, 1 << 20, false},
	{"the largest in memory", BODY_INLINE_MAX, 65536, 1 << 20, false},
	{"a byte more", BODY_INLINE_MAX + 1, 65536, 1 << 20, true},
	{"many chunks", 3000000, 65536, 1 << 20, true},
	{"many chunks in small pieces", 1000000, 999, 1 << 20, true},
	{"in one piece", 3000000, 3000000, 1 << 24, true},
	{"no memory left", 5000, 500, 0, true},
	{"little memory left", 100000, 500, 20000, true},
};

Test(spool, keeps_what_is_written, .init = begin, .fini = end)
{
	for (size_t i = 0; i < COUNT(spool_rows); i++) {
		const struct spool_row *row = &spool_rows[i];
		struct message *message = message_new(SLICE_NONE);
		struct spool *spool;

		memset(&seen, 0, sizeof(seen));
		store_set_limits(store, &(struct store_limits){
			.memory_bytes = row->memory,
			.min_free_bytes = 0});
		spool = spool_fill(message, row->size, row->piece);
		spool_finish(spool);
		cr_expect_eq(seen.done, 0, "%s: from inside", row->name);
		while (seen.done + seen.failed == 0)
			uv_run(&loop.uv, UV_RUN_ONCE);
		cr_expect_eq(seen.done, 1, "%s", row->name);
		cr_expect_eq(message->body.size, row->size, "%s", row->name);
		cr_expect_eq(message->body.is_file, row->is_file, "%s",
			     row->name);
		expect_stored(message, row->size, row->name);
		cr_expect_eq(file_exists(message), row->is_file);
		/* Nobody stored it. */
		message_ref(message);
		message_unref(message);
		{
			struct message_id id = message->id;
			struct message gone = {.id = id};

			message_unref(message);
			cr_expect_not(file_exists(&gone), "%s: file stays",
				      row->name);
		}
	}
}

/* Large batches only where there is memory for many of them; what is written
 * while one is under way, and a piece, come on top. */
static const struct batch_row {
	const char *name;
	uint64_t memory, least, most;
} batch_rows[] = {
	{"much memory", 64 * MIB, SPOOL_BATCH_LARGE, SPOOL_BATCH_LARGE * 3 / 2},
	{"a large batch is too much", 3 * SPOOL_BATCH_LARGE,
	 SPOOL_BATCH_LARGE * 3 / 4, SPOOL_BATCH_LARGE * 3 / 4 +
	 SPOOL_BATCH_SMALL / 2},
	{"little memory", MIB, SPOOL_BATCH_SMALL, SPOOL_BATCH_SMALL * 3 / 2},
};

Test(spool, writes_in_batches_that_fit, .init = begin, .fini = end)
{
	for (size_t i = 0; i < COUNT(batch_rows); i++) {
		const struct batch_row *row = &batch_rows[i];
		struct message *message = message_new(SLICE_NONE);
		struct spool *spool;

		memset(&seen, 0, sizeof(seen));
		store_set_limits(store, &(struct store_limits){
						.memory_bytes = row->memory});
		spool = spool_fill(message, 8 * MIB, 4 * BODY_CHUNK);
		cr_expect_geq(seen.memory, row->least, "%s: %" PRIu64,
			      row->name, seen.memory);
		cr_expect_leq(seen.memory, row->most + 5 * BODY_CHUNK,
			      "%s: %" PRIu64, row->name, seen.memory);
		spool_finish(spool);
		while (seen.done + seen.failed == 0)
			uv_run(&loop.uv, UV_RUN_ONCE);
		cr_expect_eq(seen.done, 1, "%s", row->name);
		message_unref(message);
	}
}

static void
run_until_gone(const struct message *message)
{
	uint64_t until_ms = clock_now_ms() + MINUTE;

	while ((file_exists(message) ||
		spool_room_memory(store_spool_room(store)) > 0) &&
	       clock_now_ms() < until_ms)
		uv_run(&loop.uv, UV_RUN_ONCE);
}

Test(spool, cancel_at_any_size, .init = begin, .fini = end)
{
	for (size_t i = 0; i < COUNT(spool_rows); i++) {
		const struct spool_row *row = &spool_rows[i];

		for (int finished = 0; finished < 2; finished++) {
			struct message *message = message_new(SLICE_NONE);
			struct message gone = {.id = message->id};
			struct spool *spool;

			memset(&seen, 0, sizeof(seen));
			store_set_limits(store, &(struct store_limits){
			.memory_bytes = row->memory,
			.min_free_bytes = 0});
			spool = spool_fill(message, row->size, row->piece);
			if (finished)
				spool_finish(spool);
			memset(&seen, 0, sizeof(seen));
			spool_cancel(&spool);
			cr_expect_eq(spool, NULL);
			message_unref(message);
			/* Whatever was under way ends without an event. */
			run_until_gone(&gone);
			cr_expect_not(file_exists(&gone), "%s: file stays",
				      row->name);
			cr_expect_eq(seen.drained + seen.done + seen.failed, 0,
				     "%s: an event after the end", row->name);
		}
	}
}

Test(spool, no_room_is_a_limit, .init = begin, .fini = end)
{
	struct message *message = message_new(SLICE_NONE);
	struct spool *spool;

	store_set_limits(store, &(struct store_limits){
			.memory_bytes = 0,
			.min_free_bytes = UINT64_MAX / 4});
	spool = spool_fill(message, 1000000, 65536);
	while (seen.failed == 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
	cr_expect_eq(spool_fault(spool)->kind, FAULT_LIMIT);
	/* That was the last word. */
	spool_finish(spool);
	uv_run(&loop.uv, UV_RUN_NOWAIT);
	cr_expect_eq(seen.failed, 1);
	spool_cancel(&spool);
	message_unref(message);
}

/* The writer may have more in hand when it is told to stop. */
Test(spool, no_is_said_until_it_has_drained, .init = begin, .fini = end)
{
	struct message *message = message_new(SLICE_NONE);
	struct spool *spool =
		spool_new(store, &loop, message, on_event, NULL);
	static char bytes[BODY_CHUNK + 1];

	store_set_limits(store, &(struct store_limits){.memory_bytes = 0});
	cr_assert_not(spool_write(spool, slice_of(bytes, sizeof(bytes))));
	/* What it has of the second chunk has room for this. */
	cr_assert_not(spool_write(spool, SLICE("x")));
	while (seen.drained == 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
	spool_finish(spool);
	while (seen.done == 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
	cr_expect_eq(seen.drained, 1);
	message_unref(message);
}

/* A disk may take less than it is given, and a signal may come: within a
 * checksum, at the end of one, within a chunk. */
Test(spool, what_is_taken_in_pieces_is_written_whole, .init = begin, .fini = end)
{
	static const size_t pieces[] = {7, 8, BODY_CHUNK, BODY_CHUNK + 1};

	is_interrupting = true;
	store_set_limits(store, &(struct store_limits){.memory_bytes = 0});
	for (size_t i = 0; i < COUNT(pieces); i++) {
		struct message *message = message_new(SLICE_NONE);
		struct spool *spool;

		memset(&seen, 0, sizeof(seen));
		taken_max = pieces[i];
		spool = spool_fill(message, 3 * BODY_CHUNK, 999);
		spool_finish(spool);
		while (seen.done + seen.failed == 0)
			uv_run(&loop.uv, UV_RUN_ONCE);
		cr_assert_eq(seen.done, 1, "%zu", pieces[i]);
		expect_stored(message, 3 * BODY_CHUNK, "in pieces");
		message_unref(message);
	}
}

/* So that a client hears of a full disk that it is one. */
static const struct refused_row {
	int system;
	enum fault_kind kind;
} refused_rows[] = {
	{ENOSPC, FAULT_LIMIT},
	{EDQUOT, FAULT_LIMIT},
	{EFBIG, FAULT_LIMIT},
	{EIO, FAULT_SYSTEM},
};

Test(spool, a_write_that_fails_says_why, .init = begin, .fini = end)
{
	store_set_limits(store, &(struct store_limits){.memory_bytes = 0});
	for (size_t i = 0; i < COUNT(refused_rows); i++) {
		struct message *message = message_new(SLICE_NONE);
		struct message gone = {.id = message->id};
		struct spool *spool;

		memset(&seen, 0, sizeof(seen));
		write_errno = refused_rows[i].system;
		spool = spool_fill(message, 3 * BODY_CHUNK, 999);
		cr_assert_eq(seen.failed, 1);
		cr_expect_eq(spool_fault(spool)->kind, refused_rows[i].kind,
			     "%s", spool_fault(spool)->text);
		/* What still comes is taken, and goes nowhere. */
		cr_expect_not(spool_write(spool, SLICE("more")));
		spool_finish(spool);
		spool_cancel(&spool);
		message_unref(message);
		run_until_gone(&gone);
		cr_expect_not(file_exists(&gone));
		cr_expect_eq(seen.done, 0);
	}
}

/* A file that lies there already is somebody else's. */
Test(spool, no_file_is_written_over, .init = begin, .fini = end)
{
	struct message *message = message_new(SLICE_NONE);
	char name[160], id[MESSAGE_ID_TEXT + 1], was[8] = "";
	struct spool *spool;
	int file;

	message_id_write(&message->id, id);
	snprintf(name, sizeof(name), "%s/spool/%s", path, id);
	file = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	cr_assert_geq(file, 0);
	cr_assert_eq(write(file, "theirs", 6), 6);
	store_set_limits(store, &(struct store_limits){.memory_bytes = 0});
	spool = spool_fill(message, 3 * BODY_CHUNK, 999);
	cr_expect_eq(seen.failed, 1);
	spool_cancel(&spool);
	message_unref(message);
	cr_expect_eq(pread(file, was, 7, 0), 6);
	cr_expect_str_eq(was, "theirs");
	cr_expect_eq(access(name, F_OK), 0);
	close(file);
}

Test(spool, a_damaged_file_is_seen, .init = begin, .fini = end)
{
	struct message *message = message_new(SLICE_NONE);
	struct spool *spool;
	CLEAN(text_done) struct text bytes = {0};
	struct fault fault = {0};
	char name[160], id[MESSAGE_ID_TEXT + 1];
	int file;

	store_set_limits(store, &(struct store_limits){
			.memory_bytes = 1 << 20,
			.min_free_bytes = 0});
	spool = spool_fill(message, 1000000, 65536);
	spool_finish(spool);
	while (seen.done + seen.failed == 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
	message_id_write(&message->id, id);
	snprintf(name, sizeof(name), "%s/spool/%s", path, id);
	file = open(name, O_WRONLY);
	cr_assert_geq(file, 0);
	cr_assert_eq(pwrite(file, "\x00", 1, 500000), 1);
	close(file);
	cr_expect(spool_read(store_spool_room(store), message, 0, 100, &bytes,
			     &fault));
	cr_expect_not(spool_read(store_spool_room(store), message, 499500,
				 100, &bytes, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT);
	cr_expect_not(spool_read_now(store_spool_room(store), message, 499500,
				     100, &bytes));
	cr_expect(spool_read_now(store_spool_room(store), message, 600000, 100,
				 &bytes));
	/* Cut off, within a chunk and before one. */
	cr_assert_eq(truncate(name, 950000), 0);
	cr_expect_not(spool_read(store_spool_room(store), message, 949000, 100,
				 &bytes, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT, "%s", fault.text);
	cr_expect_not(spool_read(store_spool_room(store), message, 999000, 100,
				 &bytes, &fault));
	cr_expect_eq(fault.kind, FAULT_INPUT, "%s", fault.text);
	/* Away: whoever may wait says so. */
	cr_assert_eq(unlink(name), 0);
	cr_expect_not(spool_read_now(store_spool_room(store), message, 0, 100,
				     &bytes));
	cr_expect_not(spool_read(store_spool_room(store), message, 0, 100,
				 &bytes, &fault));
	cr_expect_eq(fault.kind, FAULT_ABSENT, "%s", fault.text);
	message_unref(message);
}

Test(spool, what_nobody_names_is_swept, .init = begin, .fini = end)
{
	struct message orphan = {.id = message_id_new()};
	char name[160], id[MESSAGE_ID_TEXT + 1];
	int file;

	message_id_write(&orphan.id, id);
	snprintf(name, sizeof(name), "%s/spool/%s", path, id);
	file = open(name, O_WRONLY | O_CREAT, 0600);
	cr_assert_geq(file, 0);
	close(file);
	snprintf(name, sizeof(name), "%s/spool/notes.txt", path);
	file = open(name, O_WRONLY | O_CREAT, 0600);
	cr_assert_geq(file, 0);
	close(file);
	store_close(store);
	cr_assert(store_open(path, 0, &store, NULL));
	cr_expect_not(file_exists(&orphan));
	cr_expect_eq(access(name, F_OK), 0, "what is not ours was removed");
}

/* --- what the store does with the files --- */

static bool is_stored;
static struct list stored;

static void
on_put(struct store_put *put, const struct fault *fault)
{
	struct list *item;

	cr_assert_null(fault);
	while ((item = list_take_first(&put->deliveries)) != NULL)
		list_add_last(&stored, item);
	is_stored = true;
}

static void
on_settled(struct store_settle *settle, const struct fault *fault)
{
	(void)settle;
	cr_assert_null(fault);
	is_stored = true;
}

static void
run_until_stored(void)
{
	while (!is_stored)
		uv_run(&loop.uv, UV_RUN_ONCE);
	is_stored = false;
}

static void
deliver_first(void)
{
	struct delivery *delivery = CONTAINER(list_take_first(&stored),
					      struct delivery, link);
	struct store_settle settle = {.delivery = delivery,
				      .loop = &loop,
				      .done = on_settled};

	delivery->recipients[0].outcome = OUTCOME_DELIVERED;
	store_settle(store, &settle);
	run_until_stored();
	delivery_free(delivery);
}

/* While nobody has it in memory, and until nobody is to get it any more. */
Test(spool, a_file_goes_with_its_last_delivery, .init = begin, .fini = end)
{
	struct message *message = message_make(
		"from@example.org", "a@x.example b@y.example", 0);
	struct store_put put = {.message = message,
				.loop = &loop,
				.done = on_put};
	struct message named = {.id = message->id};
	struct spool *spool;

	list_init(&stored);
	store_set_limits(store, &(struct store_limits){.memory_bytes = 0});
	spool = spool_fill(message, 3 * BODY_CHUNK, 999);
	spool_finish(spool);
	while (seen.done + seen.failed == 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
	cr_assert(message->body.is_file);
	store_put(store, &put);
	run_until_stored();
	message_unref(message);
	cr_assert_eq(list_count(&stored), 2);
	deliver_first();
	cr_expect(file_exists(&named), "the other one needs it");
	deliver_first();
	cr_expect_not(file_exists(&named));
}

/* After a stop in between, it is delivered from there. */
Test(spool, what_is_stored_keeps_its_file, .init = begin, .fini = end)
{
	struct message *message = message_make("from@example.org",
					       "a@x.example", 0);
	struct store_put put = {.message = message,
				.loop = &loop,
				.done = on_put};
	struct message named = {.id = message->id};

	list_init(&stored);
	store_set_limits(store, &(struct store_limits){.memory_bytes = 0});
	spool_finish(spool_fill(message, 3 * BODY_CHUNK, 999));
	while (seen.done + seen.failed == 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
	store_put(store, &put);
	run_until_stored();
	message_unref(message);
	deliveries_free(&stored);
	cr_expect(file_exists(&named), "it is stored, and in no memory");
}
