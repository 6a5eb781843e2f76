#include "relay/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "base/sandbox.h"
#include "relay/limits.h"
#include "relay/machine.h"
#include "relay/notify.h"
#include "relay/supervisor_private.h"

/* How long the worker may take beyond its own grace period to stop. */
#define STOP_MARGIN_MS (5 * SECOND)

/* ---- the signer ---- */

/* The service manager would take a load that is long for one that hangs. */
static void
load_goes_on(struct signer_process *process)
{
	struct supervisor *supervisor =
		CONTAINER(process, struct supervisor, signer_process);

	watchdog_pass(&supervisor->watchdog);
}

static bool
signer_begin(struct supervisor *supervisor, struct fault *fault)
{
	supervisor->signer.started_ms = clock_now_ms();
	if (!signer_start(supervisor->signer_identity.uid,
			  supervisor->signer_identity.gid,
			  &supervisor->signer_process, fault))
		return fault_within(fault, "starting the signer");
	supervisor->signer_process.goes_on = load_goes_on;
	supervisor->signer.pid = supervisor->signer_process.pid;
	return true;
}

static bool
signer_attach_all(struct supervisor *supervisor, struct handover *handover,
		  struct fault *fault)
{
	while (handover->signers_count < supervisor->signers) {
		if (!signer_attach(&supervisor->signer_process,
				   &handover->signers[handover->signers_count],
				   fault))
			return false;
		handover->signers_count++;
	}
	return true;
}

/* ---- the worker ---- */

bool
supervisor_hand_over(struct supervisor *supervisor,
		     const struct configuration *configuration,
		     struct fault *fault)
{
	struct handover handover;
	bool is_sent = false;

	configuration_hand_over(configuration, &handover);
	handover.serial = ++supervisor->serial;
	if (!signer_attach_all(supervisor, &handover, fault)) {
		child_kill(&supervisor->signer);
	} else {
		is_sent = handover_send_generation(supervisor->worker_control,
						   &handover, fault);
		if (!is_sent)
			child_kill(&supervisor->worker);
	}
	/* The listeners are the configuration's; only these are to be closed. */
	for (size_t i = 0; i < handover.signers_count; i++)
		clean_descriptor(&handover.signers[i]);
	return is_sent;
}

static bool
worker_begin(struct supervisor *supervisor, struct fault *fault)
{
	struct child_setup setup = supervisor->family->worker;
	int control;

	setup.directory = supervisor->state_dir;
	setup.identity = &supervisor->worker_identity;
	supervisor->worker_is_ready = false;
	if (!child_start(&supervisor->worker, &setup, &control, fault))
		return false;
	handover_close(&supervisor->worker_control);
	supervisor->worker_control = control;
	watchdog_forget(&supervisor->watchdog);
	if (supervisor_hand_over(supervisor, supervisor->configuration, fault))
		return true;
	child_kill(&supervisor->worker); /* it waits for a generation */
	return false;
}

static int
start_exit_code(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) != 0
		       ? WEXITSTATUS(status)
		       : EX_TEMPFAIL;
}

/* ---- the end of a child ---- */

static const char *
status_word(int status)
{
	return WIFSIGNALED(status) ? "signal" : "exit status";
}

static int
status_number(int status)
{
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

/* What the worker says: that a generation is in use, or why not. */
static void
worker_answer(struct supervisor *supervisor, const struct handover *answer)
{
	bool is_next = supervisor->next != NULL &&
		       answer->serial == supervisor->next_serial;
	struct text text = answer->text;

	if (answer->kind == HANDOVER_ALIVE) {
		watchdog_answered(&supervisor->watchdog, answer->serial);
	} else if (answer->kind == HANDOVER_READY) {
		if (is_next)
			reload_end(supervisor);
		else if (!supervisor->worker_is_ready &&
			 !supervisor->is_stopping)
			notify_send("READY=1");
		supervisor->worker_is_ready = supervisor->was_ready = true;
		resolvers_watch_begin(&supervisor->resolvers,
				      supervisor->configuration->options);
	} else if (is_next) {
		reload_refused(supervisor, SLICE_NONE, text_string(&text));
	} else if (supervisor->was_ready) {
		log_note(LOG_LEVEL_ERROR, supervisor->family->start_event, "%s",
			 text_string(&text));
	} else {
		fprintf(stderr, "signet: %s\n", text_string(&text));
		supervisor->said_why = true;
	}
}

static void
worker_read(struct supervisor *supervisor)
{
	struct handover answer;
	struct fault fault;

	if (!handover_receive_answer(supervisor->worker_control, &answer,
				     &fault)) {
		if (fault.kind == FAULT_BUSY)
			return;
		/* It ends, which comes as SIGCHLD too, or it is not the worker
		 * any more: nobody watches one who cannot be asked. */
		supervisor->worker_silenced =
			descriptor_take(&supervisor->worker_control);
		shutdown(supervisor->worker_silenced, SHUT_RDWR);
		child_kill(&supervisor->worker);
		return;
	}
	worker_answer(supervisor, &answer);
	handover_done(&answer);
}

static void
worker_died(struct supervisor *supervisor, int status)
{
	const char *name = supervisor->family->worker.name;

	child_died(&supervisor->worker);
	supervisor->worker_is_ready = false;
	if (supervisor->is_stopping) {
		supervisor->is_done = true;
		return;
	}
	/* Its last words may still be there. */
	if (supervisor->worker_control >= 0)
		worker_read(supervisor);
	handover_close(&supervisor->worker_silenced);
	if (!supervisor->was_ready) {
		/* It could not even start: say why and end, never in silence. */
		if (!supervisor->said_why)
			fprintf(stderr,
				"signet: the %s process ended at its start "
				"(%s %d)\n",
				name, status_word(status),
				status_number(status));
		supervisor->exit_code = start_exit_code(status);
		supervisor->is_done = true;
		return;
	}
	handover_close(&supervisor->worker_control);
	if (supervisor->next != NULL)
		reload_refused(supervisor, SLICE_NONE,
			       "its process ended meanwhile");
	log_note(LOG_LEVEL_ERROR, supervisor->family->died_event,
		 "the %s process ended (%s %d); starting it again; %s", name,
		 status_word(status), status_number(status),
		 supervisor->family->loses);
}

static void
signer_died(struct supervisor *supervisor, int status)
{
	child_died(&supervisor->signer);
	supervisor->keys_are_next = false;
	clean_descriptor(&supervisor->signer_process.control);
	if (supervisor->is_stopping)
		return;
	log_note(LOG_LEVEL_ERROR, "signer-died",
		 "the signer ended (%s %d); starting it again, mail to be "
		 "signed waits",
		 status_word(status), status_number(status));
}

/* ---- signals and the loop ---- */

static void
stop_begin(struct supervisor *supervisor)
{
	struct fault fault;

	if (supervisor->is_stopping)
		return;
	notify_send("STOPPING=1");
	supervisor->is_stopping = true;
	supervisor->stop_deadline_ms =
		clock_now_ms() + STOP_GRACE_MS + STOP_MARGIN_MS;
	if (supervisor->worker.pid == 0 ||
	    !handover_send(supervisor->worker_control, HANDOVER_STOP, 0,
			   SLICE_NONE, &fault))
		supervisor->is_done = true;
}

static void
children_reap(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == supervisor->worker.pid)
			worker_died(supervisor, status);
		else if (pid == supervisor->signer.pid)
			signer_died(supervisor, status);
	}
}

static void
signals_read(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	while (read(supervisor->signals, &info, sizeof(info)) ==
	       (ssize_t)sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGCHLD:
			children_reap(supervisor);
			break;
		case SIGHUP:
			supervisor->reload_wanted = true;
			break;
		default:
			stop_begin(supervisor);
			break;
		}
	}
}

/* Where the two have one user, a signer's memory is open to the worker until it
 * has closed it, and what was opened then can be read for ever. So the worker,
 * which may have been taken over, stands still until it is closed. */
static bool
signer_begin_unseen(struct supervisor *supervisor, struct fault *fault)
{
	bool is_held = child_hold(&supervisor->worker);
	bool is_begun = signer_begin(supervisor, fault);

	if (is_held)
		child_let_go(&supervisor->worker);
	return is_begun;
}

static bool
signer_mend(struct supervisor *supervisor, struct fault *fault)
{
	if (!signer_begin_unseen(supervisor, fault)) {
		child_died(&supervisor->signer);
		return false;
	}
	if (!configuration_load_keys(supervisor->configuration,
				     &supervisor->signer_process, fault)) {
		child_kill(&supervisor->signer);
		return false;
	}
	return supervisor->worker_control < 0 ||
	       supervisor_hand_over(supervisor, supervisor->configuration, fault);
}

/* Starts again what has died, when its time has come: the signer first, since
 * the worker is handed its sockets. A reload under way ends before, so that no
 * older generation overtakes it. */
static void
children_mend(struct supervisor *supervisor)
{
	uint64_t now_ms = clock_now_ms();
	struct fault fault = {0};

	if (supervisor->is_stopping || supervisor->next != NULL)
		return;
	if (supervisor->signer.pid == 0) {
		if (now_ms < supervisor->signer.restart_at_ms)
			return;
		if (!signer_mend(supervisor, &fault)) {
			log_note(LOG_LEVEL_ERROR, "signer-start", "%s",
				 fault.text);
			return;
		}
	}
	if (supervisor->worker.pid == 0 &&
	    now_ms >= supervisor->worker.restart_at_ms &&
	    !worker_begin(supervisor, &fault)) {
		log_note(LOG_LEVEL_ERROR, supervisor->family->start_event, "%s",
			 fault.text);
		if (supervisor->worker.pid == 0)
			child_died(&supervisor->worker);
	}
}

/* Where a socket between the two was lost, and neither of them. */
static void
clients_mend(struct supervisor *supervisor)
{
	bool is_whole = supervisor->signer.pid != 0 &&
			supervisor->worker_is_ready && supervisor->next == NULL;
	struct fault fault = {0};

	if (!vigil_finds_lost(&supervisor->vigil, &supervisor->signer_process,
			      is_whole ? supervisor->signers : 0))
		return;
	log_note(LOG_LEVEL_ERROR, "signer-lost",
		 "the %s process has lost a way to the signer: it gets others",
		 supervisor->family->worker.name);
	if (!supervisor_hand_over(supervisor, supervisor->configuration,
				  &fault))
		log_note(LOG_LEVEL_ERROR, "signer-lost", "%s", fault.text);
}

/* Not while a generation is on its way, with what it has of them. As often as the
 * vigil has us look around. */
static void
resolvers_look(struct supervisor *supervisor)
{
	CLEAN(text_done) struct text text = {0};
	struct resolvers others;
	struct fault fault;

	if (!supervisor->worker_is_ready || supervisor->next != NULL ||
	    !resolvers_watch_finds(&supervisor->resolvers, &others))
		return;
	resolvers_write(&others, &text);
	if (!handover_send(supervisor->worker_control, HANDOVER_RESOLVERS, 0,
			   text_slice(&text), &fault))
		return; /* with the next look */
	supervisor->resolvers.asked = others;
	log_note(LOG_LEVEL_INFO, "resolvers",
		 "/etc/resolv.conf names others by now: %s will be asked",
		 text_string(&text));
}

/* Not while they are started: that may take long, and is watched. */
static void
watch(struct supervisor *supervisor)
{
	if (supervisor->is_stopping)
		return;
	if (watchdog_is_due(&supervisor->watchdog) &&
	    !watchdog_turn(&supervisor->watchdog,
			   supervisor->worker_is_ready
				   ? supervisor->worker_control
				   : -1))
		child_kill(&supervisor->worker);
	clients_mend(supervisor);
	resolvers_look(supervisor);
	if (supervisor->signer.pid == 0 ||
	    !vigil_finds_hung(&supervisor->vigil, &supervisor->signer_process))
		return;
	log_note(LOG_LEVEL_ERROR, "signer-hangs",
		 "the signer has not answered, or one of its threads has been "
		 "at one request, for %llu s: it is replaced",
		 (unsigned long long)(SIGNER_LOOKS_MAX * SIGNER_LOOK_MS /
				      SECOND));
	child_kill(&supervisor->signer);
}

static uint64_t
sooner(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms < b_ms ? a_ms : b_ms;
}

static int
poll_timeout(const struct supervisor *supervisor)
{
	uint64_t now_ms = clock_now_ms();
	uint64_t until_ms = supervisor->watchdog.due_ms;

	if (supervisor->signer.pid != 0)
		until_ms = sooner(until_ms, supervisor->vigil.due_ms);
	if (supervisor->is_stopping)
		until_ms = supervisor->stop_deadline_ms;
	else if (supervisor->next != NULL)
		until_ms = sooner(until_ms, supervisor->answer_by_ms);
	else if (supervisor->signer.pid == 0)
		until_ms = sooner(until_ms, supervisor->signer.restart_at_ms);
	else if (supervisor->worker.pid == 0)
		until_ms = sooner(until_ms, supervisor->worker.restart_at_ms);
	return until_ms <= now_ms ? 0 : (int)(until_ms - now_ms);
}

static void
supervise(struct supervisor *supervisor)
{
	while (!supervisor->is_done) {
		struct pollfd polls[2] = {
			{.fd = supervisor->signals, .events = POLLIN},
			{.fd = supervisor->worker_control, .events = POLLIN},
		};

		if (poll(polls, COUNT(polls), poll_timeout(supervisor)) < 0) {
			ASSERT(errno == EINTR || errno == ENOMEM);
			continue;
		}
		/* First what the worker said, then that it has ended. */
		if (polls[1].revents != 0)
			worker_read(supervisor);
		if (polls[0].revents != 0)
			signals_read(supervisor);
		if (supervisor->is_stopping &&
		    clock_now_ms() >= supervisor->stop_deadline_ms)
			supervisor->is_done = true;
		if (supervisor->is_done)
			break;
		reload_expire(supervisor);
		children_mend(supervisor);
		if (reload_may_begin(supervisor))
			reload_begin(supervisor);
		watch(supervisor);
	}
}

/* ---- start and end ---- */

static bool
signals_open(struct supervisor *supervisor, struct fault *fault)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	/* Whoever started us may ignore it, and then no child's end would ever
	 * be told. */
	signal(SIGCHLD, SIG_DFL);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return fault_errno(fault, "signals");
	supervisor->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (supervisor->signals < 0)
		return fault_errno(fault, "signals");
	return true;
}

static bool
is_wrong_path(int system)
{
	return system == ENOENT || system == ENOTDIR || system == ELOOP ||
	       system == ENAMETOOLONG;
}

static bool
state_open(struct supervisor *supervisor, struct fault *fault)
{
	CLEAN(text_done) struct text state_dir = {0};

	text_add(&state_dir, supervisor->configuration->options->state_dir);
	if (identity_state_dir(&supervisor->worker_identity,
			       text_string(&state_dir), &supervisor->state_dir,
			       fault))
		return true;
	/* One with what is somebody else's is the wrong directory, and a path
	 * may lead nowhere. What the system denies stays that; a full disk has
	 * room again one day. */
	if (fault->system == 0 || is_wrong_path(fault->system))
		fault->kind = FAULT_INPUT;
	else if (fault->kind != FAULT_DENIED)
		fault->kind = FAULT_SYSTEM;
	return false;
}

/* A container without a volume for it works, until there is a newer image. */
static void
state_look(const struct supervisor *supervisor)
{
	if (machine_forgets(supervisor->state_dir))
		log_note(LOG_LEVEL_WARNING, "state",
			 "state_dir '%.*s' is in memory, or in a layer of a "
			 "container's own: mail that waits there is lost with "
			 "that; give it a volume, or a directory on a disk",
			 SLICE_ARG(supervisor->configuration->options
					   ->state_dir));
}

static void
clock_look(void)
{
	if (clock_wall_ms() >= CLOCK_SET_MS)
		return;
	log_note(LOG_LEVEL_WARNING, "clock",
		 "this machine's clock has not been set: until it is, Received, "
		 "Date, t= and x= say when nothing was sent (a signature with "
		 "x= has expired when it arrives), and no certificate is valid "
		 "yet");
}

static bool
supervisor_start(struct supervisor *supervisor, struct text *errors,
		 struct fault *fault)
{
	CLEAN(text_done) struct text warning = {0};
	const struct options *options;

	/* It holds passwords and TLS keys. */
	if (!sandbox_memory(fault) ||
	    !inherited_take(&supervisor->inherited, fault) ||
	    !configuration_load(supervisor->family->service,
				supervisor->config_path, errors,
				&supervisor->configuration, fault))
		return false;
	options = supervisor->configuration->options;
	log_configure(options->log.format, options->log.level);
	clock_look();
	if (!configuration_check(supervisor->configuration, errors, fault) ||
	    !identity_find(options, &supervisor->worker_identity,
			   &supervisor->signer_identity, &warning, fault))
		return false;
	if (warning.len > 0)
		log_note(LOG_LEVEL_WARNING, "user", "%s",
			 text_string(&warning));
	if (supervisor->family->has_state) {
		if (!state_open(supervisor, fault))
			return false;
		state_look(supervisor);
	}
	family_raise_descriptors(supervisor->family, options);
	family_look_at_kernel(supervisor->family);
	if (!signals_open(supervisor, fault) ||
	    !signer_begin(supervisor, fault))
		return false;
	return configuration_load_keys(supervisor->configuration,
				       &supervisor->signer_process, fault) &&
	       configuration_complete(supervisor->configuration, NULL,
				      &supervisor->worker_identity,
				      &supervisor->inherited, fault) &&
	       worker_begin(supervisor, fault);
}

/* The worker may end before it is handed anything: then it has said why, which
 * is not that nobody took what it was to have. */
static bool
worker_said_why(struct supervisor *supervisor)
{
	int status;

	/* By this it ends, too, where it may not be killed. */
	clean_descriptor(&supervisor->worker_control);
	if (supervisor->worker.pid == 0 ||
	    waitpid(supervisor->worker.pid, &status, 0) < 0)
		return false;
	supervisor->worker.pid = 0;
	supervisor->exit_code = start_exit_code(status);
	return WIFEXITED(status) && WEXITSTATUS(status) != EX_USAGE;
}

static void
supervisor_end(struct supervisor *supervisor)
{
	/* Root without CAP_KILL may be refused that: then nobody waits for it. */
	if (supervisor->worker.pid != 0 &&
	    kill(supervisor->worker.pid, SIGKILL) == 0)
		waitpid(supervisor->worker.pid, NULL, 0);
	if (supervisor->signer.pid != 0)
		signer_stop(&supervisor->signer_process);
	handover_close(&supervisor->worker_control);
	handover_close(&supervisor->worker_silenced);
	clean_descriptor(&supervisor->signals);
	clean_descriptor(&supervisor->state_dir);
	configuration_free(supervisor->next);
	configuration_free(supervisor->configuration);
	inherited_done(&supervisor->inherited);
}

/* What is wrong with a configuration is 78 whatever the kind says elsewhere;
 * a lack of privilege stays 77, and what may pass 75. */
static int
service_exit_code(const struct fault *fault)
{
	switch (fault->kind) {
	case FAULT_NONE:
		return EX_OK;
	case FAULT_INPUT:
	case FAULT_ABSENT:
	case FAULT_LIMIT:
	case FAULT_UNTRUSTED:
		return EX_CONFIG;
	case FAULT_DENIED:
		return EX_NOPERM;
	case FAULT_BUSY:
	case FAULT_SYSTEM:
		return EX_TEMPFAIL;
	}
	return EX_SOFTWARE;
}

static int
family_command(const struct family *family, const char *config_path, int argc,
	       char **argv)
{
	CLEAN(text_done) struct text errors = {0};
	struct supervisor supervisor = {.family = family,
					.config_path = config_path,
					.signers = family_signers(family),
					.signals = -1,
					.state_dir = -1,
					.signer_process = {.control = -1},
					.worker_control = -1,
					.worker_silenced = -1};
	struct fault fault = {0};
	struct slice rest, line;

	if (argc > 1) {
		fprintf(stderr, "signet: %s: unexpected '%s'\n",
			family->worker.name, argv[1]);
		return EX_USAGE;
	}
	if (supervisor_start(&supervisor, &errors, &fault)) {
		watchdog_begin(&supervisor.watchdog);
		supervise(&supervisor);
	} else if (!worker_said_why(&supervisor)) {
		rest = text_slice(&errors);
		while (slice_split(&rest, '\n', &line))
			fprintf(stderr, "signet: %.*s\n", SLICE_ARG(line));
		if (errors.len == 0)
			fprintf(stderr, "signet: %s\n", fault.text);
		supervisor.exit_code = service_exit_code(&fault);
	}
	supervisor_end(&supervisor);
	return supervisor.exit_code;
}

int
relay_command(const char *config_path, int argc, char **argv)
{
	return family_command(family_of(SERVICE_RELAY), config_path, argc,
			      argv);
}

int
milter_command(const char *config_path, int argc, char **argv)
{
	return family_command(family_of(SERVICE_MILTER), config_path, argc,
			      argv);
}
