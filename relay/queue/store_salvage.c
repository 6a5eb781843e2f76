#include "relay/queue/store_salvage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue/space.h"
#include "relay/queue/store_engine_count.h"
#include "relay/queue/store_salvage_private.h"

#define NEW "queue.salvage"
#define ASIDE "queue.damaged-"
#define ASIDE_FOREIGN "queue.foreign-"

/* Sound, as far as it is known, but of a machine of other bits. */
static bool
is_foreign(const struct salvage *salvage)
{
	return salvage->pages != NULL &&
	       pages_bits(salvage->pages) != PAGES_BITS_HERE &&
	       pages_damage(salvage->pages)[0] == '\0';
}

/* --- the old one's trees --- */

/* Tables whose nodes are of no use, or follow from others'; their pages are
 * known to be in use all the same. */
static bool
on_skipped(void *owner, struct slice key, const struct pages_value *value)
{
	(void)owner;
	(void)key;
	(void)value;
	return true;
}

struct tables {
	struct salvage *salvage;
	struct pages_tree messages, deliveries;
	bool has_messages, has_deliveries;
};

static bool
on_table(void *owner, struct slice key, const struct pages_value *value)
{
	struct pages_walk skip = {.node = on_skipped};
	struct tables *tables = owner;
	struct pages_tree tree;

	if (!pages_tree_read(tables->salvage->pages, value, &tree))
		return true;
	if (slice_eq(key, SLICE("messages"))) {
		tables->messages = tree;
		tables->has_messages = true;
	} else if (slice_eq(key, SLICE("deliveries"))) {
		tables->deliveries = tree;
		tables->has_deliveries = true;
	} else {
		(void)pages_walk(tables->salvage->pages, &tree, &skip);
	}
	return true;
}

static bool
trees_take(struct salvage *salvage)
{
	struct tables tables = {.salvage = salvage};
	struct pages_walk walk = {.owner = &tables,
				  .node = on_table,
				  .is_sifting = true};

	(void)pages_walk(salvage->pages, pages_tables(salvage->pages), &walk);
	walk = (struct pages_walk){.owner = salvage,
				   .node = salvage_node,
				   .is_sifting = true};
	if (tables.has_messages)
		(void)pages_walk(salvage->pages, &tables.messages, &walk);
	walk.lost = salvage_gap;
	if (tables.has_deliveries)
		(void)pages_walk(salvage->pages, &tables.deliveries, &walk);
	else
		salvage_gap(salvage, SLICE_NONE, SLICE_NONE);
	salvage_gap_end(salvage);
	return salvage->fault.kind == FAULT_NONE;
}

/* What is in no tree and not free was in one that is broken. */
static bool
pages_take_rest(struct salvage *salvage)
{
	if (pages_damage(salvage->pages)[0] == '\0')
		return true;
	pages_scan(salvage->pages, false, salvage, salvage_node);
	if (!pages_knows_free(salvage->pages)) {
		/* Of deliveries only those that have a message. */
		salvage->is_doubtful = salvage->is_for_messages = true;
		pages_scan(salvage->pages, true, salvage, salvage_node);
		salvage->is_for_messages = false;
		pages_scan(salvage->pages, true, salvage, salvage_node);
	}
	return salvage->fault.kind == FAULT_NONE;
}

/* --- the directories --- */

static bool
file_remove(const char *path, const char *name)
{
	CLEAN(text_done) struct text text = {0};

	text_addf(&text, "%s/%s", path, name);
	return unlink(text_string(&text)) == 0 || errno == ENOENT;
}

static void
new_remove(const char *path)
{
	CLEAN(text_done) struct text directory = {0};

	(void)file_remove(path, NEW "/data.mdb");
	(void)file_remove(path, NEW "/lock.mdb");
	text_addf(&directory, "%s/" NEW, path);
	(void)rmdir(text_string(&directory));
}

/* Each start that fills the disk, to find that it is full, takes from everybody
 * else on it meanwhile. */
static bool
new_has_room(const struct salvage *salvage, struct fault *fault)
{
	CLEAN(clean_descriptor)
	int directory =
		open(salvage->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t bytes = pages_bytes_in_use(salvage->pages);
	struct space space;

	if (directory < 0)
		return fault_errno(fault, "%s", salvage->path);
	space_init(&space, directory, 0, 0);
	return space_has(&space, bytes) ||
	       fault_set(fault, FAULT_LIMIT, "%llu MiB of the old one are in use",
			 (unsigned long long)(bytes / MIB + 1));
}

static bool
new_open(struct salvage *salvage, struct fault *fault)
{
	CLEAN(text_done) struct text directory = {0};
	int status;

	/* Of one that was interrupted. */
	if (!file_remove(salvage->path, NEW "/data.mdb") ||
	    !file_remove(salvage->path, NEW "/lock.mdb"))
		return fault_errno(fault, "%s/" NEW, salvage->path);
	text_addf(&directory, "%s/" NEW, salvage->path);
	if (!engine_open(text_string(&directory), &salvage->engine, fault))
		return false;
	/* What one of ours held another one holds. */
	if (pages_bits(salvage->pages) != PAGES_BITS_HERE &&
	    !engine_has_room(salvage->engine,
			     pages_bytes_in_use(salvage->pages)))
		return fault_set(fault, FAULT_SYSTEM,
				 "%llu MiB of the old one are in use, which a "
				 "machine of %u bits cannot hold; let one of %u "
				 "deliver it",
				 (unsigned long long)(pages_bytes_in_use(
							      salvage->pages) /
						      MIB),
				 PAGES_BITS_HERE, pages_bits(salvage->pages));
	/* It is made durable once it is whole. */
	status = mdb_env_set_flags(salvage->engine->env, MDB_NOSYNC, 1);
	return status == 0 || engine_fault(fault, status, "salvage");
}

static bool
new_sync(struct salvage *salvage, struct fault *fault)
{
	int status = mdb_env_sync(salvage->engine->env, 1);

	return status == 0 || engine_fault(fault, status, "salvage");
}

/* The damaged file has two names until the new one takes the first. */
static bool
aside_link(struct salvage *salvage, struct fault *fault)
{
	CLEAN(text_done) struct text old = {0};
	CLEAN(text_done) struct text aside = {0};

	text_addf(&old, "%s/queue/data.mdb", salvage->path);
	text_addf(&aside, "%s/%s/data.mdb", salvage->path, salvage->aside);
	return link(text_string(&old), text_string(&aside)) == 0 ||
	       fault_errno(fault, "%s", text_string(&aside));
}

static bool
aside_make(struct salvage *salvage, struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};
	time_t now = (time_t)(clock_wall_ms() / SECOND);
	char when[sizeof("20261121T200000Z")], again[16] = "";
	struct tm parts;

	gmtime_r(&now, &parts);
	if (strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &parts) == 0)
		when[0] = '\0';
	for (unsigned i = 0; i < 100; i++) {
		if (i > 0)
			snprintf(again, sizeof(again), "-%u", i);
		snprintf(salvage->aside, sizeof(salvage->aside), "%s%s%s",
			 is_foreign(salvage) ? ASIDE_FOREIGN : ASIDE, when,
			 again);
		text_clear(&path);
		text_addf(&path, "%s/%s", salvage->path, salvage->aside);
		if (mkdir(text_string(&path), 0700) == 0)
			return aside_link(salvage, fault);
		if (errno != EEXIST)
			break;
	}
	return fault_errno(fault, "%s", text_string(&path));
}

/* Bodies in files that no message names any more: of what was lost, or was
 * never accepted. */
static bool
spool_set_aside(struct salvage *salvage, struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};
	struct dirent *entry;
	struct message_id id;
	bool is_stored, is_done = true;
	DIR *list;

	text_addf(&path, "%s/spool", salvage->path);
	list = opendir(text_string(&path));
	if (list == NULL)
		return errno == ENOENT ||
		       fault_errno(fault, "%s", text_string(&path));
	while (is_done && (entry = readdir(list)) != NULL) {
		CLEAN(text_done) struct text from = {0};
		CLEAN(text_done) struct text to = {0};

		if (!message_id_read(SLICE(entry->d_name), &id) ||
		    !engine_has_message(salvage->engine, &id, &is_stored,
					NULL) ||
		    is_stored)
			continue;
		text_addf(&from, "%s/spool/%s", salvage->path, entry->d_name);
		text_addf(&to, "%s/%s/%s", salvage->path, salvage->aside,
			  entry->d_name);
		if (rename(text_string(&from), text_string(&to)) != 0)
			is_done = fault_errno(fault, "%s", text_string(&to));
	}
	closedir(list);
	return is_done;
}

static bool
directory_sync(const char *path, const char *name, struct fault *fault)
{
	CLEAN(clean_descriptor) int directory = -1;
	CLEAN(text_done) struct text text = {0};

	text_addf(&text, "%s/%s", path, name);
	directory = open(text_string(&text),
			 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0 || (fsync(directory) != 0 && errno != EINVAL))
		return fault_errno(fault, "%s: sync", text_string(&text));
	return true;
}

/* --- what is left of a salvage that came to no end --- */

/* Bodies, back to where they were: the next salvage may find their messages. */
static void
bodies_bring_back(const char *path, const char *aside)
{
	CLEAN(text_done) struct text directory = {0};
	struct dirent *entry;
	struct message_id id;
	DIR *list;

	text_addf(&directory, "%s/%s", path, aside);
	list = opendir(text_string(&directory));
	if (list == NULL)
		return;
	while ((entry = readdir(list)) != NULL) {
		CLEAN(text_done) struct text from = {0};
		CLEAN(text_done) struct text to = {0};

		if (!message_id_read(SLICE(entry->d_name), &id))
			continue;
		text_addf(&from, "%s/%s/%s", path, aside, entry->d_name);
		text_addf(&to, "%s/spool/%s", path, entry->d_name);
		(void)rename(text_string(&from), text_string(&to));
	}
	closedir(list);
}

/* One whose file is the one that is in use, or that has nothing at all. Others
 * are somebody's. */
static void
aside_undo(const char *path, const char *name)
{
	CLEAN(text_done) struct text old = {0};
	CLEAN(text_done) struct text aside = {0};
	struct stat in_use, kept;

	text_addf(&old, "%s/queue/data.mdb", path);
	text_addf(&aside, "%s/%s/data.mdb", path, name);
	if (stat(text_string(&aside), &kept) == 0 &&
	    stat(text_string(&old), &in_use) == 0 &&
	    kept.st_ino == in_use.st_ino && kept.st_dev == in_use.st_dev) {
		bodies_bring_back(path, name);
		(void)unlink(text_string(&aside));
	}
	text_clear(&aside);
	text_addf(&aside, "%s/%s", path, name);
	(void)rmdir(text_string(&aside));
}

static void
asides_undo(const char *path)
{
	struct dirent *entry;
	DIR *list = opendir(path);

	if (list == NULL)
		return;
	while ((entry = readdir(list)) != NULL)
		if (slice_starts(SLICE(entry->d_name), SLICE(ASIDE)) ||
		    slice_starts(SLICE(entry->d_name), SLICE(ASIDE_FOREIGN)))
			aside_undo(path, entry->d_name);
	closedir(list);
}

/* --- the change --- */

/* What the engine knows of readers goes with the old one. */
static bool
files_change(struct salvage *salvage, struct fault *fault)
{
	CLEAN(text_done) struct text old = {0};
	CLEAN(text_done) struct text new = {0};

	text_addf(&old, "%s/queue/data.mdb", salvage->path);
	text_addf(&new, "%s/" NEW "/data.mdb", salvage->path);
	engine_close(TAKE(salvage->engine));
	if (!directory_sync(salvage->path, salvage->aside, fault) ||
	    !directory_sync(salvage->path, ".", fault))
		return false;
	if (!file_remove(salvage->path, "queue/lock.mdb") ||
	    rename(text_string(&new), text_string(&old)) != 0)
		return fault_errno(fault, "%s", text_string(&old));
	if (!directory_sync(salvage->path, "queue", fault))
		return false;
	return true;
}

/* --- all of it --- */

/* Before anything is said to be lost. */
static bool
is_readable(struct salvage *salvage, const char *path)
{
	return salvage->gives_up || !pages_is_unreadable(salvage->pages) ||
	       engine_unreadable(&salvage->fault, path,
				 pages_damage(salvage->pages));
}

static bool
old_open(struct salvage *salvage, struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};

	text_addf(&path, "%s/queue/data.mdb", salvage->path);
	return pages_open(text_string(&path), &salvage->pages, fault);
}

static bool
salvage_take(struct salvage *salvage, struct fault *fault)
{
	CLEAN(text_done) struct text path = {0};

	text_addf(&path, "%s/queue/data.mdb", salvage->path);
	if (!engine_begin(salvage->engine, fault))
		return false;
	if (trees_take(salvage) && pages_take_rest(salvage) &&
	    is_readable(salvage, text_string(&path)) &&
	    salvage_queue(salvage) &&
	    engine_count_anew(salvage->engine, &salvage->fault))
		return engine_commit(salvage->engine, fault);
	*fault = salvage->fault;
	engine_abort(salvage->engine);
	return false;
}

static void
salvage_log(const struct salvage *salvage, const char *reason)
{
	struct log line;

	if (is_foreign(salvage) && salvage->lost == 0)
		log_begin(&line, LOG_LEVEL_INFO, "store-taken-over");
	else
		log_begin(&line, LOG_LEVEL_ERROR, "store-damaged");
	log_number(&line, "messages", salvage->messages);
	log_number(&line, "deliveries", salvage->deliveries);
	log_number(&line, "again", salvage->again);
	log_number(&line, "lost", salvage->lost);
	log_string(&line, "set_aside", salvage->aside);
	log_string(&line, "reason", reason);
	log_send(&line);
}

/* A file that cannot grow may show as EIO (a short write), too. */
static bool
is_for_want_of_room(const char *path, const struct fault *fault)
{
	CLEAN(clean_descriptor)
	int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct space space = {.directory = directory};

	return fault->kind == FAULT_LIMIT || space_is_lack(fault->system) ||
	       (fault->system == EIO && space_is_out(&space));
}

/* Where there is no room, who reads this can help. False. */
static bool
salvage_fault(const struct salvage *salvage, struct fault *fault)
{
	const char *what = is_foreign(salvage)
				   ? "taking over the queue of another machine"
				   : "salvage of the damaged queue";
	const char *path = salvage->path;
	CLEAN(text_done) struct text old = {0};
	struct stat status = {0};

	if (is_for_want_of_room(path, fault))
		fault->kind = FAULT_LIMIT;
	if (fault->kind != FAULT_LIMIT)
		return fault_within(fault, "%s", what);
	text_addf(&old, "%s/queue/data.mdb", path);
	(void)stat(text_string(&old), &status);
	return fault_within(fault,
			    "%s: a new file is made of it, and there must be "
			    "room for both: make room for up to %llu MiB, and "
			    "the next start goes on",
			    what,
			    (unsigned long long)status.st_size / MIB + 1);
}

static void
salvage_done(struct salvage *salvage)
{
	if (salvage->engine != NULL)
		engine_close(salvage->engine);
	if (salvage->pages != NULL)
		pages_close(salvage->pages);
	arena_done(&salvage->arena);
	text_done(&salvage->last);
	free(salvage->gaps);
}

void
store_salvage_undo(const char *path)
{
	new_remove(path);
	asides_undo(path);
}

bool
store_salvage(const char *path, const char *reason, bool gives_up,
	      struct fault *fault)
{
	CLEAN(salvage_done)
	struct salvage salvage = {.path = path, .gives_up = gives_up};

	store_salvage_undo(path);
	if (!old_open(&salvage, fault) || !new_has_room(&salvage, fault) ||
	    !new_open(&salvage, fault) || !salvage_take(&salvage, fault) ||
	    !new_sync(&salvage, fault) || !aside_make(&salvage, fault) ||
	    !spool_set_aside(&salvage, fault) ||
	    !files_change(&salvage, fault)) {
		/* While there is no room, if that is why. */
		(void)salvage_fault(&salvage, fault);
		store_salvage_undo(path);
		return false;
	}
	new_remove(path);
	salvage_log(&salvage, reason);
	return true;
}
