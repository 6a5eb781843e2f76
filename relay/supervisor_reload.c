#include "base/clock.h"
#include "relay/limits.h"
#include "relay/notify.h"
#include "relay/supervisor_private.h"

/* How long the worker may think about a generation. */
#define RELOAD_TIMEOUT_MS (30 * SECOND)

/* The signer keeps two generations of keys: what is in force must not become
 * the third by a second reload that is refused. */
static void
keys_revert(struct supervisor *supervisor)
{
	struct fault fault;

	if (supervisor->keys_are_next && supervisor->signer.pid != 0 &&
	    !signer_revert(&supervisor->signer_process, &fault)) {
		log_note(LOG_LEVEL_ERROR, "signer-start", "%s", fault.text);
		child_kill(&supervisor->signer);
	}
	supervisor->keys_are_next = false;
}

void
reload_refused(struct supervisor *supervisor, struct slice errors,
	       const char *reason)
{
	struct slice line;

	while (slice_split(&errors, '\n', &line))
		log_note(LOG_LEVEL_ERROR, "reload-refused", "%.*s",
			 SLICE_ARG(line));
	log_note(LOG_LEVEL_ERROR, "reload-refused",
		 "%s; the configuration before stays in force", reason);
	configuration_free(supervisor->next);
	supervisor->next = NULL;
	keys_revert(supervisor);
	notify_send("READY=1");
}

static bool
fixed_options_same(const struct family *family, const struct options *before,
		   const struct options *after, struct fault *fault)
{
	const char *what = NULL;

	if (family->has_state && !slice_eq(before->state_dir, after->state_dir))
		what = "state_dir";
	else if (!slice_eq(before->user, after->user) ||
		 !slice_eq(before->signer_user, after->signer_user))
		what = "user and signer_user";
	else if (family->service == SERVICE_MILTER &&
		 before->milter.socket.any.sa_family !=
			 after->milter.socket.any.sa_family)
		what = "the kind of milter.socket";
	return what == NULL ||
	       fault_set(fault, FAULT_INPUT,
			 "%s cannot change while the %s runs: restart it", what,
			 family->worker.name);
}

static bool
reload_try(struct supervisor *supervisor, struct text *errors,
	   struct configuration **next_out, struct fault *fault)
{
	CLEAN(configuration_free_clean) struct configuration *next = NULL;

	if (!configuration_load(supervisor->family->service,
				supervisor->config_path, errors, &next,
				fault) ||
	    !configuration_check(next, errors, fault) ||
	    !fixed_options_same(supervisor->family,
				supervisor->configuration->options,
				next->options, fault))
		return false;
	if (!configuration_load_keys(next, &supervisor->signer_process,
				     fault)) {
		if (fault->kind == FAULT_BUSY) /* it does not answer */
			child_kill(&supervisor->signer);
		return false;
	}
	supervisor->keys_are_next = true;
	if (!configuration_complete(next, supervisor->configuration,
				    &supervisor->worker_identity,
				    &supervisor->inherited, fault) ||
	    !supervisor_hand_over(supervisor, next, fault))
		return false;
	*next_out = TAKE(next);
	return true;
}

void
reload_begin(struct supervisor *supervisor)
{
	CLEAN(text_done) struct text errors = {0};
	struct fault fault = {0};

	supervisor->reload_wanted = false;
	notify_send("RELOADING=1");
	if (!reload_try(supervisor, &errors, &supervisor->next, &fault)) {
		reload_refused(supervisor, text_slice(&errors), fault.text);
		return;
	}
	supervisor->next_serial = supervisor->serial;
	supervisor->answer_by_ms = clock_now_ms() + RELOAD_TIMEOUT_MS;
}

void
reload_end(struct supervisor *supervisor)
{
	const struct options *options = supervisor->next->options;

	configuration_free(supervisor->configuration);
	supervisor->configuration = TAKE(supervisor->next);
	supervisor->keys_are_next = false;
	log_configure(options->log.format, options->log.level);
	notify_send("READY=1");
}

/* Whether it took the generation cannot be known then: a new one gets what is
 * in force. */
void
reload_expire(struct supervisor *supervisor)
{
	if (supervisor->next == NULL ||
	    clock_now_ms() < supervisor->answer_by_ms)
		return;
	reload_refused(supervisor, SLICE_NONE,
		       "its process does not answer and is replaced");
	child_kill(&supervisor->worker);
}

/* Not while the signer may hang: nobody would look at it, and replace it, as long
 * as it is waited for, and mail that waits for it would be deferred. */
bool
reload_may_begin(struct supervisor *supervisor)
{
	return supervisor->reload_wanted && !supervisor->is_stopping &&
	       supervisor->next == NULL && supervisor->signer.pid != 0 &&
	       supervisor->worker_is_ready &&
	       !signer_owes_look(&supervisor->signer_process);
}
