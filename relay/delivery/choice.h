/*
 * choice - which of a destination's addresses one connection tries next. Does
 * no I/O.
 *
 * In the order of the list, those of equal best preference in turn (hosts.h),
 * and those that failed lately when all others have been tried. While another
 * address of the same preference is left, or one of IPv4 behind one of IPv6,
 * each has only CONNECT_HURRY_MS to answer (the spirit of RFC 8305; but nothing
 * is ever tried side by side): who took longer comes once more, at the very end,
 * with all the time there is. So does who passed a message on for the lack of
 * something: where nobody else took it he is to have what he can take.
 */
#ifndef RELAY_DELIVERY_CHOICE_H
#define RELAY_DELIVERY_CHOICE_H

#include "relay/delivery/hosts.h"

struct choice {
	/* the owner's, before the first use; zero elsewhere */
	struct hosts *hosts;
	unsigned turn;  /* whose, of equal hosts */
	/* its own: a bit for each host, by its index */
	uint64_t tried, again, lacking;
};

/* NULL: none is left. puts_v6_off: within one preference IPv4 is first.
 * is_hurried_out: this one has only CONNECT_HURRY_MS. */
struct host *choice_next(struct choice *choice, bool puts_v6_off,
			 bool *is_hurried_out);
/* It is to come once more, when no other is left: it did not answer in
 * CONNECT_HURRY_MS, or lacks what another may have. Its second turn is its
 * last. */
void choice_again(struct choice *choice, const struct host *host);
void choice_lacks(struct choice *choice, const struct host *host);
/* Another message, which may need something else. */
void choice_next_message(struct choice *choice);
/* Whether the best one is preferred to this one, and to all that lack what the
 * message needs: then it was down, or may take it later. */
bool choice_has_better(const struct choice *choice, const struct host *host);
/* It counts as tried, without having been chosen. */
void choice_take(struct choice *choice, const struct host *host);
/* Whether one is left that is likely to answer. */
bool choice_has_other(const struct choice *choice);

#endif
