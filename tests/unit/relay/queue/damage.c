#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "relay/queue/pages.h"
#include "tests/fake/log.h"
#include "tests/unit/relay/queue/queue.h"

/*
 * Whatever becomes of the store's file: the store opens again, what is whole is
 * delivered whole, what is not is named, and it goes on from there. Each round
 * damages a copy, then lives with it in a process of its own, which may crash
 * and is started again, as the relay's would be.
 *
 * DAMAGE_ROUNDS says how many (of each kind), DAMAGE_SEED where to begin:
 *
 *	DAMAGE_ROUNDS=300 build/tests/unit/relay/queue/unit-relay-queue-damage
 */

#define ROUNDS 3
#define MESSAGES 90
#define STARTS_MAX 4
#define PAGE ((size_t)4096)

static const char *const destinations[] = {"x.example", "y.example"};
static const size_t sizes[] = {10, 700, 2000, 20000, 60000};

static char path[64];
static struct loop loop;
static struct store *store;
static uv_timer_t keep;

/* What was stored, and what a round has seen of it; shared with its process. */
static struct seen {
	struct message_id ids[MESSAGES];
	size_t body_sizes[MESSAGES];
	unsigned wanted[MESSAGES]; /* bits: destinations that wait for it */
	unsigned got[MESSAGES];
	bool is_named[MESSAGES];
	unsigned ghosts, salvages, strangers;
} *seen;

static char *pristine, *bytes; /* before and after the damage */
static size_t pristine_len, len;

static void
file_name(char name[128], const char *base)
{
	snprintf(name, 128, "%s/queue/%s", path, base);
}

/* --- living with a store --- */

static void
on_keep(uv_timer_t *timer)
{
	(void)timer;
}

static void
begin(void)
{
	struct fault fault = {0};

	if (!store_open(path, 0, &store, &fault)) {
		fprintf(stderr, "open: %s\n", fault.text);
		_exit(10);
	}
	ASSERT(loop_init(&loop, 0, NULL));
	uv_timer_init(&loop.uv, &keep);
	uv_timer_start(&keep, on_keep, 1000, 1000);
	ASSERT(loop_start(&loop, NULL));
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
	store_close(store);
	loop_done(&loop);
}

static int
index_of(const struct message_id *id)
{
	for (int i = 0; i < MESSAGES; i++)
		if (message_id_eq(&seen->ids[i], id))
			return i;
	return -1;
}

static void
look_for_names(void)
{
	char id[MESSAGE_ID_TEXT + 1], field[64];

	for (int i = 0; i < MESSAGES; i++) {
		message_id_write(&seen->ids[i], id);
		snprintf(field, sizeof(field), "id=%s", id);
		if (fake_log_count("damaged ", field) > 0)
			seen->is_named[i] = true;
	}
	seen->salvages += fake_log_count("store-damaged", NULL);
	fake_log_clear();
}

/* Two at the first destination, one at the other, and nobody else's. */
static void
look_at_recipients(const struct delivery *delivery, unsigned i)
{
	struct slice destination = SLICE(destinations[i]);

	if (delivery->recipients_count != 2 - i)
		_exit(18);
	for (size_t j = 0; j < delivery->recipients_count; j++)
		if (!slice_eq(delivery->message
				      ->recipients[delivery->recipients[j].index]
				      .destination,
			      destination))
			_exit(19);
}

/* Sound, or said not to be; never something else. */
static void
look_at(struct delivery *delivery, unsigned bit)
{
	CLEAN(text_done) struct text body = {0};
	int which = index_of(&delivery->message->id);
	struct fault fault = {0};

	if (which < 0) {
		seen->strangers++;
		return;
	}
	if (delivery->message->body.size != seen->body_sizes[which])
		_exit(11);
	if (!body_wait(store, &loop, delivery->message, &body, &fault)) {
		if (fault.kind != FAULT_INPUT && fault.kind != FAULT_ABSENT)
			_exit(12);
		return;
	}
	for (size_t at = 0; at < body.len; at++)
		if (body.bytes[at] != message_byte(at))
			_exit(13);
	if ((seen->wanted[which] & bit) == 0)
		seen->ghosts++;
	seen->got[which] |= bit;
}

static void
deliver_all(bool is_looking)
{
	for (unsigned i = 0; i < COUNT(destinations); i++) {
		struct list there;
		struct fault fault = {0};

		list_init(&there);
		if (!due_wait(store, &loop, destinations[i], UINT64_MAX,
			      SIZE_MAX, &there, NULL, &fault)) {
			fprintf(stderr, "due: %s\n", fault.text);
			_exit(14);
		}
		LIST_EACH (item, &there) {
			struct delivery *delivery =
				CONTAINER(item, struct delivery, link);

			if (is_looking && index_of(&delivery->message->id) >= 0)
				look_at_recipients(delivery, i);
			if (is_looking)
				look_at(delivery, 1u << i);
			for (size_t j = 0; j < delivery->recipients_count; j++)
				delivery->recipients[j].outcome =
					OUTCOME_DELIVERED;
		}
		/* Together: alone, each would wait for others to come. */
		if (!settle_all_wait(store, &loop, &there, &fault))
			_exit(15);
		deliveries_free(&there);
	}
}

static void
put_more(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		CLEAN(message_unref_clean) struct message *message =
			message_make("later@example.org", "a@x.example",
				     sizes[i % COUNT(sizes)]);
		struct fault fault = {0};

		if (!put_wait(store, &loop, message, NULL, &fault))
			_exit(16);
	}
}

/* The file as it is to be, under the store's feet. */
static void
hit(void)
{
	char name[128];
	int file;

	file_name(name, "data.mdb");
	file = open(name, O_WRONLY);
	if (pwrite(file, bytes, len, 0) != (ssize_t)len)
		_exit(17);
	close(file);
}

/* Whatever it finds, it ends in good order or crashes. */
static _Noreturn void
live(bool is_hit)
{
	begin();
	look_for_names();
	if (is_hit)
		hit();
	put_more(3);
	deliver_all(true);
	/* What was free is written to. */
	put_more(30);
	deliver_all(false);
	end();
	look_for_names();
	_exit(0);
}

/* --- damage --- */

static size_t
any(size_t below)
{
	return below == 0 ? 0 : (size_t)random() % below;
}

static void
flip_one(size_t from, size_t to)
{
	bytes[from + any(to - from)] ^= (char)(1 << any(8));
}

static void
damage_bit(void)
{
	flip_one(0, len);
}

/* One whose header says that it has keys, values or describes all. */
static size_t
any_page(unsigned flags)
{
	for (;;) {
		size_t number = any(len / PAGE), said;

		memcpy(&said, bytes + number * PAGE, sizeof(said));
		if (said == number &&
		    ((unsigned char)bytes[number * PAGE + sizeof(said) + 2] &
		     flags) != 0)
			return number * PAGE;
	}
}

static void
damage_tree(void)
{
	size_t page = any_page(1 | 2);

	flip_one(page, page + PAGE);
}

/* Where headers and offsets are. */
static void
damage_head(void)
{
	size_t page = any_page(1 | 2 | 4 | 8);

	flip_one(page, page + 160);
}

/* Behind the page's header (a word, and 8 bytes) and other numbers (8 bytes, two
 * words) the free list is described: 8 bytes and five words, of which the last is
 * its root. Behind another such tree and one more word stands the transaction. */
static void
damage_free(void)
{
	const size_t word = sizeof(size_t), root_at = 3 * word + 16 + 8 + 4 * word;
	size_t transactions[2], root, meta;

	for (size_t i = 0; i < 2; i++)
		memcpy(&transactions[i], bytes + i * PAGE + root_at + 7 * word + 8,
		       sizeof(root));
	meta = transactions[1] > transactions[0] ? PAGE : 0;
	memcpy(&root, bytes + meta + root_at, sizeof(root));
	flip_one(root * PAGE, root * PAGE + PAGE);
}

static void
damage_torn(void)
{
	size_t page = any_page(1 | 2), from = any(8) * 512;
	size_t other = any(len / PAGE) * PAGE;

	memcpy(bytes + page + from, bytes + other + from, PAGE - from);
}

static void
damage_zero(void)
{
	memset(bytes + any_page(1 | 2), 0, PAGE);
}

/* Both descriptions of the file. */
static void
damage_descriptions(void)
{
	memset(bytes, 0, 2 * PAGE);
}

static void
damage_many(void)
{
	for (int i = 0; i < 16; i++)
		flip_one(0, len);
}

static void
damage_cut(void)
{
	len = any(len);
}

static const struct damage_row {
	const char *name;
	void (*make)(void);
	bool names_all; /* what is lost has a name */
	bool is_live;   /* the store is open */
} damage_rows[] = {
	{"a bit somewhere", damage_bit, true},
	{"a bit of a tree", damage_tree, true},
	{"a bit at the head of a page", damage_head, true},
	{"a bit of the free list", damage_free, true},
	{"a torn page", damage_torn, true},
	{"a page of zeros", damage_zero, true},
	{"no description", damage_descriptions, true},
	{"sixteen bits", damage_many, false},
	{"cut anywhere", damage_cut, false},
	{"a page of zeros meanwhile", damage_zero, false, true},
	{"sixteen bits meanwhile", damage_many, false, true},
};

/* --- a round --- */

static void
file_write(void)
{
	char name[128];
	int file;

	file_name(name, "lock.mdb");
	unlink(name);
	file_name(name, "data.mdb");
	/* Another file: the damaged one may have been linked aside. */
	unlink(name);
	file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert_eq(write(file, bytes, len), (ssize_t)len);
	close(file);
}

static void
store_make(void)
{
	char name[128];
	struct stat status;
	int file;

	begin();
	for (int i = 0; i < MESSAGES; i++) {
		size_t size = sizes[(size_t)i % COUNT(sizes)];
		CLEAN(message_unref_clean) struct message *message =
			message_make("from@example.org",
				     i % 2 == 0
					     ? "a@x.example c@x.example"
					     : "a@x.example b@y.example "
					       "c@x.example",
				     size);
		struct list deliveries;
		struct fault fault = {0};

		list_init(&deliveries);
		cr_assert(put_wait(store, &loop, message, &deliveries,
				   &fault));
		seen->ids[i] = message->id;
		seen->body_sizes[i] = size;
		seen->wanted[i] = i % 2 == 0 ? 1 : 3;
		for (struct list *item;
		     (item = list_take_first(&deliveries)) != NULL;) {
			struct delivery *delivery =
				CONTAINER(item, struct delivery, link);

			/* Some are done with, so that there are free pages. */
			for (size_t j = 0; j < delivery->recipients_count; j++)
				delivery->recipients[j].outcome =
					OUTCOME_DELIVERED;
			if (i % 3 == 0) {
				cr_assert(settle_wait(store, &loop, delivery,
						      0, NULL, &fault));
				seen->wanted[i] = 0;
			}
			delivery_free(delivery);
		}
	}
	end();
	file_name(name, "data.mdb");
	file = open(name, O_RDONLY);
	cr_assert_eq(fstat(file, &status), 0);
	pristine_len = (size_t)status.st_size;
	pristine = memory_new(pristine_len);
	cr_assert_eq(read(file, pristine, pristine_len), status.st_size);
	close(file);
}

struct tally {
	unsigned rounds, starts, salvages, named, nameless, ghosts, strangers,
		never;
};

static void
round_count(struct tally *tally)
{
	tally->rounds++;
	tally->ghosts += seen->ghosts;
	tally->salvages += seen->salvages;
	tally->strangers += seen->strangers;
	for (int i = 0; i < MESSAGES; i++) {
		bool is_lost = (seen->wanted[i] & ~seen->got[i]) != 0;

		tally->named += is_lost && seen->is_named[i];
		tally->nameless += is_lost && !seen->is_named[i];
	}
}

static bool
round_live(struct tally *tally, bool is_hit)
{
	for (int start = 0; start < STARTS_MAX; start++) {
		int status;
		pid_t child = fork();

		if (child == 0)
			live(is_hit && start == 0);
		waitpid(child, &status, 0);
		tally->starts++;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			return true;
		/* 75: it has ended itself, to salvage. */
		if (WIFEXITED(status) && WEXITSTATUS(status) != 75)
			fprintf(stderr, "status %d\n", WEXITSTATUS(status));
	}
	return false;
}

static void
round_run(const struct damage_row *row, unsigned seed, struct tally *tally)
{
	srandom(seed);
	len = pristine_len;
	bytes = memory_new(len);
	memcpy(bytes, pristine, len);
	if (row->is_live)
		file_write();
	row->make();
	if (!row->is_live)
		file_write();
	memset(seen->got, 0, sizeof(seen->got));
	memset(seen->is_named, 0, sizeof(seen->is_named));
	seen->ghosts = seen->salvages = seen->strangers = 0;
	if (!round_live(tally, row->is_live)) {
		tally->never++;
		fprintf(stderr, "%s, seed %u: never comes up\n", row->name,
			seed);
	}
	free(bytes);
	round_count(tally);
}

static unsigned
number_from(const char *name, unsigned fallback)
{
	const char *value = getenv(name);

	return value == NULL ? fallback : (unsigned)strtoul(value, NULL, 10);
}

Test(damage, what_is_whole_is_delivered_and_the_rest_is_named,
     .timeout = 36000)
{
	unsigned rounds = number_from("DAMAGE_ROUNDS", ROUNDS);
	unsigned seed = number_from("DAMAGE_SEED", 1);

	seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	/* Syncs are another test's. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	directory_make(path);
	store_make();
	fprintf(stderr, "%-30s rounds starts salvaged named nameless twice\n",
		"");
	for (size_t i = 0; i < COUNT(damage_rows); i++) {
		const struct damage_row *row = &damage_rows[i];
		struct tally tally = {0};

		for (unsigned round = 0; round < rounds; round++)
			round_run(row, seed + round, &tally);
		fprintf(stderr, "%-30s %6u %6u %8u %5u %8u %5u\n", row->name,
			tally.rounds, tally.starts, tally.salvages,
			tally.named, tally.nameless, tally.ghosts);
		cr_expect_eq(tally.never, 0, "%s: %u times it never came up",
			     row->name, tally.never);
		if (row->names_all)
			cr_expect_eq(tally.nameless, 0,
				     "%s: %u messages lost without a word",
				     row->name, tally.nameless);
	}
	free(pristine);
	directory_remove(path);
}
