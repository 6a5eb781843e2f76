#include "milter/sessions.h"

#include <dirent.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* An MTA's first word is longer: SMFIC_OPTNEG, with its length before it. Who
 * says less keeps one of libmilter's threads waiting for the rest. */
#define FIRST_WORD_SIZE 17

static int
option_of(int descriptor, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return getsockopt(descriptor, SOL_SOCKET, name, &value, &len) < 0
		       ? -1
		       : value;
}

static bool
is_connection(int descriptor)
{
	return option_of(descriptor, SO_TYPE) == SOCK_STREAM &&
	       option_of(descriptor, SO_ACCEPTCONN) == 0;
}

/* Of a Unix socket the kernel does not tell. */
static bool
is_silent(int descriptor, uint32_t patience_ms)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	return getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &len) ==
		       0 &&
	       info.tcpi_bytes_received < FIRST_WORD_SIZE &&
	       info.tcpi_last_data_recv >= patience_ms;
}

/* libmilter tells nobody of those that have not said a whole word: they are
 * found among the process's descriptors. */
size_t
sessions_look(bool is_crowded)
{
	uint32_t patience_ms = is_crowded ? 0 : SESSIONS_FIRST_MS;
	DIR *list = opendir("/proc/self/fd");
	const struct dirent *entry;
	size_t count = 0;

	if (list == NULL)
		return 0;
	while ((entry = readdir(list)) != NULL) {
		uint64_t descriptor;
		int copy;

		if (!slice_number(SLICE(entry->d_name), &descriptor) ||
		    !is_connection((int)descriptor))
			continue;
		count++;
		/* libmilter may close it meanwhile, and accept another with the
		 * same number: what is judged is what is shut down. */
		copy = dup((int)descriptor);
		if (copy >= 0 && is_silent(copy, patience_ms))
			shutdown(copy, SHUT_RDWR);
		if (copy >= 0)
			close(copy);
	}
	closedir(list);
	return count;
}

uint64_t
sessions_longest_ms(void)
{
	return 0;
}

bool
sessions_know_steps(void)
{
	return false;
}

bool
sessions_is_at_end(void)
{
	return false;
}

void
sessions_agree_on_silence(void)
{
	ASSERT(sessions_know_steps());
}

bool
sessions_is_silent(void)
{
	return false;
}

void
sessions_when_sent(void (*sent)(void *owner, bool is_told), void *owner)
{
	sent(owner, true);
}
