#include "relay/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/descriptor.h"

#define HANDOVER_MAGIC 0x73676e31u
#define DESCRIPTORS_MAX (1 + HANDOVER_LISTENERS_MAX + HANDOVER_SIGNERS_MAX)
/* The kernel's SCM_MAX_FD. */
#define DESCRIPTORS_SENT_MAX 253
/* More than a socket's buffer has room for. */
#define MESSAGES_SENT_MAX 4096

/* The kernel fills what alignment leaves, too. */
#define DESCRIPTORS_ROOM                                                       \
	((CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX) - CMSG_LEN(0)) /           \
	 sizeof(int))

struct handover_head {
	uint32_t magic, kind;
	uint64_t serial;
	uint32_t listeners, signers;
	uint32_t text_len, zero;
};

union handover_rights {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_MAX)];
};

static void
bytes_add(struct text *bytes, struct slice part)
{
	uint64_t len = part.len;

	text_add(bytes, slice_of(&len, sizeof(len)));
	text_add(bytes, part);
}

static bool
bytes_take(struct slice *rest, struct slice *part_out)
{
	uint64_t len;

	if (rest->len < sizeof(len))
		return false;
	memcpy(&len, rest->bytes, sizeof(len));
	*rest = slice_from(*rest, sizeof(len));
	if (rest->len < len)
		return false;
	*part_out = slice_sub(*rest, 0, (size_t)len);
	*rest = slice_from(*rest, (size_t)len);
	return true;
}

static bool
write_whole(int descriptor, struct slice bytes, struct fault *fault)
{
	while (bytes.len > 0) {
		ssize_t count = write(descriptor, bytes.bytes, bytes.len);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return fault_errno(fault, "writing a generation");
		bytes = slice_from(bytes, (size_t)count);
	}
	return true;
}

/* So that they do not grow on the way, which would leave copies behind. */
static size_t
bytes_needed(const struct handover *handover)
{
	size_t len = handover->sources.len + handover->publics.len +
		     handover->passwords.len + 3 * sizeof(uint64_t);

	for (size_t i = 0; i < handover->listeners_count; i++)
		for (size_t j = 0; j < LISTENER_FILES; j++)
			len += handover->files[i][j].len + sizeof(uint64_t);
	return len;
}

/* A memory file: too large for a message, and gone with its last user. */
static bool
memory_file(const struct handover *handover, int *descriptor_out,
	    struct fault *fault)
{
	/* Passwords, and the private keys of certificates. */
	CLEAN(secret_cleanse) struct text bytes = {0};
	CLEAN(clean_descriptor) int descriptor = -1;

	text_room(&bytes, bytes_needed(handover));
	bytes_add(&bytes, handover->sources);
	bytes_add(&bytes, handover->publics);
	bytes_add(&bytes, handover->passwords);
	for (size_t i = 0; i < handover->listeners_count; i++)
		for (size_t j = 0; j < LISTENER_FILES; j++)
			bytes_add(&bytes, handover->files[i][j]);
	if (bytes.len > HANDOVER_BYTES_MAX)
		return fault_set(fault, FAULT_LIMIT,
				 "the configuration has %zu bytes, at most %zu "
				 "can be handed over",
				 bytes.len, HANDOVER_BYTES_MAX);
	descriptor = memfd_create("signet-generation",
				  MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (descriptor < 0)
		return fault_errno(fault, "memory file");
	if (!write_whole(descriptor, text_slice(&bytes), fault))
		return false;
	if (fcntl(descriptor, F_ADD_SEALS,
		  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
		return fault_errno(fault, "sealing a memory file");
	*descriptor_out = descriptor_take(&descriptor);
	return true;
}

static bool
message_send(int control, const struct handover_head *head, struct slice text,
	     const int *descriptors, size_t count, struct fault *fault)
{
	union handover_rights rights = {0};
	struct iovec parts[2] = {
		{(void *)(uintptr_t)head, sizeof(*head)},
		{(void *)(uintptr_t)text.bytes, text.len},
	};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	if (count > 0) {
		struct cmsghdr *cmsg;

		message.msg_control = rights.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		cmsg = CMSG_FIRSTHDR(&message);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(cmsg), descriptors, sizeof(int) * count);
	}
	/* Never waits: a process that does not read is not to hold up who
	 * hands over; the socket has room for hundreds of messages. */
	while (sendmsg(control, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		if (errno != EINTR)
			return fault_errno(fault, "handing over");
	return true;
}

bool
handover_send_generation(int control, const struct handover *handover,
			 struct fault *fault)
{
	CLEAN(clean_descriptor) int memory = -1;
	int descriptors[DESCRIPTORS_MAX];
	size_t count = 0;
	struct handover_head head = {
		.magic = HANDOVER_MAGIC,
		.kind = HANDOVER_GENERATION,
		.listeners = (uint32_t)handover->listeners_count,
		.signers = (uint32_t)handover->signers_count,
		.serial = handover->serial,
	};

	ASSERT(handover->listeners_count <= HANDOVER_LISTENERS_MAX);
	ASSERT(handover->signers_count <= HANDOVER_SIGNERS_MAX);
	if (!memory_file(handover, &memory, fault))
		return false;
	descriptors[count++] = memory;
	for (size_t i = 0; i < handover->listeners_count; i++)
		descriptors[count++] = handover->listeners[i];
	for (size_t i = 0; i < handover->signers_count; i++)
		descriptors[count++] = handover->signers[i];
	return message_send(control, &head, SLICE_NONE, descriptors, count,
			    fault);
}

bool
handover_send(int control, enum handover_kind kind, uint64_t serial,
	      struct slice text, struct fault *fault)
{
	struct handover_head head = {
		.magic = HANDOVER_MAGIC, .kind = kind, .serial = serial};

	text = slice_sub(text, 0, HANDOVER_TEXT_MAX);
	head.text_len = (uint32_t)text.len;
	return message_send(control, &head, text, NULL, 0, fault);
}

static bool
handover_read_memory(struct handover *handover, int memory,
		     struct fault *fault)
{
	struct stat status;
	struct slice rest;
	size_t size;

	if (fstat(memory, &status) < 0)
		return fault_errno(fault, "memory file");
	size = (size_t)status.st_size;
	if (size > HANDOVER_BYTES_MAX)
		return fault_set(fault, FAULT_LIMIT, "memory file too large");
	text_room(&handover->bytes, size);
	for (size_t at = 0; at < size;) {
		ssize_t count = pread(memory, handover->bytes.bytes + at,
				      size - at, (off_t)at);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			return fault_errno(fault, "reading a memory file");
		at += (size_t)count;
	}
	text_added(&handover->bytes, size);
	rest = text_slice(&handover->bytes);
	if (!bytes_take(&rest, &handover->sources) ||
	    !bytes_take(&rest, &handover->publics) ||
	    !bytes_take(&rest, &handover->passwords))
		return fault_set(fault, FAULT_INPUT, "generation cut short");
	for (size_t i = 0; i < handover->listeners_count; i++)
		for (size_t j = 0; j < LISTENER_FILES; j++)
			if (!bytes_take(&rest, &handover->files[i][j]))
				return fault_set(fault, FAULT_INPUT,
						 "generation cut short");
	return true;
}

/* Puts the descriptors of a message where they belong, or closes them. */
static bool
handover_take_descriptors(struct handover *handover,
			  const struct handover_head *head, const int *received,
			  size_t count, struct fault *fault)
{
	size_t wanted = head->kind == HANDOVER_GENERATION
				? 1u + head->listeners + head->signers
				: 0;
	size_t next = 1;
	bool is_read;

	if (count != wanted || head->listeners > HANDOVER_LISTENERS_MAX ||
	    head->signers > HANDOVER_SIGNERS_MAX) {
		for (size_t i = 0; i < count; i++)
			close(received[i]);
		return fault_set(fault, FAULT_INPUT,
				 "a generation with %zu descriptors", count);
	}
	if (count == 0)
		return true;
	while (handover->listeners_count < head->listeners)
		handover->listeners[handover->listeners_count++] =
			received[next++];
	while (handover->signers_count < head->signers)
		handover->signers[handover->signers_count++] =
			received[next++];
	is_read = handover_read_memory(handover, received[0], fault);
	close(received[0]);
	return is_read;
}

/* No more than DESCRIPTORS_ROOM. */
static size_t
message_descriptors(struct msghdr *message, int *received)
{
	size_t count = 0;

	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(message); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(message, cmsg)) {
		size_t len = cmsg->cmsg_len - CMSG_LEN(0);

		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		memcpy(received + count, CMSG_DATA(cmsg), len);
		count += len / sizeof(int);
	}
	return count;
}

static bool
is_answer(uint32_t kind)
{
	return kind == HANDOVER_READY || kind == HANDOVER_REFUSED ||
	       kind == HANDOVER_ALIVE;
}

/* Without generations no descriptor is looked at, only closed, and nothing is
 * waited for. */
static bool
message_receive(int control, bool takes_generations,
		struct handover *handover_out, struct fault *fault)
{
	union handover_rights rights;
	int received[DESCRIPTORS_ROOM];
	struct handover_head head = {0};
	char text[HANDOVER_TEXT_MAX];
	struct iovec parts[2] = {{&head, sizeof(head)}, {text, sizeof(text)}};
	struct msghdr message = {.msg_iov = parts,
				 .msg_iovlen = 2,
				 .msg_control = rights.bytes,
				 .msg_controllen = sizeof(rights.bytes)};
	size_t count;
	ssize_t len;

	do {
		len = recvmsg(control, &message,
			      MSG_CMSG_CLOEXEC |
				      (takes_generations ? 0 : MSG_DONTWAIT));
	} while (len < 0 && errno == EINTR);
	if (len < 0)
		return fault_errno(fault, "reading the control socket");
	if (len == 0)
		return fault_set(fault, FAULT_ABSENT,
				 "the other process has gone");
	*handover_out = (struct handover){.kind = (enum handover_kind)head.kind,
					  .serial = head.serial};
	count = message_descriptors(&message, received);
	if (!takes_generations && (count > 0 || !is_answer(head.kind))) {
		while (count > 0)
			close(received[--count]);
		fault_set(fault, FAULT_INPUT, "this is no answer");
		goto refused;
	}
	if (!handover_take_descriptors(handover_out, &head, received, count,
				       fault))
		goto refused;
	if ((size_t)len < sizeof(head) || head.magic != HANDOVER_MAGIC ||
	    (size_t)len != sizeof(head) + head.text_len ||
	    (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		fault_set(fault, FAULT_INPUT, "garbage on the control socket");
		goto refused;
	}
	text_add(&handover_out->text, slice_of(text, head.text_len));
	return true;
refused:
	handover_done(handover_out);
	return false;
}

bool
handover_receive(int control, struct handover *handover_out,
		 struct fault *fault)
{
	return message_receive(control, true, handover_out, fault);
}

/* Who closes the last descriptor of a socket may have to wait for its peer; so
 * nothing is received with one. */
static bool
has_descriptors(int control)
{
	struct msghdr message = {0};

	return recvmsg(control, &message, MSG_PEEK | MSG_DONTWAIT) >= 0 &&
	       (message.msg_flags & MSG_CTRUNC) != 0;
}

bool
handover_receive_answer(int control, struct handover *handover_out,
			struct fault *fault)
{
	if (has_descriptors(control))
		return fault_set(fault, FAULT_INPUT, "this is no answer");
	return message_receive(control, false, handover_out, fault);
}

void
handover_close(int *control)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * DESCRIPTORS_SENT_MAX)];
	} rights;
	int received[sizeof(rights) / sizeof(int)];

	/* The end cannot be told from an empty message. */
	for (int i = 0; *control >= 0 && i < MESSAGES_SENT_MAX; i++) {
		struct msghdr message = {.msg_control = rights.bytes,
					 .msg_controllen =
						 sizeof(rights.bytes)};
		size_t count = 0;

		if (recvmsg(*control, &message,
			    MSG_CMSG_CLOEXEC | MSG_DONTWAIT) >= 0)
			count = message_descriptors(&message, received);
		while (count > 0)
			descriptor_drop(&received[--count]);
	}
	clean_descriptor(control);
}

void
handover_done(struct handover *handover)
{
	for (size_t i = 0; i < handover->listeners_count; i++)
		clean_descriptor(&handover->listeners[i]);
	for (size_t i = 0; i < handover->signers_count; i++)
		clean_descriptor(&handover->signers[i]);
	secret_cleanse(&handover->bytes);
	text_done(&handover->text);
	*handover = (struct handover){0};
}
