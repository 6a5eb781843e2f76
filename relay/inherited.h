/*
 * inherited - listening sockets that systemd has opened for us and passed on at
 * our start: socket activation, as sd_listen_fds(3) describes it.
 *
 * They stay open as long as the supervisor runs, so that each reload finds them,
 * also those that no listener names at the time.
 */
#ifndef RELAY_INHERITED_H
#define RELAY_INHERITED_H

#include "base/fault.h"
#include "base/slice.h"

struct inherited {
	int first; /* descriptors from here on */
	size_t count;
	struct slice *names; /* count of them; they lie in the text */
	struct text text;
};

/* Takes what the environment says is ours, and takes it out of there; they are
 * not passed on to children, and do not block. */
bool inherited_take(struct inherited *out, struct fault *fault) MUST_USE;
/* Frees; the sockets are closed. */
void inherited_done(struct inherited *inherited);
/* A duplicate of the one socket of that name (FileDescriptorName=). */
bool inherited_open(const struct inherited *inherited, struct slice name,
		    int *descriptor_out, struct fault *fault) MUST_USE;

#endif
