/*
 * packet - one packet of the milter protocol, as its bytes come in.
 *
 * Four bytes of length, one of a command, and what belongs to it: the length
 * counts all but itself. Nothing here waits: bytes are fed as they come, and a
 * packet is whole or it is not.
 *
 * libmilter trusts what it is told. So a packet that it would read beyond is
 * bad: a list of macros that is not pairs of strings. Macros of a step for
 * which libmilter has no use (Postfix repeats them with every field and every
 * piece of the body) are skipped.
 *
 * Bytes       What a packet claims to be is allocated, not touched, before it
 *             is there; the caller sets the bound.
 */
#ifndef MILTER_PACKET_H
#define MILTER_PACKET_H

#include "base/slice.h"

#define PACKET_HEAD_SIZE ((size_t)5)
/* The first packet, a negotiation, with version, actions and protocol. */
#define PACKET_FIRST_SIZE (PACKET_HEAD_SIZE + 12)

/* Commands, of which libmilter's mfdef.h tells; it says SMFIC_. */
#define PACKET_BODY 'B'
#define PACKET_END 'E' /* of the body; may have its last piece with it */
#define PACKET_HEADER 'L'
#define PACKET_END_OF_HEADER 'N'
#define PACKET_MACROS 'D'
#define PACKET_NEGOTIATION 'O'
#define PACKET_QUIT_NEW 'K' /* a further connection follows on the socket */
#define PACKET_UNKNOWN 'U'  /* a command of SMTP that the MTA does not know */

/* Zeroed: nothing of it is there. */
struct packet {
	unsigned char head[PACKET_HEAD_SIZE];
	size_t got;    /* of the head, then of the payload */
	size_t len;    /* of the payload, once the head is whole */
	char *payload; /* malloc'd, a NUL behind it; NULL where there is none */
};

enum packet_state { PACKET_PART, PACKET_WHOLE, PACKET_BAD };

void packet_done(struct packet *packet); /* zeroed again */
/* Takes off *input what belongs to it, and what is skipped before it. A payload
 * may be as long as max. */
enum packet_state packet_feed(struct packet *packet, struct slice *input,
			      size_t max);
bool packet_has_begun(const struct packet *packet);
bool packet_is_whole(const struct packet *packet);
char packet_command(const struct packet *packet); /* of a whole one */
bool packet_may_be_first(const struct packet *packet);
/* Where the rest of its payload may be written, len bytes; NULL where none is
 * due. packet_added() says how many were, packet_feed() what it then is. */
char *packet_room(const struct packet *packet, size_t *len_out);
void packet_added(struct packet *packet, size_t len);
/* The payload of a whole one, to be freed, or NULL; it is zeroed again. */
char *packet_take(struct packet *packet, size_t *len_out);

/* A packet of ours. */
void packet_write(struct text *out, char command, struct slice payload);

#endif
