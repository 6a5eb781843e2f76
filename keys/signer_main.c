#include <errno.h>
#include <malloc.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "keys/signer.h"
#include "keys/signer_keys.h"
#include "keys/signer_sandbox.h"
#include "keys/signer_wire.h"
#include "keys/signer_worker.h"

/* The keyset that is being loaded. */
struct loading {
	struct keyset *keyset;
	uint32_t expected, loaded;
};

struct control {
	int descriptor;
	struct loading loading;
	bool may_revert;
	struct control_message message; /* the request, then its answers */
	int files[CONTROL_KEYS_MAX];
	size_t files_count;
};

/* The other end is waiting, or gone; then the next receive says so. */
static void
control_answer(struct control *control, enum control_verb verb)
{
	control->message.verb = verb;
	if (verb == CONTROL_DONE)
		control->message.len = 0;
	if (!control_send(control->descriptor, &control->message, NULL, 0, 0,
			  NULL))
		return;
}

static void
control_refuse(struct control *control, const struct fault *fault)
{
	control_fault_write(&control->message, fault);
	control_answer(control, CONTROL_FAULT);
}

static void
loading_forget(struct loading *loading)
{
	keyset_unref(loading->keyset);
	*loading = (struct loading){0};
}

static bool
load_begin(struct control *control, struct fault *fault)
{
	struct loading *loading = &control->loading;

	loading_forget(loading);
	if (control->message.count > SIGNER_KEYS_MAX)
		return fault_set(fault, FAULT_LIMIT, "more than %d keys",
				 SIGNER_KEYS_MAX);
	loading->expected = control->message.count;
	loading->keyset =
		keyset_new(loading->expected, workers_count());
	control_answer(control, CONTROL_DONE);
	return true;
}

static bool
file_read(int file, struct text *pem, struct fault *fault)
{
	/* One block from the start: it never moves, so no copy of the key
	 * stays behind in freed memory. */
	char *to = text_room(pem, KEY_FILE_MAX + 1);
	size_t len = 0;

	while (len <= KEY_FILE_MAX) {
		ssize_t more = pread(file, to + len, KEY_FILE_MAX + 1 - len,
				     (off_t)len);

		if (more < 0 && errno == EINTR)
			continue;
		if (more < 0)
			return fault_errno(fault, "reading");
		if (more == 0)
			break;
		len += (size_t)more;
	}
	text_added(pem, len);
	return true;
}

/* NULL: neither the keys in force nor those of this load have such a file. */
static const struct key_public *
key_share(struct keyset *keyset, const struct key_file_id *file)
{
	const struct key_public *public = keyset_share(keyset, keyset, file);
	struct keysets keys;

	if (public != NULL)
		return public;
	keys = keysets_hold();
	public = keyset_share(keyset, keys.current, file);
	keysets_release(&keys);
	return public;
}

/* The public half of a file's key, which is in the keyset then. */
static bool
key_load(struct keyset *keyset, int file, const struct key_public **public_out,
	 struct fault *fault)
{
	CLEAN(secret_cleanse) struct text pem = {0};
	struct key_public *public;
	struct key_file_id id;
	struct key *key;

	if (!file_read(file, &pem, fault))
		return false;
	key_file_id_of(text_slice(&pem), &id);
	*public_out = key_share(keyset, &id);
	if (*public_out != NULL)
		return true;
	if (!key_read(text_slice(&pem), &key, fault))
		return false;
	public = key_public_of(key);
	*public_out = keyset_add(keyset, &id, public, key);
	return true;
}

/* Loads the key of one file, and answers with its public half. */
static bool
key_take(struct control *control, int file, struct fault *fault)
{
	struct loading *loading = &control->loading;
	const struct key_public *public = NULL;
	struct slice record;

	if (!key_load(loading->keyset, file, &public, fault))
		return false;
	loading->loaded++;
	record = key_public_record(public);
	ASSERT(record.len <= CONTROL_BYTES_MAX);
	control->message.detail = (uint32_t)key_public_algorithm(public);
	control->message.len = (uint32_t)record.len;
	memcpy(control->message.bytes, record.bytes, record.len);
	control_answer(control, CONTROL_PUBLIC);
	return true;
}

static bool
load_keys(struct control *control, struct fault *fault)
{
	struct loading *loading = &control->loading;
	size_t count = control->files_count;

	if (loading->keyset == NULL || count == 0 ||
	    control->message.count != count ||
	    control->message.index != loading->loaded ||
	    count > loading->expected - loading->loaded)
		return fault_set(fault, FAULT_INPUT, "keys out of order");
	for (size_t i = 0; i < count; i++) {
		control->message.index = loading->loaded;
		if (!key_take(control, control->files[i], fault)) {
			loading_forget(loading);
			return false;
		}
	}
	return true;
}

static bool
load_commit(struct control *control, struct fault *fault)
{
	struct loading *loading = &control->loading;

	if (loading->keyset == NULL ||
	    loading->loaded != loading->expected)
		return fault_set(fault, FAULT_INPUT, "keys are missing");
	keysets_advance(TAKE(loading->keyset));
	loading_forget(loading);
	control->may_revert = true;
	control_answer(control, CONTROL_DONE);
	return true;
}

static bool
load_revert(struct control *control, struct fault *fault)
{
	if (!control->may_revert)
		return fault_set(fault, FAULT_INPUT, "nothing to take back");
	control->may_revert = false;
	keysets_revert();
	control_answer(control, CONTROL_DONE);
	return true;
}

static bool
client_attach(struct control *control, struct fault *fault)
{
	if (control->files_count != 1)
		return fault_set(fault, FAULT_INPUT, "no client");
	if (!workers_attach(control->files[0], fault))
		return false;
	control->files_count = 0;
	control_answer(control, CONTROL_DONE);
	return true;
}

static bool
look_answer(struct control *control)
{
	control->message.count = workers_stuck();
	control->message.index = (uint32_t)workers_clients();
	control->message.len = 0;
	control_answer(control, CONTROL_LOOK);
	return true;
}

static bool
control_serve(struct control *control, struct fault *fault)
{
	switch (control->message.verb) {
	case CONTROL_LOAD:
		return load_begin(control, fault);
	case CONTROL_KEYS:
		return load_keys(control, fault);
	case CONTROL_COMMIT:
		return load_commit(control, fault);
	case CONTROL_REVERT:
		return load_revert(control, fault);
	case CONTROL_ATTACH:
		return client_attach(control, fault);
	case CONTROL_LOOK:
		return look_answer(control);
	default:
		return fault_set(fault, FAULT_INPUT, "unknown verb");
	}
}

static _Noreturn void
control_loop(struct control *control)
{
	for (;;) {
		struct fault fault = {0};

		if (control_receive(control->descriptor, &control->message,
				    control->files, &control->files_count, 0,
				    &fault)) {
			if (!control_serve(control, &fault))
				control_refuse(control, &fault);
			while (control->files_count > 0)
				close(control->files[--control->files_count]);
		} else if (fault.kind == FAULT_INPUT) {
			/* The serial that came, so that it is heard. */
			control_refuse(control, &fault);
		} else {
			/* Not exit(): the threads are still at work. */
			_exit(fault.kind == FAULT_ABSENT ? EX_OK : EX_OSERR);
		}
	}
}

static bool
confine(struct fault *fault)
{
	if (!sandbox_process(fault))
		return false;
	key_prepare();
	/* Else malloc() may look for the number of cores in a file. */
	mallopt(M_ARENA_MAX, SIGNER_THREADS_MAX);
	return workers_start(fault) && sandbox_calls(fault);
}

_Noreturn void
signer_main(int control_descriptor)
{
	static struct control control;
	struct fault fault = {0};

	control.descriptor = control_descriptor;
	if (!confine(&fault)) {
		control_refuse(&control, &fault);
		_exit(EX_OSERR);
	}
	control_answer(&control, CONTROL_HELLO);
	control_loop(&control);
}
