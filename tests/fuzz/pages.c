/* The queue's file, read without the engine, and what is salvaged of it:
 * whatever its bytes, reading ends soon and within bounds; the new store that is
 * made of it is sound, and what it gives is what was once stored.
 *
 * The first byte chooses: whether the input is the file, or what is altered in
 * one that the engine has written; and whether it is salvaged, too. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/net/loop.h"
#include "relay/queue/pages.h"
#include "relay/queue/store_engine.h"
#include "relay/queue/store_salvage.h"
#include "relay/queue/store_verify.h"
#include "tests/fake/log.h"

#define IS_FILE 1
#define IS_SALVAGED 2

#define PAGE 4096u
#define MESSAGES 24
#define FAR_FUTURE_MS UINT64_MAX
/* Of a node: header, a byte of key, and where it stands. */
#define NODE_MIN 11

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static char path[64], file_name[96], copy_name[96];
static struct text pristine;
static struct message_id ids[MESSAGES];

/* --- the store that is damaged --- */

static size_t
body_size(size_t which)
{
	static const size_t sizes[] = {10, 300, 1500, 9000, 40000};

	return sizes[which % COUNT(sizes)];
}

static char
body_byte(size_t which, size_t at)
{
	return (char)('!' + (which + at * 7) % 90);
}

static void
id_make(size_t which, struct message_id *id)
{
	*id = (struct message_id){{0x01, 0x93}};
	id->bytes[MESSAGE_ID_SIZE - 1] = (uint8_t)(which + 1);
}

static struct message *
message_make(size_t which)
{
	struct message *message =
		message_new(SLICE("alice@example.com"));
	struct body *body = &message->body;
	size_t size = body_size(which);

	id_make(which, &message->id);
	ids[which] = message->id;
	message->received_ms = 1700000000000u + which;
	message_add_recipient(message, SLICE("bob@x.example"),
			      SLICE("x.example"));
	if (which % 2 == 1)
		message_add_recipient(message, SLICE("carol@y.example"),
				      SLICE("y.example"));
	message->prefix = arena_copy(&message->arena, SLICE("X: y\r\n"));
	body->size = body->header_len = size;
	body->chunks_count = (size + BODY_CHUNK - 1) / BODY_CHUNK;
	body->chunks = arena_array(&message->arena, body->chunks_count,
				   sizeof(*body->chunks));
	for (size_t i = 0; i < body->chunks_count; i++) {
		size_t from = i * BODY_CHUNK;
		size_t len = size - from < BODY_CHUNK ? size - from : BODY_CHUNK;
		char *bytes = arena_new(&message->arena, len);

		for (size_t at = 0; at < len; at++)
			bytes[at] = body_byte(which, from + at);
		body->chunks[i] = slice_of(bytes, len);
	}
	return message;
}

/* A transaction each, so that there are pages that were given up. */
static void
message_store(struct engine *engine, size_t which)
{
	static const struct loop loop;
	struct message *message = message_make(which);
	struct list deliveries, *item;
	struct fault fault;
	bool is_gone;

	list_init(&deliveries);
	deliveries_of(message, &loop, &deliveries);
	ASSERT(engine_begin(engine, &fault));
	ASSERT(engine_put(engine, message, &deliveries, &fault));
	ASSERT(engine_commit(engine, &fault));
	while ((item = list_take_first(&deliveries)) != NULL) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);

		if (which % 3 == 0) {
			delivery->recipients[0].outcome = OUTCOME_DELIVERED;
			ASSERT(engine_begin(engine, &fault));
			ASSERT(engine_settle(engine, delivery, 0, &is_gone,
					     &fault));
			ASSERT(engine_commit(engine, &fault));
		}
		delivery_free(delivery);
	}
	message_unref(message);
}

static int
remove_one(const char *name, const struct stat *status, int kind,
	   struct FTW *where)
{
	(void)status;
	(void)kind;
	if (where->level > 0)
		remove(name);
	return 0;
}

static void
directory_clear(void)
{
	char queue[80];

	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	snprintf(queue, sizeof(queue), "%s/queue", path);
	ASSERT(mkdir(queue, 0700) == 0);
}

static void
directory_leave(void)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	rmdir(path);
}

static void
file_read(const char *name, struct text *out)
{
	FILE *file = fopen(name, "rb");
	size_t got;

	ASSERT(file != NULL);
	while ((got = fread(text_room(out, 65536), 1, 65536, file)) > 0)
		text_added(out, got);
	fclose(file);
}

/* In memory, where syncs cost nothing. */
static void
begin(void)
{
	char queue[80];
	struct engine *engine;
	struct fault fault;

	snprintf(path, sizeof(path), "%s/signet-fuzz-XXXXXX",
		 access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	ASSERT(mkdtemp(path) != NULL);
	atexit(directory_leave);
	snprintf(queue, sizeof(queue), "%s/queue", path);
	snprintf(file_name, sizeof(file_name), "%s/data.mdb", queue);
	snprintf(copy_name, sizeof(copy_name), "%s/copy", path);
	ASSERT(engine_open(queue, &engine, &fault));
	for (size_t i = 0; i < MESSAGES; i++)
		message_store(engine, i);
	engine_close(engine);
	file_read(file_name, &pristine);
	ASSERT(pristine.len % PAGE == 0);
}

/* --- the damage --- */

/* Page, place in it, how, up to eight bytes. */
#define EDIT_LEN 13

static void
edit(struct text *file, const uint8_t *say)
{
	size_t page = (say[0] | (size_t)say[1] << 8) % (file->len / PAGE);
	size_t at = (say[2] | (size_t)say[3] << 8) % PAGE;
	size_t len = 1u << say[4] % 4;
	char *to = file->bytes + page * PAGE + at;

	if (len > PAGE - at)
		len = PAGE - at;
	switch (say[4] / 4 % 4) {
	case 0:
		for (size_t i = 0; i < len; i++)
			to[i] ^= (char)say[5 + i];
		return;
	case 1:
		memcpy(to, say + 5, len);
		return;
	case 2: /* torn: the rest is of another page */
		page = (say[5] | (size_t)say[6] << 8) % (file->len / PAGE);
		memmove(to, file->bytes + page * PAGE + at, PAGE - at);
		return;
	case 3:
		memset(to, 0, PAGE - at);
		return;
	}
}

static void
file_make(uint8_t how, struct slice input, struct text *out)
{
	if ((how & IS_FILE) != 0) {
		text_add(out, input);
		return;
	}
	text_add(out, text_slice(&pristine));
	while (input.len >= EDIT_LEN && out->len >= PAGE) {
		edit(out, (const uint8_t *)input.bytes);
		input = slice_from(input, EDIT_LEN);
	}
	/* What is left over cuts it. */
	if (input.len >= 2)
		out->len = (uint8_t)input.bytes[0] * (size_t)PAGE +
			   (uint8_t)input.bytes[1] * 16u;
	if (out->len > pristine.len)
		out->len = pristine.len;
}

static void
file_write(const char *name, struct slice bytes)
{
	int file = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	ASSERT(file >= 0);
	ASSERT(write(file, bytes.bytes, bytes.len) == (ssize_t)bytes.len);
	close(file);
}

/* --- reading --- */

struct look {
	struct pages *pages;
	size_t file_len, nodes, bytes;
	struct pages_tree trees[8];
	size_t trees_count;
};

static bool
look_at_node(void *owner, struct slice key, const struct pages_value *value)
{
	struct look *look = owner;
	CLEAN(text_done) struct text bytes = {0};
	volatile char sum = 0;

	/* Each leaf once by the walks, and once by the scan. */
	ASSERT(++look->nodes <= 4 * (look->file_len / NODE_MIN + 1));
	for (size_t i = 0; i < key.len; i++)
		sum = (char)(sum ^ key.bytes[i]);
	if (look->trees_count < COUNT(look->trees) &&
	    pages_tree_read(look->pages, value,
			    &look->trees[look->trees_count]))
		look->trees_count++;
	if (pages_value_read(look->pages, value, &bytes)) {
		ASSERT(bytes.len == value->len);
		ASSERT(bytes.len <= look->file_len);
	}
	ASSERT(bytes.size <= 2 * look->file_len + 4096);
	return true;
}

static void
read_file(const char *name, size_t len)
{
	struct look look = {.file_len = len};
	struct pages_walk walk = {
		.owner = &look, .node = look_at_node, .is_sifting = true};
	struct fault fault;

	if (!pages_open(name, &look.pages, &fault))
		return;
	(void)pages_walk(look.pages, pages_tables(look.pages), &walk);
	for (size_t i = 0; i < look.trees_count; i++)
		(void)pages_walk(look.pages, &look.trees[i], &walk);
	pages_scan(look.pages, true, &look, look_at_node);
	pages_close(look.pages);
	if (!store_verify(name, 0, &fault))
		ASSERT(fault.text[0] != '\0');
}

/* --- what is salvaged --- */

static int
index_of(const struct message_id *id)
{
	for (int i = 0; i < MESSAGES; i++)
		if (message_id_eq(&ids[i], id))
			return i;
	return -1;
}

static void
judge_body(struct engine *engine, size_t which)
{
	size_t size = body_size(which), at = 0;

	for (uint32_t number = 1; at < size; number++) {
		CLEAN(text_done) struct text chunk = {0};
		struct fault fault;

		if (!engine_read_chunk(engine, &ids[which], number, 0,
				       SIZE_MAX, &chunk, &fault))
			return; /* said to be damaged */
		for (size_t i = 0; i < chunk.len; i++, at++)
			ASSERT(chunk.bytes[i] == body_byte(which, at));
	}
	ASSERT(at == size);
}

static void
on_damaged(void *owner, struct slice destination, uint64_t due_ms,
	   const struct message_id *id, const struct fault *fault)
{
	(void)owner;
	(void)destination;
	(void)due_ms;
	(void)id;
	(void)fault;
}

static void
judge(struct engine *engine, const char *destination)
{
	struct engine_due due = {.destination = SLICE(destination),
				 .until_ms = FAR_FUTURE_MS,
				 .max = 4 * MESSAGES};
	struct list *item;
	struct fault fault;

	list_init(&due.deliveries);
	ASSERT(engine_read_due(engine, &due, on_damaged, NULL, &fault));
	ASSERT(!due.has_more);
	while ((item = list_take_first(&due.deliveries)) != NULL) {
		struct delivery *delivery =
			CONTAINER(item, struct delivery, link);
		int which = index_of(&delivery->message->id);

		ASSERT(which >= 0);
		ASSERT(delivery->message->body.size ==
		       body_size((size_t)which));
		judge_body(engine, (size_t)which);
		delivery_free(delivery);
	}
}

static void
salvage(struct slice bytes)
{
	char queue[80];
	struct engine *engine;
	struct fault fault;

	file_write(file_name, bytes);
	ASSERT(store_salvage(path, "a fuzzer", true, &fault));
	if (!store_verify(file_name, 0, &fault)) {
		fprintf(stderr, "not sound: %s\n", fault.text);
		abort();
	}
	snprintf(queue, sizeof(queue), "%s/queue", path);
	ASSERT(engine_open(queue, &engine, &fault));
	judge(engine, "x.example");
	judge(engine, "y.example");
	engine_close(engine);
	directory_clear();
	fake_log_clear();
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	CLEAN(text_done) struct text file = {0};

	if (len == 0)
		return 0;
	if (pristine.len == 0)
		begin();
	file_make(bytes[0], slice_of(bytes + 1, len - 1), &file);
	file_write(copy_name, text_slice(&file));
	read_file(copy_name, file.len);
	if ((bytes[0] & IS_SALVAGED) != 0)
		salvage(text_slice(&file));
	return 0;
}
