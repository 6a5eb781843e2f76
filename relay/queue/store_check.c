#include "relay/queue/store_check.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "relay/queue/store_engine.h"
#include "relay/routing.h"

/* More is not worth a list: the disk is gone. */
#define FINDINGS_MAX 4096
/* The child ends itself after STORE_CHECK_MS; a page fault on a dying disk may
 * hold it longer. */
#define CHECK_TIMEOUT_MS ((int)(60 * SECOND))

/* What the child writes per finding, and at last one with is_end. */
struct row {
	bool is_end;
	struct message_id id;
	uint64_t due_ms;
	struct fault fault;
	size_t destination_len;
	char destination[DESTINATION_MAX];
};

/* --- the child --- */

struct check {
	int out;
	size_t count;
};

static void
check_write(struct check *check, const struct row *row)
{
	const char *bytes = (const char *)row;
	size_t done = 0;

	while (done < sizeof(*row)) {
		ssize_t put = write(check->out, bytes + done,
				    sizeof(*row) - done);

		if (put < 0 && errno == EINTR)
			continue;
		if (put <= 0)
			_exit(EX_IOERR);
		done += (size_t)put;
	}
}

static void
check_damaged(void *owner, struct slice destination, uint64_t due_ms,
	      const struct message_id *id, const struct fault *fault)
{
	struct check *check = owner;
	struct row row = {.id = *id, .due_ms = due_ms, .fault = *fault};

	if (check->count++ >= FINDINGS_MAX)
		return;
	row.destination_len = destination.len;
	memcpy(row.destination, destination.bytes, destination.len);
	check_write(check, &row);
}

static _Noreturn void
check_child(const char *directory, int out, pid_t parent)
{
	struct check check = {.out = out};
	struct row end = {.is_end = true};
	struct engine *engine;

	/* It must neither outlive the relay nor leave a core: the crash is
	 * expected. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EX_UNAVAILABLE);
	prctl(PR_SET_DUMPABLE, 0);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	signal(SIGABRT, SIG_DFL);
	if (engine_open(directory, &engine, &end.fault) &&
	    engine_check(engine, clock_now_ms() + STORE_CHECK_MS,
			 check_damaged, &check, &end.fault))
		engine_close(engine);
	check_write(&check, &end);
	_exit(EX_OK);
}

/* --- the parent --- */

static void
finding_add(struct list *findings, const struct row *row)
{
	size_t len = row->destination_len < DESTINATION_MAX
			     ? row->destination_len
			     : DESTINATION_MAX;
	struct finding *finding = memory_new(sizeof(*finding) + len);

	finding->id = row->id;
	finding->due_ms = row->due_ms;
	finding->fault = row->fault;
	finding->destination_len = len;
	memcpy(finding->destination, row->destination, len);
	list_add_last(findings, &finding->link);
}

/* False at the end of what the child wrote, or when it takes too long. */
static bool
row_read(int in, struct row *row, bool *is_late_out)
{
	char *bytes = (char *)row;
	size_t have = 0;

	while (have < sizeof(*row)) {
		struct pollfd waiting = {.fd = in, .events = POLLIN};
		int ready = poll(&waiting, 1, CHECK_TIMEOUT_MS);
		ssize_t got;

		if (ready < 0 && errno == EINTR)
			continue;
		*is_late_out = ready <= 0;
		if (ready <= 0)
			return false;
		got = read(in, bytes + have, sizeof(*row) - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		have += (size_t)got;
	}
	return true;
}

static bool
check_result(const char *directory, pid_t child, bool has_ended, bool is_late,
	     const struct row *end, struct fault *fault)
{
	int status = 0;

	if (is_late)
		kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (has_ended && end->fault.kind == FAULT_NONE)
		return true;
	if (has_ended) {
		*fault = end->fault;
		return false;
	}
	if (is_late)
		return fault_set(fault, FAULT_SYSTEM,
				 "%s: cannot be read within %d s: the disk "
				 "is slow or failing, or its structure is "
				 "damaged",
				 directory, CHECK_TIMEOUT_MS / (int)SECOND);
	/* Whatever else ends it, such as a lack of memory, is no damage. */
	if (!WIFSIGNALED(status) || (WTERMSIG(status) != SIGSEGV &&
				     WTERMSIG(status) != SIGBUS &&
				     WTERMSIG(status) != SIGABRT))
		return fault_set(fault, FAULT_SYSTEM,
				 "%s: the check ended with %s %d", directory,
				 WIFSIGNALED(status) ? "signal" : "status",
				 WIFSIGNALED(status) ? WTERMSIG(status)
						     : WEXITSTATUS(status));
	fault_set(fault, FAULT_INPUT,
		  "%s: the structure is damaged (the check ended with %s %d)",
		  directory, WIFSIGNALED(status) ? "signal" : "status",
		  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	engine_damaged(fault);
	return false;
}

bool
store_check(const char *directory, struct list *findings, struct fault *fault)
{
	CLEAN(clean_descriptor) int in = -1;
	CLEAN(clean_descriptor) int out = -1;
	struct row row = {0};
	bool has_ended = false, is_late = false;
	int ends[2];
	pid_t child, parent = getpid();

	if (pipe2(ends, O_CLOEXEC) != 0)
		return fault_errno(fault, "check of the store");
	in = ends[0];
	out = ends[1];
	child = fork();
	if (child < 0)
		return fault_errno(fault, "check of the store");
	if (child == 0)
		check_child(directory, out, parent);
	clean_descriptor(&out);
	while (!has_ended && row_read(in, &row, &is_late)) {
		has_ended = row.is_end;
		if (!has_ended)
			finding_add(findings, &row);
	}
	return check_result(directory, child, has_ended, is_late, &row, fault);
}
