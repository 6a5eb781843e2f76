#include "relay/milter_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/signer_pool.h"
#include "milter/frontend.h"
#include "milter/sessions.h"
#include "relay/confinement.h"
#include "relay/handover.h"
#include "relay/limits.h"
#include "relay/options.h"
#include "relay/resolver.h"
#include "relay/resolvers.h"

/* How often a stopping process looks whether it is done. */
#define STOP_LOOK_MS 10

/* One configuration with its keys, as one immutable snapshot: a message holds
 * on to the one that it began with. */
struct generation {
	struct frontend_rules rules;
	struct options *options;
	atomic_uint references;
};

struct process {
	int control;
	pthread_mutex_t lock; /* of generation */
	struct generation *generation;
	struct signer_pool *pool;
	struct lint_history lints;
	struct resolver *resolver; /* NULL until something is to be verified */
	int listening;       /* a copy of what the front end accepts from */
	size_t connections;  /* at the last look */
	uint64_t look_at_ms; /* for the next one */
	bool is_paused;      /* there are too many of them */
	uint64_t stop_by_ms; /* 0: it goes on */
	uint64_t asked;      /* by the watchdog, and not answered; 0: nothing */
};

static_assert(MILTER_BUSY_MS > MILTER_DNS_TIMEOUT_MAX_MS +
				       SIGNER_CALL_TIMEOUT_MS,
	      "a thread that waits for records and the signer does not hang");

/* ---- a generation ---- */

static void
generation_unref(struct generation *generation)
{
	if (generation == NULL ||
	    atomic_fetch_sub(&generation->references, 1) > 1)
		return;
	policy_unref(generation->rules.mail.policy);
	options_free(generation->options);
	free(generation);
}

static bool
generation_receive(const struct handover *handover, struct lint_history *lints,
		   struct generation **generation_out, struct fault *fault)
{
	CLEAN(options_free_clean) struct options *options = NULL;
	struct generation *generation;
	const struct milter_section *milter;
	struct keyring *keyring;

	if (handover->listeners_count != 1 || handover->signers_count == 0)
		return fault_set(fault, FAULT_INPUT,
				 "%zu listeners and %zu signers handed over",
				 handover->listeners_count,
				 handover->signers_count);
	if (!options_parse(handover->sources, &options, fault) ||
	    !keyring_read_publics(&options->keys, handover->publics, &keyring,
				  fault))
		return false;
	milter = &options->milter;
	generation = memory_new(sizeof(*generation));
	atomic_init(&generation->references, 1);
	generation->rules = (struct frontend_rules){
		.mail =
			{
				.policy =
					policy_new(keyring, &options->signing),
				.origin =
					{
						.sign_authenticated =
							milter->sign_authenticated,
						.daemons = milter->sign_daemons,
						.daemons_count =
							milter->sign_daemons_count,
					},
				.accepts_on_error =
					milter->on_error == ON_ERROR_ACCEPT,
				.header_max =
					(size_t)options->limits.max_header_size,
				.lints = milter->lint ? lints : NULL,
				.listener = milter->socket_text,
			},
		.connections_max = (unsigned)milter->max_connections,
	};
	keyring_unref(keyring); /* the policy holds its own reference */
	generation->options = TAKE(options);
	*generation_out = generation;
	return true;
}

static enum mail_mode
mode_of(const struct milter_section *milter)
{
	switch (milter->mode) {
	case MILTER_SIGN:
		return MAIL_SIGNS;
	case MILTER_VERIFY:
		return MAIL_VERIFIES;
	case MILTER_BOTH:
		return MAIL_DOES_BOTH;
	}
	return MAIL_SIGNS;
}

/* What verifying needs; before the generation is used. */
static bool
verifying_prepare(struct process *process, struct generation *generation,
		  struct fault *fault)
{
	const struct options *options = generation->options;
	struct mail_rules *mail = &generation->rules.mail;

	mail->mode = mode_of(&options->milter);
	mail->dns_timeout_ms = options->milter.dns_timeout_ms;
	mail->authserv_id = options->milter.authserv_id;
	mail->hostname = options->hostname;
	if (process->resolver != NULL)
		resolver_reconfigure(process->resolver, options->dns.resolvers,
				     options->dns.resolvers_count);
	else if (mail->mode != MAIL_SIGNS &&
		 !resolver_new(options->dns.resolvers,
			       options->dns.resolvers_count, &process->resolver,
			       fault))
		return false;
	if (process->resolver != NULL)
		mail->records = resolver_source(process->resolver);
	return true;
}

/* A generation that can be used. */
static bool
generation_make(struct process *process, const struct handover *handover,
		struct generation **generation_out, struct fault *fault)
{
	struct generation *generation;

	if (!generation_receive(handover, &process->lints, &generation, fault))
		return false;
	if (!verifying_prepare(process, generation, fault)) {
		generation_unref(generation);
		return false;
	}
	*generation_out = generation;
	return true;
}

/* ---- what the front end asks for, on libmilter's threads ---- */

static const struct frontend_rules *
service_rules_ref(void *owner)
{
	struct process *process = owner;
	struct generation *generation;

	pthread_mutex_lock(&process->lock);
	generation = process->generation;
	atomic_fetch_add(&generation->references, 1);
	pthread_mutex_unlock(&process->lock);
	return &generation->rules;
}

static const struct generation *
generation_of(const struct frontend_rules *rules)
{
	return CONTAINER(rules, struct generation, rules);
}

static void
service_rules_unref(const struct frontend_rules *rules)
{
	generation_unref((struct generation *)generation_of(rules));
}

static bool
service_is_listed(const struct frontend_rules *rules,
		  const struct sockaddr *client)
{
	const struct milter_section *milter =
		&generation_of(rules)->options->milter;
	struct address address = {.any.sa_family = AF_UNIX};

	address.len = sizeof(address.any);
	if (client != NULL && client->sa_family == AF_INET) {
		memcpy(&address.v4, client, sizeof(address.v4));
		address.len = sizeof(address.v4);
	} else if (client != NULL && client->sa_family == AF_INET6) {
		memcpy(&address.v6, client, sizeof(address.v6));
		address.len = sizeof(address.v6);
		address_unmap(&address);
	}
	return networks_contain(milter->sign_from, milter->sign_from_count,
				&address);
}

static void
name_failed(const struct signer_pool_call *calls,
	    const struct signature *signatures, size_t count,
	    struct fault *fault)
{
	size_t i = 0;

	while (i + 1 < count && calls[i].call.signature_len > 0)
		i++;
	fault_within(fault, "selector %.*s of %.*s",
		     SLICE_ARG(signatures[i].selector->name),
		     SLICE_ARG(signatures[i].domain));
}

static bool
service_sign(void *owner, struct signature *signatures, size_t count,
	     struct fault *fault)
{
	struct process *process = owner;
	CLEAN(clean_memory)
	struct signer_pool_call *calls = memory_array(count, sizeof(*calls));

	for (size_t i = 0; i < count; i++) {
		calls[i].call.key = *key_public_id(signatures[i].selector->key);
		memcpy(calls[i].call.digest, signatures[i].digest,
		       KEY_DIGEST_SIZE);
	}
	if (!signer_pool_sign(process->pool, calls, count, fault)) {
		name_failed(calls, signatures, count, fault);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		signatures[i].signature_len = calls[i].call.signature_len;
		memcpy(signatures[i].signature, calls[i].call.signature,
		       calls[i].call.signature_len);
	}
	return true;
}

/* The supervisor starts another process. */
static void
service_ended(void *owner)
{
	(void)owner;
	log_note(LOG_LEVEL_ERROR, "error", "libmilter has ended");
	log_stop();
	_exit(EX_UNAVAILABLE);
}

/* ---- the supervisor's word ---- */

static void
log_socket(const char *event, const struct process *process)
{
	struct log line;

	log_begin(&line, LOG_LEVEL_INFO, event);
	log_string(&line, "version", SIGNET_VERSION);
	log_list_begin(&line, "listeners");
	log_item(&line, process->generation->options->milter.socket_text);
	log_list_end(&line);
	log_send(&line);
}

static void
generation_use(struct process *process, struct generation *generation)
{
	struct generation *before = process->generation;

	log_configure(generation->options->log.format,
		      generation->options->log.level);
	pthread_mutex_lock(&process->lock);
	process->generation = generation;
	pthread_mutex_unlock(&process->lock);
	generation_unref(before);
}

/* The handover's descriptors are not its own any more. */
static void
descriptors_taken(struct process *process, struct handover *handover)
{
	clean_descriptor(&process->listening);
	process->listening = handover->listeners[0];
	for (size_t i = 0; i < handover->signers_count; i++)
		handover->signers[i] = -1;
	handover->listeners[0] = -1;
}

static void
reload(struct process *process, struct handover *handover)
{
	struct generation *generation;
	struct fault fault = {0};
	bool is_told;

	if (generation_make(process, handover, &generation, &fault)) {
		/* The sockets first: a message that begins with the new keys
		 * finds a signer that has them. */
		signer_pool_replace(process->pool, handover->signers,
				    handover->signers_count);
		generation_use(process, generation);
		if (!process->is_paused)
			frontend_listen(handover->listeners[0]);
		descriptors_taken(process, handover);
		log_socket("reload", process);
		is_told = handover_send(process->control, HANDOVER_READY,
					handover->serial, SLICE_NONE, NULL);
	} else {
		is_told = handover_send(process->control, HANDOVER_REFUSED,
					handover->serial, SLICE(fault.text),
					NULL);
	}
	if (!is_told)
		_exit(EX_UNAVAILABLE); /* the supervisor is gone */
}

static void
stop(struct process *process)
{
	if (process->stop_by_ms > 0)
		return;
	log_socket("stopping", process);
	process->stop_by_ms = clock_now_ms() + STOP_GRACE_MS;
	frontend_close();
}

static void
watchdog_take(struct process *process, uint64_t serial)
{
	uint64_t longest_ms = sessions_longest_ms();

	process->asked = serial;
	if (longest_ms >= MILTER_BUSY_MS)
		log_note(LOG_LEVEL_ERROR, "watchdog",
			 "a thread hangs: it has been at one packet of an MTA "
			 "for %llu s",
			 (unsigned long long)(longest_ms / SECOND));
}

/* Not while a thread that serves an MTA hangs. */
static void
watchdog_answer(struct process *process)
{
	struct fault fault = {0};

	if (process->asked == 0 || sessions_longest_ms() >= MILTER_BUSY_MS)
		return;
	if (!handover_send(process->control, HANDOVER_ALIVE, process->asked,
			   SLICE_NONE, &fault))
		log_note(LOG_LEVEL_ERROR, "watchdog", "%s", fault.text);
	process->asked = 0;
}

static void
resolvers_take(struct process *process, struct slice text)
{
	struct resolvers resolvers;

	resolvers_parse(text, &resolvers);
	if (process->resolver != NULL)
		resolver_reconfigure(process->resolver, resolvers.items,
				     resolvers.count);
}

static void
control_read(struct process *process)
{
	struct handover handover;
	struct fault fault = {0};

	if (!handover_receive(process->control, &handover, &fault)) {
		if (fault.kind == FAULT_BUSY)
			return;
		_exit(EX_UNAVAILABLE); /* the supervisor is gone */
	}
	if (handover.kind == HANDOVER_STOP)
		stop(process);
	else if (handover.kind == HANDOVER_GENERATION &&
		 process->stop_by_ms == 0)
		reload(process, &handover);
	else if (handover.kind == HANDOVER_ASK)
		watchdog_take(process, handover.serial);
	else if (handover.kind == HANDOVER_RESOLVERS)
		resolvers_take(process, text_slice(&handover.text));
	handover_done(&handover);
}

/* ---- connections that are too many ---- */

static void
connections_look(struct process *process)
{
	size_t max =
		(size_t)process->generation->options->milter.max_connections;
	bool is_crowded = process->connections > max;
	bool were_too_many = process->is_paused;

	process->look_at_ms = clock_now_ms() + MILTER_LOOK_MS;
	process->connections = sessions_look(is_crowded);
	process->is_paused = process->connections > max + MILTER_SLACK;
	if (process->is_paused && !were_too_many) {
		log_note(LOG_LEVEL_WARNING, "paused",
			 "there are %zu connections, of which "
			 "milter.max_connections allows %zu; no more are "
			 "accepted for now",
			 process->connections, max);
		frontend_close();
	} else if (were_too_many && !process->is_paused) {
		frontend_listen(process->listening);
	}
}

static bool
is_done(const struct process *process)
{
	if (process->stop_by_ms == 0)
		return false;
	if (frontend_is_quiet())
		return true;
	if (clock_now_ms() < process->stop_by_ms)
		return false;
	log_note(LOG_LEVEL_WARNING, "stop-expired",
		 "the grace period is over; the MTA does with mail under way "
		 "as it is configured");
	return true;
}

static void
control_follow(struct process *process)
{
	while (!is_done(process)) {
		struct pollfd control = {.fd = process->control,
					 .events = POLLIN};
		bool is_stopping = process->stop_by_ms > 0;

		if (poll(&control, 1,
			 is_stopping ? STOP_LOOK_MS : MILTER_LOOK_MS) > 0)
			control_read(process);
		watchdog_answer(process);
		if (process->stop_by_ms == 0 &&
		    clock_now_ms() >= process->look_at_ms)
			connections_look(process);
	}
}

/* ---- start and end ---- */

static bool
process_start(struct process *process, struct handover *handover,
	      struct fault *fault)
{
	struct frontend_service service = {
		.owner = process,
		.rules_ref = service_rules_ref,
		.rules_unref = service_rules_unref,
		.is_listed = service_is_listed,
		.sign = service_sign,
		.ended = service_ended,
	};

	/* libmilter makes a socket below it, and removes it. */
	if (!confinement_begin("/tmp", fault) ||
	    !generation_make(process, handover, &process->generation, fault))
		return false;
	log_configure(process->generation->options->log.format,
		      process->generation->options->log.level);
	if (!log_start(fault))
		return false;
	process->pool =
		signer_pool_new(handover->signers, handover->signers_count);
	if (!frontend_start(&service, handover->listeners[0], fault) ||
	    !confinement_complete(CONFINED_MILTER, fault))
		return false;
	descriptors_taken(process, handover);
	return true;
}

static void
signals_ignore(void)
{
	/* The supervisor gets them and says what to do; and libmilter would
	 * take them for a stop. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
}

_Noreturn static void
start_fail(int control, uint64_t serial, const struct fault *fault)
{
	bool may_pass = fault->kind == FAULT_BUSY ||
			fault->kind == FAULT_SYSTEM ||
			fault->kind == FAULT_LIMIT;

	if (!handover_send(control, HANDOVER_REFUSED, serial,
			   SLICE(fault->text), NULL))
		_exit(EX_UNAVAILABLE);
	_exit(fault->kind == FAULT_DENIED ? EX_NOPERM
	      : may_pass		      ? EX_TEMPFAIL
					  : EX_CONFIG);
}

void
milter_process_main(int control)
{
	static struct process process = {.lock = PTHREAD_MUTEX_INITIALIZER,
					 .listening = -1};
	struct handover handover;
	struct fault fault = {0};
	uint64_t serial;

	process.control = control;
	signals_ignore();
	umask(077);
	if (fcntl(control, F_SETFD, FD_CLOEXEC) < 0 ||
	    !handover_receive(control, &handover, &fault))
		_exit(EX_USAGE); /* not started by a supervisor */
	if (!process_start(&process, &handover, &fault))
		start_fail(control, handover.serial, &fault);
	serial = handover.serial;
	handover_done(&handover);
	fcntl(control, F_SETFL, O_NONBLOCK);
	log_socket("ready", &process);
	if (!handover_send(control, HANDOVER_READY, serial, SLICE_NONE, NULL))
		_exit(EX_UNAVAILABLE);
	control_follow(&process);
	log_stop();
	/* Its threads may still use what exit() takes down, such as OpenSSL. */
	if (!frontend_is_quiet())
		_exit(EX_OK);
	/* libmilter's threads have nothing to do and hold nothing of ours. */
	exit(EX_OK);
}
