/*
 * roster - whom a message has as recipients: who is named twice in the same
 * words gets it once, as from others. Pure.
 *
 * Same     The local part, the domain in any case, and what is wanted of reports
 *          (NOTIFY, ORCPT).
 * Cost     The same for each recipient, however many there are: where a table's
 *          place is crowded no more of it is looked at, and somebody may pass
 *          for new.
 */
#ifndef RELAY_SERVER_ROSTER_H
#define RELAY_SERVER_ROSTER_H

#include "relay/queue/message.h"

/* A zeroed one is of a message without recipients. */
struct roster {
	uint32_t *slots; /* 1 + the index of a recipient; 0: free */
	size_t size;     /* a power of two */
};

bool roster_has(const struct roster *roster, const struct message *message,
		const struct recipient *recipient);
/* Behind each message_add_recipient(), once the recipient is complete. */
void roster_note(struct roster *roster, const struct message *message);
void roster_done(struct roster *roster);

#endif
