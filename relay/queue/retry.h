/*
 * retry - when what was deferred is tried again, and when it is given up. Pure.
 *
 * Schedule     Each attempt's delay is the next of `delivery.retry`, the last
 *              one repeating, and up to a tenth more, so that what failed
 *              together does not come back together. Never less: a host that
 *              asks for five minutes gets them.
 * Greylisting  Hosts that refuse for a while whom they do not know mean 300 s
 *              where nobody has changed it (postgrey(8), spfgreylist for
 *              OpenSMTPD), and spamd(8) of OpenBSD 25 minutes. So what looks
 *              like it waits for five minutes, or less where `retry` says so,
 *              while the message is younger than half an hour.
 * Expiry       A message is given up when it has been tried after `expire`
 *              was over, and as often as `retry` has delays within that time.
 *              A clock that was set forward, or a relay that was down for
 *              long, so costs no message its attempts. Where the clock now
 *              stands before the time of receipt, the attempts are the clock.
 * Behind       Where nobody gets to a destination, few messages are sent to
 *              find out. The others are given up, once `expire` is over,
 *              when it has been out of reach for as long as those delays
 *              take, by a clock that nobody sets: probes follow each other
 *              faster, and so are not attempts of theirs.
 * Reports      What cannot be told now is told later: after a minute, then twice
 *              as long each time, up to half an hour. After `expire` of such
 *              waits a report goes out unsigned, if nobody signs it still:
 *              that loses a signature, and RFC 5321 6.1 wants the sender told.
 *              The waits are counted, and not what a clock says, so a relay
 *              that was down for long does not give up at its first attempt.
 *              What somebody asks for between them ends none and begins none.
 */
#ifndef RELAY_QUEUE_RETRY_H
#define RELAY_QUEUE_RETRY_H

#include "relay/options.h"
#include "relay/queue/store.h"

/* Attempts that its recipients have had: the most that one has. */
unsigned retry_attempts(const struct delivery *delivery);

/* Whether it is given up; tried_ms (wall) is when the last of `attempts`
 * ended. Never while it is held. */
bool retry_is_over(const struct delivery *delivery,
		   const struct delivery_options *options, unsigned attempts,
		   uint64_t tried_ms) MUST_USE;
/* The same of one that waits behind others: `probes` have found nobody there,
 * the last at at_ms (wall), lasted_ms after the first. */
bool retry_is_over_unseen(const struct delivery *delivery,
			  const struct delivery_options *options,
			  unsigned probes, uint64_t lasted_ms,
			  uint64_t at_ms) MUST_USE;
/* When it will be given up at the earliest, wall. */
uint64_t retry_expires_ms(const struct delivery *delivery,
			  const struct delivery_options *options,
			  unsigned attempts, uint64_t now_ms);
/* How long it has been here; by the attempts where the clock cannot say: it was
 * set back since, or had not been set yet. */
uint64_t retry_age_ms(const struct delivery *delivery,
		      const struct delivery_options *options,
		      unsigned attempts, uint64_t now_ms);

/* When its deferred recipients are due again, wall; 0: there are none. */
uint64_t retry_due_ms(const struct delivery *delivery,
		      const struct delivery_options *options, uint64_t now_ms);
/* Nothing is deferred for longer than this. */
uint64_t retry_wait_max_ms(const struct delivery_options *options);

/* How long a report waits that was put off so many times in vain, at least 1,
 * the first time for first_ms. */
uint64_t retry_report_ms(uint64_t first_ms, unsigned tries);
/* Whether it has waited for `expire` altogether. */
bool retry_report_is_over(const struct delivery_options *options,
			  uint64_t first_ms, unsigned tries) MUST_USE;
/* When it is due again for a try that somebody asked for at asked_ms and that
 * fails at now_ms (wall), wait_ms being its wait: in steps of that since since_ms,
 * however often somebody asks. 0: a step has passed meanwhile, and the try counts
 * as one that came by itself. */
uint64_t retry_report_asked_ms(uint64_t since_ms, uint64_t wait_ms,
			       uint64_t asked_ms, uint64_t now_ms);
/* Of so many tries those that count on once somebody has signed it: the next
 * wait is not shorter for that. */
unsigned retry_report_signed(uint64_t first_ms, unsigned tries);

/* Whether a retry that somebody began then is for it: what was tried since has
 * had what a retry is for, or it could run after its own deferrals for ever. But
 * what was tried later than now was so by a clock that has been set back. */
bool retry_is_meant(const struct delivery *delivery, uint64_t begun_ms,
		    uint64_t now_ms) MUST_USE;

/* Whether a reply, "450 4.2.0 …", asks somebody unknown to come again: 450 or
 * 451 that say so, or say nothing else. */
bool retry_is_greylisting(struct slice reply);

#endif
