#include "relay/server/acceptor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "relay/limits.h"

struct acceptor_socket {
	uv_poll_t poll;
	struct acceptor *acceptor;
	size_t listener;
	int descriptor;
};

struct acceptor {
	struct generation *generation;
	acceptor_fn *accepted;
	void *owner;
	struct acceptor_socket *sockets;
	size_t sockets_count;
	struct alarm rest;
	int reserve;
	unsigned open_handles;
	bool is_closed;
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void
reserve_open(struct acceptor *acceptor)
{
	acceptor->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
poll_all(struct acceptor *acceptor)
{
	for (size_t i = 0; i < acceptor->sockets_count; i++)
		ASSERT(uv_poll_start(&acceptor->sockets[i].poll, UV_READABLE,
				     on_readable) == 0);
}

static void
rest(struct acceptor *acceptor, int error)
{
	struct fault fault = {0};

	errno = error;
	fault_errno(&fault, "accept");
	log_note(LOG_LEVEL_ERROR, "accept", "%s", fault.text);
	for (size_t i = 0; i < acceptor->sockets_count; i++)
		uv_poll_stop(&acceptor->sockets[i].poll);
	alarm_set(&acceptor->rest, ACCEPT_REST_MS);
}

static void
on_rested(struct alarm *alarm)
{
	struct acceptor *acceptor = CONTAINER(alarm, struct acceptor, rest);

	if (acceptor->reserve < 0)
		reserve_open(acceptor);
	poll_all(acceptor);
}

void
acceptor_refuse(int descriptor, const struct generation *generation,
		size_t listener)
{
	static const char words[] =
		"421 4.7.0 Too many connections, try again later\r\n";

	if (generation->options->listeners[listener].tls !=
	    LISTENER_TLS_IMPLICIT)
		(void)!send(descriptor, words, sizeof(words) - 1,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	close(descriptor);
}

/* No descriptor is left: the reserve lets one client in to be sent away. */
static bool
turn_away(struct acceptor_socket *listening)
{
	struct acceptor *acceptor = listening->acceptor;
	int descriptor;

	if (acceptor->reserve < 0)
		return false;
	close(acceptor->reserve);
	descriptor = accept4(listening->descriptor, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (descriptor >= 0)
		acceptor_refuse(descriptor, acceptor->generation,
				listening->listener);
	reserve_open(acceptor);
	return descriptor >= 0;
}

/* Whether to go on with this socket. */
static bool
accept_failed(struct acceptor_socket *listening, int error)
{
	switch (error) {
	case EAGAIN:
		return false;
	case EINTR:
	case ECONNABORTED:
	/* accept(2): errors of the new connection, told early. */
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
	case EPERM:
		return true;
	case EMFILE:
	case ENFILE:
		if (turn_away(listening))
			return true;
		break;
	default:
		break;
	}
	rest(listening->acceptor, error);
	return false;
}

static void
on_readable(uv_poll_t *poll, int status, int events)
{
	struct acceptor_socket *listening = poll->data;
	struct acceptor *acceptor = listening->acceptor;
	bool goes_on = true;

	(void)events;
	if (status < 0) {
		rest(acceptor, -status);
		return;
	}
	for (unsigned i = 0; goes_on && i < ACCEPTS_MAX; i++) {
		int descriptor = accept4(listening->descriptor, NULL, NULL,
					 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (descriptor < 0)
			goes_on = accept_failed(listening, errno);
		else
			acceptor->accepted(acceptor->owner, descriptor,
					   acceptor->generation,
					   listening->listener);
	}
}

struct acceptor *
acceptor_open(struct loop *loop, struct generation *generation,
	      const int *descriptors, acceptor_fn *accepted, void *owner)
{
	struct acceptor *acceptor = memory_new(sizeof(*acceptor));
	size_t count = generation->options->listeners_count;

	acceptor->generation = generation_ref(generation);
	acceptor->accepted = accepted;
	acceptor->owner = owner;
	acceptor->sockets = memory_array(count, sizeof(*acceptor->sockets));
	acceptor->sockets_count = count;
	reserve_open(acceptor);
	alarm_init(&acceptor->rest, loop, on_rested);
	acceptor->open_handles = 1;
	for (size_t i = 0; i < count; i++) {
		struct acceptor_socket *listening = &acceptor->sockets[i];

		listening->acceptor = acceptor;
		listening->listener = i;
		listening->descriptor = descriptors[i];
		ASSERT(uv_poll_init(&loop->uv, &listening->poll,
				    descriptors[i]) == 0);
		listening->poll.data = listening;
		acceptor->open_handles++;
	}
	poll_all(acceptor);
	return acceptor;
}

static void
handle_closed(struct acceptor *acceptor)
{
	ASSERT(acceptor->open_handles > 0);
	if (--acceptor->open_handles > 0)
		return;
	generation_unref(acceptor->generation);
	free(acceptor->sockets);
	free(acceptor);
}

static void
on_poll_closed(uv_handle_t *handle)
{
	struct acceptor_socket *listening = handle->data;

	handle_closed(listening->acceptor);
}

static void
on_rest_closed(struct alarm *alarm)
{
	handle_closed(CONTAINER(alarm, struct acceptor, rest));
}

void
acceptor_close(struct acceptor **acceptor_pointer)
{
	struct acceptor *acceptor = TAKE(*acceptor_pointer);

	ASSERT(!acceptor->is_closed);
	acceptor->is_closed = true;
	for (size_t i = 0; i < acceptor->sockets_count; i++) {
		struct acceptor_socket *listening = &acceptor->sockets[i];

		/* uv_close() takes the descriptor out of the poll at once. */
		uv_close((uv_handle_t *)&listening->poll, on_poll_closed);
		close(listening->descriptor);
	}
	if (acceptor->reserve >= 0)
		close(acceptor->reserve);
	alarm_close(&acceptor->rest, on_rest_closed);
}
