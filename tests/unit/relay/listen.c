#include "relay/listen.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What somebody puts in a socket's place as soon as it is there. */
static const char *link_to;
/* What keeps one from being made. */
static int refusal;

/* In place of the system's. */
int
bind(int descriptor, const struct sockaddr *address, socklen_t len)
{
	const struct sockaddr_un *local = (const struct sockaddr_un *)address;
	int result;

	errno = refusal;
	result = refusal != 0
			 ? -1
			 : (int)syscall(SYS_bind, descriptor, address, len);

	if (result == 0 && link_to != NULL) {
		cr_assert_eq(unlink(local->sun_path), 0);
		cr_assert_eq(symlink(link_to, local->sun_path), 0);
	}
	return result;
}

static struct listen_place
place_of(const struct listener_options *listener)
{
	struct listen_place place;

	struct fault fault;

	cr_assert(listen_place_relay(listener, &place, &fault));
	return place;
}

/* A listener on this Unix socket. */
static struct listen_place
local(const char *path)
{
	struct listener_options listener = {.name = SLICE("apps"),
					    .socket_mode = 0640,
					    .address_text = SLICE(path)};

	listener.address.local.sun_family = AF_UNIX;
	snprintf(listener.address.local.sun_path,
		 sizeof(listener.address.local.sun_path), "%s", path);
	listener.address.len = sizeof(listener.address.local);
	return place_of(&listener);
}

static struct listen_place
inet(uint16_t port)
{
	struct listener_options listener = {.name = SLICE("apps"),
					    .address_text =
						    SLICE("127.0.0.1")};

	listener.address.v4.sin_family = AF_INET;
	listener.address.v4.sin_port = htons(port);
	listener.address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listener.address.len = sizeof(listener.address.v4);
	return place_of(&listener);
}

Test(listen, a_port_is_taken_once)
{
	struct listen_place listener = inet(0);
	struct sockaddr_in bound;
	socklen_t len = sizeof(bound);
	struct fault fault = {0};
	int first = -1, second = -1;

	cr_assert(listen_open(&listener, &first, &fault), "%s", fault.text);
	cr_expect(fcntl(first, F_GETFD) & FD_CLOEXEC);
	cr_assert_eq(getsockname(first, (struct sockaddr *)&bound, &len), 0);
	listener = inet(ntohs(bound.sin_port));
	cr_expect(!listen_open(&listener, &second, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY);
	cr_expect_eq(second, -1);
	close(first);
	cr_expect(listen_open(&listener, &second, &fault), "%s", fault.text);
	close(second);
}

Test(listen, an_address_of_another_machine)
{
	struct listen_place listener = inet(0);
	struct fault fault = {0};
	int descriptor = -1;

	listener.address.v4.sin_addr.s_addr = htonl(0xc0000201); /* TEST-NET */
	cr_expect(!listen_open(&listener, &descriptor, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY, "it may come yet");
	cr_expect_str_eq(fault.text,
			 "listener \"apps\": listening on '127.0.0.1': this "
			 "machine does not have that address now");
}

Test(listen, a_unix_socket_left_over_is_replaced_and_a_used_one_is_not)
{
	char directory[] = "/tmp/signet-listen-XXXXXX", path[64];
	struct listen_place listener;
	struct fault fault = {0};
	struct stat status;
	int first = -1, second = -1;

	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/s", directory);
	listener = local(path);
	cr_assert(listen_open(&listener, &first, &fault), "%s", fault.text);
	cr_assert_eq(stat(path, &status), 0);
	cr_expect_eq(status.st_mode & 0777, 0640);
	cr_expect(!listen_open(&listener, &second, &fault));
	cr_expect_eq(fault.kind, FAULT_BUSY);
	close(first); /* the file stays */
	cr_expect(listen_open(&listener, &second, &fault), "%s", fault.text);
	close(second);
	unlink(path);
	/* What is no socket is never removed. */
	cr_assert_eq(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
	cr_expect(!listen_open(&listener, &first, &fault));
	cr_expect_eq(stat(path, &status), 0);
	cr_expect(S_ISREG(status.st_mode));
	unlink(path);
	rmdir(directory);
}

Test(listen, gives_nothing_away_behind_a_link)
{
	char directory[] = "/tmp/signet-listen-XXXXXX", path[64], other[64];
	struct listen_place listener;
	struct fault fault = {0};
	struct stat status;
	int descriptor = -1;

	cr_assert_not_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/s", directory);
	snprintf(other, sizeof(other), "%s/other", directory);
	cr_assert_eq(close(open(other, O_CREAT | O_WRONLY, 0600)), 0);
	listener = local(path);
	if (geteuid() == 0)
		listener.owner = listener.group = 65534;
	link_to = other;
	cr_expect(!listen_open(&listener, &descriptor, &fault));
	link_to = NULL;
	cr_assert_eq(stat(other, &status), 0);
	cr_expect_eq(status.st_mode & 0777, 0600);
	cr_expect_eq(status.st_uid, geteuid());
	cr_expect_eq(status.st_gid, getegid());
	unlink(path);
	unlink(other);
	rmdir(directory);
}

static const struct {
	int system;
	enum fault_kind kind;
	const char *says;
} refusal_rows[] = {
	{ENOENT, FAULT_ABSENT, "its directory is not there; one below /run"},
	{EROFS, FAULT_DENIED, "a unit may write only where"},
	{EACCES, FAULT_DENIED, "Permission denied"},
	{ENOTDIR, FAULT_ABSENT, "Not a directory"},
};

/* Whoever starts it by a unit sees no more than this line. */
Test(listen, says_why_a_unix_socket_cannot_be_made)
{
	struct listen_place listener = local("/run/opendkim/x.sock");

	for (size_t i = 0; i < COUNT(refusal_rows); i++) {
		struct fault fault = {0};
		int descriptor;

		refusal = refusal_rows[i].system;
		cr_expect_not(listen_open(&listener, &descriptor, &fault));
		cr_expect_eq(fault.kind, refusal_rows[i].kind, "%s",
			     fault.text);
		cr_expect_not_null(strstr(fault.text, refusal_rows[i].says),
				   "%s", fault.text);
	}
}
