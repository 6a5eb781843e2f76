/* The page that a test shares with what it loads before the C library. */
#ifndef TESTS_SYSTEM_HARNESS_PAGE_H
#define TESTS_SYSTEM_HARNESS_PAGE_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_SIZE_SHARED 4096

/* Of the file that the environment names so. NULL: there is none. */
static volatile void *
page_of(const char *variable)
{
	const char *path = getenv(variable);
	int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
	void *map;

	if (file < 0)
		return NULL;
	map = mmap(NULL, PAGE_SIZE_SHARED, PROT_READ | PROT_WRITE, MAP_SHARED,
		   file, 0);
	close(file);
	return map == MAP_FAILED ? NULL : map;
}

#endif
