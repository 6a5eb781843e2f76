/*
 * listen - the sockets that the relay's listeners accept from, bound by the
 * supervisor while it still may.
 */
#ifndef RELAY_LISTEN_H
#define RELAY_LISTEN_H

#include "relay/options.h"

/* A nonblocking, close-on-exec, listening socket. The fault says what to do
 * about it. */
bool listen_open(const struct listener_options *listener, int *descriptor_out,
		 struct fault *fault) MUST_USE;

#endif
