#include <criterion/criterion.h>
#include <stdio.h>

#include "relay/delivery/peers.h"
#include "relay/net/tls.h"
#include "tests/fake/clock.h"

static struct address
address_of(const char *text)
{
	struct address address;

	cr_assert(address_parse_host(SLICE(text), 25, &address));
	return address;
}

Test(peers, a_host_is_in_clear_for_a_while)
{
	struct peers *peers = peers_new();
	struct address a = address_of("192.0.2.1"), b = address_of("192.0.2.2");
	struct address other_port = a;

	address_set_port(&other_port, 26);
	cr_expect(peers_note_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0));
	cr_expect_not(peers_note_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0));
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0));
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("MX.Example.NET"), &a, 0));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx2.example.net"), &a, 0));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &b, 0));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"),
				     &other_port, 0));
	fake_clock_pass(PEER_CLEAR_MS - 1);
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0));
	fake_clock_pass(1);
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0));
	peers_note_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0);
	peers_forget_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0);
	peers_forget_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &b, 0);
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx.example.net"), &a, 0));
	peers_free(peers);
}

Test(peers, one_lapse_is_not_another)
{
	struct peers *peers = peers_new();
	struct address address = address_of("192.0.2.1");
	struct slice name = SLICE("mx.example.net");

	cr_expect(peers_note_lapse(peers, PEER_LAPSE_BDAT, name, &address, 0));
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_BDAT, name, &address, 0));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_DSN, name, &address, 0));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, name, &address, 0));
	fake_clock_pass(PEER_LAPSE_MS - 1);
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_BDAT, name, &address, 0));
	fake_clock_pass(1);
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_BDAT, name, &address, 0));
	peers_free(peers);
}

/* Who asks for more than the host can do has not found it unable. */
Test(peers, a_lapse_is_for_those_of_the_same_terms)
{
	struct peers *peers = peers_new();
	struct address address = address_of("192.0.2.1");
	struct slice name = SLICE("mx.example.net");

	cr_expect(peers_note_lapse(peers, PEER_LAPSE_TLS, name, &address, 1));
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_TLS, name, &address, 1));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, name, &address, 2));
	cr_expect(peers_note_lapse(peers, PEER_LAPSE_TLS, name, &address, 2));
	peers_forget_lapse(peers, PEER_LAPSE_TLS, name, &address, 2);
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_TLS, name, &address, 1));
	peers_free(peers);
}

Test(peers, the_oldest_is_forgotten_first)
{
	struct peers *peers = peers_new();
	struct address address = address_of("192.0.2.1");
	char name[32];

	for (unsigned i = 0; i < PEERS_LAPSES_MAX + 2; i++) {
		snprintf(name, sizeof(name), "mx%u.example.net", i);
		peers_note_lapse(peers, PEER_LAPSE_TLS, SLICE(name), &address, 0);
		/* Who is seen again is not the oldest. */
		peers_note_lapse(peers, PEER_LAPSE_TLS, SLICE("mx0.example.net"), &address, 0);
	}
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx0.example.net"), &address, 0));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx1.example.net"),
				     &address, 0));
	cr_expect_not(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx2.example.net"),
				     &address, 0));
	cr_expect(peers_has_lapse(peers, PEER_LAPSE_TLS, SLICE("mx3.example.net"), &address, 0));
	peers_free(peers);
}

static uint64_t
silence_of(struct peers *peers, const struct address *address)
{
	struct peer_silence asked = {.address = address, .left_ms = 1};

	peers_recall_silence(peers, &asked, 1);
	return asked.left_ms;
}

/* As it is asked for those of a destination. */
Test(peers, silence_of_several)
{
	struct peers *peers = peers_new();
	struct address a = address_of("192.0.2.1"), b = address_of("192.0.2.2");
	struct peer_silence asked[] = {{&a, 7}, {&b, 7}, {&a, 7}};

	peers_recall_silence(peers, asked, COUNT(asked));
	for (size_t i = 0; i < COUNT(asked); i++)
		cr_expect_eq(asked[i].left_ms, 0, "nobody was: %zu", i);
	peers_note_silence(peers, &b);
	peers_recall_silence(peers, asked, 0);
	peers_recall_silence(peers, asked, COUNT(asked));
	cr_expect_eq(asked[0].left_ms, 0);
	cr_expect_eq(asked[1].left_ms, PEER_SILENCE_MS);
	cr_expect_eq(asked[2].left_ms, 0);
	peers_free(peers);
}

Test(peers, silence_is_remembered_for_a_while)
{
	struct peers *peers = peers_new();
	struct address a = address_of("192.0.2.1"), b = address_of("192.0.2.2");

	cr_expect_eq(silence_of(peers, &a), 0);
	peers_note_silence(peers, &a);
	fake_clock_pass(PEER_SILENCE_MS - 1);
	cr_expect_eq(silence_of(peers, &a), 1);
	cr_expect_eq(silence_of(peers, &b), 0);
	fake_clock_pass(1);
	cr_expect_eq(silence_of(peers, &a), 0);
	peers_note_silence(peers, &a);
	peers_forget_silence(peers, &b);
	cr_expect_eq(silence_of(peers, &a), PEER_SILENCE_MS);
	peers_forget_silence(peers, &a);
	cr_expect_eq(silence_of(peers, &a), 0);
	for (unsigned i = 0; i < PEERS_SILENT_MAX; i++) {
		address_set_port(&b, (uint16_t)(i + 1));
		peers_note_silence(peers, &a);
		peers_note_silence(peers, &b);
	}
	cr_expect_gt(silence_of(peers, &a), 0);
	address_set_port(&b, 1);
	cr_expect_eq(silence_of(peers, &b), 0, "the oldest goes");
	peers_free(peers);
}

static bool
take(struct peers *peers, const char *key, const char *expected)
{
	struct text session = {0};
	bool is_it;

	if (!peers_take_session(peers, SLICE(key), &session))
		return expected == NULL;
	is_it = expected != NULL &&
		slice_eq(text_slice(&session), SLICE(expected));
	tls_session_cleanse(&session);
	return is_it;
}

Test(peers, a_session_is_given_out_once)
{
	struct peers *peers = peers_new();

	cr_expect(take(peers, "a", NULL));
	for (unsigned i = 0; i < PEER_SESSIONS_MAX + 1; i++) {
		char session[] = {(char)('0' + i), '\0'};

		peers_keep_session(peers, SLICE("a"), SLICE(session));
	}
	peers_keep_session(peers, SLICE("b"), SLICE("x"));
	cr_expect(take(peers, "a", "4"));
	cr_expect(take(peers, "a", "3"));
	cr_expect(take(peers, "b", "x"));
	cr_expect(take(peers, "b", NULL));
	cr_expect(take(peers, "a", "2"));
	cr_expect(take(peers, "a", "1"));
	cr_expect(take(peers, "a", NULL));
	peers_free(peers);
}

Test(peers, sessions_grow_old)
{
	struct peers *peers = peers_new();

	peers_keep_session(peers, SLICE("a"), SLICE("old"));
	fake_clock_pass(PEER_SESSION_MS - 1);
	peers_keep_session(peers, SLICE("a"), SLICE("new"));
	fake_clock_pass(1);
	cr_expect(take(peers, "a", "new"));
	cr_expect(take(peers, "a", NULL));
	for (unsigned i = 0; i < PEERS_SESSIONS_MAX + 1; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%u", i);
		peers_keep_session(peers, SLICE(key), SLICE("x"));
	}
	cr_expect(take(peers, "0", NULL));
	cr_expect(take(peers, "1", "x"));
	peers_free(peers);
}
