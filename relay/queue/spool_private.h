/*
 * spool_private - what the files of the spool share.
 */
#ifndef RELAY_QUEUE_SPOOL_PRIVATE_H
#define RELAY_QUEUE_SPOOL_PRIVATE_H

#include <stdatomic.h>
#include <sys/uio.h>

#include "relay/queue/spool.h"

/* Until spool_room_limit() says otherwise. */
#define SPOOL_MEMORY_DEFAULT (256 * MIB)

/* The process's part of the spool. */
struct spool_room {
	int directory;         /* state_dir/spool */
	struct space *space;
	struct worker *worker;
	atomic_uint_fast64_t memory, memory_max;
};

/* A file that goes with its message unless the store takes it. */
struct spool_file {
	struct spool_room *room;
	struct message_id id;
	bool is_kept;
};
void spool_file_own(struct spool_room *room, struct message *message);

/* Counts bytes of memory in, whatever there is; false: too much is in use, go
 * to a file. */
bool spool_room_take(struct spool_room *room, size_t bytes);
void spool_room_give(struct spool_room *room, size_t bytes);
/* What is left of the parts behind what has been read or written. */
void spool_parts_skip(struct iovec **parts, int *count, size_t done);

#endif
