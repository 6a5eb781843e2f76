#include <criterion/criterion.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/resolver.h"

/* A DNS server on loopback: says "v=1 LABEL" for names that begin with "yes",
 * NXDOMAIN for those with "no", and nothing for others. */
struct server {
	int socket;
	struct address address;
	pthread_t thread;
	bool is_mute; /* says nothing at all */
	/* The last letters of the first labels that were asked for. */
	char asked[9];
	unsigned asked_count;
};

static size_t
answer_write(unsigned char *packet, size_t len)
{
	static const unsigned char record[] = {0xc0, 12, 0, 16, 0, 1,
					       0,    0,  0, 60, 0};
	size_t label = packet[12], end = 12;

	if (len < 17)
		return 0;
	while (end < len && packet[end] != 0)
		end += packet[end] + 1u;
	end += 5; /* the root, type, class */
	memset(packet + 6, 0, 6);
	packet[2] |= 0x80;
	if (memcmp(packet + 13, "no", 2) == 0) {
		packet[3] = 3;
		return end;
	}
	if (memcmp(packet + 13, "yes", 3) != 0)
		return 0;
	packet[3] = 0;
	packet[7] = 1;
	memcpy(packet + end, record, sizeof(record));
	end += sizeof(record);
	packet[end++] = (unsigned char)(label + 5);
	packet[end++] = (unsigned char)(label + 4);
	memcpy(packet + end, "v=1 ", 4);
	memcpy(packet + end + 4, packet + 13, label);
	return end + 4 + label;
}

static void *
server_run(void *argument)
{
	struct server *server = argument;
	unsigned char packet[1024];
	struct sockaddr_storage peer;

	for (;;) {
		socklen_t peer_len = sizeof(peer);
		ssize_t len = recvfrom(server->socket, packet, 512, 0,
				       (struct sockaddr *)&peer, &peer_len);

		if (len <= 0)
			return NULL;
		if (server->asked_count < sizeof(server->asked) - 1)
			server->asked[server->asked_count++] =
				(char)packet[12 + packet[12]];
		len = server->is_mute
			      ? 0
			      : (ssize_t)answer_write(packet, (size_t)len);
		if (len > 0)
			sendto(server->socket, packet, (size_t)len, 0,
			       (struct sockaddr *)&peer, peer_len);
	}
}

static void
server_start(struct server *server)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	CLEAN(text_done) struct text text = {0};

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	server->socket = socket(AF_INET, SOCK_DGRAM, 0);
	cr_assert_geq(server->socket, 0);
	cr_assert_eq(bind(server->socket, (struct sockaddr *)&address, len),
		     0);
	cr_assert_eq(getsockname(server->socket, (struct sockaddr *)&address,
				 &len),
		     0);
	text_addf(&text, "127.0.0.1:%d", ntohs(address.sin_port));
	cr_assert(address_parse(text_slice(&text), 53, &server->address, NULL));
	cr_assert_eq(pthread_create(&server->thread, NULL, server_run, server),
		     0);
}

static void
server_stop(struct server *server)
{
	shutdown(server->socket, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->socket);
}

static const struct slice names[] = {
	SLICE_LITERAL("yes1.example.com"),
	SLICE_LITERAL("no.example.com"),
	SLICE_LITERAL("yes2.example.com"),
	SLICE_LITERAL("silent.example.com"),
};

static void
answer_check(const struct records_source *source, struct records *records,
	     size_t i, enum lookup_status status, const char *text)
{
	struct slice texts[4];
	size_t count;

	cr_expect_eq(source->take(records, i, texts, COUNT(texts), &count),
		     status, "%zu", i);
	cr_expect_eq(count, text == NULL ? 0 : 1);
	if (text != NULL && count == 1)
		cr_expect(slice_eq(texts[0], SLICE(text)), "'%.*s'",
			  SLICE_ARG(texts[0]));
}

Test(resolver, answers, .timeout = 120)
{
	struct server server = {0};
	struct resolver *resolver;
	const struct records_source *source;
	struct records *records;

	server_start(&server);
	cr_assert(resolver_new(&server.address, 1, &resolver, NULL));
	source = resolver_source(resolver);
	records = source->start(source->owner, names, 3, MINUTE);
	answer_check(source, records, 0, LOOKUP_FOUND, "v=1 yes1");
	answer_check(source, records, 1, LOOKUP_ABSENT, NULL);
	answer_check(source, records, 2, LOOKUP_FOUND, "v=1 yes2");
	source->end(records);
	resolver_free(resolver);
	server_stop(&server);
}

/* Names that nobody answers cost the time once: each by itself, these would take
 * a minute. */
Test(resolver, waits_no_longer_than_told, .timeout = 120)
{
	enum { SILENT = 60 };
	struct server server = {.is_mute = true};
	struct resolver *resolver;
	const struct records_source *source;
	struct records *records;
	struct slice silent[SILENT];
	char text[SILENT][32];
	uint64_t start_ms = clock_now_ms();

	for (size_t i = 0; i < SILENT; i++) {
		snprintf(text[i], sizeof(text[i]), "n%zu.example.com", i);
		silent[i] = SLICE(text[i]);
	}
	server_start(&server);
	cr_assert(resolver_new(&server.address, 1, &resolver, NULL));
	source = resolver_source(resolver);
	records = source->start(source->owner, silent, SILENT, 1000);
	for (size_t i = 0; i < SILENT; i++)
		answer_check(source, records, i, LOOKUP_FAILED, NULL);
	cr_expect_geq(clock_now_ms() - start_ms, 1000);
	cr_expect_lt(clock_now_ms() - start_ms, 30 * SECOND);
	source->end(records);
	resolver_free(resolver);
	server_stop(&server);
}

Test(resolver, forgets_what_nobody_waits_for, .timeout = 120)
{
	struct server server = {0};
	struct resolver *resolver;
	const struct records_source *source;

	server_start(&server);
	cr_assert(resolver_new(&server.address, 1, &resolver, NULL));
	source = resolver_source(resolver);
	for (size_t i = 0; i < 100; i++)
		source->end(source->start(source->owner, names, COUNT(names),
					  MINUTE));
	resolver_free(resolver);
	server_stop(&server);
}

static void *
asker_run(void *argument)
{
	const struct records_source *source = argument;

	for (size_t i = 0; i < 50; i++) {
		struct records *records =
			source->start(source->owner, names, 1, MINUTE);

		answer_check(source, records, 0, LOOKUP_FOUND, "v=1 yes1");
		source->end(records);
	}
	return NULL;
}

Test(resolver, answers_many_threads, .timeout = 120)
{
	struct server server = {0};
	struct resolver *resolver;
	pthread_t threads[8];

	server_start(&server);
	cr_assert(resolver_new(&server.address, 1, &resolver, NULL));
	for (size_t i = 0; i < COUNT(threads); i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, asker_run,
					    (void *)resolver_source(resolver)),
			     0);
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	resolver_free(resolver);
	server_stop(&server);
}

Test(resolver, asks_other_servers_after_a_reload, .timeout = 120)
{
	struct server server = {0}, other = {0};
	struct resolver *resolver;
	const struct records_source *source;
	struct records *records;

	server_start(&server);
	server_start(&other);
	server_stop(&server); /* refuses */
	cr_assert(resolver_new(&server.address, 1, &resolver, NULL));
	source = resolver_source(resolver);
	records = source->start(source->owner, names, 1, MINUTE);
	answer_check(source, records, 0, LOOKUP_FAILED, NULL);
	source->end(records);
	resolver_reconfigure(resolver, &other.address, 1);
	records = source->start(source->owner, names, 1, MINUTE);
	answer_check(source, records, 0, LOOKUP_FOUND, "v=1 yes1");
	source->end(records);
	resolver_free(resolver);
	server_stop(&other);
}

/* Whoever waits does not wait for a server that is no longer configured. */
Test(resolver, asks_anew_what_is_under_way, .timeout = 120)
{
	struct server mute = {.is_mute = true}, other = {0};
	struct resolver *resolver;
	const struct records_source *source;
	struct records *records, *later;

	server_start(&mute);
	server_start(&other);
	cr_assert(resolver_new(&mute.address, 1, &resolver, NULL));
	source = resolver_source(resolver);
	records = source->start(source->owner, names, 1, MINUTE);
	resolver_reconfigure(resolver, &other.address, 1);
	later = source->start(source->owner, &names[2], 1, MINUTE);
	answer_check(source, records, 0, LOOKUP_FOUND, "v=1 yes1");
	answer_check(source, later, 0, LOOKUP_FOUND, "v=1 yes2");
	source->end(records);
	source->end(later);
	resolver_free(resolver);
	server_stop(&mute);
	server_stop(&other);
	cr_expect_eq(strncmp(other.asked, "12", 2), 0, "at once, not later: %s",
		     other.asked);
}
