/*
 * signer_wire - what the signer process and those who talk to it say.
 *
 * Both ends are the same program on the same machine: structs in its own byte
 * order, one to a SOCK_SEQPACKET message. Still the signer believes nothing:
 * a message of another size, magic or verb is an error answer, no more.
 *
 * Control     from the process that started it: LOAD, then KEYS with the
 *             descriptors of at most CONTROL_KEYS_MAX key files, each answered
 *             by as many PUBLIC or by one FAULT, then COMMIT (and REVERT when
 *             the new generation comes to nothing); ATTACH with the
 *             descriptor of a client. DONE or FAULT answers these. LOOK may
 *             come between any two of them.
 * Client      requests; an answer to each, in any order.
 */
#ifndef KEYS_SIGNER_WIRE_H
#define KEYS_SIGNER_WIRE_H

#include "keys/key.h"

#define SIGNER_CONTROL 3 /* its descriptor in the signer */

#define CONTROL_MAGIC 0x73676374u
/* The kernel takes 253 descriptors in one message (SCM_MAX_FD); fewer leave
 * room under a RLIMIT_NOFILE of 1024 and keep the answers within the socket's
 * buffer. */
#define CONTROL_KEYS_MAX 64
/* A public half or the text of a fault. */
#define CONTROL_BYTES_MAX 2048

enum control_verb {
	CONTROL_HELLO = 1, /* from the signer, once it is confined */
	CONTROL_LOAD,      /* count: keys of the new generation */
	CONTROL_KEYS,      /* index of the first, count, and descriptors */
	CONTROL_COMMIT,
	CONTROL_REVERT, /* takes the last COMMIT back */
	CONTROL_ATTACH,
	CONTROL_DONE,
	CONTROL_PUBLIC, /* index; detail: algorithm; bytes: as in p= */
	CONTROL_FAULT,  /* index; detail: kind; system; bytes: text */
	CONTROL_LOOK,   /* answered by the same; count: for how many in a row a
			   thread has been at the same request; index: how many
			   clients there are */
};

struct control_message {
	uint32_t magic, verb;
	uint64_t serial; /* of the request; its answers repeat it */
	uint32_t index, count, detail;
	int32_t system;
	uint32_t len, zero;
	char bytes[CONTROL_BYTES_MAX]; /* len of them are sent */
};

/* The descriptors stay the caller's. deadline_ms 0: waits without bound.
 * FAULT_BUSY once the deadline has passed or the other end is gone. */
bool control_send(int control, struct control_message *message,
		  const int *descriptors, size_t count, uint64_t deadline_ms,
		  struct fault *fault) MUST_USE;
/* Receives one message and at most CONTROL_KEYS_MAX descriptors, which are the
 * caller's then. FAULT_INPUT: malformed, nothing kept. FAULT_ABSENT: the other
 * end has closed. */
bool control_receive(int control, struct control_message *message,
		     int descriptors[CONTROL_KEYS_MAX], size_t *count_out,
		     uint64_t deadline_ms, struct fault *fault) MUST_USE;
void control_fault_write(struct control_message *message,
			 const struct fault *fault);
/* Always false: the fault that came. */
bool control_fault_read(const struct control_message *message,
			struct fault *fault);

/* ---- clients ---- */

#define REQUEST_MAGIC 0x73677271u
#define ANSWER_MAGIC 0x7367616eu

struct signer_request {
	uint32_t magic, zero;
	uint64_t tag; /* never 0 */
	struct key_id key;
	uint8_t digest[KEY_DIGEST_SIZE];
};

enum answer_status {
	ANSWER_SIGNED,
	ANSWER_UNKNOWN_KEY,
	ANSWER_FAILED,
	ANSWER_MALFORMED, /* with tag 0 */
};

struct signer_answer {
	uint32_t magic, status;
	uint64_t tag;
	uint32_t len, zero;
	uint8_t signature[KEY_SIGNATURE_MAX]; /* len of them are sent */
};
#define ANSWER_HEAD offsetof(struct signer_answer, signature)

#endif
