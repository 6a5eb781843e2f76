#include "relay/net/dialogue.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptor.h"
#include "relay/limits.h"

bool
dialogue_connect(const struct address *address, const struct address *from,
		 uint64_t wait_ms, int *descriptor_out, struct fault *fault)
{
	struct timeval wait = {.tv_sec = (time_t)(wait_ms / SECOND)};
	int on = 1;
	CLEAN(clean_descriptor)
	int descriptor = socket(address->any.sa_family,
				SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (descriptor < 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &wait,
		       sizeof(wait)) != 0 ||
	    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &wait,
		       sizeof(wait)) != 0 ||
	    (from != NULL && bind(descriptor, &from->any, from->len) != 0))
		return fault_errno(fault, "socket");
	(void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on,
			 sizeof(on));
	/* SO_SNDTIMEO bounds connect(), too. */
	if (connect(descriptor, &address->any, address->len) != 0)
		return fault_errno(fault, "connecting");
	*descriptor_out = descriptor_take(&descriptor);
	return true;
}

void
dialogue_done(struct dialogue *dialogue)
{
	clean_descriptor(&dialogue->descriptor);
	text_done(&dialogue->in);
	text_done(&dialogue->out);
	reply_reader_done(&dialogue->reader);
}

bool
dialogue_flush(struct dialogue *dialogue, struct fault *fault)
{
	struct slice rest = text_slice(&dialogue->out);

	while (rest.len > 0) {
		ssize_t sent = send(dialogue->descriptor, rest.bytes, rest.len,
				    MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return fault_errno(fault, "sending");
		rest = slice_from(rest, (size_t)sent);
	}
	text_clear(&dialogue->out);
	return true;
}

bool
dialogue_fill(struct dialogue *dialogue, struct fault *fault)
{
	ssize_t len;

	do
		len = recv(dialogue->descriptor,
			   text_room(&dialogue->in, 4 * KIB), 4 * KIB, 0);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return fault_errno(fault, "waiting for an answer");
	if (len == 0)
		return fault_set(fault, FAULT_BUSY, "it has hung up");
	text_added(&dialogue->in, (size_t)len);
	return true;
}

bool
dialogue_reply(struct dialogue *dialogue, struct fault *fault)
{
	uint64_t until_ms = clock_now_ms() + dialogue->wait_ms;

	for (;;) {
		size_t used = 0;
		enum reply_status status =
			reply_read(&dialogue->reader,
				   text_slice(&dialogue->in), &used,
				   &dialogue->reply);

		text_drop_front(&dialogue->in, used);
		if (status == REPLY_COMPLETE)
			return true;
		dialogue->is_broken = status == REPLY_BROKEN;
		if (dialogue->is_broken)
			return fault_set(fault, FAULT_SYSTEM,
					 "what answers there is no SMTP "
					 "server");
		if (clock_now_ms() > until_ms)
			return fault_set(fault, FAULT_BUSY,
					 "it took too long to answer");
		if (!dialogue_fill(dialogue, fault))
			return false;
	}
}

bool
dialogue_command(struct dialogue *dialogue, struct slice command,
		 struct fault *fault)
{
	text_add(&dialogue->out, command);
	text_add_string(&dialogue->out, "\r\n");
	return dialogue_flush(dialogue, fault) &&
	       dialogue_reply(dialogue, fault);
}
