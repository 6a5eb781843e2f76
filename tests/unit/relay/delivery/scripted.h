/*
 * A connection and its conversations with scripted hosts on loopback. Each
 * script is what one host does with one connection:
 *
 *	S text    sends a line        C verb   expects a line that begins so
 *	B         reads a message up to its dot, and keeps it
 *	D         reads "BDAT n LAST" and n octets, and keeps them
 *	R text    sends the text as it is, without CRLF
 *	L n       sends n octets without a line end
 *	M n       sends n lines of a greeting that goes on
 *	T         makes TLS of it, as mail.example.com
 *	G         lets the store go on
 *	N         waits until the loop has come to a new configuration, or to a stop
 *	P         waits until the connection has ended, with its place still taken
 *	F         reads the peer's end; the place is still taken
 *	W         reads the peer's end; nobody has connected here again, nor to
 *	          the hosts behind this one
 *	X         closes; without it, at the end, waits for the peer to close
 */
#ifndef TESTS_UNIT_RELAY_DELIVERY_SCRIPTED_H
#define TESTS_UNIT_RELAY_DELIVERY_SCRIPTED_H

#include <openssl/ssl.h>
#include <pthread.h>

#include "relay/delivery/connection.h"

#define HOSTS_MAX 2
#define SCRIPTS_MAX 3

/* The store, which reads one chunk at a time. */
extern unsigned store_reads;
extern bool store_waits;       /* no read ends before a host's G */
extern unsigned store_failures; /* so many reads fail */
extern enum fault_kind store_failure;
/* What is not in memory is in a file, whose bytes are had at once but for every
 * so many-th time; 0: it is in the store. */
extern unsigned store_file_misses;
extern unsigned store_hits;    /* so often they were */
extern unsigned store_hits_most; /* before the loop saw to others */

/* Conversions, which the host's G may have to let go on, as it does reads. */
extern unsigned conversions;
extern size_t conversion_padding; /* octets that it adds */
extern enum outcome_trouble conversion_fails; /* TROUBLE_NO_NAME: does not */

struct scripted {
	int listener;
	const char *scripts[SCRIPTS_MAX + 1];
	pthread_t thread;
	struct text message;     /* of all B steps */
	bool failed_lately;      /* as another connection has found */
	bool was_silent;         /* likewise, whoever's that was */
	bool gets_well;          /* that is over with the second connection */
	char wrong[256];         /* what was not as the script says */
	unsigned connections;
	SSL_CTX *tls;            /* NULL: it has no certificate */
	SSL *ssl;                /* of this connection, since T */
};

struct owner {
	struct loop loop;
	struct connection_place place;
	struct connection *connection;
	unsigned given, returned;
	struct attempt *attempts[4];
	bool has_ended;
};

struct run {
	enum tls_policy tls;
	enum tls_min first_min;  /* tls_min of the first message's route */
	bool implicit_tls;
	struct login *login;
	unsigned recipients, messages;
	/* Says what a message is like, before it is carried; NULL: plain. */
	void (*envelope)(struct message *message);
	struct slice body;
	bool in_memory;
	bool is_8bit;
	enum without_8bitmime without_8bitmime;
	bool in_one_go; /* connection_settings; and this: */
	enum route_sign sign;
	const char *host_name; /* NULL: mx.example.net */
	bool stops;              /* once a host has said G */
	bool reloads;            /* once a host says N */
	bool stops_at_n;         /* instead */
	bool breaks_off;         /* and has no time left */
	bool is_rated;           /* the route has a max_rate */
	bool lacks_files;        /* no descriptor is left to the relay */
	struct address *source;  /* to connect from; NULL: the kernel's choice */
	bool one_each;           /* another connection for each message */
	bool other_site;         /* of other destinations each */
	struct scripted hosts[HOSTS_MAX];
	size_t hosts_count;
	uint64_t deadline_ms; /* of each conversation, from now; 0: none */
	bool is_ranked;  /* each is worse than the one before */
	unsigned attempts; /* of each message, before this one */
	/* afterwards */
	struct owner owner;
	char outcomes[256]; /* a letter for each recipient of each message */
	char reply[256], status[16], used_tls[64]; /* of the last message */
	char first_reply[256];
	unsigned adopted; /* connections that went on with a conversation */
	char local_trouble[128];
	struct site *sites[4]; /* one for each connection */
	unsigned open;    /* places that are taken at the end of the last one */
	unsigned left_open; /* and that were never given back */
	unsigned changes; /* messages that say what was changed */
	bool dsn_passed_on; /* as the first recipient's result says */
	bool has_failed;
	size_t hosts_blamed;     /* to be left for the last for a while */
	size_t hosts_silent;     /* by all connections */
};

/* One connection, from its opening until everything is back. */
void run_it(struct run *run);

#define HELLO "S 220 mx.example.net|C EHLO relay.example.org|S 250 mx|"
#define HELLO_PIPE                                                             \
	"S 220 mx|C EHLO|R 250-mx\r\n250-SIZE 100000\r\n250 PIPELINING\r\n|"
#define MAIL "C MAIL FROM:<a@example.com>|S 250 ok|"
#define RCPT0 "C RCPT TO:<r0@example.net>|S 250 ok|"
#define RCPT1 "C RCPT TO:<r1@example.net>|"
#define BODY "C DATA|S 354 go|B|S 250 2.0.0 taken|"
#define AHEAD "C MAIL|C RCPT|C RCPT|C DATA|"
#define BYE "C QUIT|S 221 bye"
#define STARTTLS "S 220 mx|C EHLO|R 250-mx\r\n250 STARTTLS\r\n|C STARTTLS|"

#endif
