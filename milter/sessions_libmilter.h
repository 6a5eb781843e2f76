/*
 * sessions_libmilter - the seam to libmilter's inside: what is left out of its
 * static library, under the names that libmilter.sh gives it, and what of it
 * is called. The types are those of libmilter.h of Sendmail 8.17.
 *
 * Thread      libmilter_pool, _accept and _start: the one that runs
 *             smfi_main(). The others: the one that runs mi_engine(), and about
 *             its session; libmilter_poll and _close any.
 */
#ifndef MILTER_SESSIONS_LIBMILTER_H
#define MILTER_SESSIONS_LIBMILTER_H

#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/check.h"

struct smfi_str; /* its SMFICTX */

/* MI_SUCCESS, MI_FAILURE and MI_CONTINUE: the session waits for its MTA. */
enum { LIBMILTER_SUCCESS = 0, LIBMILTER_FAILURE = -1, LIBMILTER_CONTINUE = 1 };
/* SMFIC_EOF, in place of a command. */
#define LIBMILTER_ENDED ((char)5)

/* Goes on with a session until it ends, or libmilter_poll() says that nothing
 * more is there. */
int mi_engine(struct smfi_str *context);
/* Closes and frees. */
void mi_clr_ctx(struct smfi_str *context);

/* worker.c */
int libmilter_pool(void);
int libmilter_start(struct smfi_str *context);
/* comm.c. A packet's payload is the caller's to free; `timeout` goes for
 * nothing: the packet is there. */
char *libmilter_read(int descriptor, struct timeval *timeout, char *command_out,
		     size_t *len_out, char *name);
int libmilter_write(int descriptor, struct timeval *timeout, int command,
		    char *bytes, size_t len);
size_t smfi_setmaxdatasize(size_t size);
/* The C library's, as the rest of libmilter calls them. */
int libmilter_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms);
int libmilter_accept(int descriptor, struct sockaddr *address, socklen_t *len);
int libmilter_close(int descriptor);
void libmilter_syslog(int priority, const char *format, ...) PRINTF_LIKE(2, 3);
void libmilter_syslog_chk(int priority, int flag, const char *format, ...)
	PRINTF_LIKE(3, 4);

#endif
