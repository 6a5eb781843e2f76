#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "keys/signer.h"
#include "keys/signer_wire.h"
#include "tests/unit/keys/files.h"

/* A configuration of one domain, its key files, and a signer process. */
struct stage {
	struct files files;
	struct signer_process process;
	struct keyring *keyring;
	struct selector_options selectors[2];
	struct domain_options domain;
	struct keys_options options;
	struct text warnings;
};

static void
note_warning(void *owner, const char *text)
{
	struct stage *stage = owner;

	text_addf(&stage->warnings, "%s\n", text);
}

static bool
stage_load(struct stage *stage, bool strict_modes, struct fault *fault)
{
	struct keyring *keyring = NULL;

	stage->options.keys_dir = text_slice(&stage->files.directory);
	if (!signer_load(&stage->process, &stage->options, strict_modes,
			 note_warning, stage, &keyring, fault))
		return false;
	keyring_unref(stage->keyring);
	stage->keyring = keyring;
	return true;
}

static void
stage_init(struct stage *stage)
{
	*stage = (struct stage){
		.selectors = {{.name = SLICE_LITERAL("r"),
			       .key_path = SLICE_LITERAL("r.pem"),
			       .line = 7,
			       .file = "signet.conf"},
			      {.name = SLICE_LITERAL("e"),
			       .key_path = SLICE_LITERAL("e.pem"),
			       .line = 8,
			       .file = "signet.conf"}},
		.domain = {.name = SLICE_LITERAL("example.com"),
			   .selectors_count = 2,
			   .line = 6,
			   .file = "signet.conf"},
	};
	stage->domain.selectors = stage->selectors;
	stage->options.domains = &stage->domain;
	stage->options.domains_count = 1;
	files_new(&stage->files);
	files_put_vector(&stage->files, "r.pem", "rsa2048.pem", 0600);
	files_put_vector(&stage->files, "e.pem", "rfc8463-ed25519.pem", 0600);
}

static void
stage_start(struct stage *stage)
{
	struct fault fault = {0};

	stage_init(stage);
	cr_assert(signer_start(0, 0, &stage->process, &fault), "%s",
		  fault.text);
	cr_assert(stage_load(stage, false, &fault), "%s", fault.text);
}

static void
stage_stop(struct stage *stage, bool was_killed)
{
	keyring_unref(stage->keyring);
	signer_stop(&stage->process);
	/* Also says whether a sanitizer had something to report. */
	if (!was_killed)
		cr_expect(WIFEXITED(stage->process.pid_status) &&
				  WEXITSTATUS(stage->process.pid_status) == 0,
			  "signer ended with %x", stage->process.pid_status);
	files_done(&stage->files);
	text_done(&stage->warnings);
}

static const struct key_public *
public_at(const struct stage *stage, size_t i)
{
	return keyring_domain_at(stage->keyring, 0)->selectors[i].key;
}

static struct signer_client *
attach(struct stage *stage)
{
	struct fault fault = {0};
	int descriptor = -1;

	cr_assert(signer_attach(&stage->process, &descriptor, &fault), "%s",
		  fault.text);
	return signer_client_new(descriptor);
}

struct ask {
	struct signer_call call;
	int answers;
	enum fault_kind kind;
	char text[sizeof(((struct fault *)NULL)->text)];
};

static void
ask_done(struct signer_call *call, const struct fault *fault)
{
	struct ask *ask = CONTAINER(call, struct ask, call);

	ask->answers++;
	ask->kind = fault == NULL ? FAULT_NONE : fault->kind;
	if (fault != NULL)
		snprintf(ask->text, sizeof(ask->text), "%s", fault->text);
}

static void
ask_init(struct ask *ask, const struct key_public *key, unsigned seed)
{
	*ask = (struct ask){.call.key = *key_public_id(key),
			    .call.done = ask_done};
	memset(ask->call.digest, (int)(seed % 251), KEY_DIGEST_SIZE);
	memcpy(ask->call.digest, &seed, sizeof(seed));
}

static bool
ask_is_signed(const struct ask *ask, const struct key_public *key)
{
	return ask->answers == 1 && ask->kind == FAULT_NONE &&
	       key_public_verify(key, ask->call.digest,
				 slice_of(ask->call.signature,
					  ask->call.signature_len));
}

Test(signer, signs_with_every_key)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[2];

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, i), 1);
		signer_client_start(client, &asks[i].call);
		cr_expect_eq(asks[i].answers, 0);
	}
	signer_client_wait(client);
	for (size_t i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], public_at(&stage, i)), "%s",
			  asks[i].text);
	signer_client_free(client);
	cr_expect_str_eq(text_string(&stage.warnings), "");
	stage_stop(&stage, false);
}

Test(signer, an_unknown_key_is_a_fault)
{
	struct stage stage;
	struct signer_client *client;
	struct ask ask;

	stage_start(&stage);
	client = attach(&stage);
	ask_init(&ask, public_at(&stage, 0), 1);
	ask.call.key.bytes[0] ^= 1;
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect_eq(ask.answers, 1);
	cr_expect_eq(ask.kind, FAULT_ABSENT);
	signer_client_free(client);
	stage_stop(&stage, false);
}

/* ---- its prison ---- */

static void
proc_path(const struct stage *stage, const char *name, char *out, size_t size)
{
	snprintf(out, size, "/proc/%ld/%s", (long)stage->process.pid, name);
}

static void
status_field(const struct stage *stage, const char *field, char *out,
	     size_t size)
{
	char path[64], line[256];
	FILE *file;

	proc_path(stage, "status", path, sizeof(path));
	file = fopen(path, "r");
	cr_assert_not_null(file);
	*out = '\0';
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			snprintf(out, size, "%s",
				 line + strlen(field) + strspn(line +
							strlen(field), "\t "));
	fclose(file);
	out[strcspn(out, "\n")] = '\0';
}

Test(signer, is_confined)
{
	struct stage stage;
	char value[256], path[64];

	stage_start(&stage);
	status_field(&stage, "Seccomp:", value, sizeof(value));
	cr_expect_str_eq(value, "2");
	status_field(&stage, "NoNewPrivs:", value, sizeof(value));
	cr_expect_str_eq(value, "1");
	status_field(&stage, "Name:", value, sizeof(value));
	cr_expect_str_eq(value, "signet-signer");
	proc_path(&stage, "mem", path, sizeof(path));
	if (geteuid() != 0)
		cr_expect_lt(open(path, O_RDONLY), 0);
	stage_stop(&stage, false);
}

static const char *
descriptor_target(const struct stage *stage, const char *name)
{
	static char target[256];
	char path[400], link[300];
	ssize_t len;

	snprintf(link, sizeof(link), "fd/%s", name);
	proc_path(stage, link, path, sizeof(path));
	len = readlink(path, target, sizeof(target) - 1);
	target[len > 0 ? len : 0] = '\0';
	return target;
}

Test(signer, holds_no_descriptors_but_its_own)
{
	struct stage stage;
	struct signer_client *client;
	char path[64];
	DIR *directory;
	size_t sockets = 0, others = 0;

	/* Something that must not be inherited, even without O_CLOEXEC. */
	cr_assert(dup2(STDERR_FILENO, 77) == 77);
	stage_start(&stage);
	client = attach(&stage);
	proc_path(&stage, "fd", path, sizeof(path));
	directory = opendir(path);
	cr_assert_not_null(directory);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		const char *target = descriptor_target(&stage, entry->d_name);

		if (entry->d_name[0] == '.' ||
		    strcmp(target, "/dev/null") == 0 ||
		    strcmp(target, "anon_inode:[eventpoll]") == 0 ||
		    strcmp(entry->d_name, "2") == 0)
			continue;
		if (strncmp(target, "socket:", 7) == 0)
			sockets++;
		else
			others++;
	}
	closedir(directory);
	cr_expect_eq(sockets, 2, "%zu sockets: control and one client",
		     sockets);
	cr_expect_eq(others, 0);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, becomes_another_user_and_is_not_dumpable)
{
	struct stage stage;
	struct fault fault = {0};
	struct stat status;
	char path[64], value[256];

	stage_init(&stage);
	if (geteuid() != 0) {
		cr_expect_not(signer_start(65534, 65534, &stage.process,
					   &fault));
		cr_expect_eq(fault.kind, FAULT_DENIED);
		files_done(&stage.files);
		return;
	}
	cr_assert(signer_start(65534, 65533, &stage.process, &fault), "%s",
		  fault.text);
	status_field(&stage, "Uid:", value, sizeof(value));
	cr_expect_str_eq(value, "65534\t65534\t65534\t65534");
	status_field(&stage, "Gid:", value, sizeof(value));
	cr_expect_str_eq(value, "65533\t65533\t65533\t65533");
	status_field(&stage, "Groups:", value, sizeof(value));
	cr_expect_str_eq(value, "");
	status_field(&stage, "CapEff:", value, sizeof(value));
	cr_expect_str_eq(value, "0000000000000000");
	/* proc(5): what is not dumpable belongs to root. */
	proc_path(&stage, "mem", path, sizeof(path));
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_uid, 0);
	cr_expect(stage_load(&stage, false, &fault), "%s", fault.text);
	stage_stop(&stage, false);
}

Test(signer, ignores_signals_that_go_to_everyone)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
	struct stage stage;
	struct signer_client *client;
	struct ask ask;

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(signals); i++)
		kill(stage.process.pid, signals[i]);
	ask_init(&ask, public_at(&stage, 1), 1);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect(ask_is_signed(&ask, public_at(&stage, 1)), "%s", ask.text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, ends_with_the_process_that_started_it)
{
	struct stage stage;
	struct pollfd end = {.events = 0};
	int ends[2];
	pid_t parent;

	stage_init(&stage);
	cr_assert_eq(pipe(ends), 0);
	parent = fork();
	if (parent == 0) {
		/* The signer keeps only stderr: the pipe ends with it. */
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		if (!signer_start(0, 0, &stage.process, NULL))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	close(ends[1]);
	end.fd = ends[0];
	cr_expect_eq(poll(&end, 1, 20000), 1);
	cr_expect(end.revents & POLLHUP);
	cr_assert_eq(waitpid(parent, NULL, 0), parent);
	close(ends[0]);
	files_done(&stage.files);
}

/* ---- hostile clients ---- */

static const struct {
	const char *name;
	size_t size;
	uint32_t magic, zero;
	uint64_t tag;
} garbage_rows[] = {
	{"one byte", 1, REQUEST_MAGIC, 0, 9},
	{"one byte short", sizeof(struct signer_request) - 1, REQUEST_MAGIC, 0,
	 9},
	{"one byte long", sizeof(struct signer_request) + 1, REQUEST_MAGIC, 0,
	 9},
	{"very long", 60000, REQUEST_MAGIC, 0, 9},
	{"wrong magic", sizeof(struct signer_request), 1, 0, 9},
	{"answer's magic", sizeof(struct signer_request), ANSWER_MAGIC, 0, 9},
	{"not zero", sizeof(struct signer_request), REQUEST_MAGIC, 1, 9},
	{"tag 0", sizeof(struct signer_request), REQUEST_MAGIC, 0, 0},
};

static void
expect_malformed(int descriptor, const char *name)
{
	struct pollfd answer_there = {.fd = descriptor, .events = POLLIN};
	struct signer_answer answer = {0};

	cr_assert_eq(poll(&answer_there, 1, 20000), 1, "%s", name);
	cr_expect_eq(recv(descriptor, &answer, sizeof(answer), 0),
		     (ssize_t)ANSWER_HEAD, "%s", name);
	cr_expect_eq(answer.status, ANSWER_MALFORMED, "%s", name);
	cr_expect_eq(answer.tag, 0, "%s", name);
}

Test(signer, garbage_is_answered_and_the_next_request_served)
{
	struct stage stage;
	struct signer_client *client;
	struct ask ask;
	static char bytes[60000];

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(garbage_rows); i++) {
		struct signer_request request = {
			.magic = garbage_rows[i].magic,
			.zero = garbage_rows[i].zero,
			.tag = garbage_rows[i].tag,
			.key = *key_public_id(public_at(&stage, 0)),
		};
		int descriptor = signer_client_descriptor(client);

		memcpy(bytes, &request, sizeof(request));
		cr_assert_eq(send(descriptor, bytes, garbage_rows[i].size, 0),
			     (ssize_t)garbage_rows[i].size);
		expect_malformed(descriptor, garbage_rows[i].name);
	}
	ask_init(&ask, public_at(&stage, 0), 1);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect(ask_is_signed(&ask, public_at(&stage, 0)), "%s", ask.text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, descriptors_from_clients_are_not_kept)
{
	struct stage stage;
	struct signer_client *client;
	struct control_message message = {.verb = CONTROL_ATTACH};
	int ends[2];
	struct pollfd end = {.events = 0};

	stage_start(&stage);
	client = attach(&stage);
	cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
	cr_assert(control_send(signer_client_descriptor(client), &message,
			       &ends[1], 1, 0, NULL));
	expect_malformed(signer_client_descriptor(client), "control");
	close(ends[1]);
	end.fd = ends[0];
	cr_expect_eq(poll(&end, 1, 20000), 1);
	cr_expect(end.revents & POLLHUP);
	close(ends[0]);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, who_does_not_read_is_dropped_and_stalls_nobody)
{
	struct stage stage;
	struct signer_client *deaf, *other;
	struct ask ask;
	struct signer_request request = {.magic = REQUEST_MAGIC, .tag = 1};
	size_t sent = 0;
	int descriptor;

	stage_start(&stage);
	deaf = attach(&stage);
	other = attach(&stage);
	descriptor = signer_client_descriptor(deaf);
	request.key = *key_public_id(public_at(&stage, 1));
	/* Ends with EPIPE once the signer has given up on it. */
	for (;;) {
		struct pollfd writable = {.fd = descriptor, .events = POLLOUT};

		cr_assert_eq(poll(&writable, 1, 20000), 1);
		if (send(descriptor, &request, sizeof(request),
			 MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
		    errno != EAGAIN)
			break;
		cr_assert_lt(++sent, 1000000);
		ask_init(&ask, public_at(&stage, 1), (unsigned)sent);
		if (sent % 100 != 0)
			continue;
		signer_client_start(other, &ask.call);
		signer_client_wait(other);
		cr_assert(ask_is_signed(&ask, public_at(&stage, 1)));
	}
	ask_init(&ask, public_at(&stage, 0), 1);
	signer_client_start(other, &ask.call);
	signer_client_wait(other);
	cr_expect(ask_is_signed(&ask, public_at(&stage, 0)), "%s", ask.text);
	/* A client that keeps to SIGNER_CALLS_MAX is never that slow. */
	cr_expect_gt(sent, SIGNER_CALLS_MAX);
	signer_client_free(deaf);
	signer_client_free(other);
	stage_stop(&stage, false);
}

/* The worst that a good client may do: all its calls answered before it reads
 * the first, with the longest signatures. */
Test(signer, a_full_set_of_the_longest_answers_is_kept)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[SIGNER_CALLS_MAX];
	struct fault fault = {0};
	CLEAN(key_free_clean) struct key *key = NULL;
	CLEAN(key_cleanse) struct text pem = {0};

	stage_start(&stage);
	cr_assert(key_generate(KEY_RSA_SHA256, 4096, &key, NULL));
	cr_assert(key_write(key, &pem, NULL));
	files_put(&stage.files, "r.pem", text_slice(&pem), 0600);
	cr_assert(stage_load(&stage, false, &fault), "%s", fault.text);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, 0), (unsigned)i);
		signer_client_start(client, &asks[i].call);
	}
	/* Another client's calls come after them in every thread. */
	{
		struct signer_client *other = attach(&stage);
		struct ask ask;

		for (unsigned i = 0; i < 200; i++) {
			ask_init(&ask, public_at(&stage, 0), i);
			signer_client_start(other, &ask.call);
			signer_client_wait(other);
		}
		signer_client_free(other);
	}
	signer_client_wait(client);
	for (size_t i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], public_at(&stage, 0)), "%s",
			  asks[i].text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

/* ---- many at once ---- */

Test(signer, many_calls_of_several_clients)
{
	struct stage stage;
	struct signer_client *clients[5];
	enum { ASKS = 300 };
	struct ask *asks[COUNT(clients)];

	stage_start(&stage);
	for (size_t i = 0; i < COUNT(clients); i++) {
		clients[i] = attach(&stage);
		asks[i] = memory_array(ASKS, sizeof(struct ask));
		for (unsigned j = 0; j < ASKS; j++) {
			ask_init(&asks[i][j], public_at(&stage, j % 2), j);
			signer_client_start(clients[i], &asks[i][j].call);
		}
		cr_expect_eq(signer_client_open_calls(clients[i]), ASKS);
	}
	for (size_t i = 0; i < COUNT(clients); i++) {
		signer_client_wait(clients[i]);
		for (unsigned j = 0; j < ASKS; j++)
			cr_expect(ask_is_signed(&asks[i][j],
						public_at(&stage, j % 2)),
				  "client %zu call %u: %s", i, j,
				  asks[i][j].text);
		free(asks[i]);
		signer_client_free(clients[i]);
	}
	stage_stop(&stage, false);
}

Test(signer, cancelled_calls_are_never_heard_of)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[3 * SIGNER_CALLS_MAX];

	stage_start(&stage);
	client = attach(&stage);
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, 0), i);
		signer_client_start(client, &asks[i].call);
	}
	for (size_t i = 0; i < COUNT(asks); i += 2)
		signer_client_cancel(&asks[i].call);
	signer_client_wait(client);
	for (size_t i = 0; i < COUNT(asks); i++)
		cr_expect_eq(asks[i].answers, i % 2 == 0 ? 0 : 1);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, a_call_times_out_once)
{
	int pair[2];
	struct signer_client *client;
	struct stage stage;
	struct ask asks[SIGNER_CALLS_MAX + 2];
	uint64_t now = clock_now_ms();

	stage_start(&stage);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0,
				pair), 0);
	client = signer_client_new(pair[0]);
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, 0), i);
		signer_client_start(client, &asks[i].call);
	}
	signer_client_tick(client, now + SIGNER_CALL_TIMEOUT_MS / 2);
	cr_expect_eq(signer_client_open_calls(client), COUNT(asks));
	signer_client_tick(client, now + SIGNER_CALL_TIMEOUT_MS + 60000);
	cr_expect_eq(signer_client_open_calls(client), 0);
	for (size_t i = 0; i < COUNT(asks); i++) {
		cr_expect_eq(asks[i].answers, 1);
		cr_expect_eq(asks[i].kind, FAULT_BUSY);
	}
	close(pair[1]);
	signer_client_free(client);
	stage_stop(&stage, false);
}

/* ---- replaced and reloaded ---- */

Test(signer, is_replaced_while_calls_are_open)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[2 * SIGNER_CALLS_MAX];
	struct pollfd gone = {.events = POLLIN};
	int descriptor = -1;

	stage_start(&stage);
	client = attach(&stage);
	kill(stage.process.pid, SIGSTOP);
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], public_at(&stage, i % 2), i);
		signer_client_start(client, &asks[i].call);
	}
	kill(stage.process.pid, SIGKILL);
	gone.fd = signer_client_descriptor(client);
	cr_assert_eq(poll(&gone, 1, 20000), 1);
	cr_expect_not(signer_client_read(client));
	cr_expect_eq(signer_client_open_calls(client), COUNT(asks));
	signer_stop(&stage.process);
	cr_expect(WIFSIGNALED(stage.process.pid_status));
	cr_assert(signer_start(0, 0, &stage.process, NULL));
	cr_assert(stage_load(&stage, false, NULL));
	cr_assert(signer_attach(&stage.process, &descriptor, NULL));
	signer_client_replace(client, descriptor);
	signer_client_wait(client);
	for (unsigned i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], public_at(&stage, i % 2)),
			  "%u: %s", i, asks[i].text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, its_death_is_said_to_who_waits)
{
	struct stage stage;
	struct signer_client *client;
	struct fault fault = {0};
	struct ask ask;

	stage_start(&stage);
	client = attach(&stage);
	kill(stage.process.pid, SIGKILL);
	ask_init(&ask, public_at(&stage, 0), 1);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	cr_expect_eq(ask.answers, 1);
	cr_expect(ask.kind == FAULT_BUSY || ask.kind == FAULT_NONE);
	cr_expect_not(stage_load(&stage, false, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY, "%s", fault.text);
	signer_client_free(client);
	stage_stop(&stage, true);
}

static bool
signs(struct signer_client *client, const struct key_public *key)
{
	struct ask ask;

	ask_init(&ask, key, 5);
	signer_client_start(client, &ask.call);
	signer_client_wait(client);
	return ask_is_signed(&ask, key);
}

static struct key_public *
new_key(struct stage *stage, const char *name)
{
	CLEAN(key_free_clean) struct key *key = NULL;
	CLEAN(key_cleanse) struct text pem = {0};

	cr_assert(key_generate(KEY_ED25519_SHA256, 0, &key, NULL));
	cr_assert(key_write(key, &pem, NULL));
	files_put(&stage->files, name, text_slice(&pem), 0600);
	return key_public_of(key);
}

Test(signer, keeps_one_generation_before_the_last)
{
	struct stage stage;
	struct signer_client *client;
	struct key_public *keys[3];

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(keys); i++) {
		keys[i] = new_key(&stage, "e.pem");
		cr_assert(stage_load(&stage, false, NULL));
		cr_expect(signs(client, keys[i]));
		if (i > 0)
			cr_expect(signs(client, keys[i - 1]));
		if (i > 1)
			cr_expect_not(signs(client, keys[i - 2]));
	}
	for (size_t i = 0; i < COUNT(keys); i++)
		key_public_free(keys[i]);
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, reloads_under_load)
{
	struct stage stage;
	struct signer_client *client;
	struct ask asks[400];
	CLEAN(key_public_free_clean) struct key_public *rsa = NULL;

	stage_start(&stage);
	client = attach(&stage);
	cr_assert(key_public_read(KEY_RSA_SHA256,
				  key_public_record(public_at(&stage, 0)),
				  &rsa, NULL));
	for (unsigned i = 0; i < COUNT(asks); i++) {
		ask_init(&asks[i], rsa, i);
		signer_client_start(client, &asks[i].call);
	}
	for (int i = 0; i < 8; i++) {
		key_public_free(new_key(&stage, "e.pem"));
		cr_expect(stage_load(&stage, false, NULL));
		cr_expect(signer_client_read(client));
	}
	signer_client_wait(client);
	for (unsigned i = 0; i < COUNT(asks); i++)
		cr_expect(ask_is_signed(&asks[i], rsa), "%u: %s", i,
			  asks[i].text);
	signer_client_free(client);
	stage_stop(&stage, false);
}

/* ---- loading ---- */

/* What is done to r.pem, and what is said of it. A load that fails leaves the
 * keys that were there. */
static const struct {
	const char *name, *vector;
	unsigned mode;
	bool strict_modes;
	enum fault_kind kind;
	const char *says;
} load_rows[] = {
	{"missing", NULL, 0, false, FAULT_ABSENT,
	 "opening: No such file or directory"},
	{"too small", "rsa768.pem", 0600, false, FAULT_INPUT,
	 "RSA key of 768 bits; at least 1024 are needed"},
	{"encrypted", "encrypted-pkcs8.pem", 0600, false, FAULT_INPUT,
	 "the key is encrypted; remove the pass phrase with 'openssl pkey'"},
	{"readable by group, strict", "rsa2048.pem", 0640, true, FAULT_DENIED,
	 "mode 0640 lets others than its owner read it; chmod 600"},
	{"writable by others, strict", "rsa2048.pem", 0602, true, FAULT_DENIED,
	 "mode 0602 lets others than its owner write it; chmod 600"},
};

static void
expect_place(const struct stage *stage, const char *text, const char *says,
	     const char *name)
{
	CLEAN(text_done) struct text whole = {0};

	text_addf(&whole, "signet.conf:7: selector \"r\" of domain "
		  "\"example.com\": key file '%.*s/r.pem': %s",
		  SLICE_ARG(text_slice(&stage->files.directory)), says);
	cr_expect_str_eq(text, text_string(&whole), "%s", name);
}

Test(signer, faults_name_the_place_and_change_nothing)
{
	struct stage stage;
	struct signer_client *client;

	stage_start(&stage);
	client = attach(&stage);
	for (size_t i = 0; i < COUNT(load_rows); i++) {
		struct fault fault = {0};
		CLEAN(text_done) struct text path = {0};

		text_addf(&path, "%s/r.pem",
			  text_string(&stage.files.directory));
		unlink(text_string(&path));
		if (load_rows[i].vector != NULL)
			files_put_vector(&stage.files, "r.pem",
					 load_rows[i].vector,
					 load_rows[i].mode);
		cr_expect_not(stage_load(&stage, load_rows[i].strict_modes,
					 &fault), "%s", load_rows[i].name);
		expect_place(&stage, fault.text, load_rows[i].says,
			     load_rows[i].name);
		cr_expect_eq(fault.kind, load_rows[i].kind, "%s",
			     load_rows[i].name);
	}
	cr_expect(signs(client, public_at(&stage, 0)));
	cr_expect(signs(client, public_at(&stage, 1)));
	signer_client_free(client);
	stage_stop(&stage, false);
}

Test(signer, takes_no_directory_fifo_or_long_file)
{
	static char zeros[KEY_FILE_MAX + 1];
	struct stage stage;
	struct fault fault = {0};
	CLEAN(text_done) struct text path = {0};

	stage_start(&stage);
	text_addf(&path, "%s/r.pem", text_string(&stage.files.directory));
	unlink(text_string(&path));
	cr_assert_eq(mkdir(text_string(&path), 0700), 0);
	cr_expect_not(stage_load(&stage, false, &fault));
	expect_place(&stage, fault.text, "not a regular file", "directory");
	cr_expect_eq(fault.kind, FAULT_INPUT);
	rmdir(text_string(&path));
	cr_assert_eq(mkfifo(text_string(&path), 0600), 0);
	cr_expect_not(stage_load(&stage, false, &fault));
	expect_place(&stage, fault.text, "not a regular file", "fifo");
	unlink(text_string(&path));
	files_put(&stage.files, "r.pem", slice_of(zeros, sizeof(zeros)), 0600);
	cr_expect_not(stage_load(&stage, false, &fault));
	expect_place(&stage, fault.text,
		     "longer than the 65536 bytes that a key may have",
		     "long");
	stage_stop(&stage, false);
}

Test(signer, follows_symlinks_and_absolute_paths)
{
	struct stage stage;
	struct fault fault = {0};
	CLEAN(text_done) struct text path = {0}, target = {0};

	stage_start(&stage);
	text_addf(&path, "%s/link.pem", text_string(&stage.files.directory));
	cr_assert_eq(symlink("r.pem", text_string(&path)), 0);
	text_addf(&target, "%s/e.pem", text_string(&stage.files.directory));
	stage.selectors[0].key_path = SLICE("link.pem");
	stage.selectors[1].key_path = text_slice(&target);
	cr_expect(stage_load(&stage, true, &fault), "%s", fault.text);
	stage_stop(&stage, false);
}

Test(signer, warns_of_modes_and_small_keys)
{
	struct stage stage;
	CLEAN(text_done) struct text place = {0}, expected = {0};

	stage_start(&stage);
	files_put_vector(&stage.files, "r.pem", "rfc8463-rsa.pem", 0644);
	cr_assert(stage_load(&stage, false, NULL));
	text_addf(&place, "signet.conf:7: selector \"r\" of domain "
		  "\"example.com\": key file '%s/r.pem': ",
		  text_string(&stage.files.directory));
	text_addf(&expected, "%smode 0644 lets others than its owner read it; "
		  "chmod 600\n%sRSA key of 1024 bits; 2048 are advised\n",
		  text_string(&place), text_string(&place));
	cr_expect_str_eq(text_string(&stage.warnings), text_string(&expected));
	stage_stop(&stage, false);
}

/* More keys than one process may have files open. */
Test(signer, loads_a_thousand_selectors)
{
	enum { DOMAINS = 500 };
	struct stage stage;
	struct fault fault = {0};
	struct rlimit few = {128, 128};
	struct domain_options *domains =
		memory_array(DOMAINS, sizeof(*domains));
	struct keyring *keyring = NULL;

	stage_start(&stage);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	for (size_t i = 0; i < DOMAINS; i++)
		domains[i] = stage.domain;
	stage.options.domains = domains;
	stage.options.domains_count = DOMAINS;
	cr_assert(signer_load(&stage.process, &stage.options, true,
			      note_warning, &stage, &keyring, &fault), "%s",
		  fault.text);
	cr_expect_eq(keyring_domains_count(keyring), DOMAINS);
	keyring_unref(keyring);
	free(domains);
	stage_stop(&stage, false);
}

Test(signer, loads_nothing_too)
{
	static const struct keys_options none = {0};
	struct stage stage;
	struct keyring *keyring = NULL;

	stage_start(&stage);
	cr_assert(signer_load(&stage.process, &none, false, NULL, NULL,
			      &keyring, NULL));
	cr_expect_eq(keyring_domains_count(keyring), 0);
	keyring_unref(keyring);
	stage_stop(&stage, false);
}
