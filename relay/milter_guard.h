/*
 * milter_guard - looks after connections of which libmilter tells nobody: those
 * that have not said a whole word yet.
 *
 * libmilter accepts whoever comes and calls nothing of ours before the first
 * command. The kernel keeps silent TCP clients away for a while (listen.h).
 * Here the process looks through its own sockets now and then: a TCP connection
 * that has been silent for too long is shut down, at once where there are many;
 * and where there are too many of any kind, accepting has to pause, since
 * libmilter would go round in circles without a descriptor.
 */
#ifndef RELAY_MILTER_GUARD_H
#define RELAY_MILTER_GUARD_H

#include "base/slice.h"

/* How often to look. */
#define GUARD_LOOK_MS 1000
/* From connecting to the first command, which an MTA sends at once. */
#define GUARD_SILENT_MS 10000
/* Beyond max_connections, for those that are just being refused. */
#define GUARD_SLACK 256

/* How many stream sockets the process has that do not listen. Those of TCP that
 * have been silent for so long are shut down. */
size_t guard_look(uint32_t patience_ms);

#endif
