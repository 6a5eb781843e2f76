#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/log.h"
#include "relay/queue/record.h"
#include "relay/queue/spool_private.h"

bool
spool_room_new(int directory, struct space *space,
	       struct spool_room **room_out, struct fault *fault)
{
	struct spool_room *room;
	CLEAN(clean_descriptor) int spool = -1;

	if (mkdirat(directory, "spool", 0700) != 0 && errno != EEXIST)
		return fault_errno(fault, "spool");
	spool = openat(directory, "spool", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (spool < 0)
		return fault_errno(fault, "spool");
	room = memory_new(sizeof(*room));
	if (!worker_new("spool", SPOOL_THREADS, SPOOL_JOBS_MAX, &room->worker,
			fault)) {
		free(room);
		return false;
	}
	room->directory = descriptor_take(&spool);
	room->space = space;
	atomic_init(&room->memory_max, SPOOL_MEMORY_DEFAULT);
	atomic_init(&room->memory, 0);
	*room_out = room;
	return true;
}

void
spool_room_free(struct spool_room *room)
{
	worker_free(room->worker);
	ASSERT(atomic_load(&room->memory) == 0);
	close(room->directory);
	free(room);
}

void
spool_room_limit(struct spool_room *room, uint64_t memory_bytes)
{
	atomic_store(&room->memory_max, memory_bytes);
}

uint64_t
spool_room_memory(const struct spool_room *room)
{
	return atomic_load(&room->memory);
}

struct worker *
spool_room_worker(struct spool_room *room)
{
	return room->worker;
}

void
spool_remove(struct spool_room *room, const struct message_id *id)
{
	char name[MESSAGE_ID_TEXT + 1];

	message_id_write(id, name);
	if (unlinkat(room->directory, name, 0) != 0 && errno != ENOENT)
		log_note(LOG_LEVEL_WARNING, "spool",
			 "spool/%s cannot be removed: %s", name,
			 strerror(errno));
}

void
spool_sweep(struct spool_room *room,
	    bool (*is_stored)(void *owner, const struct message_id *id),
	    void *owner)
{
	int copy = openat(room->directory, ".",
			  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;
	struct message_id id;

	if (list == NULL) {
		log_note(LOG_LEVEL_WARNING, "spool", "spool: %s",
			 strerror(errno));
		if (copy >= 0)
			close(copy);
		return;
	}
	while ((entry = readdir(list)) != NULL)
		if (message_id_read(SLICE(entry->d_name), &id) &&
		    !is_stored(owner, &id))
			spool_remove(room, &id);
	closedir(list);
}

void
spool_forget(struct spool_room *room, const struct message *message)
{
	CLEAN(clean_descriptor) int descriptor = -1;
	char name[MESSAGE_ID_TEXT + 1];

	message_id_write(&message->id, name);
	descriptor = openat(room->directory, name, O_RDONLY | O_CLOEXEC);
	if (descriptor >= 0)
		(void)posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
}

static void
spool_file_release(void *argument)
{
	struct spool_file *file = argument;

	if (!file->is_kept)
		spool_remove(file->room, &file->id);
}

void
spool_file_own(struct spool_room *room, struct message *message)
{
	struct spool_file *file = arena_new(&message->arena, sizeof(*file));

	file->room = room;
	file->id = message->id;
	message->body.file = file;
	arena_at_end(&message->arena, spool_file_release, file);
}

void
spool_file_keep(struct message *message)
{
	if (message->body.file != NULL)
		message->body.file->is_kept = true;
}

/* --- memory --- */

bool
spool_room_take(struct spool_room *room, size_t bytes)
{
	uint64_t before = atomic_fetch_add(&room->memory, bytes);

	return before + bytes <= atomic_load(&room->memory_max);
}

void
spool_room_give(struct spool_room *room, size_t bytes)
{
	uint64_t before = atomic_fetch_sub(&room->memory, bytes);

	ASSERT(before >= bytes);
}
