#include <criterion/criterion.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "relay/queue/pages.h"
#include "relay/queue/store_engine_private.h"
#include "relay/queue/store_private.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/*
 * A salvage that is asked for by a mark, of a store that is sound, on a disk that
 * need not be: reads and links of this file stand in for the C library's.
 */

#define MESSAGES 40
#define BODY 2000

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;
static struct message_id last; /* of the messages */

/* --- a disk that fails --- */

static ino_t unreadable;
static off_t unreadable_from, unreadable_to; /* in it */
static unsigned failing_reads, failing_links;
static int links_errno;
static uint64_t free_bytes = 4096 * MIB;

static ssize_t
read_one(int descriptor, void *out, size_t len, off_t offset)
{
	struct stat status;

	if (failing_reads > 0 && offset >= unreadable_from &&
	    offset < unreadable_to &&
	    fstat(descriptor, &status) == 0 && status.st_ino == unreadable) {
		failing_reads--;
		errno = EIO;
		return -1;
	}
	return syscall(SYS_pread64, descriptor, out, len, offset);
}

ssize_t
pread(int descriptor, void *out, size_t len, off_t offset)
{
	return read_one(descriptor, out, len, offset);
}

/* What it is where the compiler knows how much room there is. */
ssize_t __pread64_chk(int descriptor, void *out, size_t len, off_t offset,
		      size_t room);

ssize_t
__pread64_chk(int descriptor, void *out, size_t len, off_t offset, size_t room)
{
	cr_assert_leq(len, room);
	return read_one(descriptor, out, len, offset);
}

/* Nor is it waited for. */
int
usleep(useconds_t microseconds)
{
	(void)microseconds;
	return 0;
}

static uint64_t later_ms;

uint64_t __real_clock_wall_ms(void);
uint64_t __wrap_clock_wall_ms(void);

uint64_t
__wrap_clock_wall_ms(void)
{
	return __real_clock_wall_ms() + later_ms;
}

int
link(const char *from, const char *to)
{
	if (failing_links > 0) {
		failing_links--;
		free_bytes = 0;
		errno = links_errno;
		return -1;
	}
	return (int)syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int
fstatvfs(int descriptor, struct statvfs *out)
{
	(void)descriptor;
	*out = (struct statvfs){.f_bsize = 4096, .f_frsize = 4096,
				.f_bavail = free_bytes / 4096};
	return 0;
}

/* --- a store --- */

static void
file_name(char name[160], const char *base)
{
	snprintf(name, 160, "%s/%s", path, base);
}

static bool
is_there(const char *base)
{
	char name[160];

	file_name(name, base);
	return access(name, F_OK) == 0;
}

static void
file_write(const char *base, const char *text)
{
	char name[160];
	FILE *file;

	file_name(name, base);
	file = fopen(name, "w");
	cr_assert_not_null(file, "%s", name);
	fputs(text, file);
	fclose(file);
}

/* What the relay leaves when something seems to be wrong with it. */
static void
mark(const char *reason)
{
	file_write("queue.suspect", reason);
}

static unsigned
asides(void)
{
	unsigned count = 0;
	struct dirent *entry;
	DIR *list = opendir(path);

	cr_assert_not_null(list);
	while ((entry = readdir(list)) != NULL)
		count += strncmp(entry->d_name, "queue.damaged-", 14) == 0;
	closedir(list);
	return count;
}

static void
on_keep(uv_timer_t *timer)
{
	(void)timer;
}

static bool
open_again(struct fault *fault)
{
	*fault = (struct fault){0};
	return store_open(path, 0, &store, fault);
}

static struct store_counters
counts(void)
{
	struct store_counters counters;

	store_count(store, &counters);
	return counters;
}

/* With some messages, and closed. */
static struct store_counters
begin(void)
{
	struct fault fault = {0};
	struct store_counters before;
	struct stat status;
	char name[160];

	directory_make(path);
	cr_assert(open_again(&fault), "%s", fault.text);
	ASSERT(loop_init(&loop, 0, NULL));
	uv_timer_init(&loop.uv, &keep);
	uv_timer_start(&keep, on_keep, 1000, 1000);
	ASSERT(loop_start(&loop, NULL));
	for (unsigned i = 0; i < MESSAGES; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("from@example.org",
				     "a@x.example b@y.example", BODY);

		cr_assert(put_wait(store, &loop, message, NULL, &fault));
		last = message->id;
	}
	before = counts();
	cr_assert_eq(before.messages, MESSAGES);
	store_close(store);
	file_name(name, "queue/data.mdb");
	cr_assert_eq(stat(name, &status), 0);
	unreadable = status.st_ino;
	fake_log_clear();
	return before;
}

static void
close_keep(struct post *post)
{
	(void)post;
	uv_close((uv_handle_t *)&keep, NULL);
}

static void
end(void)
{
	static struct post closing;

	loop_post(&loop, &closing, close_keep);
	loop_stop(&loop);
	loop_join(&loop);
	loop_done(&loop);
	directory_remove(path);
	fake_log_clear();
}

/* --- tests --- */

Test(salvage, knows_how_much_there_is)
{
	struct store_counters before = begin(), after;
	struct fault fault;

	mark("a test");
	for (unsigned start = 0; start < 2; start++) {
		cr_assert(open_again(&fault), "%s", fault.text);
		after = counts();
		cr_expect_eq(after.messages, MESSAGES);
		cr_expect_eq(after.message_bytes, before.message_bytes);
		cr_expect_eq(after.deliveries, 2 * MESSAGES);
		store_close(store);
	}
	cr_expect_eq(fake_log_count("store-damaged ", "messages=40 "), 1);
	end();
}

/* Of a machine of other bits than this one, as its relay left it: twelve messages
 * of which four were deleted, each for two, one of them held; one body with pages
 * of its own. */
static void
foreign_put(const char *base)
{
	CLEAN(text_done) struct text bytes = {0}, from = {0};
	struct fault fault = {0};
	char name[160];
	FILE *file;

	text_addf(&from, "%s/tests/vectors/queue/of-%u-bits.mdb",
		  getenv("SIGNET_SOURCE_ROOT"), 96 - PAGES_BITS_HERE);
	cr_assert(conf_file_read(text_string(&from), MIB, &bytes, &fault),
		  "%s", fault.text);
	file_name(name, base);
	file = fopen(name, "w");
	cr_assert_not_null(file, "%s", name);
	cr_assert_eq(fwrite(bytes.bytes, 1, bytes.len, file), bytes.len);
	fclose(file);
}

static void
foreign_look(void)
{
	struct store_counters found = counts();
	struct fault fault = {0};
	struct list due;

	cr_expect_eq(found.messages, 8);
	cr_expect_eq(found.due, 8);
	cr_expect_eq(found.held, 8);
	list_init(&due);
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, SIZE_MAX,
			   &due, NULL, &fault),
		  "%s", fault.text);
	cr_expect_eq(list_count(&due), 8);
	LIST_EACH (item, &due) {
		CLEAN(text_done) struct text body = {0};
		struct message *message =
			CONTAINER(item, struct delivery, link)->message;

		cr_expect(body_wait(store, &loop, message, &body, &fault),
			  "%s", fault.text);
		cr_expect_eq(body.len, message->body.size);
	}
	deliveries_free(&due);
}

/* The state directory has moved to another machine. */
Test(salvage, takes_over_what_a_machine_of_other_bits_wrote)
{
	struct fault fault;

	begin();
	foreign_put("queue/data.mdb");
	for (unsigned start = 0; start < 2; start++) {
		cr_assert(open_again(&fault), "%s", fault.text);
		foreign_look();
		store_close(store);
	}
	cr_expect_eq(fake_log_count("store-taken-over ", "lost=0 "), 1);
	cr_expect_eq(fake_log_count("store-damaged ", NULL), 0);
	cr_expect_eq(asides(), 0);
	end();
}

/* No record is one that this version knows; or, the second time, each is again. */
static void
records_turn(MDB_txn *txn, const char *table)
{
	MDB_val key, value;
	MDB_cursor *cursor;
	MDB_dbi records;
	char bytes[8192];

	cr_assert_eq(mdb_dbi_open(txn, table, 0, &records), 0);
	cr_assert_eq(mdb_cursor_open(txn, records, &cursor), 0);
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		cr_assert_leq(value.mv_size, sizeof(bytes));
		memcpy(bytes, value.mv_data, value.mv_size);
		bytes[0] ^= 1;
		value.mv_data = bytes;
		cr_assert_eq(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT),
			     0);
	}
	mdb_cursor_close(cursor);
}

/* As a version that is to come may write a store. */
static void
about_put(const char *name_of, const char *says, bool turns_records)
{
	MDB_val key = {strlen(name_of), (void *)(uintptr_t)name_of};
	MDB_val value = {strlen(says), (void *)(uintptr_t)says};
	char name[160];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi about;

	file_name(name, "queue");
	cr_assert_eq(mdb_env_create(&env), 0);
	cr_assert_eq(mdb_env_set_maxdbs(env, 3), 0);
	cr_assert_eq(mdb_env_open(env, name, MDB_NOTLS, 0600), 0);
	cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
	cr_assert_eq(mdb_dbi_open(txn, "about", 0, &about), 0);
	cr_assert_eq(mdb_put(txn, about, &key, &value, 0), 0);
	if (turns_records) {
		records_turn(txn, "deliveries");
		records_turn(txn, "messages");
	}
	cr_assert_eq(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

/* What this version does not know is not damaged: it is left alone, and goes on
 * with the version that does. */
Test(salvage, another_layout_is_neither_read_nor_mended)
{
	struct fault fault;

	begin();
	about_put(LAYOUT_KEY, "2", true);
	cr_expect_not(open_again(&fault));
	cr_expect_not_null(strstr(fault.text, "layout 2 is not one"), "%s",
			   fault.text);
	cr_expect_eq(fake_log_count("store-damaged ", NULL), 0);
	about_put(LAYOUT_KEY, LAYOUT, true);
	cr_assert(open_again(&fault), "%s", fault.text);
	cr_expect_eq(counts().messages, MESSAGES);
	store_close(store);
	end();
}

/* Nor is what a later version says of the same layout. */
Test(salvage, more_about_it_is_no_damage)
{
	struct fault fault;

	begin();
	about_put("later", "1", false);
	cr_assert(open_again(&fault), "%s", fault.text);
	cr_expect_eq(fake_log_count("store-damaged ", NULL), 0);
	cr_expect_eq(counts().messages, MESSAGES);
	store_close(store);
	end();
}

#define FIRST_TREES (2 * 4096)
#define ALL_OF_IT ((off_t)1 << 40)

static const struct read_row {
	const char *name, *mark; /* "": none */
	off_t from, to;          /* what cannot be read */
	unsigned failing, refused; /* reads; starts */
	unsigned minutes;        /* from start to start */
	unsigned salvages, messages;
} read_rows[] = {
	{"it passes in a moment", "a test", FIRST_TREES, ALL_OF_IT, 5, 0, 0, 1,
	 MESSAGES},
	{"at a start without a mark", "", FIRST_TREES, ALL_OF_IT, 5, 0, 0, 0,
	 MESSAGES},
	{"it passes by the next start", "a test", FIRST_TREES, ALL_OF_IT, 60, 1,
	 0, 1, MESSAGES},
	{"the same without a mark", "", FIRST_TREES, ALL_OF_IT, 24, 1, 0, 0,
	 MESSAGES},
	{"after many starts in a short time", "", FIRST_TREES, ALL_OF_IT, 190, 9,
	 1, 0, MESSAGES},
	{"it does not pass", "a test", FIRST_TREES, ALL_OF_IT, UINT32_MAX, 10, 1,
	 1, 0},
	{"the same without a mark", "", FIRST_TREES, ALL_OF_IT, UINT32_MAX, 10,
	 1, 1, 0},
	{"few starts in a long time", "", FIRST_TREES, ALL_OF_IT, 90, 4, 60, 0,
	 MESSAGES},
	{"many in a long time", "", FIRST_TREES, ALL_OF_IT, UINT32_MAX, 10, 60,
	 1, 0},
	{"neither description can be read", "", 0, FIRST_TREES, UINT32_MAX, 10,
	 1, 1, MESSAGES},
	{"the same with a mark", "a test", 0, FIRST_TREES, UINT32_MAX, 10, 1, 1,
	 MESSAGES},
	{"and then they can", "", 0, FIRST_TREES, 60, 2, 1, 0, MESSAGES},
	{"it was all of the damage", "the engine crashed (SIGBUS)", FIRST_TREES,
	 ALL_OF_IT, 0, 0, 0, 0, MESSAGES},
	{"it is, and passes", "the engine crashed (SIGBUS)", FIRST_TREES,
	 ALL_OF_IT, 24, 1, 0, 0, MESSAGES},
};

static void
read_test(const struct read_row *row)
{
	struct fault fault;
	unsigned refused = 0;

	begin();
	if (row->mark[0] != '\0')
		mark(row->mark);
	/* As another release has left it: it says nothing. */
	file_write("queue.unreadable", "1763830000000 9\n");
	unreadable_from = row->from;
	unreadable_to = row->to;
	failing_reads = row->failing;
	while (!open_again(&fault)) {
		cr_expect_eq(fault.kind, FAULT_SYSTEM, "%s: %s", row->name,
			     fault.text);
		cr_expect_not_null(strstr(fault.text, "cannot be read"),
				   "%s: %s", row->name, fault.text);
		cr_expect_eq(asides(), 0, "%s", row->name);
		cr_assert_leq(++refused, row->refused, "%s: %s", row->name,
			      fault.text);
		later_ms += row->minutes * MINUTE;
	}
	cr_expect_eq(refused, row->refused, "%s", row->name);
	cr_expect_eq(counts().messages, row->messages, "%s", row->name);
	cr_expect_eq(fake_log_count("store-damaged ", NULL), row->salvages,
		     "%s", row->name);
	cr_expect_eq(asides(), row->salvages, "%s", row->name);
	cr_expect_not(is_there("queue.suspect"), "%s", row->name);
	cr_expect_not(is_there("queue.unreadable-starts"), "%s", row->name);
	cr_expect_not(is_there("queue.unreadable"), "%s", row->name);
	store_close(store);
	failing_reads = 0;
	later_ms = 0;
	end();
}

Test(salvage, what_cannot_be_read_now_is_not_lost)
{
	for (size_t i = 0; i < COUNT(read_rows); i++)
		read_test(&read_rows[i]);
}

/* The name of a body in a file whose message is in no queue. */
#define ORPHAN "01M80JHMGDF7Z05XZPTG000000"

/* How a full disk shows. */
static const int full_errnos[] = {ENOSPC, EDQUOT, EIO};

Test(salvage, one_that_fails_leaves_nothing_behind)
{
	struct fault fault;

	begin();
	file_write("spool/" ORPHAN, "a body");
	mark("a test");
	for (unsigned i = 0; i < COUNT(full_errnos); i++) {
		failing_links = 2;
		links_errno = full_errnos[i];
		cr_expect_not(open_again(&fault));
		cr_expect_eq(fault.kind, FAULT_LIMIT);
		cr_expect_not_null(strstr(fault.text, "make room"), "%s",
				   fault.text);
		cr_expect_eq(failing_links, 1, "%u", failing_links);
		failing_links = 0;
		free_bytes = 4096 * MIB;
		cr_expect_eq(asides(), 0, "%u", asides());
		cr_expect(is_there("spool/" ORPHAN));
		cr_expect_not(is_there("queue.salvage"));
	}
	cr_assert(open_again(&fault), "%s", fault.text);
	cr_expect_eq(asides(), 1);
	cr_expect_not(is_there("spool/" ORPHAN));
	cr_expect_eq(counts().messages, MESSAGES);
	store_close(store);
	end();
}

/* What is free inside the old file needs no room in the new one. */
Test(salvage, one_without_room_is_not_begun)
{
	struct fault fault;
	struct stat status;
	char name[160];

	begin();
	file_name(name, "queue/data.mdb");
	cr_assert_eq(stat(name, &status), 0);
	mark("a test");
	/* Nor does anything of it lie there by then. */
	links_errno = ENOSPC;
	failing_links = 1;
	free_bytes = MESSAGES * BODY;
	cr_expect_not(open_again(&fault));
	cr_expect_eq(fault.kind, FAULT_LIMIT);
	cr_expect_not_null(strstr(fault.text, "make room"), "%s", fault.text);
	cr_expect_eq(failing_links, 1);
	failing_links = 0;
	free_bytes = (uint64_t)status.st_size;
	cr_expect(open_again(&fault), "%s", fault.text);
	cr_expect_eq(counts().messages, MESSAGES);
	store_close(store);
	end();
}

/* As one that was killed has left it, while it set bodies aside. */
static void
leave_half(const char *body)
{
	char name[160], other[160];

	file_name(name, "queue.damaged-before");
	cr_assert_eq(mkdir(name, 0700), 0);
	file_write(body, "a body");
	file_name(name, "queue/data.mdb");
	file_name(other, "queue.damaged-before/data.mdb");
	cr_assert_eq(link(name, other), 0);
	file_name(name, "queue.salvage");
	cr_assert_eq(mkdir(name, 0700), 0);
	file_write("queue.salvage/data.mdb", "a part of it");
	/* Whose file somebody has taken. */
	file_name(name, "queue.damaged-kept");
	cr_assert_eq(mkdir(name, 0700), 0);
	file_write("queue.damaged-kept/" ORPHAN, "a body");
}

Test(salvage, one_that_was_interrupted_is_undone)
{
	struct fault fault;

	begin();
	leave_half("queue.damaged-before/" ORPHAN);
	mark("a test");
	cr_assert(open_again(&fault), "%s", fault.text);
	cr_expect_not(is_there("queue.damaged-before"));
	cr_expect(is_there("queue.damaged-kept/" ORPHAN));
	cr_expect_eq(asides(), 2);
	cr_expect_not(is_there("spool/" ORPHAN));
	cr_expect_eq(counts().messages, MESSAGES);
	store_close(store);
	end();
}

/* Also where the next start finds nothing to salvage any more. */
Test(salvage, one_that_was_interrupted_is_undone_without_another)
{
	char id[MESSAGE_ID_TEXT + 1], body[64], kept[64];
	struct fault fault;

	begin();
	message_id_write(&last, id);
	snprintf(kept, sizeof(kept), "queue.damaged-before/%s", id);
	snprintf(body, sizeof(body), "spool/%s", id);
	leave_half(kept);
	cr_assert(open_again(&fault), "%s", fault.text);
	cr_expect_not(is_there("queue.damaged-before"));
	cr_expect_not(is_there("queue.salvage"));
	cr_expect(is_there(body));
	cr_expect(is_there("queue.damaged-kept/" ORPHAN));
	cr_expect_eq(asides(), 1);
	cr_expect_eq(counts().messages, MESSAGES);
	store_close(store);
	end();
}

/* --- a report that is owed --- */

#define OWING "z.example"
#define OWED OWING "/report-00000001"

/* Of two recipients one is deferred, and for the other a report is owed. */
static struct message_id
owe(void)
{
	struct delivery_recipient failed;
	struct delivery *delivery, owed = {0};
	struct message_id id;
	struct list deliveries;
	struct fault fault;
	bool is_gone;

	list_init(&deliveries);
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@z.example b@z.example", BODY);
	cr_assert(put_wait(store, &loop, message, &deliveries, &fault));
	id = message->id;
	delivery = CONTAINER(deliveries.next, struct delivery, link);
	delivery->recipients[0].outcome = OUTCOME_DEFERRED;
	delivery->recipients[1].outcome = OUTCOME_FAILED;
	failed = delivery->recipients[1];
	failed.is_report_owed = true;
	owed.message = message;
	owed.destination = SLICE(OWED);
	owed.recipients = &failed;
	owed.recipients_count = 1;
	owed.is_report_owed = true;
	owed.due_ms = clock_wall_ms();
	cr_assert(engine_begin(store->engine, &fault));
	cr_assert(engine_add(store->engine, &owed, &fault));
	cr_assert(engine_settle(store->engine, delivery, clock_wall_ms(),
				&is_gone, &fault));
	cr_assert(engine_commit(store->engine, &fault));
	deliveries_free(&deliveries);
	return id;
}

static void
record_damage(const struct message_id *id, const char *destination)
{
	MDB_val name, value = {60, (char[60]){0}};
	struct record_key key;
	struct fault fault;

	record_key_delivery(&key, id, SLICE(destination));
	name = val_of_key(&key);
	cr_assert(engine_begin(store->engine, &fault));
	cr_assert(mdb_put(store->engine->txn, store->engine->deliveries, &name,
			  &value, 0) == 0);
	cr_assert(engine_commit(store->engine, &fault));
}

/* Who is there, by number: those to be tried, and those to be reported. */
static void
expect_there(const char *name, const char *destination, const char *wanted)
{
	CLEAN(text_done) struct text found = {0};
	struct list deliveries, *item;

	list_init(&deliveries);
	cr_assert(due_wait(store, &loop, destination, UINT64_MAX, 10,
			   &deliveries, NULL, NULL));
	while ((item = list_take_first(&deliveries)) != NULL) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		for (size_t i = 0; i < delivery->recipients_count; i++)
			text_addf(&found, "%s%u ",
				  delivery->recipients[i].is_report_owed
					  ? "owed "
					  : "",
				  delivery->recipients[i].number);
		delivery_free(delivery);
	}
	cr_expect_str_eq(text_string(&found), wanted, "%s, at %s: '%s'", name,
			 destination, text_string(&found));
}

static const struct owed_row {
	const char *damaged, *owing, *owed; /* who is there afterwards */
} owed_rows[] = {
	{"", "0 ", "owed 1 "},
	{OWING, "0 ", "owed 1 "}, /* he has one of his own */
	{OWED, "0 ", "1 "},       /* tried again */
};

Test(salvage, who_is_owed_a_report_is_told_and_not_twice)
{
	for (size_t i = 0; i < COUNT(owed_rows); i++) {
		const struct owed_row *row = &owed_rows[i];
		struct message_id id;
		struct fault fault;

		begin();
		cr_assert(open_again(&fault), "%s", fault.text);
		id = owe();
		if (row->damaged[0] != '\0')
			record_damage(&id, row->damaged);
		store_close(store);
		mark("a test");
		cr_assert(open_again(&fault), "%s", fault.text);
		expect_there(row->damaged, OWING, row->owing);
		expect_there(row->damaged, OWED, row->owed);
		cr_expect_eq(fake_log_count("store-damaged ", "lost=0 "), 1);
		store_close(store);
		end();
	}
}
