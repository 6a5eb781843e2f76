#include "relay/options_warn.h"

#include "base/conf_value.h"
#include "milter/repair.h"
#include "milter/senders.h"
#include "relay/limits.h"
#include "relay/options_check.h"
#include "relay/queue/quota.h"

/* Whoever lists a network of fewer bits means everybody; the smallest of one's
 * own are 10.0.0.0/8 and fc00::/7. */
#define PREFIX_V4_OWN 8
#define PREFIX_V6_OWN 7

static void
place_add(struct text *out, const struct conf_item *item, const char *option)
{
	struct conf_place place = conf_item_place(item, option);

	if (place.file != NULL)
		text_addf(out, "%s:%u: ", place.file, place.line);
}

/* ---- a file that says nothing ---- */

/* A disk that was full leaves such a one behind, or an editor. */
static void
empty_warn(const struct options *options, void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};

	if (options->items->items != NULL)
		return;
	text_addf(&said,
		  "%s: says nothing: mail of this machine is taken, and leaves "
		  "unsigned",
		  options->items->place.file);
	warn(text_string(&said));
}

/* ---- the name ---- */

static void
hostname_warn(const struct options *options, void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};

	/* What the machine calls itself is `doctor`'s to judge: a configuration
	 * that does not say it is right. */
	if (conf_item_find(options->items, "hostname", 0) == NULL ||
	    slice_find(options->hostname, '.') >= 0)
		return;
	place_add(&said, options->items, "hostname");
	text_addf(&said,
		  "'hostname' \"%.*s\" is no full name, though EHLO, Received "
		  "fields and MAILER-DAEMON@%.*s will have it, and many hosts "
		  "refuse it; write a name with a domain, such as "
		  "mail.example.com",
		  SLICE_ARG(options->hostname), SLICE_ARG(options->hostname));
	warn(text_string(&said));
}

/* ---- open relays ---- */

static bool
is_reached_from_afar(const struct listener_options *listener)
{
	static const struct network loopback[] = {
		{.bytes = {127}, .prefix_len = 8},
		{.bytes = {[15] = 1}, .is_v6 = true, .prefix_len = 128},
	};

	/* A proxy lets the world in, wherever it listens itself. */
	return listener->proxy_from_count > 0 ||
	       listener->socket_name.len > 0 ||
	       !networks_contain(loopback, COUNT(loopback),
				 &listener->address);
}

static bool
is_everybody(const struct network *network)
{
	return !network->is_exception &&
	       network->prefix_len <
		       (network->is_v6 ? PREFIX_V6_OWN : PREFIX_V4_OWN);
}

static bool
has_everybody(const struct network *networks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (is_everybody(&networks[i]))
			return true;
	return false;
}

static void
open_relay_warn(const struct listener_options *listener,
		const struct conf_item *item, void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};

	if (!has_everybody(listener->allow_from, listener->allow_from_count) ||
	    listener->auth == AUTH_REQUIRED || !is_reached_from_afar(listener))
		return;
	place_add(&said, item, "allow_from");
	text_addf(&said,
		  "the listener \"%.*s\" is an OPEN RELAY: whoever reaches it "
		  "sends what he likes to anybody, signed by you; name your "
		  "own networks in 'allow_from', or set 'auth = "
		  "\"required\"'",
		  SLICE_ARG(listener->name));
	warn(text_string(&said));
}

/* Who may say who he is may say that he is one of allow_from, or has logged
 * in. */
static void
believing_warn(const struct listener_options *listener,
	       const struct conf_item *item, const char *option,
	       void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};

	place_add(&said, item, option);
	text_addf(&said,
		  "the listener \"%.*s\" is an OPEN RELAY: '%s' believes "
		  "everybody who says who the client is; name your own proxies "
		  "or MTAs there",
		  SLICE_ARG(listener->name), option);
	warn(text_string(&said));
}

static void
fronts_warn(const struct listener_options *listener,
	    const struct conf_item *item, void (*warn)(const char *text))
{
	if (has_everybody(listener->proxy_from, listener->proxy_from_count))
		believing_warn(listener, item, "proxy_from", warn);
	if (has_everybody(listener->xclient_from,
			  listener->xclient_from_count) &&
	    is_reached_from_afar(listener))
		believing_warn(listener, item, "xclient_from", warn);
}

/* What strangers send comes through the same milter. */
static void
sign_from_warn(const struct options *options, void (*warn)(const char *text))
{
	const struct milter_section *milter = &options->milter;
	CLEAN(text_done) struct text said = {0};

	if (!has_everybody(milter->sign_from, milter->sign_from_count) ||
	    options->keys.domains_count == 0)
		return;
	place_add(&said, options_section_at(options->items, "milter", 0),
		  "sign_from");
	text_add_string(&said,
			"'milter.sign_from' names everybody: whoever sends "
			"mail to this host in your name has it signed by you; "
			"name your own networks there");
	warn(text_string(&said));
}

/* ---- identities that nobody signs ---- */

static bool
section_signs(const struct domain_options *section, struct slice domain)
{
	struct slice name = section->name;
	size_t below = domain.len - name.len;

	if (section->selectors_count == 0)
		return false;
	if (slice_eq(name, SLICE("*")) || slice_eq_nocase(name, domain))
		return true;
	return section->subdomains && domain.len > name.len &&
	       domain.bytes[below - 1] == '.' &&
	       slice_eq_nocase(slice_from(domain, below), name);
}

static bool
somebody_signs(const struct options *options, struct slice address)
{
	ptrdiff_t at = slice_find_last(address, '@');
	struct slice local = slice_sub(address, 0, (size_t)at);
	struct slice domain = slice_from(address, (size_t)at + 1);

	for (size_t i = 0; i < options->keys.domains_count; i++)
		if (section_signs(&options->keys.domains[i], domain))
			return true;
	for (size_t i = 0; i < options->signing.senders_count; i++)
		if (options->signing.senders[i].sign_count > 0 &&
		    senders_pattern_matches(options->signing.senders[i].pattern,
					    local, domain))
			return true;
	return false;
}

static void
rewrite_warn(const struct options *options, struct slice from,
	     const struct conf_item *item, void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};

	/* Where nobody signs anything, that is no mistake. */
	if (from.len == 0 || options->keys.domains_count == 0 ||
	    somebody_signs(options, from))
		return;
	place_add(&said, item, "rewrite_from");
	text_addf(&said,
		  "'rewrite_from' gives mail the author %.*s, for whose domain "
		  "no 'domain' section signs: it leaves unsigned",
		  SLICE_ARG(from));
	warn(text_string(&said));
}

/* ---- signatures that end too early ---- */

/* The last attempt is made when `delivery.expire` is over, not before. */
static void
expire_warn(const struct options *options, uint64_t expire_ms,
	    const struct conf_item *item, const char *name,
	    void (*warn)(const char *text))
{
	uint64_t waits_ms = options->delivery.expire_ms;
	CLEAN(text_done) struct text said = {0};

	if (expire_ms == 0 || expire_ms > waits_ms)
		return;
	place_add(&said, item, "expire");
	text_addf(&said, "'%s' ends signatures after ", name);
	conf_number_write(CONF_DURATION, expire_ms, &said);
	text_add_string(&said, ", but a message may wait in the queue for ");
	conf_number_write(CONF_DURATION, waits_ms, &said);
	text_addf(&said,
		  " ('delivery.expire'), and one that arrives late then fails "
		  "DKIM; set '%s' to more than that, by a day or two, or to "
		  "0s for none",
		  name);
	warn(text_string(&said));
}

static void
expires_warn(const struct options *options, void (*warn)(const char *text))
{
	const struct signing_options *signing = &options->signing;
	/* Not looked for from the start for each: there may be 100,000. */
	const struct conf_item *item = options->items->items;

	expire_warn(options, signing->expire_ms,
		    options_section_at(options->items, "signing", 0),
		    "signing.expire", warn);
	for (size_t i = 0; i < options->keys.domains_count; i++) {
		item = conf_item_from(item, "domain");
		if (signing->domains[i].has_expire)
			expire_warn(options, signing->domains[i].expire_ms,
				    item, "domain.expire", warn);
		item = item->next;
	}
}

/* ---- next hops that begin otherwise ---- */

/* RFC 8314: on port 465 TLS is there from the first octet, on 25 and 587 it
 * is not. Who takes the one for the other waits for the other's greeting. */
static bool
begins_otherwise(struct slice hop, bool implicit_tls, uint16_t *port)
{
	struct slice host;

	if (!address_split(hop, 25, &host, port))
		return false;
	return implicit_tls ? *port == 25 || *port == 587 : *port == 465;
}

static void
next_hops_warn(const struct slice *hops, size_t count, bool implicit_tls,
	       const struct conf_item *item, const char *option,
	       void (*warn)(const char *text))
{
	CLEAN(text_done) struct text said = {0};
	uint16_t port = 0;
	size_t i = 0;

	while (i < count && !begins_otherwise(hops[i], implicit_tls, &port))
		i++;
	if (i == count)
		return;
	place_add(&said, item, option);
	text_addf(&said,
		  "'%s' leads to port %u, where %s: set 'implicit_tls = %s', "
		  "or no mail gets through",
		  option, port,
		  implicit_tls ? "TLS begins with STARTTLS"
			       : "TLS begins at once (RFC 8314)",
		  implicit_tls ? "false" : "true");
	warn(text_string(&said));
}

static void
ways_warn(const struct options *options, void (*warn)(const char *text))
{
	const struct delivery_options *delivery = &options->delivery;

	next_hops_warn(delivery->smarthost, delivery->smarthost_count,
		       delivery->implicit_tls,
		       options_section_at(options->items, "delivery", 0),
		       "smarthost", warn);
	for (size_t i = 0; i < options->routes_count; i++)
		next_hops_warn(options->routes[i].via,
			       options->routes[i].via_count,
			       options->routes[i].implicit_tls,
			       options_section_at(options->items, "route", i),
			       "via", warn);
}

/* ---- room for messages ---- */

/* Programs that send two at once and try neither again are not rare. */
static void
incoming_warn(const struct options *options, void (*warn)(const char *text))
{
	const struct limits_options *limits = &options->limits;
	uint64_t needed = quota_max_for(
		2 * repair_room_max(limits->max_message_size));
	CLEAN(text_done) struct text said = {0};

	if (limits->max_incoming >= needed)
		return;
	place_add(&said, options_section_at(options->items, "limits", 0),
		  "max_incoming");
	text_addf(&said,
		  "with 'limits.max_incoming' below %lluM (max_message_size "
		  "decides that), the second of two messages of that size gets "
		  "452 if one client sends them at once and both have to be "
		  "mended",
		  (unsigned long long)((needed + MIB - 1) / MIB));
	warn(text_string(&said));
}

void
options_warn(const struct options *options, void (*warn)(const char *text))
{
	const struct conf_item *account = options->items->items;

	empty_warn(options, warn);
	hostname_warn(options, warn);
	incoming_warn(options, warn);
	expires_warn(options, warn);
	ways_warn(options, warn);
	sign_from_warn(options, warn);
	for (size_t i = 0; i < options->listeners_count; i++) {
		const struct conf_item *item =
			options_section_at(options->items, "listener", i);

		open_relay_warn(&options->listeners[i], item, warn);
		fronts_warn(&options->listeners[i], item, warn);
		rewrite_warn(options, options->listeners[i].rewrite.from, item,
			     warn);
	}
	for (size_t i = 0; i < options->accounts_count; i++) {
		account = conf_item_from(account, "account");
		rewrite_warn(options, options->accounts[i].rewrite.from,
			     account, warn);
		account = account->next;
	}
}
