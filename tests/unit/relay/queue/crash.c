#include <criterion/criterion.h>

#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/queue/spool.h"
#include "relay/queue/store_engine.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/*
 * What was acknowledged is there, whatever happens to the process or the disk.
 */

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;

static void
on_keep(uv_timer_t *timer)
{
	(void)timer;
}

static bool
begin(uint64_t min_free_bytes, struct fault *fault)
{
	if (!store_open(path, min_free_bytes, &store, fault))
		return false;
	ASSERT(loop_init(&loop, 0, NULL));
	uv_timer_init(&loop.uv, &keep);
	uv_timer_start(&keep, on_keep, 1000, 1000);
	ASSERT(loop_start(&loop, NULL));
	return true;
}

struct closing {
	struct post post;
};

static void
close_keep(struct post *post)
{
	(void)post;
	uv_close((uv_handle_t *)&keep, NULL);
}

static void
end(void)
{
	static struct closing closing;

	loop_post(&loop, &closing.post, close_keep);
	loop_stop(&loop);
	loop_join(&loop);
	store_close(store);
	loop_done(&loop);
}

/* --- SIGKILL --- */

#define ROUNDS 8
#define IDS_MAX 200000

/* What the child says: stored, then perhaps delivered. */
struct word {
	struct message_id id;
	uint64_t body_size;
	bool is_delivered;
};

static int out;
static uv_sem_t room;

static void
say(const struct message *message, bool is_delivered)
{
	struct word word = {.id = message->id,
			    .body_size = message->body.size,
			    .is_delivered = is_delivered};

	/* Shorter than PIPE_BUF: whole or not at all. */
	if (write(out, &word, sizeof(word)) != sizeof(word))
		_exit(1);
}

static void
child_settled(struct store_settle *settle, const struct fault *fault)
{
	if (fault != NULL)
		_exit(2);
	say(settle->delivery->message, true);
	delivery_free(settle->delivery);
	free(settle);
	uv_sem_post(&room);
}

/* The others are delivered; one of those may be gone from the store before the
 * child could say so. */
static bool
is_to_stay(const struct message_id *id)
{
	return id->bytes[MESSAGE_ID_SIZE - 1] % 2 == 0;
}

static void
child_put(struct store_put *put, const struct fault *fault)
{
	struct list *item = list_take_first(&put->deliveries);
	struct delivery *delivery = CONTAINER(item, struct delivery, link);
	struct store_settle *settle;

	if (fault != NULL)
		_exit(3);
	say(delivery->message, false);
	free(put);
	if (is_to_stay(&delivery->message->id)) {
		delivery_free(delivery);
		uv_sem_post(&room);
		return;
	}
	settle = memory_new(sizeof(*settle));
	delivery->recipients[0].outcome = OUTCOME_DELIVERED;
	settle->delivery = delivery;
	settle->loop = &loop;
	settle->done = child_settled;
	store_settle(store, settle);
}

static _Noreturn void
child_main(void)
{
	struct fault fault;

	if (!begin(0, &fault))
		_exit(4);
	uv_sem_init(&room, 32);
	for (unsigned i = 0;; i++) {
		struct store_put *put = memory_new(sizeof(*put));
		CLEAN(message_unref_clean) struct message *message =
			message_make("from@example.org", "a@x.example",
				     i * 977 % 40000);

		uv_sem_wait(&room);
		put->message = message;
		put->loop = &loop;
		put->done = child_put;
		store_put(store, put);
	}
}

static struct word words[IDS_MAX];
static size_t words_count;

static void
hear(int in)
{
	while (words_count < IDS_MAX &&
	       read(in, &words[words_count], sizeof(words[0])) ==
		       sizeof(words[0]))
		words_count++;
}

static int
word_compare(const void *a, const void *b)
{
	const struct word *left = a, *right = b;

	return memcmp(left->id.bytes, right->id.bytes, MESSAGE_ID_SIZE);
}

/* -1: never heard of; else whether it was said to be delivered. */
static int
word_of(const struct message_id *id)
{
	struct word wanted = {.id = *id};
	struct word *found = bsearch(&wanted, words, words_count,
				     sizeof(words[0]), word_compare);
	int is_delivered = 0;

	if (found == NULL)
		return -1;
	while (found > words && message_id_eq(&found[-1].id, id))
		found--;
	for (; found < words + words_count && message_id_eq(&found->id, id);
	     found++)
		is_delivered |= found->is_delivered;
	return is_delivered;
}

static void
check_all(int round)
{
	struct list there;
	struct fault fault = {0};
	unsigned undead = 0, whole = 0, said = 0;

	cr_assert(begin(0, &fault), "round %d: %s", round, fault.text);
	list_init(&there);
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, SIZE_MAX,
			   &there, NULL, &fault));
	qsort(words, words_count, sizeof(words[0]), word_compare);
	LIST_EACH (item, &there) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);
		CLEAN(text_done) struct text body = {0};

		undead += word_of(&delivery->message->id) == 1;
		if (is_to_stay(&delivery->message->id) &&
		    word_of(&delivery->message->id) == 0)
			whole += body_wait(store, &loop, delivery->message,
					   &body, &fault);
	}
	for (size_t i = 0; i < words_count; i++)
		said += is_to_stay(&words[i].id);
	cr_expect_eq(undead, 0, "round %d: %u delivered ones are back", round,
		     undead);
	cr_expect_eq(whole, said, "round %d: %u of %u are there", round,
		     whole, said);
	cr_expect_gt(said, 0, "round %d: nothing was tested", round);
	deliveries_free(&there);
	end();
	cr_expect_eq(fake_log_count("damaged", NULL), 0);
}

Test(crash, what_was_acknowledged_survives_sigkill)
{
	directory_make(path);
	srandom(1);
	for (int round = 0; round < ROUNDS; round++) {
		int ends[2], status;
		pid_t child;

		cr_assert_eq(pipe(ends), 0);
		child = fork();
		if (child == 0) {
			close(ends[0]);
			out = ends[1];
			child_main();
		}
		close(ends[1]);
		/* Until it has begun, then for a random number of words. */
		for (long more = 20 + random() % 400; more > 0; more--)
			if (words_count < IDS_MAX &&
			    read(ends[0], &words[words_count],
				 sizeof(words[0])) == sizeof(words[0]))
				words_count++;
		kill(child, SIGKILL);
		hear(ends[0]);
		close(ends[0]);
		waitpid(child, &status, 0);
		cr_expect(WIFSIGNALED(status), "status %d", status);
		check_all(round);
	}
	directory_remove(path);
}

/* --- a full disk --- */

#define DISK_SIZE "8m"
#define DISK_MESSAGES 400

/* In a process of its own, because a mount needs a name space of its own. */
static bool
disk_make(void)
{
	directory_make(path);
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("disk", path, "tmpfs", 0, "size=" DISK_SIZE) == 0;
}

static size_t
disk_fill(struct list *deliveries, enum fault_kind *kind_out)
{
	size_t stored = 0;

	for (int i = 0; i < DISK_MESSAGES; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("from@example.org", "a@x.example",
				     60000);
		struct fault fault = {0};

		if (!put_wait(store, &loop, message, deliveries, &fault)) {
			*kind_out = fault.kind;
			break;
		}
		stored++;
	}
	return stored;
}

static void
disk_settle_all(struct list *deliveries)
{
	struct list *item;

	while ((item = list_take_first(deliveries)) != NULL) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);
		struct fault fault = {0};

		delivery->recipients[0].outcome = OUTCOME_DELIVERED;
		cr_expect(settle_wait(store, &loop, delivery, 0, NULL,
				      &fault),
			  "settle: %s", fault.text);
		delivery_free(delivery);
	}
}

/* Until the next look at the disk. */
static void
await_room(void)
{
	uint64_t until_ms = clock_now_ms() + MINUTE;

	while (store_lacks(store, 1 << 20) != STORE_LACKS_NOTHING &&
	       clock_now_ms() < until_ms)
		usleep(10000);
}

static const struct disk_row {
	const char *name;
	uint64_t min_free_bytes;
} disk_rows[] = {
	{"above the low-water mark", 1 << 20},
	/* Then the engine itself finds the disk full; what the last free
	 * pages are worth decides whether outcomes can be written, so nothing
	 * is said about the settlements of that moment. */
	{"down to the last page", 0},
};

Test(crash, a_full_disk_refuses_and_recovers)
{
	if (!disk_make())
		cr_skip("no right to mount a small disk");
	for (size_t i = 0; i < COUNT(disk_rows); i++) {
		const struct disk_row *row = &disk_rows[i];
		enum fault_kind kind = FAULT_NONE;
		struct list deliveries, there;
		size_t stored, again;
		struct fault fault = {0};

		list_init(&deliveries);
		list_init(&there);
		cr_assert(begin(row->min_free_bytes, &fault), "%s",
			  fault.text);
		stored = disk_fill(&deliveries, &kind);
		cr_expect_eq(kind, FAULT_LIMIT, "%s: kind %d", row->name,
			     kind);
		cr_expect_gt(stored, 20, "%s: %zu", row->name, stored);
		cr_expect_lt(stored, DISK_MESSAGES, "%s", row->name);
		cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX,
				   SIZE_MAX, &there, NULL, &fault));
		cr_expect_eq(list_count(&there), stored, "%s: %zu of %zu",
			     row->name, list_count(&there), stored);
		deliveries_free(&there);
		disk_settle_all(&deliveries);
		await_room();
		again = disk_fill(&deliveries, &kind);
		cr_expect_gt(again, stored / 4, "%s: again only %zu of %zu",
			     row->name, again, stored);
		disk_settle_all(&deliveries);
		end();
	}
	umount(path);
	directory_remove(path);
}

/* --- damage --- */

static void
flip(off_t offset, int file)
{
	char byte;

	cr_assert_eq(pread(file, &byte, 1, offset), 1);
	byte ^= 0x10;
	cr_assert_eq(pwrite(file, &byte, 1, offset), 1);
}

static off_t
find_in_file(int file, const char *wanted)
{
	struct stat status;
	char *bytes, *at;
	off_t offset;

	cr_assert_eq(fstat(file, &status), 0);
	bytes = memory_new((size_t)status.st_size);
	cr_assert_eq(pread(file, bytes, (size_t)status.st_size, 0),
		     status.st_size);
	at = memmem(bytes, (size_t)status.st_size, wanted, strlen(wanted));
	offset = at == NULL ? -1 : at - bytes;
	free(bytes);
	return offset;
}

Test(crash, a_damaged_record_is_named_and_the_rest_goes_on)
{
	const char *froms[] = {"one@example.org", "two@example.org",
			       "three@example.org"};
	struct list there;
	struct fault fault = {0};
	char name[128];
	int file;

	directory_make(path);
	cr_assert(begin(0, &fault));
	for (size_t i = 0; i < COUNT(froms); i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make(froms[i], "a@x.example", 10);

		cr_assert(put_wait(store, &loop, message, NULL, &fault));
	}
	end();
	snprintf(name, sizeof(name), "%s/queue/data.mdb", path);
	file = open(name, O_RDWR);
	cr_assert_geq(file, 0);
	/* Every copy: which page is current is the engine's affair. */
	for (off_t at; (at = find_in_file(file, "two@example.org")) >= 0;)
		flip(at + 2, file);
	close(file);

	cr_assert(begin(0, &fault), "%s", fault.text);
	cr_expect_eq(fake_log_count("damaged ", "domain=x.example"), 1);
	list_init(&there);
	cr_assert(due_wait(store, &loop, "x.example", UINT64_MAX, 10, &there,
			   NULL, &fault));
	/* The finding may have been taken out of what is due by now, or be
	 * found once more; what is whole is there. */
	cr_expect_eq(list_count(&there), 2);
	deliveries_free(&there);
	end();
	fake_log_clear();
	cr_assert(begin(0, &fault));
	cr_expect_eq(fake_log_count("damaged ", NULL), 0, "named twice");
	end();
	directory_remove(path);
}

/* --- damage to the structure --- */

static void
damage_not_ours(int file)
{
	cr_assert_eq(ftruncate(file, 0), 0);
	for (off_t at = 0; at < 65536; at += 16)
		cr_assert_eq(pwrite(file, "this is no queue", 16, at), 16);
}

static void
damage_cut(int file)
{
	struct stat status;

	cr_assert_eq(fstat(file, &status), 0);
	cr_assert_eq(ftruncate(file, status.st_size / 2), 0);
}

static void
damage_stub(int file)
{
	cr_assert_eq(ftruncate(file, 100), 0);
}

static void
damage_pages(int file)
{
	char page[4096];
	struct stat status;

	memset(page, 0xff, sizeof(page));
	cr_assert_eq(fstat(file, &status), 0);
	/* All but the two that say where the rest is. */
	for (off_t at = 2 * (off_t)sizeof(page); at < status.st_size;
	     at += (off_t)sizeof(page))
		cr_assert_eq(pwrite(file, page, sizeof(page), at),
			     (ssize_t)sizeof(page));
}

static const struct damage_row {
	const char *name;
	void (*make)(int file);
} damage_rows[] = {
	{"not a store at all", damage_not_ours},
	{"cut in half", damage_cut},
	{"a stub", damage_stub},
	{"every page overwritten", damage_pages},
};

/* What becomes of single flips and pages, damage.c says. */
Test(crash, a_damaged_structure_is_set_aside)
{
	for (size_t i = 0; i < COUNT(damage_rows); i++) {
		const struct damage_row *row = &damage_rows[i];
		struct fault fault = {0};
		glob_t aside = {0};
		char name[128];
		int file;

		directory_make(path);
		cr_assert(begin(0, &fault));
		for (size_t j = 0; j < 50; j++) {
			CLEAN(message_unref_clean) struct message *message =
				message_make("from@example.org",
					     "a@x.example", 5000);

			cr_assert(put_wait(store, &loop, message, NULL,
					   &fault));
		}
		end();
		snprintf(name, sizeof(name), "%s/queue/data.mdb", path);
		file = open(name, O_RDWR);
		cr_assert_geq(file, 0);
		row->make(file);
		close(file);

		fake_log_clear();
		cr_assert(begin(0, &fault), "%s: %s", row->name, fault.text);
		cr_expect_eq(fake_log_count("store-damaged", "set_aside="), 1,
			     "%s", row->name);
		end();
		snprintf(name, sizeof(name), "%s/queue.damaged-*/data.mdb",
			 path);
		cr_expect_eq(glob(name, 0, NULL, &aside), 0, "%s", row->name);
		cr_expect_eq(aside.gl_pathc, 1, "%s", row->name);
		globfree(&aside);
		directory_remove(path);
	}
}

/* --- a reader that was killed --- */

static void
die_in_read(void *owner, struct slice destination, uint64_t due_ms)
{
	(void)owner;
	(void)destination;
	(void)due_ms;
	kill(getpid(), SIGKILL);
}

static void
engine_put_one(struct engine *engine, struct delivery *delivery)
{
	struct list deliveries;

	list_init(&deliveries);
	list_add_last(&deliveries, &delivery->link);
	ASSERT(engine_begin(engine, NULL));
	ASSERT(engine_put(engine, delivery->message, &deliveries, NULL));
	ASSERT(engine_commit(engine, NULL));
}

static void
engine_settle_one(struct engine *engine, struct delivery *delivery)
{
	bool is_gone;

	ASSERT(engine_begin(engine, NULL));
	ASSERT(engine_settle(engine, delivery, 0, &is_gone, NULL));
	ASSERT(engine_commit(engine, NULL));
	ASSERT(is_gone);
}

/* Somebody lists the queue all the while: the engine's own clean-up is for
 * whoever comes first. */
static _Noreturn void
engine_hold(struct delivery *delivery, int ready)
{
	struct engine *engine;

	ASSERT(engine_open(path, &engine, NULL));
	engine_put_one(engine, delivery);
	ASSERT(write(ready, "", 1) == 1);
	for (;;)
		pause();
}

static _Noreturn void
engine_read_and_die(void)
{
	struct engine *engine;
	bool is_read;

	ASSERT(engine_open(path, &engine, NULL));
	is_read = engine_each_destination(engine, die_in_read, NULL, NULL);
	_exit(is_read);
}

Test(crash, a_reader_that_was_killed_pins_no_pages)
{
	CLEAN(message_unref_clean) struct message *message = message_make(
		"from@example.org", "a@x.example", 4 * BODY_CHUNK);
	struct delivery_recipient rcpt = {.outcome = OUTCOME_DELIVERED};
	struct delivery delivery = {.message = message,
				    .destination = SLICE("x.example"),
				    .recipients = &rcpt,
				    .recipients_count = 1,
				    .due_ms = 1};
	struct engine *engine;
	struct stat status;
	int ready[2];
	pid_t holder, reader;
	char name[128], byte;

	directory_make(path);
	cr_assert_eq(pipe(ready), 0);
	rcpt.outcome = OUTCOME_NONE;
	if ((holder = fork()) == 0)
		engine_hold(&delivery, ready[1]);
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	if ((reader = fork()) == 0)
		engine_read_and_die();
	cr_assert_eq(waitpid(reader, NULL, 0), reader);

	cr_assert(engine_open(path, &engine, NULL));
	for (unsigned i = 0; i < 200; i++) {
		message->id = message_id_new();
		rcpt.outcome = OUTCOME_NONE;
		engine_put_one(engine, &delivery);
		rcpt.outcome = OUTCOME_DELIVERED;
		engine_settle_one(engine, &delivery);
	}
	engine_close(engine);
	snprintf(name, sizeof(name), "%s/data.mdb", path);
	cr_assert_eq(stat(name, &status), 0);
	cr_expect_lt(status.st_size, 4 << 20, "%ld bytes",
		     (long)status.st_size);
	kill(holder, SIGKILL);
	waitpid(holder, NULL, 0);
	directory_remove(path);
}
