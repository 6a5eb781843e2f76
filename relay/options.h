/*
 * options - the whole configuration, parsed and checked, as one immutable
 * struct; and THE option table (options.c), from which come the parser, the
 * reference text of `signet options`, the range errors and the hints.
 *
 * Ownership   One arena holds everything; options_free() ends it.
 */
#ifndef RELAY_OPTIONS_H
#define RELAY_OPTIONS_H

#include "base/arena.h"
#include "base/conf.h"
#include "base/log.h"
#include "milter/prepare.h"
#include "milter/rewrite.h"
#include "relay/net/address.h"

enum listener_tls { LISTENER_TLS_NONE, LISTENER_TLS_STARTTLS,
		    LISTENER_TLS_IMPLICIT };
enum tls_min { TLS_MIN_AUTO, TLS_MIN_1_0, TLS_MIN_1_1, TLS_MIN_1_2,
	       TLS_MIN_1_3 };
enum auth_mode { AUTH_NONE, AUTH_OPTIONAL, AUTH_REQUIRED };
enum bare_newlines { BARE_NEWLINES_REJECT, BARE_NEWLINES_NORMALIZE };
enum without_8bitmime {
	WITHOUT_8BITMIME_CONVERT,
	WITHOUT_8BITMIME_BOUNCE,
	WITHOUT_8BITMIME_SEND,
};
enum ipv6_use { IPV6_AUTO, IPV6_PREFER, IPV6_OFF };
enum milter_mode { MILTER_SIGN, MILTER_VERIFY, MILTER_BOTH };
enum on_error { ON_ERROR_TEMPFAIL, ON_ERROR_ACCEPT };
enum tls_policy { TLS_NONE, TLS_OPPORTUNISTIC, TLS_REQUIRED, TLS_VERIFY };

/* Another identity for who has none of ours: milter/rewrite.h. */
struct rewrite_options {
	struct slice from, sender; /* address, "*@domain" or "" */
	enum rewrite_when when;
};

struct listener_options {
	struct slice name;         /* its title */
	struct slice address_text; /* as written */
	struct address address;
	struct slice socket_name;  /* systemd's; "": bound at the address */
	uint32_t socket_mode;      /* of a Unix socket */
	struct slice socket_group; /* likewise; "": the supervisor's own */
	bool is_any;               /* "*:port": dual-stack [::] */
	struct network *allow_from;
	size_t allow_from_count;
	enum listener_tls tls;
	enum tls_min tls_min;      /* auto: 1.2 */
	struct slice tls_cert, tls_key; /* paths */
	struct slice tls_clients, tls_client_ca; /* likewise; of clients */
	enum auth_mode auth;
	struct slice auth_file;
	struct slice auth_dovecot; /* path of a socket */
	bool auth_without_tls;
	enum bare_newlines bare_newlines;
	bool lenient;              /* with what old devices get wrong */
	struct network *proxy_from; /* proxies, which say who the client is */
	size_t proxy_from_count;
	struct network *xclient_from; /* who may say so by XCLIENT */
	size_t xclient_from_count;
	struct network *xforward_from; /* for the log, by XFORWARD */
	size_t xforward_from_count;
	struct rewrite_options rewrite;
};

/* What a user who logs in may do. */
struct account_options {
	struct slice user;         /* or "*": those without a section */
	struct slice *from;        /* sender patterns; none: anybody */
	size_t from_count;
	uint64_t messages_per_hour, recipients_per_hour; /* 0: no limit */
	struct rewrite_options rewrite; /* before the listener's */
};

struct limits_options {
	uint64_t max_message_size; /* bytes */
	uint64_t max_recipients;   /* per transaction */
	uint64_t max_hops;         /* Received fields */
	uint64_t max_header_size;  /* bytes */
	uint64_t max_sessions;     /* inbound, all listeners together; never 0
				      once loaded */
	uint64_t max_sessions_per_address; /* of clients outside allow_from */
	uint64_t max_session_rate; /* a minute, likewise; 0: no limit */
	uint64_t max_messages_per_session; /* 0: no limit */
	uint64_t command_timeout_ms; /* RFC 5321 4.5.3.2.7 */
	uint64_t auth_timeout_ms;  /* of Dovecot */
	uint64_t max_memory;       /* message bytes in flight, all sessions */
	uint64_t max_incoming;     /* the same, in memory and files */
	uint64_t max_queue_messages, max_queue_size; /* 0: no limit */
	uint64_t min_free_space;   /* of state_dir; below it 452 */
};

/* How to log in at a next hop: relay/login.h. */
struct login_options {
	struct slice user;         /* "": not at all */
	struct slice password_file;
	bool without_tls;          /* send the password in clear, too */
};

/* What TLS to a next hop has to be like. */
struct tls_terms {
	enum tls_min min;
	struct slice *names;       /* of the certificate, any of which will do;
				      none: the host's */
	size_t names_count;
};

/* Where connections come from, and the name that goes with it. */
struct source_options {
	struct address *bind;      /* at most one of a family; of the others
				      the kernel's choice */
	size_t bind_count;
	struct slice helo;         /* ""; then that of delivery, or hostname */
};

struct delivery_options {
	uint16_t port;
	struct slice *smarthost; /* each "host:port", in order; none: MX */
	size_t smarthost_count;
	enum tls_policy tls;
	struct tls_terms tls_terms;
	struct source_options source;
	bool implicit_tls;         /* RFC 8314 3.3: TLS from the start */
	struct login_options login;
	uint64_t *retry_ms;        /* delay before each further attempt */
	size_t retry_count;        /* at least 1; the last one repeats */
	uint64_t expire_ms;
	uint64_t delay_warning_ms; /* 0: only who asks is warned */
	struct slice bounce_from;  /* "" : MAILER-DAEMON@hostname */
	struct slice bounce_copy;  /* "" : to nobody */
	uint64_t bounce_size_limit; /* of an original that is returned whole */
	uint64_t max_connections;  /* at once to one destination */
	uint64_t max_host_connections; /* to the same hosts, for all */
	uint64_t max_outgoing;     /* to all hosts; 0: by the open files */
	uint64_t max_rate;         /* messages a minute; 0: as they come */
	enum without_8bitmime without_8bitmime;
	enum ipv6_use ipv6;
	struct network *refuse_addresses; /* where no MX may lead */
	size_t refuse_addresses_count;
};

enum route_sign { ROUTE_SIGN_KEEP, ROUTE_SIGN_STRIP, ROUTE_SIGN_NONE };

struct route_options {
	struct slice pattern; /* "example.net", "*.example.net", "*",
				 "[192.0.2.1]" */
	struct slice *from;   /* senders; none: all */
	size_t from_count;
	struct slice *via; /* as delivery.smarthost */
	size_t via_count;
	enum tls_policy tls;
	struct tls_terms tls_terms;
	struct source_options source; /* bind: as above, or delivery's */
	bool implicit_tls;
	struct login_options login;
	uint64_t max_rate;
	enum route_sign sign;
	char id[16]; /* where it has `from`: relay/routing.h */
};

struct milter_section {
	struct slice socket_text;  /* as written */
	struct address socket;
	struct slice socket_name;  /* as a listener's */
	uint32_t socket_mode;      /* of a Unix socket */
	struct slice socket_group; /* likewise; "": the process's own */
	enum milter_mode mode;
	struct network *sign_from;
	size_t sign_from_count;
	bool sign_authenticated;
	struct slice *sign_daemons;
	size_t sign_daemons_count;
	enum on_error on_error;
	bool lint;
	struct slice authserv_id;  /* empty: the MTA's name */
	uint64_t dns_timeout_ms;
	uint64_t max_connections;
};

/* A domain section as the table fills it; options_signing.h splits it into what
 * keys/ and milter/ are given. */
struct domain_section {
	struct domain_options keys;
	struct domain_signing_options signing;
};

struct options {
	struct arena arena;
	struct slice hostname;     /* never empty once loaded */
	struct slice state_dir;
	struct slice user, signer_user;
	struct {
		enum log_format format;
		enum log_level level;
	} log;
	struct {
		struct address *resolvers;
		size_t resolvers_count;
		bool are_machines; /* the configuration names none */
	} dns;
	struct listener_options *listeners;
	size_t listeners_count;
	struct account_options *accounts;
	size_t accounts_count;
	struct limits_options limits;
	struct prepare_options prepare;
	struct delivery_options delivery;
	struct route_options *routes;
	size_t routes_count;
	const struct routing *routing; /* finds them */
	struct milter_section milter;
	bool strict_key_modes;
	struct signing_options signing;
	struct keys_options keys;
	struct domain_section *domains; /* keys.domains_count of them */
	const struct conf_item *items; /* as parsed: the places of options */
};

void options_free(struct options *options);
CLEAN_POINTER(struct options, options_free)

/* Reads the file, parses and validates. Every error goes to `errors` as a line
 * "FILE:LINE: what"; the fault then says how many. Its kind is DENIED where a
 * file may not be read, ABSENT where `path` does not exist, else INPUT;
 * options_exit_code() has the exit code. sources_out may be NULL: it gets the
 * bytes of the file, of all that it includes, and what was taken from the
 * machine (its name, its resolvers, its memory, the current directory). */
bool options_load(const char *path, struct text *errors,
		  struct options **options_out, struct text *sources_out,
		  struct fault *fault) MUST_USE;
/* The same from sources_out's bytes, in whatever process: touches no file. */
bool options_parse(struct slice sources, struct options **options_out,
		   struct fault *fault) MUST_USE;
/* Whether options_load() would take these bytes for a whole file; if not, the
 * errors say what is wrong. */
bool options_accept(struct slice bytes, struct text *errors) MUST_USE;
/* Whether each file that the options name can be read, and there is the group of
 * each socket. Reports as
 * options_load() does. What keeps a secret and lets others in is told to `warn`,
 * in words; NULL: nobody. */
bool options_check_files(const struct options *options,
			 void (*warn)(const char *text), struct text *errors,
			 struct fault *fault) MUST_USE;
/* The same of what a milter uses: the keys, its socket's group. */
bool options_check_milter_files(const struct options *options,
				struct text *errors,
				struct fault *fault) MUST_USE;
/* 77 or 78 (sysexits(3)) for a fault of the above. */
int options_exit_code(const struct fault *fault);
/* By its title. */
bool options_find_listener(const struct options *options, struct slice name,
			   size_t *index_out) MUST_USE;
/* The defaults alone, for commands that need no configuration. */
struct options *options_default(void);
/* The reference configuration, for `signet options`. */
void options_write(struct text *out);
/* The table itself, for tests. */
extern const struct conf_table options_table;

#endif
