/*
 * disk_faults - loaded before the C library: writes and syncs of some files fail
 * at random, as those of a failing or a full disk do.
 *
 * DISK_FAULTS names a file of numbers, mapped so that a test may change them at
 * any time: how many in a million calls fail, then a set of kinds. Only what
 * lies below a directory named "state" is touched.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "page.h"

enum { KIND_EIO = 1, KIND_ENOSPC = 2, KIND_EINTR = 4, KIND_SHORT = 8,
       KIND_SYNC = 16, KIND_HANG = 32 };
#define KINDS 6

static volatile uint64_t *numbers; /* rate, kinds, how many there were */
static _Thread_local uint64_t state;

__attribute__((constructor)) static void
begin(void)
{
	numbers = page_of("DISK_FAULTS");
}

static uint64_t
any(void)
{
	if (state == 0)
		state = (uint64_t)(uintptr_t)&state * 2654435761u +
			(uint64_t)getpid();
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static int
is_ours(int descriptor)
{
	char link[64], path[512];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return 0;
	path[len] = '\0';
	return strstr(path, "/state/") != NULL;
}

/* One of the kinds that are possible here and asked for; 0: none this time. */
static unsigned
fault_now(int descriptor, unsigned possible)
{
	unsigned kinds;

	if (numbers == NULL || numbers[0] == 0 ||
	    (kinds = possible & (unsigned)numbers[1]) == 0 ||
	    any() % 1000000 >= numbers[0] || !is_ours(descriptor))
		return 0;
	__atomic_fetch_add(&numbers[2], 1, __ATOMIC_RELAXED);
	for (;;) {
		unsigned kind = 1u << any() % KINDS;

		if ((kinds & kind) != 0)
			return kind;
	}
}

static ssize_t
fail(unsigned kind)
{
	errno = kind == KIND_ENOSPC ? ENOSPC : kind == KIND_EINTR ? EINTR : EIO;
	return -1;
}

#define WRITES (KIND_EIO | KIND_ENOSPC | KIND_EINTR | KIND_SHORT)
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t
pwrite64(int descriptor, const void *bytes, size_t len, off64_t offset)
{
	unsigned kind = fault_now(descriptor, WRITES);

	if (kind == KIND_SHORT && len > 1)
		return NEXT(pwrite64)(descriptor, bytes, len / 2, offset);
	return kind != 0 && kind != KIND_SHORT
		       ? fail(kind)
		       : NEXT(pwrite64)(descriptor, bytes, len, offset);
}

ssize_t
pwrite(int descriptor, const void *bytes, size_t len, off_t offset)
{
	return pwrite64(descriptor, bytes, len, offset);
}

ssize_t
pwritev64(int descriptor, const struct iovec *parts, int count, off64_t offset)
{
	unsigned kind = fault_now(descriptor, WRITES);

	if (kind == KIND_SHORT)
		return NEXT(pwrite64)(descriptor, parts[0].iov_base,
				      (parts[0].iov_len + 1) / 2, offset);
	return kind != 0 ? fail(kind)
			 : NEXT(pwritev64)(descriptor, parts, count, offset);
}

ssize_t
pwritev(int descriptor, const struct iovec *parts, int count, off_t offset)
{
	return pwritev64(descriptor, parts, count, offset);
}

ssize_t
writev(int descriptor, const struct iovec *parts, int count)
{
	unsigned kind = fault_now(descriptor, WRITES & ~KIND_SHORT);

	return kind != 0 ? fail(kind) : NEXT(writev)(descriptor, parts, count);
}

/* As one of a disk that does not answer, until the test has it answer. */
static unsigned
sync_fault(int descriptor)
{
	static const struct timespec moment = {.tv_nsec = 10000000};
	unsigned kind = fault_now(descriptor, KIND_SYNC | KIND_HANG);

	if (kind != KIND_HANG)
		return kind;
	while ((numbers[1] & KIND_HANG) != 0)
		nanosleep(&moment, NULL);
	return 0;
}

int
fdatasync(int descriptor)
{
	unsigned kind = sync_fault(descriptor);

	return kind != 0 ? (int)fail(kind) : NEXT(fdatasync)(descriptor);
}

int
fsync(int descriptor)
{
	unsigned kind = sync_fault(descriptor);

	return kind != 0 ? (int)fail(kind) : NEXT(fsync)(descriptor);
}
