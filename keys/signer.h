/*
 * signer - the process that holds every private key, and how to ask it.
 *
 * Key files are opened by the process that starts the signer (it may be root;
 * the signer is not) and travel as descriptors; what comes back is the public
 * half of each. Then digests go in and signatures come out, over one socketpair
 * (AF_UNIX, SOCK_SEQPACKET: a message is a message, garbage cannot shift the
 * next) per client. The signer has a thread per core, no network, a seccomp
 * filter, is not dumpable, and ends when its control socket does.
 *
 * Three parts: signer_process (start, load, attach, stop: for the supervisor
 * and for commands such as `signet sign`; blocking, each answer within
 * SIGNER_CONTROL_TIMEOUT_MS, a load's each within SIGNER_LOAD_TIMEOUT_MS),
 * signer_client (asks; never blocks; for loops),
 * and signer_main (the process itself).
 */
#ifndef KEYS_SIGNER_H
#define KEYS_SIGNER_H

#include <sys/types.h>

#include "base/list.h"
#include "keys/keyring.h"

#define SIGNER_CONTROL_TIMEOUT_MS 20000
/* Of each step of a load: whoever signs meanwhile waits behind it. */
#define SIGNER_LOAD_TIMEOUT_MS 12000
/* Calls in flight per client; more wait in the client, without bound of its
 * own: a client has at most one call per signature of each open message. */
#define SIGNER_CALLS_MAX 64
/* A call not answered by then fails with FAULT_BUSY. */
#define SIGNER_CALL_TIMEOUT_MS 20000

/* ---- starting and feeding it ---- */

struct signer_process {
	pid_t pid;
	int control;
	int pid_status; /* waitpid()'s, once signer_stop has run */
	/* its own */
	uint64_t serial; /* of the last control message */
	uint64_t asked;  /* by signer_look(), and not answered; 0: nothing */
	unsigned looks_unanswered, looks_stuck;
	/* As the last answer to a look said, which was to this one. */
	unsigned clients;
	uint64_t heard;
	/* The caller's, once it is started; NULL: nobody. Told again and again
	 * while keys are loaded: tens of thousands take a minute. */
	void (*goes_on)(struct signer_process *process);
};

/* Starts the signer: fork, then exec of this program's own file with the
 * argument "signer-process". With root it becomes uid and gid (0: unchanged)
 * first. It ends with the thread that starts it: let that be the main one. */
bool signer_start(uid_t uid, gid_t gid, struct signer_process *process_out,
		  struct fault *fault) MUST_USE;
/* Opens every key file of the options, has the signer load them all, and
 * builds the keyring from the public halves. All or nothing: on a fault (which
 * names the configuration's file and line and the key file) the signer goes on
 * with what it had. The keys of the generation before stay usable for messages
 * already begun. `warn` is called for what is accepted with a warning (a key
 * file that others can read, with its mode; key_bits_advise()).
 * strict_modes: refuse a key file that group or others can read. */
bool signer_load(struct signer_process *process,
		 const struct keys_options *options, bool strict_modes,
		 void (*warn)(void *owner, const char *text), void *owner,
		 struct keyring **keyring_out, struct fault *fault) MUST_USE;
/* Takes the last load back, once: for a reload that came to nothing after it.
 * What was loaded before that is in force again. */
bool signer_revert(struct signer_process *process,
		   struct fault *fault) MUST_USE;
/* Makes a socketpair, gives one end to the signer and the other to the
 * caller: nonblocking, close-on-exec. */
bool signer_attach(struct signer_process *process, int *client_out,
		   struct fault *fault) MUST_USE;
/* Whether it goes on: hears the answer to the last look, and asks again; never
 * waits. Gives for how many looks in a row it has not: it owed the answer, or
 * one of its threads was at the same request. Only looks count, and no time: it
 * is the caller's to leave enough between them, and a machine that stood still
 * is one. */
unsigned signer_look(struct signer_process *process) MUST_USE;
/* Whether it has yet to answer the last one. Never blocks. */
bool signer_owes_look(struct signer_process *process) MUST_USE;
/* Closes the control socket and reaps it: at its end, or after 5 s by
 * SIGKILL. Who has reaped it already sets pid to -1 first. */
void signer_stop(struct signer_process *process);

/* Never returns; what `signet signer-process` runs. control is descriptor 3. */
_Noreturn void signer_main(int control);

/* ---- asking it ---- */

struct signer_client;

struct signer_call {
	struct key_id key;
	uint8_t digest[KEY_DIGEST_SIZE];
	/* Exactly once, from signer_client_read() or _tick(), never from inside
	 * _start(), never after _cancel(). fault NULL: the signature is there.
	 * It may start and cancel calls, and free this one, but not the
	 * client. */
	void (*done)(struct signer_call *call, const struct fault *fault);
	uint8_t signature[KEY_SIGNATURE_MAX];
	size_t signature_len;
	/* the client's own */
	struct list link;
	uint64_t tag, started_ms;
	struct signer_client *client;
	bool is_sent;
};

/* The client takes the descriptor. */
struct signer_client *signer_client_new(int descriptor);
void signer_client_free(struct signer_client *client); /* no call may be open */
CLEAN_POINTER(struct signer_client, signer_client_free)
int signer_client_descriptor(const struct signer_client *client);
void signer_client_start(struct signer_client *client,
			 struct signer_call *call);
void signer_client_cancel(struct signer_call *call);
/* When the descriptor is readable: takes every answer there is. False once
 * the signer is gone: open calls are kept and wait for _replace(). */
bool signer_client_read(struct signer_client *client) MUST_USE;
/* When the descriptor is writable: sends calls that could not be sent. */
void signer_client_write(struct signer_client *client);
bool signer_client_wants_write(const struct signer_client *client);
/* A new signer: every call without an answer is sent again. */
void signer_client_replace(struct signer_client *client, int descriptor);
/* At least once a second while calls are open: fails what waited too long. */
void signer_client_tick(struct signer_client *client, uint64_t now_ms);
size_t signer_client_open_calls(const struct signer_client *client);
/* For programs without a loop: polls until no call is open (each ends by
 * SIGNER_CALL_TIMEOUT_MS at the latest). */
void signer_client_wait(struct signer_client *client);

#endif
