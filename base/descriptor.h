/*
 * descriptor - gives away a plain descriptor that CLEAN(clean_descriptor)
 * guards, as TAKE() does a pointer.
 *
 *	CLEAN(clean_descriptor) int file = open(...);
 *	...
 *	*file_out = descriptor_take(&file);
 */
#ifndef BASE_DESCRIPTOR_H
#define BASE_DESCRIPTOR_H

#include <sys/socket.h>

#include "base/clean.h"

static inline int
descriptor_take(int *descriptor)
{
	int taken = *descriptor;

	*descriptor = -1;
	return taken;
}

/* Closes what another process has had, too: it may have seen to it that the last
 * one to close a socket waits until its peer has taken all (SO_LINGER). */
static inline void
descriptor_drop(int *descriptor)
{
	static const struct linger never = {0, 0};

	if (*descriptor >= 0 &&
	    setsockopt(*descriptor, SOL_SOCKET, SO_LINGER, &never,
		       sizeof(never)) < 0) {
		/* it is no socket */
	}
	clean_descriptor(descriptor);
}

#endif
