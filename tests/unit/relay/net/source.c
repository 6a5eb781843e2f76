#include <criterion/criterion.h>
#include <sched.h>

#include "relay/net/source.h"

Test(source, of_this_machine_is_itself)
{
	static const char *const peers[] = { "127.0.0.1", "::1" };

	for (size_t i = 0; i < COUNT(peers); i++) {
		struct address peer, source;

		cr_assert(address_parse_host(SLICE(peers[i]), 25, &peer));
		/* A machine may do without IPv6. */
		if (!source_find(&peer, &source)) {
			cr_expect_eq(peer.any.sa_family, AF_INET6);
			continue;
		}
		address_set_port(&source, 25);
		cr_expect(address_eq(&source, &peer), "%s", peers[i]);
	}
}

/* A network without interfaces that are up: root can have one. */
Test(source, without_a_way_there_is_none)
{
	static const char *const peers[] = { "192.0.2.1", "2001:db8::1" };
	struct address peer, source;

	if (unshare(CLONE_NEWNET) != 0)
		cr_skip("no network namespace");
	for (size_t i = 0; i < COUNT(peers); i++) {
		cr_assert(address_parse_host(SLICE(peers[i]), 25, &peer));
		cr_expect_not(source_find(&peer, &source), "%s", peers[i]);
	}
}
