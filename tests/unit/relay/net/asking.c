#include "tests/unit/relay/net/asking.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

struct address
loopback(uint16_t port)
{
	struct address address = {.len = sizeof(struct sockaddr_in)};

	address.v4.sin_family = AF_INET;
	address.v4.sin_port = htons(port);
	address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

/* Nobody else is given a port that is bound without SO_REUSEADDR. */
static int
bound(int type, uint16_t port)
{
	struct address address = loopback(port);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	if (bind(fd, &address.any, address.len) == 0)
		return fd;
	close(fd);
	return -1;
}

static uint16_t
port_of(int fd)
{
	struct address address = loopback(0);

	cr_assert_eq(getsockname(fd, &address.any, &address.len), 0);
	return ntohs(address.v4.sin_port);
}

uint16_t
port_take(int *udp_out, int *tcp_out)
{
	for (unsigned i = 0; i < 1000; i++) {
		int udp = bound(SOCK_DGRAM, 0);
		uint16_t port = port_of(udp);
		int tcp = bound(SOCK_STREAM, port);

		if (tcp >= 0) {
			*udp_out = udp;
			*tcp_out = tcp;
			return port;
		}
		close(udp);
	}
	cr_assert(false, "no free port");
	return 0;
}

/* Nobody listens, and a UDP socket that has a peer hears nobody else. */
uint16_t
port_refuse(int *udp_out, int *tcp_out)
{
	struct address peer = loopback(1);
	uint16_t port = port_take(udp_out, tcp_out);

	cr_assert_eq(connect(*udp_out, &peer.any, peer.len), 0);
	return port;
}

uint16_t
port_free(void)
{
	int udp, tcp;
	uint16_t port = port_take(&udp, &tcp);

	close(udp);
	close(tcp);
	return port;
}

/* --- asking --- */

static void
asked_done(struct dns_query *query, const struct dns_answer *answer)
{
	struct asked *asked = CONTAINER(query, struct asked, query);

	cr_assert_not(asked->is_done, "answered twice");
	cr_assert_not(asked->is_inside, "answered from inside dns_start()");
	asked->is_done = true;
	uv_stop(asked->uv);
	asked->status = answer->status;
	asked->count = answer->count;
	if (answer->reason != NULL)
		snprintf(asked->reason, sizeof(asked->reason), "%s",
			 answer->reason);
	if (answer->count == 0)
		return;
	asked->preference = answer->records[0].preference;
	if (answer->records[0].address.len == 0)
		snprintf(asked->first, sizeof(asked->first), "%.*s",
			 SLICE_ARG(answer->records[0].name));
	else if (answer->records[0].address.any.sa_family == AF_INET)
		inet_ntop(AF_INET, &answer->records[0].address.v4.sin_addr,
			  asked->first, sizeof(asked->first));
	else
		inet_ntop(AF_INET6, &answer->records[0].address.v6.sin6_addr,
			  asked->first, sizeof(asked->first));
}

void
resolver_open(struct resolver *resolver, const struct address *addresses,
	      size_t count)
{
	struct fault fault;

	cr_assert(loop_init(&resolver->loop, 0, &fault));
	cr_assert(dns_new(&resolver->loop, addresses, count, &resolver->dns,
			  &fault));
}

void
resolver_close(struct resolver *resolver)
{
	dns_close(resolver->dns);
	loop_done(&resolver->loop);
}

static void
ask_begin(struct resolver *resolver, struct asked *asked, const char *name,
	  enum dns_type type, bool is_prompt)
{
	*asked = (struct asked){.query.done = asked_done,
				.query.is_prompt = is_prompt,
				.is_inside = true,
				.uv = &resolver->loop.uv};
	dns_start(resolver->dns, &asked->query, SLICE(name), type);
	asked->is_inside = false;
}

void
ask_start(struct resolver *resolver, struct asked *asked, const char *name,
	  enum dns_type type)
{
	ask_begin(resolver, asked, name, type, false);
}

void
ask_start_prompt(struct resolver *resolver, struct asked *asked,
		 const char *name, enum dns_type type)
{
	ask_begin(resolver, asked, name, type, true);
}

void
ask_wait(struct resolver *resolver, const struct asked *asked)
{
	while (!asked->is_done)
		uv_run(&resolver->loop.uv, UV_RUN_DEFAULT);
}

void
ask(struct resolver *resolver, struct asked *asked, const char *name,
    enum dns_type type)
{
	ask_start(resolver, asked, name, type);
	ask_wait(resolver, asked);
}
