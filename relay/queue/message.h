/*
 * message - a message under way: envelope, prepended fields, body.
 *
 * What goes out is `prefix` (fields that we put on top) + the bytes that were
 * received. Both may be made anew per transaction later; nobody but the client
 * joins them.
 *
 * Ownership   Counted, atomically: the session that receives it, the store
 *             while it writes, each lease. All but `references` is immutable
 *             once store_put() has been called.
 */
#ifndef RELAY_QUEUE_MESSAGE_H
#define RELAY_QUEUE_MESSAGE_H

#include "base/arena.h"
#include "base/fault.h"
#include "base/slice.h"

/* Unique for ever, across restarts and relays: 48 bits of wall time in ms, then
 * 80 bits of which a process's random part never repeats; bytes order by time.
 * In text 26 characters of base32 (Crockford). */
#define MESSAGE_ID_SIZE 16
#define MESSAGE_ID_TEXT 26
struct message_id {
	uint8_t bytes[MESSAGE_ID_SIZE];
};
struct message_id message_id_new(void);
void message_id_write(const struct message_id *id,
		      char out[MESSAGE_ID_TEXT + 1]);
bool message_id_read(struct slice text, struct message_id *id_out) MUST_USE;
bool message_id_eq(const struct message_id *a, const struct message_id *b);

/* When the sender wants a report about a recipient: RFC 3461 4.1. */
enum notify {
	NOTIFY_NEVER = 1u << 0, /* stands alone */
	NOTIFY_SUCCESS = 1u << 1,
	NOTIFY_FAILURE = 1u << 2,
	NOTIFY_DELAY = 1u << 3,
};

/* One entry per RCPT, as accepted. */
struct recipient {
	struct slice address;     /* forward-path without <>, as given: UTF-8 */
	struct slice destination; /* domain in A-labels, lower case; an address
				     literal as "[…]" */
	struct slice orcpt;       /* RFC 3461 4.2, "rfc822;" and xtext, or
				     RFC 6533 3, "utf-8;…": as given, ready to
				     be passed on; "": not given */
	unsigned notify;          /* NOTIFY_ bits; 0: not given */
};

/* How much of the message a report of failure returns: RFC 3461 4.3. */
enum message_ret { RET_NOT_SAID, RET_FULL, RET_HDRS };

struct spool_file;

/* The received bytes, header and body, CRLF line ends, without dot-stuffing.
 * Up to BODY_INLINE_MAX they are chunks in memory and in the store; above, a
 * file "spool/ID" of state_dir. */
struct body {
	uint64_t size;      /* bytes */
	uint64_t header_len;/* of them; up to and with the empty line's CRLF,
			       or all where there is no body */
	bool is_file;
	bool has_8bit;      /* an octet over 127 anywhere */
	bool has_8bit_header; /* one before the empty line */
	bool has_long_line; /* a line over 998 octets */
	struct slice *chunks; /* BODY_CHUNK each but the last; NULL when not in
				 memory */
	size_t chunks_count;
	struct spool_file *file; /* the spool's, of a message just received:
				    removes the file with the message unless
				    the store has taken it */
};

struct message {
	struct arena arena;
	struct message_id id;
	struct slice reverse_path; /* without <>; empty: the null path */
	struct recipient *recipients;
	size_t recipients_count;
	uint64_t received_ms;      /* wall */
	bool declared_8bit;        /* BODY=8BITMIME */
	bool declared_smtputf8;    /* RFC 6531 3.4; whether it needs it is
				      another question */
	enum message_ret ret;
	struct slice envid;        /* RFC 3461 4.4: xtext, as given, ready to
				      be passed on; "": not given */
	struct slice user;         /* who had authenticated; "": nobody */
	bool is_report;            /* one of our own DSNs: never reported on */
	struct slice prefix;       /* whole fields, each with CRLF */
	struct body body;
	int references;            /* atomic */
};

/* One reference; recipients are added by message_add_recipient(). */
struct message *message_new(struct slice reverse_path);
struct message *message_ref(struct message *message);
void message_unref(struct message *message);
CLEAN_POINTER(struct message, message_unref)
void message_add_recipient(struct message *message, struct slice address,
			   struct slice destination);
/* The envelope with a new id and without any bytes: whoever adds a member to
 * struct message or struct recipient says there what becomes of it. */
struct message *message_new_like(const struct message *message);
/* size + prefix. */
uint64_t message_size(const struct message *message);

#endif
