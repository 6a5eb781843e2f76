#include "relay/family.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sandbox.h"
#include "relay/limits.h"

static const struct family families[] = {
	[SERVICE_RELAY] = {
		SERVICE_RELAY,
		{ .title = "signet: relay", .command = "relay-process",
		  .name = "relay" },
		true, "relay-start", "relay-died",
		"what was accepted is in the queue",
		"could write wherever its user may, not below state_dir only",
	},
	[SERVICE_MILTER] = {
		SERVICE_MILTER,
		{ .title = "signet: milter", .command = "milter-process",
		  .name = "milter" },
		false, "milter-start", "milter-died",
		"the MTA does with mail under way as it is configured",
		"could make sockets wherever its user may",
	},
};

const struct family *
family_of(enum service service)
{
	return &families[service];
}

void
family_raise_descriptors(const struct family *family,
			 const struct options *options)
{
	struct rlimit limit, raised;
	bool is_relay = family->service == SERVICE_RELAY;
	rlim_t wanted = RELAY_FILES + (rlim_t)(is_relay ? options->delivery.max_outgoing
						 : 0) +
			SESSION_FILES * (rlim_t)(is_relay
						    ? options->limits.max_sessions
						    : options->milter.max_connections);

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
			 "%s; raise the limit (LimitNOFILE=, ulimit -n)",
			 (unsigned long long)limit.rlim_cur,
			 (unsigned long long)wanted,
			 is_relay ? "max_sessions" : "max_connections");
}

void
family_look_at_kernel(const struct family *family)
{
	struct fault fault = {0};

	if (!sandbox_keeps_files(&fault))
		log_note(LOG_LEVEL_WARNING, "confinement",
			 "%s: who takes over the %s process %s", fault.text,
			 family->worker.name, family->may);
}

unsigned
family_signers(const struct family *family)
{
	cpu_set_t cores;
	long wanted;

	/* Those that it may use: a container may have been given few. Fails
	 * where there are more than 1024. */
	wanted = sched_getaffinity(0, sizeof(cores), &cores) == 0
			 ? CPU_COUNT(&cores)
			 : LOOPS_MAX;
	if (family->service == SERVICE_MILTER)
		wanted *= MILTER_SIGNERS_PER_CORE;
	if (wanted < 1)
		return 1;
	return wanted > LOOPS_MAX ? LOOPS_MAX : (unsigned)wanted;
}
