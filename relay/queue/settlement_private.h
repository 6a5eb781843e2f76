/*
 * settlement_private - what the files of a settlement share.
 *
 *	settlement.c          results, log, storing, trying again
 *	settlement_owed.c     reports that are put off
 *	settlement_report.c   reports: the original read, made, signed
 */
#ifndef RELAY_QUEUE_SETTLEMENT_PRIVATE_H
#define RELAY_QUEUE_SETTLEMENT_PRIVATE_H

#include "relay/net/signing.h"
#include "relay/queue/notify.h"
#include "relay/queue/schedule_private.h"

/*
 * A settlement: results are applied and logged; where somebody is to be told,
 * the original is read, reports are made and signed; then all is stored in one
 * transaction. What cannot be stored now (a full disk) is tried again until it
 * can: an outcome is never lost while the process lives. A report that cannot be
 * made now (no signer) is put off: the outcomes are stored, and those to whom one
 * is owed become a delivery of their own (relay/routing.h: Reports). Once that is
 * due the report is made, without trying them again; unsigned in the end, where
 * nobody signs it (retry.h). So are reports of what is noted, and due at once:
 * the lease goes on, and waits for no signer.
 * Reports are made by a few at a time, and made anew where they have to be tried
 * again, so that what is in memory does not grow with how many there are.
 */
struct settlement {
	struct destination *destination;
	struct lease *lease;
	struct delivery *delivery;
	uint64_t now_ms, due_ms; /* wall; due 0: nothing is left */
	bool has_rest;           /* the attempt goes on with that */
	schedule_noted_fn *noted; /* and the lease; NULL: it does not */
	bool was_delay_told;     /* before this */
	/* reports */
	bool is_for_report;      /* nothing else: it was put off before */
	bool was_asked_for;      /* now, by somebody */
	bool is_unsigned;        /* nobody signs them, and they go out so */
	struct delivery *owed;   /* put off now; NULL: nothing */
	struct list waiting; /* in its loop's, for a place */
	bool has_place;
	struct notices notices;
	struct arena arena;      /* of the notices */
	struct text original; /* as received, from its first byte */
	uint64_t original_wanted;
	unsigned read_failures;
	struct list reporting; /* in its loop's, while reports are made */
	bool is_signing;       /* order is open */
	struct store_read_body read;
	struct message *reports[STORE_REPORTS_MAX];
	size_t reports_count, reports_signed;
	struct pipeline *pipeline;
	struct signing_order order;
	/* storing */
	struct store_settle settle;
	/* trying again */
	struct alarm alarm;
	bool has_alarm, waits;
	uint64_t retry_ms;
	void (*again)(struct settlement *settlement);
};

/* --- settlement.c --- */

const struct options *settlement_options(const struct destination *destination);
/* Calls again() after a while, each time a longer one. */
void settlement_retry(struct settlement *settlement,
		      void (*again)(struct settlement *settlement),
		      const char *what, const struct fault *fault);
/* With the reports made so far. */
void settlement_store(struct settlement *settlement);
void settlement_log(const struct settlement *settlement, const char *what,
		    const struct fault *fault);

/* --- settlement_owed.c --- */

/* The reports come later. what NULL: nothing is wrong, and they are due at
 * once, or with the next start. */
void settlement_put_off(struct settlement *settlement, const char *what,
			const struct fault *fault);

/* When those were tried who have a result; wall; 0: they were not. Of a part
 * the delivery itself does not say it, whose attempt goes on. */
static inline uint64_t
settlement_attempt_ms(const struct settlement *settlement)
{
	return settlement->has_rest ? settlement->now_ms
				    : settlement->delivery->last_attempt_ms;
}

/* Nobody has signed it for so long that it goes out as it is. */
bool owed_goes_unsigned(const struct settlement *settlement);
/* Somebody signs: that begins anew. */
void owed_note_signed(struct settlement *settlement);

/* It is stored: the schedule's. */
void owed_hand_over(struct settlement *settlement);
/* What was stored then. */
void owed_apply(struct settlement *settlement);
/* It is known now who is to be told. */
void owed_forget(struct delivery *delivery);

/* --- settlement_report.c --- */

/* Somebody is to be told; ends in settlement_store(). */
void settlement_report(struct settlement *settlement);
/* Once they are stored. */
void settlement_report_log(const struct settlement *settlement);
/* What was made, and the place that it took: for the next one. */
void settlement_report_drop(struct settlement *settlement);

#endif
