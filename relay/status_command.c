#include "relay/status_command.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "relay/control.h"

/* The relay closes by itself before that. */
#define WAIT_SECONDS 15

/* ABSENT: no relay. What a dead one has left refuses connections. */
static bool
control_connect(const struct options *options, int *socket_out,
		struct fault *fault)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX,
				      .sun_path = CONTROL_SOCKET};
	struct timeval wait = {.tv_sec = WAIT_SECONDS};
	CLEAN(text_done) struct text path = {0};
	CLEAN(clean_descriptor)
	int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait,
		       sizeof(wait)) != 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait,
		       sizeof(wait)) != 0)
		return fault_errno(fault, "socket");
	/* From inside, because a socket's path is short. */
	text_add(&path, options->state_dir);
	if (chdir(text_string(&path)) != 0)
		return fault_errno(fault, "state_dir '%s'", text_string(&path));
	if (connect(descriptor, (struct sockaddr *)&address,
		    sizeof(address)) != 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return fault_set(fault, FAULT_ABSENT,
					 "no relay runs on state_dir '%s'",
					 text_string(&path));
		return fault_errno(fault, "%s/" CONTROL_SOCKET,
				   text_string(&path));
	}
	*socket_out = descriptor;
	descriptor = -1;
	return true;
}

static bool
request_send(int descriptor, const char *request, struct fault *fault)
{
	size_t len = strlen(request);
	ssize_t sent = send(descriptor, request, len, MSG_NOSIGNAL);

	if (sent == (ssize_t)len)
		return true;
	/* More clients than it serves are hung up on. */
	if (sent < 0 && errno != EPIPE && errno != ECONNRESET)
		return fault_errno(fault, "asking the relay");
	return fault_set(fault, FAULT_BUSY, "the relay is busy; try again");
}

static bool
answer_read(int descriptor, struct text *out, struct fault *fault)
{
	ssize_t len = 1;

	while (len > 0 && out->len < CONTROL_REPLY_MAX) {
		len = recv(descriptor, text_room(out, 4 * KIB), 4 * KIB, 0);
		if (len < 0 && errno == EINTR)
			len = 1;
		else if (len < 0 && errno != ECONNRESET)
			return fault_errno(fault, "the relay's answer");
		else if (len > 0)
			text_added(out, (size_t)len);
	}
	if (out->len == 0)
		return fault_set(fault, FAULT_BUSY,
				 "the relay is busy; try again");
	return true;
}

static int
answer_print(struct slice answer)
{
	struct slice first;

	if (!slice_split(&answer, '\n', &first) ||
	    !slice_eq(first, SLICE("ok"))) {
		fprintf(stderr, "signet: the relay says: %.*s\n",
			SLICE_ARG(first));
		return EX_UNAVAILABLE;
	}
	if (fwrite(answer.bytes, 1, answer.len, stdout) == answer.len &&
	    fflush(stdout) == 0)
		return EX_OK;
	fputs("signet: cannot write the status\n", stderr);
	return EX_IOERR;
}

int
status_command(const struct options *options, int argc, char **argv)
{
	bool as_json = argc == 2 && strcmp(argv[1], "--json") == 0;
	CLEAN(text_done) struct text reply = {0};
	CLEAN(clean_descriptor) int descriptor = -1;
	struct fault fault = {0};

	if (argc > 1 && !as_json) {
		fputs("usage: signet [-c FILE] status [--json]\n", stderr);
		return EX_USAGE;
	}
	if (options == NULL)
		return EX_OK;
	if (control_connect(options, &descriptor, &fault) &&
	    request_send(descriptor,
			 as_json ? "status json\n" : "status text\n",
			 &fault) &&
	    answer_read(descriptor, &reply, &fault))
		return answer_print(text_slice(&reply));
	fprintf(stderr, "signet: %s\n", fault.text);
	return fault_exit_code(&fault);
}
