#include "relay/queue/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/queue/store_check.h"
#include "relay/queue/store_salvage.h"
#include "relay/queue/store_suspect.h"
#include "relay/queue/store_verify.h"

/* --- one relay per directory --- */

static long
lock_holder(int lock)
{
	char text[24] = "";
	ssize_t len = pread(lock, text, sizeof(text) - 1, 0);

	return len > 0 ? strtol(text, NULL, 10) : 0;
}

/* Held by the open file, so it goes with the process, however that ends. The
 * process id inside is for whoever finds it taken: the supervisor's, since it is
 * that which heeds signals. */
static bool
store_lock(struct store *store, const char *path, struct fault *fault)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[24];
	int len;

	store->lock = openat(store->directory, "lock",
			     O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock < 0)
		return fault_errno(fault, "%s/lock", path);
	if (fcntl(store->lock, F_OFD_SETLK, &whole) != 0) {
		if (errno != EAGAIN && errno != EACCES)
			return fault_errno(fault, "%s/lock", path);
		return fault_set(fault, FAULT_BUSY,
				 "another relay uses it (process %ld): stop that "
				 "one, or give this one a directory of its own",
				 lock_holder(store->lock));
	}
	len = snprintf(text, sizeof(text), "%ld\n", (long)getppid());
	if (ftruncate(store->lock, 0) != 0 ||
	    pwrite(store->lock, text, (size_t)len, 0) != len)
		log_note(LOG_LEVEL_WARNING, "store",
			 "%s/lock: cannot be written: %s", path,
			 strerror(errno));
	return true;
}

static bool
store_open_directory(struct store *store, const char *path,
		     struct fault *fault)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return fault_errno(fault, "%s", path);
	store->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->directory < 0)
		return fault_errno(fault, "%s", path);
	return true;
}

/* What was made now must be there after a crash too: names are not durable
 * with the files that they name. Not every file system can sync a directory
 * (EINVAL); those that cannot need not. */
static bool
directory_sync(int directory, const char *path, struct fault *fault)
{
	CLEAN(clean_descriptor)
	int descriptor = openat(directory, path,
				O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (descriptor < 0 ||
	    (fsync(descriptor) != 0 && errno != EINVAL))
		return fault_errno(fault, "%s: sync", path);
	return true;
}

/* --- the parts --- */

static void
findings_take(struct list *findings, struct store *store)
{
	struct list *item;

	while ((item = list_take_first(findings)) != NULL) {
		struct finding *finding =
			CONTAINER(item, struct finding, link);

		if (store != NULL)
			store_set_aside(store,
					slice_of(finding->destination,
						 finding->destination_len),
					finding->due_ms, &finding->id,
					&finding->fault);
		free(finding);
	}
}

/* What lies there is read with mistrust first, then by the engine. */
static bool
store_try_engine(struct store *store, const char *path, struct list *findings,
		 struct fault *fault)
{
	CLEAN(text_done) struct text directory = {0};
	CLEAN(text_done) struct text file = {0};

	text_addf(&directory, "%s/queue", path);
	text_addf(&file, "%s/queue/data.mdb", path);
	return store_verify(text_string(&file),
			    clock_now_ms() + STORE_VERIFY_MS, fault) &&
	       store_check(text_string(&directory), findings, fault) &&
	       engine_open(text_string(&directory), &store->engine, fault);
}

static bool
store_mend(struct store *store, const char *path, const char *reason,
	   bool gives_up, struct fault *fault)
{
	if (!store_salvage(path, reason, gives_up, fault))
		return false;
	suspect_clear(store->directory);
	return true;
}

static bool
store_is_new(const struct store *store)
{
	struct stat status;

	return fstatat(store->directory, "queue/data.mdb", &status, 0) != 0
		       ? errno == ENOENT
		       : status.st_size == 0;
}

/* A bug of ours inside of a call of the engine leaves a mark as well: where all
 * of the structure is sound, nothing led the engine astray. Nor is there anything
 * to mend where what could not be read can be by now. */
static bool
suspicion_is_refuted(const char *path, const char *reason, struct fault *fault)
{
	CLEAN(text_done) struct text file = {0};
	bool is_beyond = strstr(reason, SUSPECT_BEYOND) != NULL;

	text_addf(&file, "%s/queue/data.mdb", path);
	*fault = (struct fault){0};
	if ((!is_beyond && strstr(reason, SUSPECT_ASTRAY) == NULL) ||
	    !store_verify(text_string(&file), 0, fault) ||
	    (is_beyond && !store_verify_bytes(text_string(&file), fault)))
		return false;
	log_note(LOG_LEVEL_ERROR, "store", "%s; the store is sound", reason);
	return true;
}

static bool
store_settle_mark(struct store *store, const char *path, bool gives_up,
		  struct fault *fault)
{
	CLEAN(text_done) struct text reason = {0};

	/* What a mark speaks of may have been taken away. */
	if (store_is_new(store))
		suspect_clear(store->directory);
	if (!suspect_read(store->directory, &reason))
		return true;
	if (suspicion_is_refuted(path, text_string(&reason), fault)) {
		suspect_clear(store->directory);
		return true;
	}
	if (engine_is_unreadable(fault) && !gives_up)
		return false;
	return store_mend(store, path, text_string(&reason), gives_up, fault);
}

static bool
store_find_engine(struct store *store, const char *path, bool gives_up,
		  struct list *findings, struct fault *fault)
{
	CLEAN(text_done) struct text reason = {0};

	if (!store_settle_mark(store, path, gives_up, fault))
		return false;
	if (store_try_engine(store, path, findings, fault))
		return true;
	if (!engine_is_damaged(fault) && !engine_is_foreign(fault) &&
	    !(engine_is_unreadable(fault) && gives_up))
		return false;
	findings_take(findings, NULL);
	text_add_string(&reason, fault->text);
	return store_mend(store, path, text_string(&reason), gives_up,
			  fault) &&
	       store_try_engine(store, path, findings, fault);
}

/* What a disk cannot read now it may read after a while, or once somebody has
 * looked after it; but without end nothing else would be delivered. */
static bool
unreadable_is_over(const struct unreadable *found)
{
	return found->starts >= STORE_UNREADABLE_STARTS &&
	       found->waited_ms >= STORE_UNREADABLE_MS;
}

static bool
store_open_engine(struct store *store, const char *path,
		  struct list *findings, struct fault *fault)
{
	struct unreadable found = suspect_unreadable(store->directory);

	store_salvage_undo(path);
	if (store_find_engine(store, path, unreadable_is_over(&found),
			      findings, fault)) {
		suspect_forget_unreadable(store->directory);
		return true;
	}
	if (!engine_is_unreadable(fault))
		return false;
	suspect_note_unreadable(store->directory);
	return fault_within(fault,
			    "a disk that fails (start %u; after %u minutes of "
			    "trying what cannot be read is given up)",
			    found.starts + 1,
			    (unsigned)(STORE_UNREADABLE_MS / MINUTE));
}

static bool
store_start(struct store *store, struct fault *fault)
{
	int status;

	if (!worker_new("store reader", STORE_READERS, STORE_READS_MAX,
			&store->readers, fault))
		return false;
	status = uv_thread_create(&store->thread, store_thread, store);
	if (status != 0)
		return fault_set(fault, FAULT_SYSTEM, "store thread: %s",
				 uv_strerror(status));
	return true;
}

static bool
store_has(void *owner, const struct message_id *id)
{
	struct store *store = owner;
	bool has;

	/* When in doubt the file stays. */
	return !engine_has_message(store->engine, id, &has, NULL) || has;
}

static void
store_free(struct store *store)
{
	if (store->readers != NULL)
		worker_free(store->readers);
	if (store->room != NULL)
		spool_room_free(store->room);
	if (store->engine != NULL)
		engine_close(store->engine);
	suspect_unwatch();
	clean_descriptor(&store->lock);
	clean_descriptor(&store->directory);
	uv_cond_destroy(&store->flushed);
	uv_cond_destroy(&store->wake);
	uv_mutex_destroy(&store->mutex);
	free(store);
}
CLEAN_POINTER(struct store, store_free)

static struct store *
store_new(void)
{
	struct store *store = memory_new(sizeof(*store));

	store->directory = store->lock = -1;
	store->readers_check_ms = STORE_READERS_CHECK_MS;
	list_init(&store->waiting);
	ASSERT(uv_mutex_init(&store->mutex) == 0);
	ASSERT(uv_cond_init(&store->wake) == 0);
	ASSERT(uv_cond_init(&store->flushed) == 0);
	return store;
}

/* A store that is made now knows no body: those that are there belong to one
 * that is gone, and may be all that is left of its mail. */
static void
orphans_keep(const struct store *store, const char *path)
{
	char name[64];

	if (unlinkat(store->directory, "spool", AT_REMOVEDIR) == 0 ||
	    errno != ENOTEMPTY)
		return;
	snprintf(name, sizeof(name), "spool.orphaned-%llu",
		 (unsigned long long)clock_wall_ms());
	if (renameat(store->directory, "spool", store->directory, name) == 0)
		log_note(LOG_LEVEL_ERROR, "store",
			 "%s: there are bodies of messages, and no queue that "
			 "names them; they are in %s/%s now",
			 path, path, name);
}

/* A page that came damaged into memory may be sound on the disk; and what an older
 * version could not read this one can. Where there is no room for it now, it
 * waits for another start. False: the next start mends the structure. */
static bool
store_take_back(struct store *store, struct fault *fault)
{
	size_t count;

	if (engine_take_back_readable(store->engine, &count, fault)) {
		if (count > 0)
			log_note(LOG_LEVEL_INFO, "store",
				 "%zu deliveries are set aside no more: they "
				 "can be read, or are gone",
				 count);
		return true;
	}
	if (engine_is_damaged(fault)) {
		suspect_mark(fault->text);
		fault->kind = FAULT_SYSTEM;
		return false;
	}
	log_note(LOG_LEVEL_WARNING, "store",
		 "what was set aside cannot be looked at: %s", fault->text);
	return true;
}

static bool
store_open_parts(struct store *store, const char *path,
		 uint64_t min_free_bytes, struct list *findings,
		 struct fault *fault)
{
	bool is_new;

	if (!store_open_directory(store, path, fault) ||
	    !store_lock(store, path, fault))
		return false;
	is_new = store_is_new(store);
	if (!store_open_engine(store, path, findings, fault))
		return false;
	if (is_new)
		orphans_keep(store, path);
	suspect_watch(store->directory);
	suspect_enter();
	if (!store_take_back(store, fault))
		return fault_within(fault, "%s", path);
	space_init(&store->space, store->directory, min_free_bytes,
		   engine_reusable_bytes(store->engine));
	if (!spool_room_new(store->directory, &store->space, &store->room,
			    fault))
		return fault_within(fault, "%s", path);
	if (!directory_sync(store->directory, "queue", fault) ||
	    !directory_sync(store->directory, "spool", fault) ||
	    !directory_sync(store->directory, ".", fault))
		return fault_within(fault, "%s", path);
	spool_sweep(store->room, store_has, store);
	return store_start(store, fault);
}

bool
store_open(const char *path, uint64_t min_free_bytes, struct store **store_out,
	   struct fault *fault)
{
	CLEAN(store_free_clean) struct store *store = store_new();
	struct list findings;

	list_init(&findings);
	if (!store_open_parts(store, path, min_free_bytes, &findings, fault)) {
		suspect_leave();
		findings_take(&findings, NULL);
		return false;
	}
	suspect_leave();
	findings_take(&findings, store);
	*store_out = TAKE(store);
	return true;
}

void
store_close(struct store *store)
{
	uv_mutex_lock(&store->mutex);
	store->is_stopping = true;
	uv_cond_signal(&store->wake);
	uv_mutex_unlock(&store->mutex);
	uv_thread_join(&store->thread);
	ASSERT(list_is_empty(&store->waiting));
	store_free(store);
}
