/*
 * share - one loop's part of the server: its sessions. Between acceptor and
 * session, so that neither knows the other.
 */
#ifndef RELAY_SERVER_SHARE_H
#define RELAY_SERVER_SHARE_H

#include <stdatomic.h>

#include "relay/server/server.h"

struct census;
struct dovecot;
struct offenders;
struct rates;
struct session;
struct strangers;
struct worker;

/* Sockets that all generations together may name; beyond, none is asked. */
#define SHARE_DOVECOTS_MAX 32

struct share {
	struct server *server;
	struct loop *loop;
	struct store *store;
	struct schedule *schedule;
	struct worker *logins;       /* of all shares: hashes passwords */
	struct offenders *offenders; /* likewise */
	struct census *census;       /* likewise */
	struct strangers *strangers; /* likewise */
	struct rates *rates;         /* likewise: what users send */
	struct list sessions;     /* the loop's thread only */
	struct dovecot *dovecots[SHARE_DOVECOTS_MAX]; /* likewise; by socket */
	bool is_stopping;         /* likewise */
	atomic_size_t count;      /* sessions dealt to it and not ended */
	atomic_uint_fast64_t rejected;
	struct post stop, kill;
};

/* On the share's loop: who is asked over that socket, opened where it is not.
 * NULL: nobody, since the share is stopping or there are too many. */
struct dovecot *share_dovecot(struct share *share, struct slice path);
/* Any thread: sessions of all shares. */
size_t share_everybody(const struct share *share);
/* On the share's loop, the last thing a session does. */
void share_session_ended(struct share *share);

#endif
