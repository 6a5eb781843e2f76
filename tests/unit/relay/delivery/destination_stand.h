/*
 * destination_stand - a schedule, hosts and connections that do as the test of a
 * destination says. Nothing runs on its own: there is no loop.
 */
#ifndef TESTS_UNIT_RELAY_DELIVERY_DESTINATION_STAND_H
#define TESTS_UNIT_RELAY_DELIVERY_DESTINATION_STAND_H

#include "base/clock.h"
#include "relay/delivery/connection.h"
#include "relay/delivery/destination.h"
#include "relay/generation.h"
#include "relay/limits.h"

#define DELIVERIES_MAX 64

/* --- the schedule --- */

extern struct delivery *ready[DELIVERIES_MAX];
extern size_t ready_count;
/* A letter for each recipient, in order. */
extern char settled[DELIVERIES_MAX + 1];
extern size_t settled_count, given_back;
/* schedule_note(): the letters end with a space; and it is stored. */
extern struct delivery *noted_delivery;
void is_noted(void);
extern uint64_t paused_ms;
extern bool pause_is_short; /* over before the next call */
extern const struct delivery *stranger;
extern unsigned reached;
extern char noted[64]; /* what the schedule heard of trouble */

void delivery_drop(struct delivery *delivery);

/* --- hosts --- */

extern enum hosts_answer { HOSTS_ONE, HOSTS_NONE, HOSTS_LATER } hosts_answer;
extern enum outcome_trouble hosts_trouble;
extern struct hosts_query *hosts_open;
extern unsigned hosts_asked;
extern int hosts_references;

struct hosts *hosts_make(void);

/* --- connections --- */

extern struct connection *connections[32];
extern size_t connections_count;
extern unsigned released;

struct attempt *first_of(struct connection *connection);
void gives_back(struct connection *connection);
void carried(struct connection *connection, enum outcome outcome);
/* A transaction for one more recipient, and no further for now. */
void puts_down(struct connection *connection, enum outcome outcome);
/* As connection.c does: all back first, then the end. */
void ends(struct connection *connection, bool has_failed);
/* Every message that a connection has in hand. */
void all_carried(void);

/* --- the world --- */

extern struct loop loops[2];
extern struct options *options;
extern struct generation generations[2];
extern struct delivery_service *service;
extern struct schedule_destination destination;

void add(unsigned count);
void add_to(unsigned recipients); /* one message */
void world_make(void);
void world_end(void);

#endif
