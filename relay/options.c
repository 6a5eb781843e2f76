#include "relay/options.h"

#include <stdlib.h>
#include <sysexits.h>

#include "relay/limits.h"
#include "relay/machine.h"
#include "relay/options_check.h"
#include "relay/options_senders.h"
#include "relay/options_signing.h"
#include "relay/options_values.h"
#include "relay/routing.h"

/* ---- the table ---- */

/* In order of enum log_format, log_level, listener_tls, auth_mode,
 * bare_newlines, long_lines, eight_bit, without_8bitmime, ipv6_use, tls_policy,
 * tls_min, milter_mode, route_sign, on_error, unsigned_action, existing_action,
 * sender_match, selector_state. */
static const char *const format_words[] = {"text", "json", NULL};
static const char *const level_words[] = {"error", "warning", "info", "debug",
					  NULL};
static const char *const listener_tls_words[] = {"none", "starttls",
						 "implicit", NULL};
static const char *const auth_words[] = {"none", "optional", "required", NULL};
static const char *const bare_newlines_words[] = {"reject", "normalize", NULL};
static const char *const rewrite_when_words[] = {"needed", "always", NULL};
static const char *const long_lines_words[] = {"encode", "reject", "keep",
					       NULL};
static const char *const eight_bit_words[] = {"keep", "encode", NULL};
static const char *const without_8bitmime_words[] = {"convert", "bounce",
						     "send", NULL};
static const char *const ipv6_words[] = {"auto", "prefer", "off", NULL};
static const char *const tls_words[] = {"none", "opportunistic", "required",
					"verify", NULL};
static const char *const tls_min_words[] = {"auto", "1.0", "1.1", "1.2", "1.3",
					    NULL};
static const char *const milter_mode_words[] = {"sign", "verify", "both", NULL};
static const char *const route_sign_words[] = {"keep", "strip", "none", NULL};
static const char *const on_error_words[] = {"tempfail", "accept", NULL};
static const char *const unsigned_words[] = {"relay", "reject", NULL};
static const char *const existing_words[] = {"keep", "strip", "skip", NULL};
static const char *const sender_match_words[] = {"first", "all", NULL};
static const char *const state_words[] = {"active", "publish", "retired",
					  NULL};

#define FIELD(f) offsetof(struct options, f), sizeof(((struct options *)0)->f)
#define IN(type, f) offsetof(type, f), sizeof(((type *)0)->f)
/* For values that fill several fields. */
#define WHOLE(type) 0, sizeof(type)
#define COUNT_AT(f) .count_offset = offsetof(struct options, f)

/* clang-format off */
static const struct conf_option rows[] = {
	{ "hostname", CONF_TEXT, FIELD(hostname), "", 0, 0,
	  "The name that the relay gives itself, in its greeting, in EHLO and in Received fields; empty: the machine's full name." },
	{ "state_dir", CONF_TEXT, FIELD(state_dir), "/var/lib/signet", 1, 0,
	  "Where the queue is kept; it belongs to one relay." },
	{ "keys_dir", CONF_TEXT, FIELD(keys.keys_dir), "/etc/signet/keys", 1, 0,
	  "Where relative paths of keys start." },
	{ "user", CONF_TEXT, FIELD(user), "signet", 1, 32,
	  "The user of the relay and of the milter, when started as root." },
	{ "signer_user", CONF_TEXT, FIELD(signer_user), "", 0, 32,
	  "The user of the process that holds the keys, when started as root; empty: \"signet-signer\" where that user exists, else `user`." },

	{ "log", CONF_SECTION, 0, 0, NULL, 0, 0,
	  "The log goes to stderr, one line per event." },
	{ "log.format", CONF_WORD, FIELD(log.format), "text", 0, 0,
	  "How a line is written.", .words = format_words },
	{ "log.level", CONF_WORD, FIELD(log.level), "info", 0, 0,
	  "The least urgent events that are written.", .words = level_words },

	{ "dns", CONF_SECTION, 0, 0, NULL, 0, 0,
	  "Whom the relay asks for names." },
	{ "dns.resolvers", CONF_LIST, FIELD(dns.resolvers), "", 0, 16,
	  "Addresses of resolvers, such as \"127.0.0.1:5353\"; none: those of /etc/resolv.conf, also when that changes.",
	  .parse = resolver_value, .each = sizeof(struct address),
	  COUNT_AT(dns.resolvers_count) },

	{ "listener", CONF_TITLED, FIELD(listeners), "apps", 0, 0,
	  "A socket that takes mail; any number of them. Without any there is one with these defaults; as soon as you write one, write that, too, if you want it.",
	  .each = sizeof(struct listener_options), COUNT_AT(listeners_count),
	  .title_offset = offsetof(struct listener_options, name) },
	{ "listener.address", CONF_PARSED, WHOLE(struct listener_options),
	  "127.0.0.1:2525", 0, 0,
	  "Address and port; also \"[::1]:2525\", \"*:25\" for every address, \"unix:/run/signet/submit\", or \"systemd:NAME\", a socket that systemd passes on (FileDescriptorName= of its .socket unit).",
	  .parse = listener_address_value },
	{ "listener.socket_mode", CONF_PARSED, IN(struct listener_options, socket_mode), "0666", 0, 0,
	  "Who may connect to a Unix socket, in octal, as chmod(1) has it; who does counts as 127.0.0.1 and ::1.",
	  .parse = socket_mode_value },
	{ "listener.socket_group", CONF_TEXT, IN(struct listener_options, socket_group), "", 0, 32,
	  "The group of a Unix socket; empty: that of whoever starts the relay." },
	{ "listener.allow_from", CONF_LIST,
	  IN(struct listener_options, allow_from), "127.0.0.0/8 ::1/128", 0, CONF_LIST_MAX,
	  "Networks whose clients may relay without AUTH.",
	  .parse = network_value, .each = sizeof(struct network),
	  .count_offset = offsetof(struct listener_options, allow_from_count) },
	{ "listener.tls", CONF_WORD, IN(struct listener_options, tls), "none", 0, 0,
	  "Whether clients are offered TLS by STARTTLS, begin with it, or do without.",
	  .words = listener_tls_words },
	{ "listener.tls_cert", CONF_TEXT, IN(struct listener_options, tls_cert), "", 0, 0,
	  "PEM file of the certificate and its chain." },
	{ "listener.tls_key", CONF_TEXT, IN(struct listener_options, tls_key), "", 0, 0,
	  "PEM file of the certificate's private key." },
	{ "listener.tls_min", CONF_WORD, IN(struct listener_options, tls_min), "auto", 0, 0,
	  "The least version of TLS; auto is 1.2. Below it this listener takes weak keys and SHA-1, too, for devices that know no better.",
	  .words = tls_min_words },
	{ "listener.tls_clients", CONF_TEXT, IN(struct listener_options, tls_clients), "", 0, 0,
	  "File of clients' certificates, FINGERPRINT NAME a line (SHA-256 of the certificate or of its public key): who shows one is that user, without a password." },
	{ "listener.tls_client_ca", CONF_TEXT, IN(struct listener_options, tls_client_ca), "", 0, 0,
	  "PEM file of certification authorities of your own, and of their revocation lists, if any: who shows a certificate of theirs is the user whom it names, by its first e-mail address, else DNS name, else common name." },
	{ "listener.auth", CONF_WORD, IN(struct listener_options, auth), "none", 0, 0,
	  "Whether clients may or have to log in, or show a certificate that is known; required asks those of allow_from, too.",
	  .words = auth_words },
	{ "listener.auth_file", CONF_TEXT, IN(struct listener_options, auth_file), "", 0, 0,
	  "File of the users, USER:HASH a line, with hashes of crypt(3) or {SCRAM-SHA-256}." },
	{ "listener.auth_dovecot", CONF_TEXT, IN(struct listener_options, auth_dovecot), "", 0, 0,
	  "Instead of auth_file: the Unix socket of Dovecot's authentication server, such as \"/run/dovecot/auth-client\", which `user` has to be let into." },
	{ "listener.auth_without_tls", CONF_BOOL,
	  IN(struct listener_options, auth_without_tls), "false", 0, 0,
	  "Offer AUTH where passwords travel in clear." },
	{ "listener.proxy_from", CONF_LIST,
	  IN(struct listener_options, proxy_from), "", 0, CONF_LIST_MAX,
	  "Networks of proxies that begin each connection with the PROXY protocol (HAProxy, version 1 or 2) and so say who the client is; from there nothing else is taken.",
	  .parse = network_value, .each = sizeof(struct network),
	  .count_offset = offsetof(struct listener_options, proxy_from_count),
	  .example = "192.0.2.10" },
	{ "listener.xclient_from", CONF_LIST,
	  IN(struct listener_options, xclient_from), "", 0, CONF_LIST_MAX,
	  "Networks of MTAs and proxies that may say by XCLIENT (Postfix's XCLIENT_README) who the client is: its address, which decides what it may do, and the user that it has logged in as, who is believed.",
	  .parse = network_value, .each = sizeof(struct network),
	  .count_offset = offsetof(struct listener_options, xclient_from_count),
	  .example = "192.0.2.10" },
	{ "listener.xforward_from", CONF_LIST,
	  IN(struct listener_options, xforward_from), "", 0, CONF_LIST_MAX,
	  "Networks of MTAs that may say by XFORWARD (Postfix's smtp_send_xforward_command) where a message came in; it goes into the event accepted, and decides nothing.",
	  .parse = network_value, .each = sizeof(struct network),
	  .count_offset = offsetof(struct listener_options, xforward_from_count),
	  .example = "192.0.2.10" },
	{ "listener.lenient", CONF_BOOL, IN(struct listener_options, lenient), "false", 0, 0,
	  "Take more of what old devices get wrong: EHLO and HELO with nothing behind them, or neither, commands and a message that come before the reply that they have to wait for, and lines that end in LF. A session whose first line ends so has such lines throughout, also in its messages. The log says who needed it (event legacy)." },
	{ "listener.bare_newlines", CONF_WORD,
	  IN(struct listener_options, bare_newlines), "reject", 0, 0,
	  "What becomes of a message with a CR or LF that is no CRLF; normalize makes it one, for devices that know no better. Data end with CRLF.CRLF only, either way.",
	  .words = bare_newlines_words },
	{ "listener.rewrite_from", CONF_PARSED, IN(struct listener_options, rewrite.from), "", 0, 0,
	  "The address that takes the place of those in From, or stands there where there is none, before the message is signed, for devices that write printer@localhost: \"scanner@example.com\", or \"*@example.com\", where the local part stays. The display name stays; an old address that mail can reach goes to Reply-To. Empty: From stays.",
	  .parse = rewrite_value },
	{ "listener.rewrite_sender", CONF_PARSED, IN(struct listener_options, rewrite.sender), "", 0, 0,
	  "The same for the sender of the envelope (MAIL FROM), who gets the bounces; then also one that is no address is taken. The null sender stays.",
	  .parse = rewrite_value },
	{ "listener.rewrite_when", CONF_WORD, IN(struct listener_options, rewrite.when), "needed", 0, 0,
	  "Whose: needed rewrites an address only where nobody here signs for its domain (for the envelope, or a domain above it), or where account.from forbids it; always, each. Messages that carry a signature keep their From, and so do reports and automatic replies with the null sender.",
	  .words = rewrite_when_words },

	{ "account", CONF_TITLED, FIELD(accounts), "printer", 0, 0,
	  "What a user may do once logged in, whatever the case of his name; \"*\": those who have no section of their own. Without any, everything.",
	  .each = sizeof(struct account_options), COUNT_AT(accounts_count),
	  .title_offset = offsetof(struct account_options, user) },
	{ "account.from", CONF_LIST, IN(struct account_options, from), "", 0, CONF_LIST_MAX,
	  "In whose name: patterns for the sender's address (MAIL FROM) and for each address in the field From; none: anybody's.",
	  .parse = sender_pattern_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct account_options, from_count),
	  .example = "*@example.com" },
	{ "account.messages_per_hour", CONF_COUNT,
	  IN(struct account_options, messages_per_hour), "0", 0, 10000000,
	  "Beyond it MAIL is answered with 450, until what was used has come back, evenly over the hour; 0: no limit." },
	{ "account.recipients_per_hour", CONF_COUNT,
	  IN(struct account_options, recipients_per_hour), "0", 0, 100000000,
	  "The same of RCPT." },
	{ "account.rewrite_from", CONF_PARSED, IN(struct account_options, rewrite.from), "", 0, 0,
	  "As listener.rewrite_from, which holds where this is empty; account.from has to allow what it makes.",
	  .parse = rewrite_value },
	{ "account.rewrite_sender", CONF_PARSED, IN(struct account_options, rewrite.sender), "", 0, 0,
	  "As listener.rewrite_sender, likewise.",
	  .parse = rewrite_value },
	{ "account.rewrite_when", CONF_WORD, IN(struct account_options, rewrite.when), "needed", 0, 0,
	  "As listener.rewrite_when, for these two.",
	  .words = rewrite_when_words },

	{ "limits", CONF_SECTION, 0, 0, NULL, 0, 0,
	  "What one client may ask for, and all of them together." },
	{ "limits.max_message_size", CONF_SIZE, FIELD(limits.max_message_size),
	  "50M", 1024, (uint64_t)4 << 30,
	  "The largest message, as a client gives it; EHLO's SIZE says this number. What is encoded anew may grow by half." },
	{ "limits.max_recipients", CONF_COUNT, FIELD(limits.max_recipients),
	  "1000", 1, 100000,
	  "Recipients of one message; those beyond are told to come again (RFC 5321 4.5.3.1.10)." },
	{ "limits.max_hops", CONF_COUNT, FIELD(limits.max_hops), "100", 1, 1000,
	  "Received fields in a message until it counts as looping (RFC 5321 6.3)." },
	{ "limits.max_header_size", CONF_SIZE, FIELD(limits.max_header_size),
	  "1M", 1024, (uint64_t)64 << 20,
	  "The largest header of a message." },
	{ "limits.max_sessions", CONF_COUNT, FIELD(limits.max_sessions),
	  "0", 0, 200000,
	  "Clients served at once, on all listeners together; the next one is told 421. Three quarters at most are clients outside allow_from that have not logged in. 0: as many as half of the memory bears (of the machine or the control group) if each does its worst, and as may have their files open (LimitNOFILE=), 20000 at most." },
	{ "limits.max_sessions_per_address", CONF_COUNT,
	  FIELD(limits.max_sessions_per_address), "50", 1, 200000,
	  "The same for one address, or one /64 of IPv6, outside the listener's allow_from." },
	{ "limits.max_session_rate", CONF_COUNT,
	  FIELD(limits.max_session_rate), "120", 0, 60000,
	  "New connections a minute, likewise; what was used comes back evenly, and beyond it the answer is 421. 0: no limit." },
	{ "limits.max_messages_per_session", CONF_COUNT,
	  FIELD(limits.max_messages_per_session), "0", 0, 1000000,
	  "Messages until a client has to connect again (421); 0: no limit." },
	{ "limits.command_timeout", CONF_DURATION, FIELD(limits.command_timeout_ms),
	  "5m", 1 * SECOND, 1 * HOUR,
	  "How long a client may take over one command (RFC 5321 4.5.3.2.7) or a TLS handshake, however many octets it comes in; over a message that long, and a second for each 512 octets (8192 while more than half of max_incoming is taken). Who is outside allow_from has that long to log in, and may be silent for a minute of it at a time, or for 10 seconds while such clients have more than half of the places that the others leave to them." },
	{ "limits.auth_timeout", CONF_DURATION, FIELD(limits.auth_timeout_ms),
	  "30s", 1 * SECOND, 1 * MINUTE,
	  "How long auth_dovecot may say nothing while a login waits for it, which is then told to try again (454)." },
	{ "limits.max_memory", CONF_SIZE, FIELD(limits.max_memory),
	  "64M", (uint64_t)1 << 20, (uint64_t)1 << 40,
	  "Memory for bodies being received, all clients together; beyond it they go to files. Half as much is for envelopes and headers, of which one client has as much as of max_incoming; beyond that 452. Where it is not written, no more than an eighth of the memory (of the machine or the control group)." },
	{ "limits.max_incoming", CONF_SIZE, FIELD(limits.max_incoming),
	  "512M", (uint64_t)1 << 20, (uint64_t)1 << 50,
	  "Bytes of messages being received at once, in memory and files, as far as SIZE announces them or they are there; beyond it 452. Room for one of max_message_size there always is. One client address (or /64 of IPv6) that has a message under way gets no more than three times what is then left for others." },
	{ "limits.max_queue_messages", CONF_COUNT,
	  FIELD(limits.max_queue_messages), "0", 0, (uint64_t)1 << 40,
	  "Messages that the queue may hold; beyond it 452, but for our own reports. 0: no limit." },
	{ "limits.max_queue_size", CONF_SIZE, FIELD(limits.max_queue_size),
	  "0", 0, (uint64_t)1 << 50,
	  "Bytes of messages that the queue may hold, likewise." },
	{ "limits.min_free_space", CONF_SIZE, FIELD(limits.min_free_space),
	  "8M", (uint64_t)1 << 20, (uint64_t)1 << 40,
	  "Free space in state_dir below which no message is taken (452), so that outcomes can still be written." },

	{ "prepare", CONF_SECTION, 0, 0, NULL, 0, 0,
	  "What is mended in a message before it is signed, so that hosts on the way need not; never in one that somebody else has signed." },
	{ "prepare.long_lines", CONF_WORD, FIELD(prepare.long_lines), "encode", 0, 0,
	  "Lines over 998 octets: encode that part anew (and fold such lines of a header), refuse the message, or keep them for others to break.",
	  .words = long_lines_words },
	{ "prepare.eight_bit", CONF_WORD, FIELD(prepare.eight_bit), "keep", 0, 0,
	  "Content that is 8-bit: keep it, or encode that part for every host; what is kept is converted where a host does not offer 8BITMIME (delivery.without_8bitmime).",
	  .words = eight_bit_words },
	{ "prepare.add_date", CONF_BOOL, FIELD(prepare.add_date), "true", 0, 0,
	  "Add Date where it is missing." },
	{ "prepare.add_message_id", CONF_BOOL, FIELD(prepare.add_message_id), "true", 0, 0,
	  "Add Message-ID where it is missing." },
	{ "prepare.add_mime_version", CONF_BOOL, FIELD(prepare.add_mime_version), "true", 0, 0,
	  "Add MIME-Version where 8-bit text lacks it, and Content-Type and encoding where that is missing, too." },
	{ "prepare.remove_bcc", CONF_BOOL, FIELD(prepare.remove_bcc), "true", 0, 0,
	  "Remove Bcc and Resent-Bcc, which say whom the others must not see." },

	{ "delivery", CONF_SECTION, 0, 0, NULL, 0, 0,
	  "How mail goes out." },
	{ "delivery.port", CONF_COUNT, FIELD(delivery.port), "25", 1, 65535,
	  "The port of the hosts that MX records name." },
	{ "delivery.smarthost", CONF_LIST, FIELD(delivery.smarthost), "", 0, NEXT_HOPS_MAX,
	  "\"host:port\" (`port` where none is named) that takes all mail, or several of them, {\"smtp1.example.net:25\", \"smtp2.example.net:25\"}: the next one while those before it cannot be reached; empty: the recipients' MX hosts.",
	  .parse = next_hop_value, .each = sizeof(struct slice),
	  COUNT_AT(delivery.smarthost_count) },
	{ "delivery.tls", CONF_WORD, FIELD(delivery.tls), "opportunistic", 0, 0,
	  "Opportunistic goes on in clear where TLS is not offered or fails, required waits instead; both take any certificate. Verify also checks its chain and name.",
	  .words = tls_words },
	{ "delivery.tls_min", CONF_WORD, FIELD(delivery.tls_terms.min), "auto", 0, 0,
	  "The least version of TLS. Auto is 1.0 where the alternative is clear text (opportunistic), else 1.2; below 1.2 weak keys and SHA-1 have to be taken, too.",
	  .words = tls_min_words },
	{ "delivery.tls_names", CONF_LIST, FIELD(delivery.tls_terms.names), "", 0, CONF_LIST_MAX,
	  "Names one of which the certificate must have for verify, \".example.net\" being every name below; empty: the name of the host. An MX record that is forged leads to a host of any name, so that only names given here (or `smarthost`) make verify proof against that.",
	  .parse = certificate_name_value, .each = sizeof(struct slice),
	  COUNT_AT(delivery.tls_terms.names_count) },
	{ "delivery.implicit_tls", CONF_BOOL, FIELD(delivery.implicit_tls), "false", 0, 0,
	  "The smarthost begins with TLS, without STARTTLS, as on port 465 (RFC 8314)." },
	{ "delivery.auth_user", CONF_TEXT, FIELD(delivery.login.user), "", 0, 255,
	  "The user to log in as at the smarthost (AUTH, RFC 4954); empty: none. The password needs TLS: opportunistic then means required." },
	{ "delivery.auth_password_file", CONF_TEXT, FIELD(delivery.login.password_file), "", 0, 0,
	  "File whose first line is that user's password; for root's or its owner's eyes only, and read again on a reload." },
	{ "delivery.auth_without_tls", CONF_BOOL, FIELD(delivery.login.without_tls), "false", 0, 0,
	  "Log in without TLS, too, where anybody on the way can read the password." },
	{ "delivery.retry", CONF_DURATIONS, FIELD(delivery.retry_ms),
	  "5m 15m 30m 1h", 1 * SECOND, 7 * DAY,
	  "The delay before each further attempt, and up to a tenth more; the last one repeats. What looks like greylisting waits for five minutes at most in the first half hour.",
	  COUNT_AT(delivery.retry_count) },
	{ "delivery.expire", CONF_DURATION, FIELD(delivery.expire_ms),
	  "5d", 1 * SECOND, 365 * DAY,
	  "When a message that could not be delivered goes back to its sender, after one more attempt." },
	{ "delivery.delay_warning", CONF_DURATION, FIELD(delivery.delay_warning_ms),
	  "4h", 0, 365 * DAY,
	  "When the sender of a message that still waits is told so, once; not of mail that comes from a program or goes to a list, unless the sender asks (NOTIFY=DELAY). \"0\": only senders that ask are told, after four hours." },
	{ "delivery.bounce_from", CONF_PARSED, FIELD(delivery.bounce_from), "", 0, 0,
	  "From of our reports; empty: MAILER-DAEMON@hostname.",
	  .parse = mailbox_value },
	{ "delivery.bounce_copy", CONF_PARSED, FIELD(delivery.bounce_copy), "", 0, 0,
	  "Where a copy of each report of a failure goes, with the header of the message only, also where the sender is not told; empty: nowhere.",
	  .parse = mailbox_value },
	{ "delivery.bounce_size_limit", CONF_SIZE, FIELD(delivery.bounce_size_limit),
	  "50K", 0, 192 * KIB,
	  "The largest message that a report of its failure returns as a whole; of a larger one, and where the sender asks for no more (RET=HDRS), it returns the header." },
	{ "delivery.max_connections", CONF_COUNT, FIELD(delivery.max_connections),
	  "20", 1, 256,
	  "Connections at once for the mail of one domain, not counting those that are being closed. There are few at first, more as the hosts take mail, and fewer when they refuse." },
	{ "delivery.max_host_connections", CONF_COUNT, FIELD(delivery.max_host_connections),
	  "50", 1, 4096,
	  "Connections at once to the same MX hosts, or to the same next hop, for all domains whose mail goes there. One that says good-bye counts until it is closed (12 seconds at most)." },
	{ "delivery.max_outgoing", CONF_COUNT, FIELD(delivery.max_outgoing),
	  "0", 0, OUTGOING_MAX,
	  "Connections at once to all hosts together, counted until they are closed, but for those that a host has broken off (10 seconds at most); mail beyond waits. A quarter is kept for hosts that have shown that they work, and no more than a quarter goes to those that did not. 0: a quarter of the files that the relay may open, and 2000 at most." },
	{ "delivery.max_rate", CONF_COUNT, FIELD(delivery.max_rate),
	  "0", 0, 60000,
	  "Messages a minute to the same MX hosts, or to the same next hop, at even intervals; a message of several transactions counts as so many; 0: as they come." },
	{ "delivery.without_8bitmime", CONF_WORD, FIELD(delivery.without_8bitmime), "convert", 0, 0,
	  "What becomes of an 8-bit message for a host that does not offer 8BITMIME: convert it and sign it again for that host (5.6.3 where that cannot be done), bounce it (5.6.3), or send it as it is, against RFC 6152, which many such hosts take.",
	  .words = without_8bitmime_words },
	{ "delivery.ipv6", CONF_WORD, FIELD(delivery.ipv6), "auto", 0, 0,
	  "Auto takes a host's IPv6 and IPv4 addresses in turn, IPv6 first, leaves out IPv6 while this machine has no way to them, and puts IPv4 first for ten minutes where IPv6 turns out dead; prefer tries all IPv6 first, whatever the machine seems to have; off uses IPv4 only.",
	  .words = ipv6_words },
	{ "delivery.bind", CONF_LIST, FIELD(delivery.source.bind), "", 0, 2,
	  "Addresses that connections come from, {\"192.0.2.1\", \"2001:db8::1\"}, one for IPv4 and one for IPv6; none: as the machine's routes have it. Mail waits while the machine does not have the address.",
	  .parse = source_value, .each = sizeof(struct address),
	  COUNT_AT(delivery.source.bind_count) },
	{ "delivery.helo", CONF_PARSED, FIELD(delivery.source.helo), "", 0, 0,
	  "The name in EHLO towards other hosts, which the PTR record of `bind` should name; empty: hostname.",
	  .parse = helo_value },
	{ "delivery.refuse_addresses", CONF_LIST, FIELD(delivery.refuse_addresses), "", 0, CONF_LIST_MAX,
	  "Networks where no mail goes, whatever an MX record or an address literal says, such as \"127.0.0.0/8\", \"::1/128\" and those of your own machines; smarthost and routes are not asked.",
	  .parse = network_value, .each = sizeof(struct network),
	  COUNT_AT(delivery.refuse_addresses_count) },

	{ "route", CONF_TITLED, FIELD(routes), "example.net", 0, 0,
	  "Where mail for a domain goes instead; any number of them: \"example.net\", \"*.example.net\" (the domains below it), \"*\", \"[192.0.2.1]\". The closest wins; of those with the same title, the one whose `from` is closest to the sender; where none of them takes the sender, the next closest title.",
	  .each = sizeof(struct route_options), COUNT_AT(routes_count),
	  .title_offset = offsetof(struct route_options, pattern),
	  .titles_repeat = true },
	{ "route.from", CONF_LIST, IN(struct route_options, from), "", 0, CONF_LIST_MAX,
	  "The senders (MAIL FROM) that it is for: \"user@example.com\", \"example.com\", \"*.example.com\" (the domains below it), \"*\" (all but the null path), \"<>\" (the null path, which reports have); none: all.",
	  .parse = route_sender_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct route_options, from_count) },
	{ "route.via", CONF_LIST, IN(struct route_options, via), "", 0, NEXT_HOPS_MAX,
	  "\"host:port\", looked up as an address, never as MX, or several as with delivery.smarthost; empty: the recipients' MX hosts.",
	  .parse = next_hop_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct route_options, via_count) },
	{ "route.tls", CONF_WORD, IN(struct route_options, tls), "opportunistic", 0, 0,
	  "As delivery.tls.",
	  .words = tls_words },
	{ "route.tls_min", CONF_WORD, IN(struct route_options, tls_terms.min), "auto", 0, 0,
	  "As delivery.tls_min.",
	  .words = tls_min_words },
	{ "route.tls_names", CONF_LIST, IN(struct route_options, tls_terms.names), "", 0, CONF_LIST_MAX,
	  "As delivery.tls_names; with `via` the name given there is proof, too.",
	  .parse = certificate_name_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct route_options, tls_terms.names_count) },
	{ "route.implicit_tls", CONF_BOOL, IN(struct route_options, implicit_tls), "false", 0, 0,
	  "As delivery.implicit_tls." },
	{ "route.sign", CONF_WORD, IN(struct route_options, sign), "keep", 0, 0,
	  "For next hops that reject or break signatures: keep sends all DKIM-Signature fields, none leaves out those of this relay, strip those of others, too; ARC fields stay, and so does what is stored.",
	  .words = route_sign_words },
	{ "route.bind", CONF_LIST, IN(struct route_options, source.bind), "", 0, 2,
	  "As delivery.bind, which holds where this is empty.",
	  .parse = source_value, .each = sizeof(struct address),
	  .count_offset = offsetof(struct route_options, source.bind_count) },
	{ "route.helo", CONF_PARSED, IN(struct route_options, source.helo), "", 0, 0,
	  "As delivery.helo, which holds where this is empty.",
	  .parse = helo_value },
	{ "route.auth_user", CONF_TEXT, IN(struct route_options, login.user), "", 0, 255,
	  "As delivery.auth_user, for this route; that of delivery is for its smarthost only." },
	{ "route.auth_password_file", CONF_TEXT,
	  IN(struct route_options, login.password_file), "", 0, 0,
	  "As delivery.auth_password_file." },
	{ "route.auth_without_tls", CONF_BOOL,
	  IN(struct route_options, login.without_tls), "false", 0, 0,
	  "As delivery.auth_without_tls." },
	{ "route.max_rate", CONF_COUNT, IN(struct route_options, max_rate), "0", 0, 60000,
	  "As delivery.max_rate, for this route." },

	{ "milter", CONF_SECTION, 0, 0, NULL, 0, 0,
	  "What `signet milter` does for Postfix or Sendmail, which deliver the mail themselves." },
	{ "milter.socket", CONF_PARSED, FIELD(milter),
	  "inet:8891@127.0.0.1", 0, 0,
	  "Where the MTA finds us: \"inet:PORT@ADDRESS\", \"inet6:PORT@ADDRESS\", \"unix:/PATH\", or \"systemd:NAME\", as with listener.address.",
	  .parse = milter_socket_value },
	{ "milter.socket_mode", CONF_PARSED, FIELD(milter.socket_mode), "0660", 0, 0,
	  "Who may connect to a Unix socket, in octal, as chmod(1) has it.",
	  .parse = socket_mode_value },
	{ "milter.socket_group", CONF_TEXT, FIELD(milter.socket_group), "", 0, 32,
	  "The group of a Unix socket, such as the MTA's, \"postfix\" or \"smmsp\"; empty: that of `user`." },
	{ "milter.mode", CONF_WORD, FIELD(milter.mode), "sign", 0, 0,
	  "Sign mail that goes out, verify mail that comes in and say so in Authentication-Results (RFC 8601), or both.",
	  .words = milter_mode_words },
	{ "milter.sign_from", CONF_LIST, FIELD(milter.sign_from), "127.0.0.0/8 ::1/128", 0, CONF_LIST_MAX,
	  "Networks of clients whose mail is signed, and exceptions, as in {\"10.0.0.0/8\", \"!10.1.1.1\"}, of which the closest holds; what the MTA's own machine hands in without SMTP is taken for local.",
	  .parse = client_network_value, .each = sizeof(struct network),
	  COUNT_AT(milter.sign_from_count) },
	{ "milter.sign_authenticated", CONF_BOOL, FIELD(milter.sign_authenticated), "true", 0, 0,
	  "Sign mail of clients that have logged in, wherever they are." },
	{ "milter.sign_daemons", CONF_LIST, FIELD(milter.sign_daemons), "ORIGINATING", 0, CONF_LIST_MAX,
	  "Names of the MTA's daemons ({daemon_name}, Postfix's milter_macro_daemon_name) whose mail is signed.",
	  .parse = daemon_name_value, .each = sizeof(struct slice),
	  COUNT_AT(milter.sign_daemons_count) },
	{ "milter.on_error", CONF_WORD, FIELD(milter.on_error), "tempfail", 0, 0,
	  "What becomes of mail that should be signed while signing fails: the MTA is told to try again later, or takes it unsigned.",
	  .words = on_error_words },
	{ "milter.lint", CONF_BOOL, FIELD(milter.lint), "true", 0, 0,
	  "Warn where the MTA will change a message behind us and break its signature, with the setting that keeps it whole; each once an hour for a client." },
	{ "milter.authserv_id", CONF_PARSED, FIELD(milter.authserv_id), "", 0, 0,
	  "The name under which Authentication-Results are given, one for all hosts that trust each other; empty: the MTA's own name (its macro {j}), or hostname where it gives none.",
	  .parse = authserv_id_value },
	{ "milter.dns_timeout", CONF_DURATION, FIELD(milter.dns_timeout_ms), "5s", 1 * SECOND, MILTER_DNS_TIMEOUT_MAX_MS,
	  "How long verifying one message may wait for DNS; what is not known by then is temperror." },
	{ "milter.max_connections", CONF_COUNT, FIELD(milter.max_connections), "1000", 1, 30000,
	  "Connections of MTAs at once; further ones are closed, and the MTA does as its own configuration says." },

	{ "signing", CONF_SECTION, 0, 0, NULL, 0, 0,
	  "How messages are signed." },
	{ "signing.canonicalization", CONF_PARSED, FIELD(signing),
	  "relaxed/relaxed", 0, 0,
	  "What may happen to header and body on the way: relaxed or simple for each (RFC 6376 3.4).",
	  .parse = canonicalization_value },
	{ "signing.unsigned", CONF_WORD, FIELD(signing.unsigned_action), "relay", 0, 0,
	  "What becomes of mail whose From domain has no key.",
	  .words = unsigned_words },
	{ "signing.existing", CONF_WORD, FIELD(signing.existing_action), "keep", 0, 0,
	  "What becomes of mail that carries a signature of the domain that is to sign it: signed beside that one, in its place, or passed on as it is.",
	  .words = existing_words },
	{ "signing.sender_match", CONF_WORD, FIELD(signing.sender_match), "first", 0, 0,
	  "Which of the sender sections that match a sender decide: the first one of the file, or all of them together.",
	  .words = sender_match_words },
	{ "signing.headers", CONF_LIST, FIELD(signing.headers), "", 0, POLICY_NAMES_MAX,
	  "Names of the fields to sign, wherever they occur; none: the list of RFC 6376 5.4.1 with Message-ID, the MIME fields and List-Unsubscribe-Post. From is always signed.",
	  .parse = field_name_value, .each = sizeof(struct slice),
	  COUNT_AT(signing.headers_count) },
	{ "signing.oversign", CONF_LIST, FIELD(signing.oversign), "", 0, POLICY_NAMES_MAX,
	  "Names of the fields that are signed once more often than they occur, so that none can be added; empty: From, Reply-To, Subject, Date, To and Cc, as far as they are signed; {\"none\"}: no field.",
	  .parse = field_name_value, .each = sizeof(struct slice),
	  COUNT_AT(signing.oversign_count) },
	{ "signing.expire", CONF_DURATION, FIELD(signing.expire_ms), "0s", 0, 3650 * DAY,
	  "How long a signature is valid (x=); 0s: for ever. Less than delivery.expire, and mail that waits in the queue may arrive too late." },
	{ "signing.verify_every", CONF_COUNT, FIELD(signing.verify_every), "100", 0, 1000000,
	  "One signed message in so many is verified whole before it is accepted, beside the first one of each selector; 0: only those first ones." },
	{ "signing.strict_key_modes", CONF_BOOL, FIELD(strict_key_modes), "false", 0, 0,
	  "Refuse a key or password file that others can read, instead of warning." },

	{ "domain", CONF_TITLED, FIELD(domains), "example.com", 0, 0,
	  "A domain to sign for; any number of them. A message is signed with each active selector of its author's domain. \"*\" is for every domain without a section: d= is then the author's domain, whose DNS has to publish the selector.",
	  .each = sizeof(struct domain_section), COUNT_AT(keys.domains_count),
	  .title_offset = offsetof(struct domain_section, keys.name) },
	{ "domain.subdomains", CONF_BOOL, IN(struct domain_section, keys.subdomains), "false", 0, 0,
	  "Sign for the domains below it, too." },
	{ "domain.canonicalization", CONF_PARSED, WHOLE(struct domain_section), "", 0, 0,
	  "As signing.canonicalization, which holds where this is empty.",
	  .parse = domain_canonicalization_value },
	{ "domain.headers", CONF_LIST, IN(struct domain_section, signing.headers), "", 0, POLICY_NAMES_MAX,
	  "As signing.headers, which holds where this is empty.",
	  .parse = field_name_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct domain_section, signing.headers_count) },
	{ "domain.oversign", CONF_LIST, IN(struct domain_section, signing.oversign), "", 0, POLICY_NAMES_MAX,
	  "As signing.oversign, which holds where this is empty.",
	  .parse = field_name_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct domain_section, signing.oversign_count) },
	{ "domain.expire", CONF_PARSED, WHOLE(struct domain_section), "", 0, 0,
	  "As signing.expire, such as \"30d\"; that holds where this is empty.",
	  .parse = domain_expire_value },
	{ "domain.identity", CONF_PARSED, IN(struct domain_section, signing.identity), "", 0, 0,
	  "Who signs (i=): \"user@example.com\", or \"@news.example.com\"; within the domain. Empty: no i=, which means the domain itself.",
	  .parse = identity_value },
	{ "domain.also_sign", CONF_LIST, IN(struct domain_section, signing.also_sign), "", 0, POLICY_SIGNERS_MAX,
	  "Domains with sections of their own that sign this domain's mail, too, such as an operator's: with their active selectors and their options.",
	  .parse = domain_name_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct domain_section, signing.also_sign_count) },
	{ "domain.selector", CONF_TITLED, IN(struct domain_section, keys.selectors), "2026a", 0, 0,
	  "A key; its title is the selector under which DNS publishes it.",
	  .each = sizeof(struct selector_options),
	  .count_offset = offsetof(struct domain_section, keys.selectors_count),
	  .title_offset = offsetof(struct selector_options, name) },
	{ "domain.selector.key", CONF_TEXT, IN(struct selector_options, key_path), NULL, 1, 0,
	  "PEM file of the private key; relative to keys_dir.",
	  .example = "example.com/2026a.pem" },
	{ "domain.selector.state", CONF_WORD, IN(struct selector_options, state), "active", 0, 0,
	  "Active keys sign; a key to be used later, or used before, is only published.",
	  .words = state_words },
	{ "domain.selector.from", CONF_LIST, IN(struct selector_options, from), "", 0, CONF_LIST_MAX,
	  "Senders that it is for, such as \"*@news.example.com\": their mail is signed with the selectors that name them, all other mail with those that name nobody.",
	  .parse = sender_pattern_value, .each = sizeof(struct slice),
	  .count_offset = offsetof(struct selector_options, from_count) },

	{ "sender", CONF_TITLED, FIELD(signing.senders), "ceo@example.com", 0, 0,
	  "Senders whose mail is signed otherwise than their domain's section says; any number of them, of which the first that matches the address in From decides. \"*\" stands for anything: \"*@*.example.com\", \"root@*\", \"*@*\".",
	  .each = sizeof(struct sender_options), COUNT_AT(signing.senders_count),
	  .title_offset = offsetof(struct sender_options, pattern) },
	{ "sender.sign", CONF_LIST, IN(struct sender_options, sign), NULL, 0, POLICY_SIGNERS_MAX,
	  "Who signs: a key by the name of its record, or a domain, for the selectors that its section has for this sender; \"*\" is the section of that name. None: nobody signs, see signing.unsigned.",
	  .parse = sender_sign_value, .each = sizeof(struct sender_sign),
	  .count_offset = offsetof(struct sender_options, sign_count),
	  .example = "2026a._domainkey.example.com" },
	{ "sender.identity", CONF_PARSED, IN(struct sender_options, identity), "", 0, 0,
	  "As domain.identity, whose place it takes; \"@*\" is the author's domain. Left out of signatures of domains that it is not within.",
	  .parse = sender_identity_value },
};
/* clang-format on */

const struct conf_table options_table = {rows, COUNT(rows)};

/* ---- loading ---- */

void
options_free(struct options *options)
{
	struct arena arena;

	if (options == NULL)
		return;
	/* The options lie in their own arena. */
	arena = options->arena;
	arena_done(&arena);
}

static void
machine_add(struct conf_sources *sources)
{
	static const struct {
		const char *name;
		void (*append)(struct text *out);
	} settled[] = {
		{SOURCE_HOSTNAME, machine_hostname},
		{SOURCE_RESOLV_CONF, machine_resolv_conf},
		{SOURCE_DIRECTORY, machine_directory},
		{SOURCE_MEMORY, machine_memory},
		{SOURCE_FILES, machine_files},
	};

	for (size_t i = 0; i < COUNT(settled); i++) {
		CLEAN(text_done) struct text value = {0};

		settled[i].append(&value);
		conf_sources_add(sources, SLICE(settled[i].name),
				 text_slice(&value));
	}
}

/* From items, or from the sources alone where there are none yet. */
static struct options *
options_build(struct arena *arena, const struct conf_item *items,
	      const struct conf_sources *sources, struct conf_errors *errors)
{
	struct options *options = arena_new(arena, sizeof(*options));

	if (items == NULL)
		items = conf_parse(sources, arena, errors);
	conf_fill(&options_table, items, options, arena, errors);
	options->items = items;
	options->arena = *arena;
	signing_options_split(options);
	senders_settle(options, errors);
	if (options->listeners_count == 0) {
		options->listeners = arena_new(&options->arena,
					       sizeof(*options->listeners));
		options->listeners_count = 1;
		conf_fill_default(&options_table, "listener",
				  options->listeners, &options->arena);
		options->listeners->name = SLICE("default");
	}
	options_settle(options, sources, errors);
	routing_build(options);
	options_check(options, errors);
	signing_options_check(options, errors);
	senders_check(options, errors);
	return options;
}

bool
options_errors_report(const struct conf_errors *errors, const char *path,
		      struct text *text, struct fault *fault)
{
	if (errors->count == 0)
		return true;
	if (text != NULL)
		conf_errors_write(errors, text);
	return fault_set(fault, errors->is_denied ? FAULT_DENIED : FAULT_INPUT,
			 "%s: %zu %s", path, errors->count,
			 errors->count == 1 ? "error" : "errors");
}

bool
options_load(const char *path, struct text *errors_text,
	     struct options **options_out, struct text *sources_out,
	     struct fault *fault)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {.names = &options_table};
	CLEAN(conf_sources_done) struct conf_sources sources = {0};
	CLEAN(options_free_clean) struct options *options = NULL;
	struct arena arena = {0};
	const struct conf_item *items;

	items = conf_read(path, &sources, &arena, &errors);
	if (sources.count == 0) { /* not even the first file */
		bool is_good = options_errors_report(&errors, path,
						     errors_text, fault);

		if (fault != NULL && errors.is_absent)
			fault->kind = FAULT_ABSENT;
		arena_done(&arena);
		return is_good;
	}
	machine_add(&sources);
	options = options_build(&arena, items, &sources, &errors);
	if (!options_errors_report(&errors, path, errors_text, fault))
		return false;
	*options_out = TAKE(options);
	if (sources_out != NULL)
		text_add(sources_out, text_slice(&sources.bytes));
	return true;
}

bool
options_parse(struct slice bytes, struct options **options_out,
	      struct fault *fault)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {.names = &options_table};
	CLEAN(conf_sources_done) struct conf_sources sources = {0};
	CLEAN(options_free_clean) struct options *options = NULL;
	struct arena arena = {0};

	if (!conf_sources_copy(bytes, &sources, fault))
		return false;
	options = options_build(&arena, NULL, &sources, &errors);
	if (!options_errors_report(&errors, "the configuration handed over",
				   NULL, fault))
		return false;
	*options_out = TAKE(options);
	return true;
}

bool
options_accept(struct slice bytes, struct text *errors_text)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {.names = &options_table};
	CLEAN(conf_sources_done) struct conf_sources sources = {0};
	struct arena arena = {0};
	struct options *options;
	bool is_good;

	conf_sources_add(&sources, SLICE("(made)"), bytes);
	machine_add(&sources);
	options = options_build(&arena, NULL, &sources, &errors);
	is_good = options_errors_report(&errors, "(made)", errors_text, NULL);
	options_free(options);
	return is_good;
}

bool
options_find_listener(const struct options *options, struct slice name,
		      size_t *index_out)
{
	for (size_t i = 0; i < options->listeners_count; i++)
		if (slice_eq(options->listeners[i].name, name)) {
			*index_out = i;
			return true;
		}
	return false;
}

struct options *
options_default(void)
{
	CLEAN(conf_errors_done) struct conf_errors errors = {.names = &options_table};
	CLEAN(conf_sources_done) struct conf_sources sources = {0};
	struct arena arena = {0};
	struct options *options;

	conf_sources_add(&sources, SLICE("(defaults)"), SLICE_NONE);
	machine_add(&sources);
	options = options_build(&arena, NULL, &sources, &errors);
	/* Only the machine's own name can be wrong here. */
	if (errors.count > 0)
		options->hostname = SLICE("localhost");
	return options;
}

int
options_exit_code(const struct fault *fault)
{
	return fault->kind == FAULT_DENIED ? EX_NOPERM : EX_CONFIG;
}

void
options_write(struct text *out)
{
	text_add_string(
		out,
		"# signet.conf: every option of signet, with its default "
		"behind it.\n"
		"#\n"
		"# Texts stand in double quotes, lists in braces. Sizes take "
		"K, M and G, times\n"
		"# s, m, h and d. include \"FILE\" reads another file, "
		"\"customers/*.conf\" all\n"
		"# that match, in the order of their names. Relative paths "
		"start at the\n"
		"# directory of the file that they stand in.\n\n");
	conf_write(&options_table, out);
}
