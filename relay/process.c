#include "relay/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "milter/repair.h"
#include "relay/confinement.h"
#include "relay/control.h"
#include "relay/delivery/destination.h"
#include "relay/handover.h"
#include "relay/listener_tls.h"
#include "relay/net/dns.h"
#include "relay/net/signing.h"
#include "relay/pulse.h"
#include "relay/resolvers.h"
#include "relay/server/server.h"

/* A relay that was killed a moment ago may still hold the store's lock. */
#define STORE_BUSY_TRIES 50
#define STORE_BUSY_WAIT_US 100000

/* At the end of the grace period: for what has become of some recipients of
 * messages that are still being sent. */
#define STOP_RESULTS_MS (SECOND / 2)

static_assert(STOP_DATA_MS + STOP_RESULTS_MS + STOP_FLUSH_MS + STOP_ANSWER_MS <
		      STOP_GRACE_MS,
	      "a message that has just come is stored and answered in time");

struct process {
	int control;
	struct loop main_loop;
	uv_poll_t control_poll;
	struct alarm stop_alarm, day_alarm;
	struct loop *loops;
	size_t loops_count;
	struct generation *generation;
	struct store *store;
	struct schedule *schedule;
	struct delivery_service *delivery;
	struct server *server;
	struct control *commands; /* asked by commands */
	struct pulse pulse;
	unsigned parts_running; /* once it is stopping: server and schedule */
	bool is_stopping;
};

/* ---- a generation ---- */

/* Where a socket listens that was opened for us, it knows. */
static void
addresses_find(const struct options *options, const struct handover *handover)
{
	for (size_t i = 0; i < options->listeners_count; i++) {
		struct address *address = &options->listeners[i].address;

		if (options->listeners[i].socket_name.len == 0)
			continue;
		address->len = sizeof(address->local);
		if (getsockname(handover->listeners[i], &address->any,
				&address->len) < 0)
			*address = (struct address){.len = 0};
	}
}

static bool
generation_receive(struct handover *handover,
		   struct generation **generation_out, struct fault *fault)
{
	struct options *options;
	struct keyring *keyring;

	if (!options_parse(handover->sources, &options, fault))
		return false;
	if (!keyring_read_publics(&options->keys, handover->publics, &keyring,
				  fault)) {
		options_free(options);
		return false;
	}
	if (options->listeners_count != handover->listeners_count) {
		keyring_unref(keyring);
		options_free(options);
		return fault_set(fault, FAULT_INPUT,
				 "%zu listeners configured, %zu handed over",
				 options->listeners_count,
				 handover->listeners_count);
	}
	addresses_find(options, handover);
	return generation_new(options, keyring, handover->files,
			      handover->passwords, generation_out, fault);
}

static void
log_listeners(const char *event, const struct generation *generation)
{
	struct log line;

	log_begin(&line, LOG_LEVEL_INFO, event);
	log_string(&line, "version", SIGNET_VERSION);
	log_list_begin(&line, "listeners");
	for (size_t i = 0; i < generation->options->listeners_count; i++)
		log_item(&line,
			 generation->options->listeners[i].address_text);
	log_list_end(&line);
	log_send(&line);
}

static void
log_certificates(const struct generation *generation)
{
	const struct options *options = generation->options;

	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct listener_options *listener =
			&options->listeners[i];
		CLEAN(text_done) struct text words = {0};

		if (generation->listener_tls[i] != NULL &&
		    listener_tls_days(listener, generation->listener_tls[i],
				      &words))
			log_note(LOG_LEVEL_WARNING, "certificate",
				 "listener \"%.*s\": %s",
				 SLICE_ARG(listener->name),
				 text_string(&words));
	}
}

/* When they are taken into use, and then each day: nobody may reload for long. */
static void
certificates_look(struct process *process)
{
	log_certificates(process->generation);
	alarm_set(&process->day_alarm, 24 * HOUR);
}

static void
on_day(struct alarm *alarm)
{
	certificates_look(CONTAINER(alarm, struct process, day_alarm));
}

/* What a loop is sent on a reload. */
struct loop_update {
	struct post post;
	struct loop *loop;
	struct delivery_service *delivery;
	struct generation *generation;
	int signer;
};

static void
loop_update_run(struct post *post)
{
	struct loop_update *update =
		CONTAINER(post, struct loop_update, post);
	struct loop *loop = update->loop;
	struct options *options = update->generation->options;

	generation_unref(loop->generation);
	loop->generation = update->generation;
	dns_reconfigure(loop->dns, options->dns.resolvers,
			options->dns.resolvers_count);
	signing_replace(loop->signing, update->signer);
	delivery_service_reloaded(update->delivery, loop);
	free(update);
}

struct resolvers_update {
	struct post post;
	struct loop *loop;
	struct resolvers resolvers;
};

static void
resolvers_update_run(struct post *post)
{
	struct resolvers_update *update =
		CONTAINER(post, struct resolvers_update, post);

	dns_reconfigure(update->loop->dns, update->resolvers.items,
			update->resolvers.count);
	free(update);
}

static void
resolvers_take(struct process *process, struct slice text)
{
	for (size_t i = 0; i < process->loops_count; i++) {
		struct resolvers_update *update = memory_new(sizeof(*update));

		update->loop = &process->loops[i];
		resolvers_parse(text, &update->resolvers);
		loop_post(update->loop, &update->post, resolvers_update_run);
	}
}

static void
limit_store(struct store *store, const struct options *options)
{
	const struct limits_options *limits = &options->limits;
	uint64_t one_bytes = repair_room_max(limits->max_message_size);

	store_set_limits(store, &(struct store_limits){
		.memory_bytes = limits->max_memory,
		.held_bytes = limits->max_memory / HELD_SHARE,
		.min_free_bytes = limits->min_free_space,
		/* Room for one, and for what it is made while it is mended. */
		.incoming_bytes = limits->max_incoming > one_bytes
					  ? limits->max_incoming
					  : one_bytes,
		.messages = limits->max_queue_messages,
		.bytes = limits->max_queue_size,
	});
}

static bool
reload_try(struct process *process, struct handover *handover,
	   struct fault *fault)
{
	struct generation *generation;

	if (handover->signers_count != process->loops_count)
		return fault_set(fault, FAULT_INPUT,
				 "%zu loops, %zu sockets of the signer",
				 process->loops_count,
				 handover->signers_count);
	if (!generation_receive(handover, &generation, fault))
		return false;
	log_configure(generation->options->log.format,
		      generation->options->log.level);
	for (size_t i = 0; i < process->loops_count; i++) {
		struct loop_update *update = memory_new(sizeof(*update));

		update->loop = &process->loops[i];
		update->delivery = process->delivery;
		update->generation = generation_ref(generation);
		update->signer = handover->signers[i];
		handover->signers[i] = -1;
		loop_post(update->loop, &update->post, loop_update_run);
	}
	limit_store(process->store, generation->options);
	server_listen(process->server, generation, handover->listeners);
	for (size_t i = 0; i < handover->listeners_count; i++)
		handover->listeners[i] = -1;
	generation_unref(process->generation);
	process->generation = generation;
	certificates_look(process);
	return true;
}

static void
reload(struct process *process, struct handover *handover)
{
	struct fault fault = {0};

	if (reload_try(process, handover, &fault)) {
		log_listeners("reload", process->generation);
		if (handover_send(process->control, HANDOVER_READY,
				  handover->serial, SLICE_NONE, NULL))
			return;
	} else if (handover_send(process->control, HANDOVER_REFUSED,
				 handover->serial, SLICE(fault.text), NULL)) {
		return;
	}
	_exit(EX_UNAVAILABLE); /* the supervisor is gone */
}

/* ---- stop ---- */

static void
loop_shut(struct post *post)
{
	struct loop_update *update =
		CONTAINER(post, struct loop_update, post);
	struct loop *loop = update->loop;

	signing_close(loop->signing);
	dns_close(loop->dns);
	generation_unref(loop->generation);
	loop_stop(loop);
	free(update);
}

static void
part_stopped(void *owner)
{
	struct process *process = owner;

	ASSERT(process->parts_running > 0);
	if (--process->parts_running > 0)
		return;
	for (size_t i = 0; i < process->loops_count; i++) {
		struct loop_update *update = memory_new(sizeof(*update));

		update->loop = &process->loops[i];
		loop_post(update->loop, &update->post, loop_shut);
	}
	uv_close((uv_handle_t *)&process->control_poll, NULL);
	control_close(process->commands);
	alarm_close(&process->stop_alarm, NULL);
	alarm_close(&process->day_alarm, NULL);
	loop_stop(&process->main_loop);
}

typedef void delivery_stop_fn(struct delivery_service *service,
			      struct loop *loop);

struct delivery_stop {
	struct post post;
	struct process *process;
	struct loop *loop;
	delivery_stop_fn *stop;
};

static void
delivery_stop_run(struct post *post)
{
	struct delivery_stop *stop =
		CONTAINER(post, struct delivery_stop, post);

	stop->stop(stop->process->delivery, stop->loop);
	free(stop);
}

static void
deliveries_each_loop(struct process *process, delivery_stop_fn *function)
{
	for (size_t i = 0; i < process->loops_count; i++) {
		struct delivery_stop *stop = memory_new(sizeof(*stop));

		stop->process = process;
		stop->loop = &process->loops[i];
		stop->stop = function;
		loop_post(stop->loop, &stop->post, delivery_stop_run);
	}
}

static void
deliveries_stop(struct process *process)
{
	deliveries_each_loop(process, delivery_service_stop);
	schedule_stop(process->schedule, &process->main_loop, part_stopped,
		      process);
}

/* The grace period is over. Whatever is under way is in the queue: ending here
 * is what a crash would be, and loses nothing; but what has become of deliveries
 * is to be known after the next start. */
static void
stop_expired(struct alarm *alarm)
{
	struct process *process =
		CONTAINER(alarm, struct process, stop_alarm);

	log_note(LOG_LEVEL_WARNING, "stop-expired",
		 "the grace period is over; deliveries under way will be tried "
		 "again after the next start");
	/* Whoever owns a message may be on another loop than what carries it:
	 * a turn for each. */
	deliveries_each_loop(process, delivery_service_break_off);
	for (int rounds = 0; rounds < 2; rounds++)
		(void)loops_turn(process->loops, process->loops_count,
				 STOP_RESULTS_MS / 2);
	store_take_no_more(process->store);
	if (!store_flush(process->store, STOP_FLUSH_MS))
		log_note(LOG_LEVEL_WARNING, "stop-expired",
			 "the disk is slow: what has become of the last "
			 "deliveries is not stored; they will be made again");
	deliveries_each_loop(process, delivery_service_cut_off);
	/* Whose message is stored gets his 250, or he would send it again:
	 * once it is said, and once more for what he has said meanwhile, which
	 * unread would take the reply back. */
	for (int rounds = 0; rounds < 2; rounds++)
		(void)loops_turn(process->loops, process->loops_count,
				 STOP_ANSWER_MS / 2);
	log_stop();
	_exit(EX_OK);
}

static void
stop(struct process *process)
{
	if (process->is_stopping)
		return;
	process->is_stopping = true;
	log_listeners("stopping", process->generation);
	alarm_set(&process->stop_alarm,
		  STOP_GRACE_MS - STOP_RESULTS_MS - STOP_FLUSH_MS -
			  STOP_ANSWER_MS);
	process->parts_running = 2;
	/* At once: no client's slowness has more deliveries begin, of which the
	 * end may come too late. What is accepted meanwhile is stored. */
	deliveries_stop(process);
	server_stop(process->server, STOP_DATA_MS, part_stopped, process);
}

/* ---- the control socket ---- */

static void
control_on_poll(uv_poll_t *poll, int status, int events)
{
	struct process *process = poll->data;
	struct handover handover;
	struct fault fault = {0};

	(void)events;
	if (status < 0 ||
	    !handover_receive(process->control, &handover, &fault)) {
		if (status == 0 && fault.kind == FAULT_BUSY)
			return;
		_exit(EX_UNAVAILABLE); /* the supervisor is gone */
	}
	if (handover.kind == HANDOVER_STOP)
		stop(process);
	else if (handover.kind == HANDOVER_GENERATION && !process->is_stopping)
		reload(process, &handover);
	else if (handover.kind == HANDOVER_ASK && !process->is_stopping)
		pulse_take(&process->pulse, handover.serial);
	else if (handover.kind == HANDOVER_RESOLVERS && !process->is_stopping)
		resolvers_take(process, text_slice(&handover.text));
	handover_done(&handover);
}

/* ---- start ---- */

static bool
state_fault(const struct process *process, struct fault *fault)
{
	return fault_within(
		fault, "state_dir '%.*s'",
		SLICE_ARG(process->generation->options->state_dir));
}

/* By this it shows that a state_dir is mistyped, or was not mounted. */
static void
queue_look_for(const struct process *process)
{
	struct stat status;

	if (stat("queue/data.mdb", &status) == 0 || errno != ENOENT)
		return;
	log_note(LOG_LEVEL_INFO, "store",
		 "state_dir '%.*s' has no queue yet: an empty one is made",
		 SLICE_ARG(process->generation->options->state_dir));
}

static bool
store_open_patiently(struct process *process, struct fault *fault)
{
	uint64_t min_free =
		process->generation->options->limits.min_free_space;

	queue_look_for(process);
	for (int tries = 0; tries < STORE_BUSY_TRIES; tries++) {
		if (store_open(".", min_free, &process->store, fault))
			return true;
		if (fault->kind != FAULT_BUSY)
			break;
		usleep(STORE_BUSY_WAIT_US);
	}
	return state_fault(process, fault);
}

static bool
control_start(struct process *process, struct fault *fault)
{
	struct control_parts parts = {
		.main_loop = &process->main_loop,
		.loops = process->loops,
		.loops_count = process->loops_count,
		.store = process->store,
		.schedule = process->schedule,
		.server = process->server,
		.delivery = process->delivery,
	};

	return control_new(&parts, &process->commands, fault) ||
	       state_fault(process, fault);
}

static bool
loops_start(struct process *process, struct handover *handover,
	    struct fault *fault)
{
	struct options *options = process->generation->options;

	process->loops_count = handover->signers_count;
	process->loops =
		memory_array(process->loops_count, sizeof(*process->loops));
	for (size_t i = 0; i < process->loops_count; i++) {
		struct loop *loop = &process->loops[i];

		if (!loop_init(loop, (unsigned)i, fault))
			return false;
		loop->generation = generation_ref(process->generation);
		if (!signing_new(loop, handover->signers[i], &loop->signing,
				 fault) ||
		    !dns_new(loop, options->dns.resolvers,
			     options->dns.resolvers_count, &loop->dns, fault))
			return false;
		handover->signers[i] = -1;
	}
	return true;
}

static bool
process_start(struct process *process, struct handover *handover,
	      struct fault *fault)
{
	if (!confinement_begin(".", fault) ||
	    !generation_receive(handover, &process->generation, fault))
		return false;
	log_configure(process->generation->options->log.format,
		      process->generation->options->log.level);
	/* Before any thread is there: the store's check forks. */
	if (!store_open_patiently(process, fault) || !log_start(fault) ||
	    !confinement_complete(CONFINED_RELAY, fault) ||
	    !loop_init(&process->main_loop, LOOPS_MAX, fault) ||
	    !loops_start(process, handover, fault))
		return false;
	limit_store(process->store, process->generation->options);
	process->delivery = delivery_service_new(
		process->loops, process->loops_count, process->store);
	if (!schedule_new(process->store, process->loops, process->loops_count,
			  destination_due, destination_gone, destination_hurry,
			  &process->schedule, fault) ||
	    !server_new(&process->main_loop, process->loops,
			process->loops_count, process->store,
			process->schedule, &process->server, fault) ||
	    !control_start(process, fault))
		return false;
	for (size_t i = 0; i < process->loops_count; i++)
		if (!loop_start(&process->loops[i], fault))
			return false;
	alarm_init(&process->day_alarm, &process->main_loop, on_day);
	certificates_look(process);
	pulse_init(&process->pulse, process->control, &process->main_loop,
		   process->loops, process->loops_count, process->store);
	server_listen(process->server, process->generation,
		      handover->listeners);
	for (size_t i = 0; i < handover->listeners_count; i++)
		handover->listeners[i] = -1;
	return true;
}

static void
process_end(struct process *process)
{
	for (size_t i = 0; i < process->loops_count; i++)
		loop_join(&process->loops[i]);
	server_free(process->server);
	schedule_free(process->schedule);
	delivery_service_free(process->delivery);
	store_close(process->store);
	for (size_t i = 0; i < process->loops_count; i++)
		loop_done(&process->loops[i]);
	loop_done(&process->main_loop);
	pulse_done(&process->pulse);
	generation_unref(process->generation);
	free(process->loops);
	log_stop();
}

static int
start_exit_code(const struct fault *fault)
{
	if (fault->kind == FAULT_DENIED)
		return EX_NOPERM;
	return fault->kind == FAULT_BUSY || fault->kind == FAULT_SYSTEM ||
			       fault->kind == FAULT_LIMIT
		       ? EX_TEMPFAIL
		       : EX_CONFIG;
}

static void
signals_ignore(void)
{
	/* The supervisor gets them and says what to do; a terminal and a
	 * service manager send them to every process of the family. */
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	/* A file that may grow no more is a full disk (LimitFSIZE=). */
	signal(SIGXFSZ, SIG_IGN);
}

void
relay_process_main(int control)
{
	struct process process = {.control = control};
	struct handover handover;
	struct fault fault = {0};
	uint64_t serial;

	prctl(PR_SET_NAME, "signet-relay", 0, 0, 0);
	signals_ignore();
	umask(077);
	if (fcntl(control, F_SETFD, FD_CLOEXEC) < 0 ||
	    !handover_receive(control, &handover, &fault))
		_exit(EX_USAGE); /* not started by a supervisor */
	if (!process_start(&process, &handover, &fault)) {
		if (!handover_send(control, HANDOVER_REFUSED, handover.serial,
				   SLICE(fault.text), NULL))
			_exit(EX_UNAVAILABLE);
		_exit(start_exit_code(&fault));
	}
	serial = handover.serial;
	handover_done(&handover);
	fcntl(control, F_SETFL, O_NONBLOCK);
	ASSERT(uv_poll_init(&process.main_loop.uv, &process.control_poll,
			    control) == 0);
	process.control_poll.data = &process;
	ASSERT(uv_poll_start(&process.control_poll, UV_READABLE | UV_DISCONNECT,
			     control_on_poll) == 0);
	alarm_init(&process.stop_alarm, &process.main_loop, stop_expired);
	log_listeners("ready", process.generation);
	if (!handover_send(control, HANDOVER_READY, serial, SLICE_NONE, NULL))
		_exit(EX_UNAVAILABLE);
	uv_run(&process.main_loop.uv, UV_RUN_DEFAULT);
	/* The stop's rest is bounded too: the default action ends us. */
	alarm((unsigned)(STOP_GRACE_MS / SECOND));
	process_end(&process);
	exit(EX_OK);
}
