#include "relay/options_values.h"

#include "milter/authres.h"
#include "milter/idn.h"
#include "relay/options.h"

#define LABEL_MAX 63
#define NAME_MAX_OCTETS 253

/* ---- names ---- */

static bool
is_alphanumeric(char c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

static bool
label_check(struct slice label, const char *also, struct fault *fault)
{
	if (label.len == 0)
		return fault_set(fault, FAULT_INPUT, "has an empty label");
	if (label.len > LABEL_MAX)
		return fault_set(fault, FAULT_INPUT,
				 "has a label of more than %d characters",
				 LABEL_MAX);
	for (size_t i = 0; i < label.len; i++) {
		if ((unsigned char)label.bytes[i] >= 0x80)
			return fault_set(fault, FAULT_INPUT,
					 "has letters beyond ASCII that no "
					 "domain name may have");
		if (label.bytes[i] == '\0' ||
		    (!is_alphanumeric(label.bytes[i]) &&
		     strchr(also, label.bytes[i]) == NULL))
			return fault_set(fault, FAULT_INPUT,
					 "holds '%c', which no domain name may",
					 label.bytes[i]);
	}
	if (label.bytes[0] == '-' || label.bytes[label.len - 1] == '-')
		return fault_set(fault, FAULT_INPUT,
				 "has a label that begins or ends with '-'");
	return true;
}

static bool
name_check(struct slice text, const char *also, struct fault *fault)
{
	struct slice rest = text, label;

	if (text.len == 0)
		return fault_set(fault, FAULT_INPUT, "is empty");
	if (text.len > NAME_MAX_OCTETS)
		return fault_set(fault, FAULT_INPUT,
				 "is longer than %d characters",
				 NAME_MAX_OCTETS);
	if (text.bytes[text.len - 1] == '.')
		return fault_set(fault, FAULT_INPUT,
				 "ends with a dot: write it without");
	while (slice_split(&rest, '.', &label))
		if (!label_check(label, also, fault))
			return false;
	return true;
}

bool
host_name_check(struct slice text, struct fault *fault)
{
	return name_check(text, "-", fault) ||
	       fault_within(fault, "the domain name '%.*s'", SLICE_ARG(text));
}

bool
domain_check(struct slice text, struct fault *fault)
{
	return name_check(text, "-_", fault) ||
	       fault_within(fault, "the domain name '%.*s'", SLICE_ARG(text));
}

bool
selector_check(struct slice text, struct fault *fault)
{
	return name_check(text, "-_", fault) ||
	       fault_within(fault, "the selector '%.*s'", SLICE_ARG(text));
}

/* What other programs write for the domains below one, or for a domain. */
static bool
pattern_hint(struct slice text, struct fault *fault)
{
	struct slice domain = text;
	struct address address;

	if (slice_starts(text, SLICE(".")) && text.len > 1)
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s': the domains below one are \"*%.*s\"",
				 SLICE_ARG(text), SLICE_ARG(text));
	if (slice_starts(domain, SLICE("*@")))
		domain = slice_from(domain, 1);
	if (slice_starts(domain, SLICE("@")))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s': a domain is written without '@', "
				 "\"%.*s\"",
				 SLICE_ARG(text),
				 SLICE_ARG(slice_from(domain, 1)));
	if (!slice_starts(text, SLICE("[")) &&
	    address_parse_host(text, 0, &address))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s': an address literal has brackets, "
				 "\"[%.*s]\"",
				 SLICE_ARG(text), SLICE_ARG(text));
	return true;
}

bool
pattern_check(struct slice text, struct fault *fault)
{
	struct address address;

	if (slice_eq(text, SLICE("*")) ||
	    (slice_starts(text, SLICE("[")) &&
	     address_parse_host(text, 0, &address)))
		return true;
	if (!pattern_hint(text, fault))
		return false;
	if (slice_starts(text, SLICE("*.")))
		text = slice_from(text, 2);
	return domain_check(text, fault);
}

/* ---- addresses ---- */

#define SYSTEMD_PREFIX "systemd:"

/* systemd.socket(5), FileDescriptorName=: up to 255 printable characters but
 * ":". */
static bool
socket_name_value(struct slice text, struct arena *arena,
		  struct slice *text_out, struct slice *name_out,
		  struct fault *fault)
{
	struct slice name = slice_from(text, strlen(SYSTEMD_PREFIX));
	bool is_good = name.len > 0 && name.len <= 255;

	for (size_t i = 0; i < name.len; i++)
		if (name.bytes[i] <= ' ' || name.bytes[i] > '~' ||
		    name.bytes[i] == ':')
			is_good = false;
	if (!is_good)
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' names no socket of systemd's, as in "
				 "\"systemd:smtp\"",
				 SLICE_ARG(text));
	*text_out = arena_copy(arena, text);
	*name_out = arena_copy(arena, name);
	return true;
}

bool
listener_address_value(struct slice text, struct arena *arena, void *element,
		       struct fault *fault)
{
	struct listener_options *listener = element;

	if (slice_starts(text, SLICE(SYSTEMD_PREFIX)))
		return socket_name_value(text, arena, &listener->address_text,
					 &listener->socket_name, fault);
	if (!address_parse(text, 0, &listener->address, fault))
		return false;
	listener->address_text = arena_copy(arena, text);
	listener->is_any = slice_starts(text, SLICE("*"));
	return true;
}

bool
network_value(struct slice text, struct arena *arena, void *element,
	      struct fault *fault)
{
	(void)arena;
	return network_parse(text, element, fault);
}

bool
client_network_value(struct slice text, struct arena *arena, void *element,
		     struct fault *fault)
{
	struct network *network = element;
	bool is_exception = slice_starts(text, SLICE("!"));

	(void)arena;
	if (!network_parse(slice_from(text, is_exception), network, fault))
		return false;
	network->is_exception = is_exception;
	return true;
}

bool
resolver_value(struct slice text, struct arena *arena, void *element,
	       struct fault *fault)
{
	struct address *address = element;

	(void)arena;
	if (address_parse_host(text, 53, address))
		return true;
	if (slice_starts(text, SLICE("unix:")) ||
	    slice_starts(text, SLICE("*")))
		return fault_set(fault, FAULT_INPUT, "'%.*s' is not an address",
				 SLICE_ARG(text));
	return address_parse(text, 53, address, fault);
}

/* No domain ends in a label of digits, and OpenSSL takes for an address more
 * than inet_pton(3) does. */
static bool
is_like_address(struct slice text)
{
	size_t at = text.len;

	while (at > 0 && ascii_is_digit(text.bytes[at - 1]))
		at--;
	return slice_find(text, ':') >= 0 ||
	       (at < text.len && (at == 0 || text.bytes[at - 1] == '.'));
}

/* A leading dot stands for whatever is below. */
bool
certificate_name_value(struct slice text, struct arena *arena, void *element,
		       struct fault *fault)
{
	*(struct slice *)element = arena_copy(arena, text);
	if (is_like_address(text))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is an address, and names are compared: "
				 "the address of a certificate is compared "
				 "where the host is named by it",
				 SLICE_ARG(text));
	return host_name_check(slice_from(text, slice_starts(text, SLICE("."))),
			       fault);
}

bool
source_value(struct slice text, struct arena *arena, void *element,
	     struct fault *fault)
{
	struct address *address = element;
	const struct in6_addr *v6 = &address->v6.sin6_addr;

	(void)arena;
	if (!address_parse_host(text, 0, address))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is not an address such as "
				 "\"192.0.2.1\", without a port",
				 SLICE_ARG(text));
	address_unmap(address);
	if (address->any.sa_family == AF_INET6
		    ? IN6_IS_ADDR_UNSPECIFIED(v6) || IN6_IS_ADDR_MULTICAST(v6)
		    : address->v4.sin_addr.s_addr == INADDR_ANY ||
			      ntohl(address->v4.sin_addr.s_addr) >> 28 >= 0xe)
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is no address of a machine",
				 SLICE_ARG(text));
	return true;
}

/* RFC 5321 4.1.1.1: a name, or an address literal. */
bool
helo_value(struct slice text, struct arena *arena, void *element,
	   struct fault *fault)
{
	struct address address;
	struct slice ascii = text;

	*(struct slice *)element = arena_copy(arena, text);
	if (text.len == 0 || (slice_starts(text, SLICE("[")) &&
			      address_parse_host(text, 0, &address)))
		return true;
	if (idn_to_ascii(text, arena, &ascii, NULL))
		*(struct slice *)element = ascii;
	return host_name_check(ascii, fault);
}

bool
next_hop_value(struct slice text, struct arena *arena, void *element,
	       struct fault *fault)
{
	struct address address;
	struct slice host;
	uint64_t number;
	uint16_t port;

	/* The documented sample is a valid file, whose placeholder names
	 * nobody: as if nothing were written. */
	if (slice_eq(text, SLICE("host:port")))
		text = SLICE("");
	*(struct slice *)element = arena_copy(arena, text);
	if (text.len == 0)
		return true;
	/* Not repeated: a password may stand in it. */
	if (slice_find(text, '@') >= 0)
		return fault_set(fault, FAULT_INPUT,
				 "a login does not stand here: see auth_user "
				 "and auth_password_file");
	if (!address_split(text, 25, &host, &port))
		return fault_set(fault, FAULT_INPUT, "'%.*s' is not host:port",
				 SLICE_ARG(text));
	if (address_parse_host(host, port, &address))
		return true;
	/* No top-level domain is a number (RFC 3696 2). */
	if (slice_number(slice_from(host, (size_t)(slice_find_last(host, '.') +
						   1)),
			 &number))
		return fault_set(fault, FAULT_INPUT, "'%.*s' is no address",
				 SLICE_ARG(host));
	return domain_check(host, fault);
}

/* Lower case, A-labels: as routing_find() compares. */
static bool
sender_settle(struct slice local, struct slice prefix, struct slice domain,
	      struct arena *arena, struct slice *out, struct fault *fault)
{
	CLEAN(text_done) struct text settled = {0};
	struct slice ascii;

	if (idn_to_ascii(domain, arena, &ascii, NULL))
		domain = ascii;
	if (!domain_check(domain, fault))
		return false;
	for (size_t i = 0; i < local.len; i++)
		text_add_byte(&settled, ascii_lower(local.bytes[i]));
	text_add(&settled, prefix);
	text_add(&settled, domain);
	*out = arena_copy(arena, text_slice(&settled));
	return true;
}

bool
route_sender_value(struct slice text, struct arena *arena, void *element,
		   struct fault *fault)
{
	ptrdiff_t at = slice_find_last(text, '@');
	struct slice local = slice_sub(text, 0, at < 0 ? 0 : (size_t)at);
	struct slice domain = slice_from(text, (size_t)(at + 1));

	*(struct slice *)element = arena_copy(arena, text);
	if (slice_eq(text, SLICE("<>")) || slice_eq(text, SLICE("*")))
		return true;
	if (text.len == 0)
		return fault_set(fault, FAULT_INPUT,
				 "the null path is written \"<>\"");
	if (!pattern_hint(text, fault))
		return false;
	if (slice_find(local, '*') >= 0)
		return fault_set(
			fault, FAULT_INPUT,
			"'%.*s': '*' stands for a whole domain, or for "
			"what is before its first dot",
			SLICE_ARG(text));
	if (at >= 0)
		return sender_settle(local, SLICE("@"), domain, arena, element,
				     fault);
	if (slice_starts(domain, SLICE("*.")))
		return sender_settle(SLICE_NONE, SLICE("*."),
				     slice_from(domain, 2), arena, element,
				     fault);
	return sender_settle(SLICE_NONE, SLICE_NONE, domain, arena, element,
			     fault);
}

bool
mailbox_value(struct slice text, struct arena *arena, void *element,
	      struct fault *fault)
{
	ptrdiff_t at = slice_find_last(text, '@');
	struct slice local = slice_sub(text, 0, at < 0 ? 0 : (size_t)at);

	*(struct slice *)element = arena_copy(arena, text);
	if (text.len == 0)
		return true;
	if (local.len == 0 || local.len > 64)
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is not an address such as "
				 "\"mailer-daemon@example.com\"",
				 SLICE_ARG(text));
	for (size_t i = 0; i < local.len; i++)
		if (!is_alphanumeric(local.bytes[i]) &&
		    strchr("!#$%&'*+-/=?^_`{|}~.", local.bytes[i]) == NULL)
			return fault_set(fault, FAULT_INPUT,
					 "'%.*s' has '%c' before its '@'",
					 SLICE_ARG(text), local.bytes[i]);
	return domain_check(slice_from(text, (size_t)at + 1), fault);
}

bool
rewrite_value(struct slice text, struct arena *arena, void *element,
	      struct fault *fault)
{
	ptrdiff_t at = slice_find_last(text, '@');

	if (!slice_starts(text, SLICE("*@")) || at != 1)
		return mailbox_value(text, arena, element, fault);
	*(struct slice *)element = arena_copy(arena, text);
	return domain_check(slice_from(text, 2), fault);
}

/* ---- the milter's ---- */

static bool
milter_socket_fault(struct slice text, struct fault *fault)
{
	return fault_set(fault, FAULT_INPUT,
			 "'%.*s' is none of \"inet:PORT@ADDRESS\", "
			 "\"inet6:PORT@ADDRESS\" and \"unix:/PATH\"",
			 SLICE_ARG(text));
}

/* The host is an address, or the one name whose addresses everybody knows. */
static bool
milter_inet_value(struct slice text, struct slice place, bool is_v6,
		  struct address *address, struct fault *fault)
{
	struct slice port;
	uint64_t number;

	if (!slice_split(&place, '@', &port) || place.len == 0 ||
	    !slice_number(port, &number) || number == 0 || number > UINT16_MAX)
		return milter_socket_fault(text, fault);
	if (slice_eq_nocase(place, SLICE("localhost")))
		place = is_v6 ? SLICE("::1") : SLICE("127.0.0.1");
	if (!address_parse_host(place, (uint16_t)number, address))
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s': '%.*s' is not an address",
				 SLICE_ARG(text), SLICE_ARG(place));
	if ((address->any.sa_family == AF_INET6) != is_v6)
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s': an IPv%d address belongs to '%s'",
				 SLICE_ARG(text), is_v6 ? 4 : 6,
				 is_v6 ? "inet" : "inet6");
	return true;
}

bool
milter_socket_value(struct slice text, struct arena *arena, void *element,
		    struct fault *fault)
{
	struct milter_section *milter = element;
	CLEAN(text_done) struct text local = {0};
	struct slice rest = text, kind;
	bool is_v6 = slice_starts(text, SLICE("inet6:"));

	if (slice_starts(text, SLICE(SYSTEMD_PREFIX)))
		return socket_name_value(text, arena, &milter->socket_text,
					 &milter->socket_name, fault);
	milter->socket_text = arena_copy(arena, text);
	if (!slice_split(&rest, ':', &kind) || rest.len == 0)
		return milter_socket_fault(text, fault);
	if (is_v6 || slice_eq(kind, SLICE("inet")))
		return milter_inet_value(text, rest, is_v6, &milter->socket,
					 fault);
	if (!slice_eq(kind, SLICE("unix")) && !slice_eq(kind, SLICE("local")))
		return milter_socket_fault(text, fault);
	if (rest.bytes[0] != '/')
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' has no absolute path",
				 SLICE_ARG(text));
	text_addf(&local, "unix:%.*s", SLICE_ARG(rest));
	return address_parse(text_slice(&local), 0, &milter->socket, fault);
}

bool
socket_mode_value(struct slice text, struct arena *arena, void *element,
		  struct fault *fault)
{
	uint32_t mode = 0;
	bool is_good = text.len >= 3 && text.len <= 4;

	(void)arena;
	for (size_t i = 0; i < text.len && is_good; i++) {
		is_good = text.bytes[i] >= '0' && text.bytes[i] <= '7';
		mode = mode * 8 + (uint32_t)(text.bytes[i] - '0');
	}
	if (!is_good || mode > 0777)
		return fault_set(fault, FAULT_INPUT,
				 "'%.*s' is not a mode such as \"0660\"",
				 SLICE_ARG(text));
	*(uint32_t *)element = mode;
	return true;
}

static bool
is_printable(struct slice text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.bytes[i] <= ' ' || text.bytes[i] >= 0x7f)
			return false;
	return text.len > 0;
}

bool
daemon_name_value(struct slice text, struct arena *arena, void *element,
		  struct fault *fault)
{
	*(struct slice *)element = arena_copy(arena, text);
	return is_printable(text) ||
	       fault_set(fault, FAULT_INPUT,
			 "'%.*s' is not the name of a daemon", SLICE_ARG(text));
}

bool
authserv_id_value(struct slice text, struct arena *arena, void *element,
		  struct fault *fault)
{
	bool is_good = text.len == 0 || authres_id_is_sound(text);

	*(struct slice *)element = arena_copy(arena, text);
	return is_good ||
	       fault_set(fault, FAULT_INPUT,
			 "'%.*s' is not a name such as \"mx.example.com\"",
			 SLICE_ARG(text));
}
