#include "keys/signer_wire.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#define HEAD offsetof(struct control_message, bytes)

union rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(CONTROL_KEYS_MAX * sizeof(int))];
};

/* So that the kernel, which fills what alignment leaves, cannot give more. */
static_assert(CMSG_SPACE(CONTROL_KEYS_MAX * sizeof(int)) ==
		      CMSG_LEN(CONTROL_KEYS_MAX * sizeof(int)),
	      "room for CONTROL_KEYS_MAX descriptors and no more");

static bool
control_wait(int control, short events, uint64_t deadline_ms,
	     struct fault *fault)
{
	struct pollfd poll_for = {.fd = control, .events = events};
	uint64_t now;
	int ready;

	do {
		now = clock_now_ms();
		ready = now >= deadline_ms
				? 0
				: poll(&poll_for, 1, (int)(deadline_ms - now));
	} while (ready < 0 && errno == EINTR);
	if (ready < 0)
		return fault_errno(fault, "signer process");
	if (ready == 0)
		return fault_set(fault, FAULT_BUSY,
				 "the signer process does not answer");
	return true;
}

static bool
fault_gone(struct fault *fault)
{
	return fault_set(fault, FAULT_BUSY, "the signer process is gone");
}

static void
rights_fill(struct msghdr *header, union rights *rights,
	    const int *descriptors, size_t count)
{
	struct cmsghdr *item;

	header->msg_control = rights->bytes;
	header->msg_controllen = CMSG_SPACE(count * sizeof(int));
	item = CMSG_FIRSTHDR(header);
	ASSERT(item != NULL);
	item->cmsg_level = SOL_SOCKET;
	item->cmsg_type = SCM_RIGHTS;
	item->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(item), descriptors, count * sizeof(int));
}

bool
control_send(int control, struct control_message *message,
	     const int *descriptors, size_t count, uint64_t deadline_ms,
	     struct fault *fault)
{
	struct iovec bytes = {message, HEAD + message->len};
	struct msghdr header = {.msg_iov = &bytes, .msg_iovlen = 1};
	union rights rights = {0};
	int flags = MSG_NOSIGNAL | (deadline_ms > 0 ? MSG_DONTWAIT : 0);

	ASSERT(message->len <= CONTROL_BYTES_MAX);
	ASSERT(count <= CONTROL_KEYS_MAX);
	message->magic = CONTROL_MAGIC;
	if (count > 0)
		rights_fill(&header, &rights, descriptors, count);
	while (sendmsg(control, &header, flags) < 0) {
		if (errno == EPIPE || errno == ECONNRESET)
			return fault_gone(fault);
		if (errno == EAGAIN && deadline_ms > 0) {
			if (!control_wait(control, POLLOUT, deadline_ms, fault))
				return false;
		} else if (errno != EINTR) {
			return fault_errno(fault, "signer process");
		}
	}
	return true;
}

static void
rights_take(struct msghdr *header, int *descriptors, size_t *count)
{
	for (struct cmsghdr *item = CMSG_FIRSTHDR(header); item != NULL;
	     item = CMSG_NXTHDR(header, item)) {
		size_t came;

		if (item->cmsg_level != SOL_SOCKET ||
		    item->cmsg_type != SCM_RIGHTS)
			continue;
		came = (item->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		ASSERT(came <= CONTROL_KEYS_MAX - *count);
		memcpy(descriptors + *count, CMSG_DATA(item),
		       came * sizeof(int));
		*count += came;
	}
}

static bool
message_check(const struct control_message *message, size_t size, int flags)
{
	return (flags & (MSG_TRUNC | MSG_CTRUNC)) == 0 && size >= HEAD &&
	       message->magic == CONTROL_MAGIC &&
	       message->len <= CONTROL_BYTES_MAX &&
	       size == HEAD + message->len;
}

bool
control_receive(int control, struct control_message *message,
		int descriptors[CONTROL_KEYS_MAX], size_t *count_out,
		uint64_t deadline_ms, struct fault *fault)
{
	struct iovec bytes = {message, sizeof(*message)};
	union rights rights = {0};
	struct msghdr header = {.msg_iov = &bytes,
				.msg_iovlen = 1,
				.msg_control = rights.bytes,
				.msg_controllen = sizeof(rights.bytes)};
	size_t count = 0;
	ssize_t size;

	do {
		if (deadline_ms > 0 &&
		    !control_wait(control, POLLIN, deadline_ms, fault))
			return false;
		size = recvmsg(control, &header, MSG_CMSG_CLOEXEC);
	} while (size < 0 && errno == EINTR);
	if (size == 0 || (size < 0 && errno == ECONNRESET))
		return fault_set(fault, FAULT_ABSENT,
				 "the signer process is gone");
	if (size < 0)
		return fault_errno(fault, "signer process");
	rights_take(&header, descriptors, &count);
	if (!message_check(message, (size_t)size, header.msg_flags)) {
		while (count > 0)
			close(descriptors[--count]);
		return fault_set(fault, FAULT_INPUT,
				 "malformed message of the signer process");
	}
	*count_out = count;
	return true;
}

void
control_fault_write(struct control_message *message, const struct fault *fault)
{
	message->verb = CONTROL_FAULT;
	message->detail = (uint32_t)fault->kind;
	message->system = fault->system;
	message->len = (uint32_t)strlen(fault->text);
	memcpy(message->bytes, fault->text, message->len);
}

bool
control_fault_read(const struct control_message *message, struct fault *fault)
{
	enum fault_kind kind = message->detail > FAULT_NONE &&
					       message->detail <= FAULT_SYSTEM
				       ? (enum fault_kind)message->detail
				       : FAULT_SYSTEM;

	fault_set(fault, kind, "%.*s", (int)message->len, message->bytes);
	if (fault != NULL)
		fault->system = message->system;
	return false;
}
