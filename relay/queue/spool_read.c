#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "relay/queue/record.h"
#include "relay/queue/spool_private.h"

/*
 * Some chunks in a row. In the file each stands behind its checksum; here they
 * stand one behind the other.
 */
struct reading {
	const struct message *message;
	uint64_t first; /* chunk, from 0 */
	size_t count;
	char *bytes;
	uint8_t sums[BODY_READ_CHUNKS][RECORD_SUM_SIZE];
};

static size_t
chunk_len(const struct reading *reading, size_t i)
{
	uint64_t left = reading->message->body.size -
			(reading->first + i) * BODY_CHUNK;

	return left < BODY_CHUNK ? (size_t)left : BODY_CHUNK;
}

void
spool_parts_skip(struct iovec **parts, int *count, size_t done)
{
	while (*count > 0 && done >= (*parts)->iov_len) {
		done -= (*parts)->iov_len;
		(*parts)++;
		(*count)--;
	}
	if (*count > 0) {
		(*parts)->iov_base = (char *)(*parts)->iov_base + done;
		(*parts)->iov_len -= done;
	}
}

/* Fewer bytes only where the file ends, or, with RWF_NOWAIT, where the next ones
 * are not in memory. */
static bool
reading_run(const struct reading *reading, int descriptor, int flags,
	    struct fault *fault)
{
	struct iovec list[2 * BODY_READ_CHUNKS], *parts = list;
	off_t offset = (off_t)(reading->first * RECORD_CHUNK_MAX);
	int count = 0;

	for (size_t i = 0; i < reading->count; i++) {
		list[count++] = (struct iovec){(void *)reading->sums[i],
					       RECORD_SUM_SIZE};
		list[count++] =
			(struct iovec){reading->bytes + i * BODY_CHUNK,
				       chunk_len(reading, i)};
	}
	while (count > 0) {
		ssize_t got = preadv2(descriptor, parts, count, offset, flags);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return fault_errno(fault, "spool file");
		if (got == 0)
			return fault_set(fault, FAULT_INPUT,
					 "the file is too short");
		offset += got;
		spool_parts_skip(&parts, &count, (size_t)got);
	}
	return true;
}

static bool
reading_check(const struct reading *reading, struct fault *fault)
{
	for (size_t i = 0; i < reading->count; i++) {
		uint32_t number = (uint32_t)(reading->first + i) + 1;
		uint8_t sum[RECORD_SUM_SIZE];

		record_chunk_sum(&reading->message->id, number,
				 slice_of(reading->bytes + i * BODY_CHUNK,
					  chunk_len(reading, i)),
				 sum);
		if (memcmp(sum, reading->sums[i], sizeof(sum)) != 0)
			return fault_set(fault, FAULT_INPUT,
					 "chunk %u is damaged",
					 (unsigned)number);
	}
	return true;
}

static bool
spool_read_open(int descriptor, int flags, const struct message *message,
		uint64_t offset, size_t max, struct text *out,
		struct fault *fault)
{
	struct reading reading = {.message = message,
				  .first = offset / BODY_CHUNK};
	size_t skipped = (size_t)(offset % BODY_CHUNK);
	uint64_t size = message->body.size, all, last;
	size_t len;

	ASSERT(offset < size);
	if (max > size - offset)
		max = (size_t)(size - offset);
	last = (offset + max - 1) / BODY_CHUNK;
	reading.count = (size_t)(last - reading.first) + 1;
	if (reading.count > BODY_READ_CHUNKS)
		reading.count = BODY_READ_CHUNKS;
	all = reading.count * BODY_CHUNK;
	reading.bytes = text_room(out, (size_t)all);
	if (!reading_run(&reading, descriptor, flags, fault) ||
	    !reading_check(&reading, fault))
		return false;
	len = (reading.count - 1) * BODY_CHUNK +
	      chunk_len(&reading, reading.count - 1) - skipped;
	if (skipped > 0)
		memmove(reading.bytes, reading.bytes + skipped, len);
	text_added(out, len < max ? len : max);
	return true;
}

bool
spool_read(struct spool_room *room, const struct message *message,
	   uint64_t offset, size_t max, struct text *out, struct fault *fault)
{
	CLEAN(clean_descriptor) int descriptor = -1;
	char name[MESSAGE_ID_TEXT + 1];

	message_id_write(&message->id, name);
	descriptor = openat(room->directory, name, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0)
		return fault_errno(fault, "spool/%s", name);
	return spool_read_open(descriptor, 0, message, offset, max, out,
			       fault) ||
	       fault_within(fault, "spool/%s", name);
}

/* A name, too, may have to be read from the disk. */
static int
open_cached(int directory, const char *name)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC,
			       .resolve = RESOLVE_CACHED};

	return (int)syscall(SYS_openat2, directory, name, &how, sizeof(how));
}

bool
spool_read_now(struct spool_room *room, const struct message *message,
	       uint64_t offset, size_t max, struct text *out)
{
	CLEAN(clean_descriptor) int descriptor = -1;
	char name[MESSAGE_ID_TEXT + 1];
	struct fault fault;

	message_id_write(&message->id, name);
	descriptor = open_cached(room->directory, name);
	return descriptor >= 0 &&
	       spool_read_open(descriptor, RWF_NOWAIT, message, offset, max,
			       out, &fault);
}
