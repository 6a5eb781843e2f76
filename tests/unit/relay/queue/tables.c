#include <criterion/criterion.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/*
 * Whatever is put, settled, moved and altered together, and wherever a process
 * is killed in the midst of it: the tables agree with each other, and with the
 * files. What is expected of them is kept here too.
 */

#define NOW_MS ((uint64_t)2000000000000)
#define STEPS 400
#define TOGETHER_MAX 8
#define KEPT_MAX 4096
#define DELIVERIES_MIN 100 /* with fewer, more is put */

static const char *const moves[][2] = {
	{"a.example", "a.example/1"},
	{"b.example", "b.example/2"},
	{"c.example", "c.example/1"},
};

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;
static unsigned under_way;

/* What should be stored. */
struct kept {
	struct message_id id;
	struct slice destination; /* one of `moves` */
	bool is_held, is_busy;
	size_t recipients;
};
static struct kept kept[KEPT_MAX];
static size_t kept_count;

static void
on_keep(uv_timer_t *timer)
{
	(void)timer;
}

static void
begin(void)
{
	struct fault fault = {0};

	cr_assert(store_open(path, 0, &store, &fault), "%s", fault.text);
	ASSERT(loop_init(&loop, 0, NULL));
	uv_timer_init(&loop.uv, &keep);
	uv_timer_start(&keep, on_keep, 50, 50);
}

static void
end(void)
{
	uv_close((uv_handle_t *)&keep, NULL);
	store_close(store);
	loop_done(&loop);
}

static struct slice
name_of(struct slice destination)
{
	for (size_t i = 0; i < COUNT(moves); i++)
		for (size_t j = 0; j < 2; j++)
			if (slice_eq(destination, SLICE(moves[i][j])))
				return SLICE(moves[i][j]);
	return SLICE_NONE;
}

static struct slice
name_beside(struct slice destination)
{
	for (size_t i = 0; i < COUNT(moves); i++)
		for (size_t j = 0; j < 2; j++)
			if (slice_eq(destination, SLICE(moves[i][j])))
				return SLICE(moves[i][1 - j]);
	return SLICE_NONE;
}

static void
kept_add(const struct delivery *delivery)
{
	ASSERT(kept_count < KEPT_MAX);
	kept[kept_count++] = (struct kept){
		.id = delivery->message->id,
		.destination = name_of(delivery->destination),
		.recipients = delivery->recipients_count,
	};
}

static struct kept *
kept_find(const struct message_id *id, struct slice destination)
{
	for (size_t i = 0; i < kept_count; i++)
		if (message_id_eq(&kept[i].id, id) &&
		    slice_eq(kept[i].destination, destination))
			return &kept[i];
	return NULL;
}

static void
kept_drop(struct kept *gone)
{
	*gone = kept[--kept_count];
}

/* One that nothing is done with; NULL: none was found. */
static struct kept *
kept_choose(void)
{
	for (int tries = 0; kept_count > 0 && tries < 20; tries++) {
		struct kept *one = &kept[(size_t)random() % kept_count];

		if (one->is_busy)
			continue;
		one->is_busy = true;
		return one;
	}
	return NULL;
}

/* --- operations --- */

static void
deliveries_keep(struct list *deliveries)
{
	LIST_EACH (item, deliveries)
		kept_add(CONTAINER(item, struct delivery, link));
	deliveries_free(deliveries);
}

static void
put_done(struct store_put *put, const struct fault *fault)
{
	ASSERT(fault == NULL);
	deliveries_keep(&put->deliveries);
	free(put);
	under_way--;
}

static void
put_start(struct message *message)
{
	struct store_put *put = memory_new(sizeof(*put));

	put->message = message;
	put->loop = &loop;
	put->done = put_done;
	store_put(store, put);
	message_unref(message);
	under_way++;
}

static const char *const recipients[] = {
	"a@a.example",
	"a@a.example b@a.example c@c.example",
	"a@c.example b@b.example c@a.example d@b.example",
};

/* Of one whose bytes come to a file. */
struct receiving {
	struct message *message;
	struct spool *spool;
};

static void
receiving_on_event(void *owner, enum spool_event event)
{
	struct receiving *receiving = owner;

	if (event == SPOOL_DRAINED)
		return;
	ASSERT(event == SPOOL_DONE);
	under_way--;
	put_start(receiving->message);
	free(receiving);
}

static void
step_put(void)
{
	const char *to = recipients[(size_t)random() % COUNT(recipients)];
	bool is_file = random() % 4 == 0;
	struct message *message = message_make(
		"from@example.org", to,
		is_file ? 0 : (size_t)random() % (3 * BODY_CHUNK));
	struct receiving *receiving;

	if (!is_file) {
		put_start(message);
		return;
	}
	receiving = memory_new(sizeof(*receiving));
	receiving->message = message;
	receiving->spool = spool_new(store, &loop, message, receiving_on_event,
				     receiving);
	(void)spool_write(receiving->spool, SLICE("A: b\r\n\r\nbody\r\n"));
	spool_finish(receiving->spool);
	under_way++;
}

static struct delivery *
delivery_read(const struct kept *one)
{
	struct delivery *delivery = NULL;
	struct fault fault = {0};
	MDB_txn *txn = NULL;

	ASSERT(mdb_txn_begin(store->engine->env, NULL, MDB_RDONLY, &txn) == 0);
	ASSERT(engine_read_delivery(store->engine, txn, one->destination,
				    &one->id, &delivery, &fault));
	mdb_txn_abort(txn);
	return delivery;
}

static void
settle_done(struct store_settle *settle, const struct fault *fault)
{
	struct delivery *delivery = settle->delivery;
	struct kept *one =
		kept_find(&delivery->message->id, delivery->destination);
	size_t left = 0;

	ASSERT(fault == NULL);
	ASSERT(one != NULL);
	for (size_t i = 0; i < delivery->recipients_count; i++)
		left += delivery->recipients[i].outcome == OUTCOME_DEFERRED;
	one->is_busy = false;
	one->recipients = left;
	if (left == 0)
		kept_drop(one);
	for (size_t i = 0; i < settle->reports_count; i++) {
		deliveries_keep(&settle->reports[i].deliveries);
		message_unref(settle->reports[i].message);
	}
	delivery_free(delivery);
	free(settle);
	under_way--;
}

static void
step_settle(void)
{
	static const enum outcome outcomes[] = {
		OUTCOME_DELIVERED, OUTCOME_FAILED, OUTCOME_DEFERRED};
	struct kept *one = kept_choose();
	struct store_settle *settle;

	if (one == NULL || one->is_held) {
		if (one != NULL)
			one->is_busy = false;
		return;
	}
	settle = memory_new(sizeof(*settle));
	settle->delivery = delivery_read(one);
	for (size_t i = 0; i < settle->delivery->recipients_count; i++)
		settle->delivery->recipients[i].outcome =
			outcomes[(size_t)random() % COUNT(outcomes)];
	settle->delivery->last_attempt_ms = NOW_MS;
	settle->due_ms = NOW_MS + (uint64_t)random() % HOUR;
	for (long reports = random() % 4; reports > 1; reports--)
		settle->reports[settle->reports_count++].message =
			message_make("", "from@b.example", 100);
	settle->loop = &loop;
	settle->done = settle_done;
	store_settle(store, settle);
	under_way++;
}

static void
move_done(struct store_move *move, const struct fault *fault)
{
	struct delivery *delivery = (struct delivery *)(uintptr_t)move->delivery;
	struct kept *one =
		kept_find(&delivery->message->id, delivery->destination);

	ASSERT(fault == NULL);
	ASSERT(one != NULL);
	ASSERT(list_count(&move->deliveries) == (one->is_held ? 0 : 1));
	one->is_busy = false;
	one->destination = name_of(move->destination);
	deliveries_free(&move->deliveries);
	delivery_free(delivery);
	free(move);
	under_way--;
}

static void
step_move(void)
{
	struct kept *one = kept_choose();
	struct store_move *move;

	if (one == NULL)
		return;
	move = memory_new(sizeof(*move));
	move->delivery = delivery_read(one);
	move->destination = name_beside(one->destination);
	move->loop = &loop;
	move->done = move_done;
	store_move(store, move);
	under_way++;
}

struct altering {
	struct store_alter alter;
	struct store_alter_row rows[4];
};

static void
alter_done(struct store_alter *alter, const struct fault *fault)
{
	ASSERT(fault == NULL);
	for (size_t i = 0; i < alter->count; i++) {
		const struct store_alter_row *row = &alter->rows[i];
		struct kept *one = kept_find(&row->id, row->destination);

		ASSERT(one != NULL);
		ASSERT(row->altered != ALTERED_GONE &&
		       row->altered != ALTERED_DAMAGED);
		one->is_busy = false;
		if (alter->alteration == ALTER_DELETE)
			kept_drop(one);
		else if (row->altered == ALTERED)
			one->is_held = alter->alteration == ALTER_HOLD;
	}
	free(CONTAINER(alter, struct altering, alter));
	under_way--;
}

static void
step_alter(void)
{
	struct altering *altering = memory_new(sizeof(*altering));
	struct store_alter *alter = &altering->alter;

	alter->alteration = (enum alteration)(random() % (ALTER_DELETE + 1));
	alter->now_ms = NOW_MS;
	alter->rows = altering->rows;
	alter->loop = &loop;
	alter->done = alter_done;
	for (size_t i = 0; i < COUNT(altering->rows); i++) {
		struct kept *one = kept_choose();

		if (one != NULL)
			altering->rows[alter->count++] =
				(struct store_alter_row){
					.id = one->id,
					.destination = one->destination,
					.may_have_file = true};
	}
	if (alter->count == 0) {
		free(altering);
		return;
	}
	store_alter(store, alter);
	under_way++;
}

static void
step(void)
{
	static void (*const steps[])(void) = {step_put, step_settle, step_move,
					      step_alter};
	long together = 1 + random() % TOGETHER_MAX;

	while (together-- > 0)
		if (kept_count < DELIVERIES_MIN)
			step_put();
		else
			steps[(size_t)random() % COUNT(steps)]();
	while (under_way > 0)
		uv_run(&loop.uv, UV_RUN_ONCE);
}

/* --- what is stored --- */

static bool
key_is_there(MDB_txn *txn, MDB_dbi table, struct record_key *key)
{
	struct slice value;

	return engine_get(txn, table, key, &value, NULL);
}

static size_t
table_size(MDB_txn *txn, MDB_dbi table)
{
	MDB_stat stat;

	cr_assert_eq(mdb_stat(txn, table, &stat), 0);
	return stat.ms_entries;
}

static bool
file_is_there(const struct message_id *id)
{
	char name[160], text[MESSAGE_ID_TEXT + 1];

	message_id_write(id, text);
	snprintf(name, sizeof(name), "%s/spool/%s", path, text);
	return access(name, F_OK) == 0;
}

static size_t
files_count(void)
{
	char name[80];
	size_t count = 0;
	DIR *directory;
	const struct dirent *entry;

	snprintf(name, sizeof(name), "%s/spool", path);
	directory = opendir(name);
	cr_assert_not_null(directory);
	while ((entry = readdir(directory)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

/* Of the deliveries of one message: each recipient is in one at most. */
static void
expect_recipients_once(const struct delivery *delivery, uint8_t seen[16])
{
	for (size_t i = 0; i < delivery->recipients_count; i++) {
		unsigned number = delivery->recipients[i].number;

		cr_assert_lt(number, 16);
		cr_expect_eq(seen[number], 0, "a recipient is stored twice");
		seen[number] = 1;
	}
}

static void
check_deliveries(MDB_txn *txn)
{
	struct engine *engine = store->engine;
	struct message_id last = {{0}};
	uint8_t seen[16] = {0};
	MDB_cursor *cursor;
	MDB_val name, value;
	size_t count = 0;

	cr_assert_eq(mdb_cursor_open(txn, engine->deliveries, &cursor), 0);
	while (mdb_cursor_get(cursor, &name, &value, MDB_NEXT) == 0) {
		struct delivery *delivery = NULL;
		struct slice destination;
		struct message_id id;
		struct record_key key;
		struct fault fault = {0};
		bool is_due, is_held;

		cr_assert(record_key_delivery_read(slice_of_val(&name), &id,
						   &destination));
		cr_assert(engine_read_delivery(engine, txn, destination, &id,
					       &delivery, &fault),
			  "%s", fault.text);
		record_key_due(&key, destination, delivery->due_ms, &id);
		is_due = key_is_there(txn, engine->due, &key);
		is_held = key_is_there(txn, engine->held, &key);
		cr_expect_neq(is_due, is_held, "due %d, held %d", is_due,
			      is_held);
		cr_expect_eq(is_held, delivery->is_held);
		if (!message_id_eq(&id, &last))
			memset(seen, 0, sizeof(seen));
		last = id;
		expect_recipients_once(delivery, seen);
		delivery_free(delivery);
		count++;
	}
	mdb_cursor_close(cursor);
	cr_expect_eq(table_size(txn, engine->due) +
			     table_size(txn, engine->held),
		     count, "entries that no delivery has");
	cr_expect_eq(table_size(txn, engine->damaged), 0);
}

/* Record and chunks of a message that has a delivery, and no others. */
static void
check_messages(MDB_txn *txn)
{
	struct engine *engine = store->engine;
	struct store_counters counters;
	size_t keys = 0, files = 0;
	uint64_t messages = 0, bytes = 0;
	MDB_cursor *cursor;
	MDB_val name, value;

	cr_assert_eq(mdb_cursor_open(txn, engine->messages, &cursor), 0);
	while (mdb_cursor_get(cursor, &name, &value, MDB_NEXT) == 0) {
		struct message *message = NULL;
		struct message_id id;
		struct record_key key;
		MDB_cursor *deliveries;
		uint32_t chunks;
		bool has_delivery;

		bytes += value.mv_size;
		memcpy(id.bytes, name.mv_data, MESSAGE_ID_SIZE);
		record_key_message(&key, &id, 0);
		cr_assert_eq(name.mv_size, key.len);
		if (memcmp(name.mv_data, key.bytes, key.len) != 0)
			continue; /* a chunk: counted below */
		cr_assert(record_message_read(&id, slice_of_val(&value),
					      &message, NULL));
		chunks = message->body.is_file
				 ? 0
				 : record_chunks(message->body.size);
		for (uint32_t i = 1; i <= chunks; i++) {
			record_key_message(&key, &id, i);
			cr_expect(key_is_there(txn, engine->messages, &key));
		}
		keys += 1 + chunks;
		messages++;
		files += message->body.is_file;
		bytes += message->body.is_file ? message->body.size : 0;
		if (message->body.is_file)
			cr_expect(file_is_there(&id), "its body is lost");
		message_unref(message);
		cr_assert(engine_find_id(txn, engine->deliveries, &id,
					 &deliveries, &has_delivery, NULL));
		mdb_cursor_close(deliveries);
		cr_expect(has_delivery, "a message without a delivery");
	}
	mdb_cursor_close(cursor);
	cr_expect_eq(keys, table_size(txn, engine->messages),
		     "chunks of no message");
	cr_expect_eq(files, files_count(), "files of no message");
	store_count(store, &counters);
	cr_expect_eq(counters.messages, messages, "%zu are counted of %zu",
		     (size_t)counters.messages, (size_t)messages);
	cr_expect_eq(counters.message_bytes, bytes,
		     "%zu bytes are counted of %zu",
		     (size_t)counters.message_bytes, (size_t)bytes);
}

static void
check(const char *when)
{
	MDB_txn *txn = NULL;

	cr_assert_eq(mdb_txn_begin(store->engine->env, NULL, MDB_RDONLY, &txn),
		     0, "%s", when);
	check_deliveries(txn);
	check_messages(txn);
	mdb_txn_abort(txn);
}

static void
check_kept(const char *when)
{
	struct store_counters counters;
	size_t held = 0;

	check(when);
	store_count(store, &counters);
	for (size_t i = 0; i < kept_count; i++) {
		struct delivery *delivery = delivery_read(&kept[i]);

		cr_expect_eq(delivery->is_held, kept[i].is_held, "%s", when);
		cr_expect_eq(delivery->recipients_count, kept[i].recipients,
			     "%s", when);
		held += kept[i].is_held;
		delivery_free(delivery);
	}
	cr_expect_eq(counters.deliveries, kept_count, "%s", when);
	cr_expect_eq(counters.held, held, "%s", when);
	cr_expect_eq(counters.due, kept_count - held, "%s", when);
}

Test(tables, agree_after_any_operations)
{
	directory_make(path);
	begin();
	store_set_limits(store, &(struct store_limits){
			.memory_bytes = 0,
			.min_free_bytes = 0});
	srandom(7);
	for (int i = 0; i < STEPS; i++) {
		step();
		if (i % 40 != 39)
			continue;
		check_kept("while it is open");
		end();
		begin();
		store_set_limits(store, &(struct store_limits){
			.memory_bytes = 0,
			.min_free_bytes = 0});
		check_kept("once opened anew");
	}
	cr_expect_gt(kept_count, DELIVERIES_MIN / 2, "nothing was tested");
	end();
	cr_expect_eq(fake_log_count("damaged", NULL), 0);
	directory_remove(path);
}

/* --- SIGKILL --- */

#define ROUNDS 8

/* Says a byte for each step. */
static _Noreturn void
child_main(int out, unsigned seed)
{
	kept_count = 0;
	begin();
	store_set_limits(store, &(struct store_limits){
			.memory_bytes = 0,
			.min_free_bytes = 0});
	srandom(seed);
	for (;;) {
		step();
		if (write(out, "", 1) != 1)
			_exit(1);
	}
}

Test(tables, agree_after_sigkill)
{
	directory_make(path);
	for (unsigned round = 0; round < ROUNDS; round++) {
		int ends[2], status;
		pid_t child;
		char byte;

		cr_assert_eq(pipe(ends), 0);
		child = fork();
		if (child == 0) {
			close(ends[0]);
			child_main(ends[1], round);
		}
		close(ends[1]);
		for (unsigned i = 0; i < 40 + 7 * round; i++)
			cr_assert_eq(read(ends[0], &byte, 1), 1);
		usleep(round * 100); /* into a step */
		kill(child, SIGKILL);
		close(ends[0]);
		waitpid(child, &status, 0);
		cr_assert(WIFSIGNALED(status));
		begin();
		check("after a kill");
		end();
	}
	cr_expect_eq(fake_log_count("damaged", NULL), 0);
	directory_remove(path);
}
