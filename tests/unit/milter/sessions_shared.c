#include <criterion/criterion.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "milter/sessions.h"

static int listening = -1;

static void
setup(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};

	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	listening = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(bind(listening, (struct sockaddr *)&any, sizeof(any)), 0);
	cr_assert_eq(listen(listening, 100), 0);
}

TestSuite(sessions_shared, .init = setup, .timeout = 120);

/* The MTA's half and ours, which has been sent so many bytes. */
static void
connected(int pair[2], size_t said)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);
	char bytes[64] = "";

	getsockname(listening, (struct sockaddr *)&address, &len);
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	cr_assert_eq(connect(pair[0], (struct sockaddr *)&address, len), 0);
	pair[1] = accept(listening, NULL, NULL);
	cr_assert_geq(pair[1], 0);
	cr_assert_eq(send(pair[0], bytes, said, 0), (ssize_t)said);
}

static bool
is_shut(int mta)
{
	struct pollfd end = {.fd = mta, .events = POLLIN};
	char byte;

	return poll(&end, 1, 20) == 1 && recv(mta, &byte, 1, 0) == 0;
}

/* In a crowd those that have not said a whole packet yet are shut down. */
Test(sessions_shared, crowd)
{
	static const struct {
		size_t said;
		bool is_shut;
	} rows[] = {{0, true}, {1, true}, {15, true}, {17, false}, {40, false}};
	int pairs[COUNT(rows)][2];
	size_t others = sessions_look(false); /* Criterion's */

	for (size_t i = 0; i < COUNT(rows); i++)
		connected(pairs[i], rows[i].said);
	cr_expect_eq(sessions_look(false) - others, 2 * COUNT(rows),
		     "both halves are ours here, the listening socket not");
	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect(!is_shut(pairs[i][0]), "%zu: has time", rows[i].said);
	sessions_look(true);
	/* The MTA's halves have been told nothing, and are shut as well. */
	for (size_t i = 0; i < COUNT(rows); i++)
		cr_expect_eq(send(pairs[i][1], "", 1, MSG_NOSIGNAL) == 1,
			     !rows[i].is_shut, "%zu", rows[i].said);
}

Test(sessions_shared, others)
{
	int pair[2], files[2];
	size_t others = sessions_look(false);

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	cr_assert_eq(pipe(files), 0);
	cr_expect_eq(sessions_look(true) - others, 2, "Unix sockets count, pipes not");
	cr_expect_eq(send(pair[0], "x", 1, 0), 1, "and nobody shuts them");
	cr_expect_not(sessions_know_steps());
}
