/*
 * bench-signer - what the signer process costs beside the signature itself:
 * signatures through it, and the same by the key in this process, as CPU time
 * each (of both processes) and by the clock, interleaved; the fastest rounds.
 *
 *	bench-signer KEY.pem [CLIENTS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "keys/signer.h"

#define ROUNDS 8
#define SIGNATURES 1000
#define CLIENTS_MAX 64

struct cost {
	double cpu_us, clock_us; /* for one signature */
};

static double
seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double
cpu_of(pid_t pid)
{
	clockid_t clock;

	ASSERT(clock_getcpuclockid(pid, &clock) == 0);
	return seconds(clock);
}

static void
cost_keep(struct cost *best, double cpu, double wall)
{
	cpu *= 1e6 / SIGNATURES;
	wall *= 1e6 / SIGNATURES;
	if (best->cpu_us == 0 || cpu < best->cpu_us)
		best->cpu_us = cpu;
	if (best->clock_us == 0 || wall < best->clock_us)
		best->clock_us = wall;
}

static void
done(struct signer_call *call, const struct fault *fault)
{
	(void)call;
	ASSERT(fault == NULL);
}

static void
round_own(struct key *key, struct cost *best)
{
	uint8_t digest[KEY_DIGEST_SIZE] = {0}, signature[KEY_SIGNATURE_MAX];
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	double wall = seconds(CLOCK_MONOTONIC);
	size_t len;

	for (unsigned i = 0; i < SIGNATURES; i++) {
		memcpy(digest, &i, sizeof(i));
		ASSERT(key_sign(key, digest, signature, &len, NULL));
	}
	cost_keep(best, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu,
		  seconds(CLOCK_MONOTONIC) - wall);
}

static void
round_process(struct signer_process *process, const struct key_id *id,
	      struct signer_client **clients, size_t count, struct cost *best)
{
	static struct signer_call calls[SIGNATURES];
	double cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(process->pid);
	double wall = seconds(CLOCK_MONOTONIC);

	for (unsigned i = 0; i < SIGNATURES; i++) {
		calls[i] = (struct signer_call){.key = *id, .done = done};
		memcpy(calls[i].digest, &i, sizeof(i));
		signer_client_start(clients[i % count], &calls[i]);
	}
	for (size_t i = 0; i < count; i++)
		signer_client_wait(clients[i]);
	cost_keep(best,
		  seconds(CLOCK_PROCESS_CPUTIME_ID) + cpu_of(process->pid) -
			  cpu,
		  seconds(CLOCK_MONOTONIC) - wall);
}

static struct key *
key_open(const char *path)
{
	CLEAN(secret_cleanse) struct text pem = {0};
	FILE *file = fopen(path, "r");
	struct key *key = NULL;
	struct fault fault = {0};

	ASSERT(file != NULL);
	text_added(&pem, fread(text_room(&pem, KEY_FILE_MAX), 1, KEY_FILE_MAX,
			       file));
	fclose(file);
	if (!key_read(text_slice(&pem), &key, &fault)) {
		fprintf(stderr, "%s: %s\n", path, fault.text);
		exit(1);
	}
	return key;
}

static void
bench(struct signer_process *process, struct key *key, const char *path,
      size_t count)
{
	CLEAN(key_public_free_clean) struct key_public *public =
		key_public_of(key);
	CLEAN(keyring_unref_clean) struct keyring *keyring = NULL;
	struct selector_options selector = {.key_path = SLICE(path)};
	struct domain_options domain = {.selectors = &selector,
					.selectors_count = 1};
	struct keys_options options = {.keys_dir = SLICE("."),
				       .domains = &domain,
				       .domains_count = 1};
	struct signer_client *clients[CLIENTS_MAX];
	struct cost own = {0}, through = {0};

	ASSERT(signer_load(process, &options, false, NULL, NULL, &keyring,
			   NULL));
	for (size_t i = 0; i < count; i++) {
		int descriptor;

		ASSERT(signer_attach(process, &descriptor, NULL));
		clients[i] = signer_client_new(descriptor);
	}
	for (int i = 0; i < ROUNDS; i++) {
		round_own(key, &own);
		round_process(process, key_public_id(public), clients, count,
			      &through);
	}
	for (size_t i = 0; i < count; i++)
		signer_client_free(clients[i]);
	printf("%s, %u bits\n",
	       key_algorithm_name(key_public_algorithm(public)),
	       key_public_bits(public));
	printf("in this process    %7.1f us CPU  %7.1f us clock\n", own.cpu_us,
	       own.clock_us);
	printf("through the signer %7.1f us CPU  %7.1f us clock  "
	       "(CPU x %.3f, %.0f/s)\n", through.cpu_us, through.clock_us,
	       through.cpu_us / own.cpu_us, 1e6 / through.clock_us);
}

int
main(int argc, char **argv)
{
	size_t count = argc > 2 ? (size_t)atoi(argv[2]) : 2;
	struct signer_process process;
	struct fault fault = {0};
	struct key *key;

	if (argc == 2 && strcmp(argv[1], "signer-process") == 0)
		signer_main(3);
	if (argc < 2 || count < 1 || count > CLIENTS_MAX) {
		fprintf(stderr, "usage: %s KEY.pem [CLIENTS]\n", argv[0]);
		return 2;
	}
	key = key_open(argv[1]);
	if (!signer_start(0, 0, &process, &fault)) {
		fprintf(stderr, "%s\n", fault.text);
		return 1;
	}
	bench(&process, key, argv[1], count);
	signer_stop(&process);
	key_free(key);
	return 0;
}
