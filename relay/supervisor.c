#include "relay/supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/configuration.h"
#include "relay/identity.h"
#include "relay/limits.h"
#include "relay/notify.h"

/* How long the relay may take beyond its own grace period to stop. */
#define STOP_MARGIN_MS (5 * SECOND)
/* A child that dies again is started again after 0, 1, 2, 4, … 32 s; one that
 * lived this long starts from 0. */
#define RESTART_FORGET_MS (60 * SECOND)
#define RESTART_DELAY_MAX_MS (32 * SECOND)
#define RELOAD_TIMEOUT_MS (30 * SECOND)

struct child {
	pid_t pid; /* 0: not running */
	uint64_t started_ms, restart_at_ms, delay_ms;
};

struct supervisor {
	const char *config_path;
	struct configuration *configuration;
	struct identity relay_identity, signer_identity;
	unsigned loops;
	int signals, state_dir;
	struct child relay, signer;
	struct signer_process signer_process;
	int relay_control; /* -1: none */
	bool was_ready;    /* ever: from then on the relay is replaced */
	bool is_stopping;
	uint64_t stop_deadline_ms;
	int exit_code;
	bool is_done;
};

static void
child_died(struct child *child)
{
	uint64_t now_ms = clock_now_ms();

	if (now_ms - child->started_ms > RESTART_FORGET_MS)
		child->delay_ms = 0;
	child->restart_at_ms = now_ms + child->delay_ms;
	child->delay_ms = child->delay_ms == 0 ? SECOND : 2 * child->delay_ms;
	if (child->delay_ms > RESTART_DELAY_MAX_MS)
		child->delay_ms = RESTART_DELAY_MAX_MS;
	child->pid = 0;
}

/* ---- the signer ---- */

static bool
signer_begin(struct supervisor *supervisor, struct fault *fault)
{
	if (!signer_start(supervisor->signer_identity.uid,
			  supervisor->signer_identity.gid,
			  &supervisor->signer_process, fault))
		return fault_within(fault, "starting the signer");
	supervisor->signer.pid = supervisor->signer_process.pid;
	supervisor->signer.started_ms = clock_now_ms();
	return true;
}

static bool
signer_attach_all(struct supervisor *supervisor, struct handover *handover,
		  struct fault *fault)
{
	while (handover->signers_count < supervisor->loops) {
		if (!signer_attach(&supervisor->signer_process,
				   &handover->signers[handover->signers_count],
				   fault))
			return false;
		handover->signers_count++;
	}
	return true;
}

/* ---- the relay process ---- */

_Noreturn static void
relay_exec(const struct supervisor *supervisor, int control)
{
	char *const arguments[] = {(char *)(uintptr_t) "signet: relay",
				   (char *)(uintptr_t) "relay-process", NULL};
	struct fault fault = {0};
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fchdir(supervisor->state_dir) < 0 || dup2(control, 3) < 0)
		_exit(EX_OSERR);
	if (!identity_become(&supervisor->relay_identity, &fault)) {
		fprintf(stderr, "signet: %s\n", fault.text);
		_exit(EX_NOPERM);
	}
	/* After the change of user, which would clear it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	execv("/proc/self/exe", arguments);
	fprintf(stderr, "signet: starting the relay process: %s\n",
		strerror(errno));
	_exit(EX_OSERR);
}

static bool
relay_hand_over(struct supervisor *supervisor,
		const struct configuration *configuration, bool is_first,
		struct fault *fault)
{
	struct handover handover;
	bool is_sent;

	configuration_hand_over(configuration, &handover);
	handover.is_first = is_first;
	is_sent = signer_attach_all(supervisor, &handover, fault) &&
		  handover_send_generation(supervisor->relay_control, &handover,
					   fault);
	/* The listeners are the configuration's; only these are to be closed. */
	for (size_t i = 0; i < handover.signers_count; i++)
		clean_descriptor(&handover.signers[i]);
	return is_sent;
}

static bool
relay_begin(struct supervisor *supervisor, struct fault *fault)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fault_errno(fault, "control socket");
	supervisor->relay.pid = fork();
	if (supervisor->relay.pid < 0) {
		supervisor->relay.pid = 0;
		fault_errno(fault, "starting the relay process");
		close(pair[0]);
		close(pair[1]);
		return false;
	}
	if (supervisor->relay.pid == 0)
		relay_exec(supervisor, pair[1]);
	close(pair[1]);
	clean_descriptor(&supervisor->relay_control);
	supervisor->relay_control = pair[0];
	supervisor->relay.started_ms = clock_now_ms();
	return relay_hand_over(supervisor, supervisor->configuration, true,
			       fault);
}

static int
start_exit_code(int status)
{
	return WIFEXITED(status) && WEXITSTATUS(status) != 0
		       ? WEXITSTATUS(status)
		       : EX_TEMPFAIL;
}

static void
relay_died(struct supervisor *supervisor, int status)
{
	struct handover last;

	child_died(&supervisor->relay);
	if (supervisor->is_stopping) {
		supervisor->is_done = true;
		return;
	}
	if (!supervisor->was_ready) {
		/* It could not even start: say why and end, never in silence. */
		if (handover_receive(supervisor->relay_control, &last, NULL)) {
			fprintf(stderr, "signet: %s\n",
				text_string(&last.text));
			handover_done(&last);
		}
		supervisor->exit_code = start_exit_code(status);
		supervisor->is_done = true;
		return;
	}
	log_note(LOG_LEVEL_ERROR, "relay-died",
		 "the relay process ended (%s %d); starting it again; what was "
		 "accepted is in the queue",
		 WIFSIGNALED(status) ? "signal" : "exit status",
		 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

/* ---- reload ---- */

/* Waits for the relay's word on a generation. */
static bool
relay_answer(struct supervisor *supervisor, struct fault *fault)
{
	struct pollfd poll_for = {.fd = supervisor->relay_control,
				  .events = POLLIN};
	struct handover answer;
	bool is_ready;
	int count;

	do {
		count = poll(&poll_for, 1, RELOAD_TIMEOUT_MS);
	} while (count < 0 && errno == EINTR);
	if (count <= 0)
		return fault_set(fault, FAULT_BUSY,
				 "the relay process does not answer");
	if (!handover_receive(supervisor->relay_control, &answer, fault))
		return false;
	is_ready = answer.kind == HANDOVER_READY;
	if (!is_ready)
		fault_set(fault, FAULT_INPUT, "%s", text_string(&answer.text));
	handover_done(&answer);
	return is_ready;
}

static bool
fixed_options_same(const struct options *before, const struct options *after,
		   struct fault *fault)
{
	if (!slice_eq(before->state_dir, after->state_dir))
		return fault_set(fault, FAULT_INPUT,
				 "state_dir cannot change while the relay "
				 "runs: restart it");
	if (!slice_eq(before->user, after->user) ||
	    !slice_eq(before->signer_user, after->signer_user))
		return fault_set(fault, FAULT_INPUT,
				 "user and signer_user cannot change while the "
				 "relay runs: restart it");
	return true;
}

static bool
reload_try(struct supervisor *supervisor, struct text *errors,
	   struct fault *fault)
{
	CLEAN(configuration_free_clean) struct configuration *next = NULL;

	if (supervisor->relay.pid == 0 || supervisor->signer.pid == 0)
		return fault_set(fault, FAULT_BUSY,
				 "a process is being started again: try later");
	if (!configuration_load(supervisor->config_path, errors, &next,
				fault) ||
	    !fixed_options_same(supervisor->configuration->options,
				next->options, fault) ||
	    !configuration_complete(next, supervisor->configuration,
				    &supervisor->signer_process, fault) ||
	    !relay_hand_over(supervisor, next, false, fault) ||
	    !relay_answer(supervisor, fault))
		return false;
	configuration_free(supervisor->configuration);
	supervisor->configuration = TAKE(next);
	return true;
}

static void
reload(struct supervisor *supervisor)
{
	CLEAN(text_done) struct text errors = {0};
	struct fault fault = {0};
	struct slice rest, line;

	notify_send("RELOADING=1");
	if (reload_try(supervisor, &errors, &fault)) {
		log_configure(supervisor->configuration->options->log.format,
			      supervisor->configuration->options->log.level);
	} else {
		rest = text_slice(&errors);
		while (slice_split(&rest, '\n', &line))
			log_note(LOG_LEVEL_ERROR, "reload-refused", "%.*s",
				 SLICE_ARG(line));
		log_note(LOG_LEVEL_ERROR, "reload-refused",
			 "%s; the configuration before stays in force",
			 fault.text);
	}
	notify_send("READY=1");
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
	if (supervisor->relay.pid == 0 ||
	    !handover_send(supervisor->relay_control, HANDOVER_STOP, SLICE_NONE,
			   &fault))
		supervisor->is_done = true;
}

static void
children_reap(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == supervisor->relay.pid) {
			relay_died(supervisor, status);
		} else if (pid == supervisor->signer.pid) {
			child_died(&supervisor->signer);
			clean_descriptor(&supervisor->signer_process.control);
			log_note(LOG_LEVEL_ERROR, "signer-died",
				 "the signer ended (%s %d); starting it again, "
				 "mail to be signed waits",
				 WIFSIGNALED(status) ? "signal" : "exit status",
				 WIFSIGNALED(status) ? WTERMSIG(status)
						     : WEXITSTATUS(status));
		}
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
			if (supervisor->was_ready && !supervisor->is_stopping)
				reload(supervisor);
			break;
		default:
			stop_begin(supervisor);
			break;
		}
	}
}

/* Starts again what has died, when its time has come. */
static void
children_mend(struct supervisor *supervisor)
{
	uint64_t now_ms = clock_now_ms();
	struct fault fault;

	if (supervisor->is_stopping)
		return;
	if (supervisor->signer.pid == 0) {
		if (now_ms < supervisor->signer.restart_at_ms)
			return;
		if (!signer_begin(supervisor, &fault) ||
		    !configuration_load_keys(supervisor->configuration,
					     &supervisor->signer_process,
					     &fault) ||
		    (supervisor->relay.pid != 0 &&
		     (!relay_hand_over(supervisor, supervisor->configuration,
				       false, &fault) ||
		      !relay_answer(supervisor, &fault)))) {
			log_note(LOG_LEVEL_ERROR, "signer-start", "%s",
				 fault.text);
			if (supervisor->signer.pid != 0)
				kill(supervisor->signer.pid, SIGKILL);
			else
				child_died(&supervisor->signer);
			return;
		}
	}
	if (supervisor->relay.pid == 0 &&
	    now_ms >= supervisor->relay.restart_at_ms &&
	    !relay_begin(supervisor, &fault)) {
		log_note(LOG_LEVEL_ERROR, "relay-start", "%s", fault.text);
		if (supervisor->relay.pid == 0)
			child_died(&supervisor->relay);
	}
}

/* The relay's control socket: that it is ready after a start. */
static void
relay_read(struct supervisor *supervisor)
{
	struct handover answer;
	struct fault fault;

	if (!handover_receive(supervisor->relay_control, &answer, &fault)) {
		/* Its end comes as SIGCHLD too; nothing more is to be read. */
		clean_descriptor(&supervisor->relay_control);
		return;
	}
	if (answer.kind == HANDOVER_READY && !supervisor->is_stopping) {
		supervisor->was_ready = true;
		notify_send("READY=1");
	} else if (answer.kind == HANDOVER_REFUSED) {
		fprintf(stderr, "signet: %s\n", text_string(&answer.text));
	}
	handover_done(&answer);
}

static int
poll_timeout(const struct supervisor *supervisor)
{
	uint64_t now_ms = clock_now_ms(), until_ms = now_ms + MINUTE;

	if (supervisor->is_stopping)
		until_ms = supervisor->stop_deadline_ms;
	else if (supervisor->signer.pid == 0)
		until_ms = supervisor->signer.restart_at_ms;
	else if (supervisor->relay.pid == 0)
		until_ms = supervisor->relay.restart_at_ms;
	return until_ms <= now_ms ? 0 : (int)(until_ms - now_ms);
}

static void
supervise(struct supervisor *supervisor)
{
	while (!supervisor->is_done) {
		struct pollfd polls[2] = {
			{.fd = supervisor->signals, .events = POLLIN},
			{.fd = supervisor->relay_control, .events = POLLIN},
		};

		if (poll(polls, COUNT(polls), poll_timeout(supervisor)) < 0 &&
		    errno != EINTR)
			break;
		/* First what the relay said, then that it has ended. */
		if (polls[1].revents != 0)
			relay_read(supervisor);
		if (polls[0].revents != 0)
			signals_read(supervisor);
		if (supervisor->is_stopping &&
		    clock_now_ms() >= supervisor->stop_deadline_ms)
			supervisor->is_done = true;
		if (!supervisor->is_done)
			children_mend(supervisor);
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
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return fault_errno(fault, "signals");
	supervisor->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (supervisor->signals < 0)
		return fault_errno(fault, "signals");
	return true;
}

/* As many descriptors as the sessions and deliveries may need; where the hard
 * limit cannot be raised, as many as it allows. */
static void
descriptors_raise(const struct options *options)
{
	struct rlimit limit, raised;
	rlim_t wanted = (rlim_t)(2 * options->limits.max_sessions + 4096);

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
		return;
	raised.rlim_cur = wanted;
	raised.rlim_max = limit.rlim_max < wanted ? wanted : limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0 ||
	    getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < wanted)
		log_note(LOG_LEVEL_WARNING, "limits",
			 "%llu files may be open at once, %llu are wanted for "
			 "max_sessions; raise the limit (LimitNOFILE=, ulimit "
			 "-n)",
			 (unsigned long long)limit.rlim_cur,
			 (unsigned long long)wanted);
}

static unsigned
loops_wanted(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	if (cores < 1)
		return 1;
	return cores > LOOPS_MAX ? LOOPS_MAX : (unsigned)cores;
}

static bool
supervisor_start(struct supervisor *supervisor, struct text *errors,
		 struct fault *fault)
{
	CLEAN(text_done) struct text warning = {0};
	CLEAN(text_done) struct text state_dir = {0};
	const struct options *options;

	if (!configuration_load(supervisor->config_path, errors,
				&supervisor->configuration, fault)) {
		if (fault->kind == FAULT_DENIED)
			fault->kind = FAULT_INPUT;
		return false;
	}
	options = supervisor->configuration->options;
	log_configure(options->log.format, options->log.level);
	if (!identity_find(options, &supervisor->relay_identity,
			   &supervisor->signer_identity, &warning, fault))
		return false;
	if (warning.len > 0)
		log_note(LOG_LEVEL_WARNING, "user", "%s",
			 text_string(&warning));
	text_add(&state_dir, options->state_dir);
	if (!identity_state_dir(&supervisor->relay_identity,
				text_string(&state_dir),
				&supervisor->state_dir, fault)) {
		fault->kind = FAULT_INPUT;
		return false;
	}
	descriptors_raise(options);
	if (!signals_open(supervisor, fault) ||
	    !signer_begin(supervisor, fault))
		return false;
	if (!configuration_complete(supervisor->configuration, NULL,
				    &supervisor->signer_process, fault))
		return false;
	return relay_begin(supervisor, fault);
}

static void
supervisor_end(struct supervisor *supervisor)
{
	if (supervisor->relay.pid != 0) {
		kill(supervisor->relay.pid, SIGKILL);
		waitpid(supervisor->relay.pid, NULL, 0);
	}
	if (supervisor->signer.pid != 0)
		signer_stop(&supervisor->signer_process);
	clean_descriptor(&supervisor->relay_control);
	clean_descriptor(&supervisor->signals);
	clean_descriptor(&supervisor->state_dir);
	configuration_free(supervisor->configuration);
}

/* What is wrong with a configuration is 78 whatever the kind says elsewhere;
 * a lack of privilege stays 77, and what may pass 75. */
static int
relay_exit_code(const struct fault *fault)
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

int
relay_command(const char *config_path, int argc, char **argv)
{
	CLEAN(text_done) struct text errors = {0};
	struct supervisor supervisor = {.config_path = config_path,
					.loops = loops_wanted(),
					.signals = -1,
					.state_dir = -1,
					.signer_process = {.control = -1},
					.relay_control = -1};
	struct fault fault = {0};
	struct slice rest, line;

	if (argc > 1) {
		fprintf(stderr, "signet: relay: unexpected '%s'\n", argv[1]);
		return EX_USAGE;
	}
	if (supervisor_start(&supervisor, &errors, &fault)) {
		supervise(&supervisor);
	} else {
		rest = text_slice(&errors);
		while (slice_split(&rest, '\n', &line))
			fprintf(stderr, "signet: %.*s\n", SLICE_ARG(line));
		if (errors.len == 0)
			fprintf(stderr, "signet: %s\n", fault.text);
		supervisor.exit_code = relay_exit_code(&fault);
	}
	supervisor_end(&supervisor);
	return supervisor.exit_code;
}
