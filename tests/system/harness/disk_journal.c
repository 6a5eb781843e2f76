/*
 * disk_journal - loaded before the C library: what is written and synced below a
 * directory named "state", and each 250 that is sent, in the order in which it
 * happened, goes to the file that DISK_JOURNAL_TO names.
 *
 * A record: kind, length of the path, offset, length of the bytes; path, bytes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
	uint32_t kind, path_len;
	uint64_t offset, len;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("DISK_JOURNAL_TO");

	if (path != NULL)
		journal = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
}

static int
path_of(int descriptor, char path[512])
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	len = journal < 0 ? -1 : readlink(link, path, 511);
	path[len > 0 ? len : 0] = '\0';
	return strstr(path, "/state/") != NULL;
}

static void
note(char kind, const char *path, uint64_t offset, const void *bytes,
     size_t len)
{
	struct record record = {(uint32_t)kind, (uint32_t)strlen(path), offset,
				len};
	struct iovec parts[] = {{&record, sizeof(record)},
				{(void *)path, strlen(path)},
				{(void *)bytes, len}};

	if (syscall(SYS_writev, journal, parts, 3) < 0)
		abort();
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* 'W' for a write, 'D' for one that is durable when it returns. */
static char
write_kind(int descriptor)
{
	return (fcntl(descriptor, F_GETFL) & O_DSYNC) != 0 ? 'D' : 'W';
}

ssize_t
pwrite64(int descriptor, const void *bytes, size_t len, off64_t offset)
{
	char path[512];
	ssize_t put;

	if (!path_of(descriptor, path))
		return NEXT(pwrite64)(descriptor, bytes, len, offset);
	pthread_mutex_lock(&lock);
	put = NEXT(pwrite64)(descriptor, bytes, len, offset);
	if (put > 0)
		note(write_kind(descriptor), path, (uint64_t)offset, bytes,
		     (size_t)put);
	pthread_mutex_unlock(&lock);
	return put;
}

ssize_t
pwrite(int descriptor, const void *bytes, size_t len, off_t offset)
{
	return pwrite64(descriptor, bytes, len, offset);
}

/* One part after the other: it may be short. */
ssize_t
pwritev64(int descriptor, const struct iovec *parts, int count, off64_t offset)
{
	ssize_t all = 0;

	for (int i = 0; i < count; i++) {
		ssize_t put = pwrite64(descriptor, parts[i].iov_base,
				       parts[i].iov_len, offset + all);

		if (put < 0)
			return all > 0 ? all : put;
		all += put;
		if ((size_t)put < parts[i].iov_len)
			break;
	}
	return all;
}

ssize_t
pwritev(int descriptor, const struct iovec *parts, int count, off_t offset)
{
	return pwritev64(descriptor, parts, count, offset);
}

static int
synced(int descriptor, int (*sync)(int))
{
	char path[512];
	int status;

	if (!path_of(descriptor, path))
		return sync(descriptor);
	pthread_mutex_lock(&lock);
	status = sync(descriptor);
	if (status == 0)
		note('S', path, 0, "", 0);
	pthread_mutex_unlock(&lock);
	return status;
}

int
fdatasync(int descriptor)
{
	return synced(descriptor, NEXT(fdatasync));
}

int
fsync(int descriptor)
{
	return synced(descriptor, NEXT(fsync));
}

/* What libuv writes to sockets with; the promise counts before it is sent. */
static void
note_answer(const void *bytes, size_t len)
{
	if (journal < 0 || len < 4 || memcmp(bytes, "250 ", 4) != 0)
		return;
	pthread_mutex_lock(&lock);
	note('A', "", 0, bytes, len);
	pthread_mutex_unlock(&lock);
}

ssize_t
write(int descriptor, const void *bytes, size_t len)
{
	note_answer(bytes, len);
	return NEXT(write)(descriptor, bytes, len);
}

/* Also the engine's, who goes to the place before. */
ssize_t
writev(int descriptor, const struct iovec *parts, int count)
{
	char path[512];
	off_t offset;
	ssize_t put, left;

	if (!path_of(descriptor, path)) {
		if (count > 0)
			note_answer(parts[0].iov_base, parts[0].iov_len);
		return NEXT(writev)(descriptor, parts, count);
	}
	pthread_mutex_lock(&lock);
	offset = lseek(descriptor, 0, SEEK_CUR);
	put = NEXT(writev)(descriptor, parts, count);
	left = put;
	for (int i = 0; i < count && left > 0; i++) {
		size_t len = parts[i].iov_len;

		if (len > (size_t)left)
			len = (size_t)left;
		note(write_kind(descriptor), path, (uint64_t)offset,
		     parts[i].iov_base, len);
		offset += (off_t)len;
		left -= (ssize_t)len;
	}
	pthread_mutex_unlock(&lock);
	return put;
}

ssize_t
send(int descriptor, const void *bytes, size_t len, int flags)
{
	note_answer(bytes, len);
	return NEXT(send)(descriptor, bytes, len, flags);
}

ssize_t
sendmsg(int descriptor, const struct msghdr *message, int flags)
{
	if (message->msg_iovlen > 0)
		note_answer(message->msg_iov[0].iov_base,
			    message->msg_iov[0].iov_len);
	return NEXT(sendmsg)(descriptor, message, flags);
}
