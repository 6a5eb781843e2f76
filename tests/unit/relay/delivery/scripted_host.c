#include "tests/unit/relay/delivery/scripted_private.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct owner *the_owner;
struct site *the_site;
struct run *the_run;

/* --- the end of the connection --- */

static bool
end_await(struct scripted *host)
{
	while (!__atomic_load_n(&the_owner->has_ended, __ATOMIC_ACQUIRE))
		usleep(1000);
	if (site_open(the_site) == 1)
		return true;
	snprintf(host->wrong, sizeof(host->wrong), "the place is free");
	return false;
}

/* What would give the place back has run by then, or the test says too little. */
#define GIVEN_BACK_US 50000

static void
fin_read(int fd)
{
	char byte;

	while (recv(fd, &byte, 1, 0) > 0)
		continue;
	usleep(GIVEN_BACK_US);
}

static bool
fin_await(struct scripted *host, int fd)
{
	fin_read(fd);
	return end_await(host);
}

static bool
fin_await_alone(struct scripted *host, int fd)
{
	struct pollfd listener = {.fd = host->listener, .events = POLLIN};
	bool is_alone;

	fin_read(fd);
	is_alone = poll(&listener, 1, 0) == 0;
	for (struct scripted *next = host + 1;
	     next < the_run->hosts + the_run->hosts_count; next++)
		is_alone &= __atomic_load_n(&next->connections,
					    __ATOMIC_ACQUIRE) == 0;
	if (!is_alone)
		snprintf(host->wrong, sizeof(host->wrong),
			 "the next connection is there");
	return is_alone;
}

/* --- hosts --- */

static bool
byte_read(struct scripted *host, int fd, char *byte)
{
	return host->ssl != NULL ? SSL_read(host->ssl, byte, 1) == 1
				 : recv(fd, byte, 1, 0) == 1;
}

static bool
line_read(struct scripted *host, int fd, char *line, size_t size)
{
	size_t len = 0;

	while (len + 1 < size && byte_read(host, fd, line + len)) {
		len++;
		if (line[len - 1] == '\n')
			break;
	}
	line[len] = '\0';
	return len > 0;
}

/* What is behind the dot, or the chunk, stays unread: a host that closes then
 * resets the connection. */
static size_t
bytes_look(struct scripted *host, int fd, char *bytes, size_t max)
{
	ssize_t count = host->ssl != NULL
				? SSL_peek(host->ssl, bytes, (int)max)
				: recv(fd, bytes, max, MSG_PEEK);

	return count > 0 ? (size_t)count : 0;
}

static bool
bytes_read(struct scripted *host, int fd, char *bytes, size_t count)
{
	return (host->ssl != NULL ? SSL_read(host->ssl, bytes, (int)count)
				  : recv(fd, bytes, count, 0)) ==
	       (ssize_t)count;
}

static bool
is_whole(struct slice message)
{
	return slice_eq(message, SLICE(".\r\n")) ||
	       slice_ends_nocase(message, SLICE("\r\n.\r\n"));
}

static void
message_read(struct scripted *host, int fd)
{
	char bytes[4096];
	size_t start = host->message.len, count, taken = 0;
	bool has_ended = false;

	while (!has_ended &&
	       (count = bytes_look(host, fd, bytes, sizeof(bytes))) > 0) {
		for (taken = 0; taken < count && !has_ended; taken++) {
			text_add_byte(&host->message, bytes[taken]);
			has_ended = bytes[taken] == '\n' &&
				    is_whole(slice_from(
					    text_slice(&host->message), start));
		}
		if (!bytes_read(host, fd, bytes, taken))
			return;
	}
}

static bool
chunk_read(struct scripted *host, int fd)
{
	char line[100], bytes[4096], end[8] = "";
	unsigned long long size = 0;
	size_t count;

	if (!line_read(host, fd, line, sizeof(line)) ||
	    sscanf(line, "BDAT %llu %4s", &size, end) != 2 ||
	    strcmp(end, "LAST") != 0) {
		snprintf(host->wrong, sizeof(host->wrong),
			 "BDAT expected, '%.90s' came", line);
		return false;
	}
	while (size > 0) {
		count = size < sizeof(bytes) ? (size_t)size : sizeof(bytes);
		count = bytes_look(host, fd, bytes, count);
		if (count == 0 || !bytes_read(host, fd, bytes, count))
			break;
		text_add(&host->message, slice_of(bytes, count));
		size -= count;
	}
	return size == 0;
}

/* False: the script has closed. */
static bool
step_run(struct scripted *host, int fd, char kind, struct slice text)
{
	char line[1024];
	CLEAN(text_done) struct text out = {0};

	switch (kind) {
	case 'C':
		if (line_read(host, fd, line, sizeof(line)) &&
		    slice_starts(SLICE(line), text))
			return true;
		snprintf(host->wrong, sizeof(host->wrong),
			 "'%.*s' expected, '%.100s' came", SLICE_ARG(text),
			 line);
		return false;
	case 'B':
		message_read(host, fd);
		return true;
	case 'D':
		return chunk_read(host, fd);
	case 'T':
		host->ssl = SSL_new(host->tls);
		SSL_set_fd(host->ssl, fd);
		return SSL_accept(host->ssl) == 1;
	case 'G':
		__atomic_store_n(&store_waits, false, __ATOMIC_RELEASE);
		return true;
	case 'N':
		reload_await();
		return true;
	case 'P':
		return end_await(host);
	case 'F':
		return fin_await(host, fd);
	case 'W':
		return fin_await_alone(host, fd);
	case 'X':
		return false;
	case 'M':
		for (int i = 0; i < atoi(text.bytes); i++)
			text_add_string(&out, "220-mx\r\n");
		break;
	case 'L':
		for (int i = 0; i < atoi(text.bytes); i++)
			text_add_byte(&out, '2');
		break;
	default:
		text_add(&out, text);
		if (kind == 'S')
			text_add_string(&out, "\r\n");
	}
	if (host->ssl != NULL)
		SSL_write(host->ssl, out.bytes, (int)out.len);
	else
		(void)!send(fd, out.bytes, out.len, MSG_NOSIGNAL);
	return true;
}

static void
script_run(struct scripted *host, int fd, const char *script)
{
	struct slice rest = SLICE(script), step;
	char byte;

	while (slice_split(&rest, '|', &step))
		if (!step_run(host, fd, step.bytes[0], slice_from(step, 2)))
			return;
	if (slice_ends_nocase(SLICE(script), SLICE(BYE)) &&
	    byte_read(host, fd, &byte))
		snprintf(host->wrong, sizeof(host->wrong),
			 "something came behind QUIT");
	while (byte_read(host, fd, &byte))
		;
}

static void *
host_run(void *argument)
{
	struct scripted *host = argument;

	for (size_t i = 0; host->scripts[i] != NULL; i++) {
		int fd = accept(host->listener, NULL, NULL);

		if (fd < 0)
			break;
		__atomic_fetch_add(&host->connections, 1, __ATOMIC_RELEASE);
		script_run(host, fd, host->scripts[i]);
		SSL_free(host->ssl);
		host->ssl = NULL;
		close(fd);
	}
	return NULL;
}

void
host_start(struct scripted *scripted, struct host *host)
{
	/* A host without a script refuses connections: its port is taken, so
	 * that nobody else listens there, and nobody does. */
	bool is_there = scripted->scripts[0] != NULL;
	struct address *address = &host->address;

	address->len = sizeof(address->v4);
	address->v4.sin_family = AF_INET;
	address->v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	scripted->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(scripted->listener, &address->any, address->len), 0);
	cr_assert_eq(getsockname(scripted->listener, &address->any,
				 &address->len), 0);
	if (is_there)
		cr_assert_eq(listen(scripted->listener, 8), 0);
	host->name = SLICE("mx.example.net");
	if (scripted->failed_lately)
		host_note(&host->failed_until_ms, 1 * MINUTE);
	if (is_there)
		cr_assert_eq(pthread_create(&scripted->thread, NULL, host_run,
					    scripted), 0);
}

void
host_stop(struct scripted *scripted)
{
	if (scripted->scripts[0] != NULL) {
		shutdown(scripted->listener, SHUT_RDWR);
		pthread_join(scripted->thread, NULL);
	}
	close(scripted->listener);
}
