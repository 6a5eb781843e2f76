#include <ldns/ldns.h>

#include "relay/limits.h"
#include "relay/net/dns_packet.h"

/* Flags in the third octet of the header. */
#define HEAD_QR 0x80
#define HEAD_TC 0x02

/* Of extended codes: RFC 6891 9. */
#define RCODE_BADVERS 16

static bool
label_byte_is_plain(uint8_t byte)
{
	return byte > ' ' && byte < 0x7f && byte != '.' && byte != '\\';
}

bool
dns_name_parse(struct slice text, struct dns_name *name_out)
{
	struct dns_name name = {.len = 0};
	struct slice label;

	if (text.len > 0 && text.bytes[text.len - 1] == '.')
		text.len--;
	while (text.len > 0) {
		bool more_expected = slice_find(text, '.') >= 0;

		if (!slice_split(&text, '.', &label) || label.len == 0 ||
		    label.len > LDNS_MAX_LABELLEN ||
		    (more_expected && text.len == 0) ||
		    name.len + label.len + 2 > DNS_NAME_SIZE)
			return false;
		name.bytes[name.len++] = (uint8_t)label.len;
		for (size_t i = 0; i < label.len; i++) {
			if (!label_byte_is_plain((uint8_t)label.bytes[i]))
				return false;
			name.bytes[name.len++] =
				(uint8_t)ascii_lower(label.bytes[i]);
		}
	}
	name.bytes[name.len++] = 0;
	*name_out = name;
	return true;
}

struct slice
dns_name_write(const struct dns_name *name, struct arena *arena)
{
	CLEAN(text_done) struct text text = {0};
	size_t at = 0;

	while (at < name->len && name->bytes[at] != 0) {
		size_t end = at + 1 + name->bytes[at];

		ASSERT(end < name->len);
		if (text.len > 0)
			text_add_byte(&text, '.');
		for (at++; at < end; at++) {
			if (label_byte_is_plain(name->bytes[at]))
				text_add_byte(&text, (char)name->bytes[at]);
			else
				text_addf(&text, "\\%03u", name->bytes[at]);
		}
	}
	return arena_copy(arena, text_slice(&text));
}

/* ldns has already checked the labels and undone the compression. */
static bool
name_from_rdf(const ldns_rdf *rdf, struct dns_name *name_out)
{
	const uint8_t *bytes;
	size_t len, at = 0;

	if (rdf == NULL || ldns_rdf_get_type(rdf) != LDNS_RDF_TYPE_DNAME)
		return false;
	bytes = ldns_rdf_data(rdf);
	len = ldns_rdf_size(rdf);
	if (len == 0 || len > DNS_NAME_SIZE)
		return false;
	while (bytes[at] != 0) {
		if (bytes[at] > LDNS_MAX_LABELLEN || at + bytes[at] + 1 >= len)
			return false;
		at += (size_t)bytes[at] + 1;
	}
	if (at + 1 != len)
		return false;
	/* A length is below 'A', so that lower case leaves it alone. */
	for (size_t i = 0; i < len; i++)
		name_out->bytes[i] = (uint8_t)ascii_lower((char)bytes[i]);
	name_out->len = len;
	return true;
}

static bool
name_eq(const struct dns_name *a, const struct dns_name *b)
{
	return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static bool
owner_is(const ldns_rr *rr, const struct dns_name *name)
{
	struct dns_name owner;

	return name_from_rdf(ldns_rr_owner(rr), &owner) &&
	       name_eq(&owner, name);
}

/* RFC 2181 8: a TTL with the highest bit set counts as 0. */
static uint64_t
ttl_ms_of(uint32_t ttl)
{
	return ttl > INT32_MAX ? 0 : ttl * SECOND;
}

static void
pkt_clean(ldns_pkt **packet)
{
	ldns_pkt_free(*packet);
}

static bool
question_push(ldns_pkt *packet, const struct dns_question *question)
{
	ldns_rr *rr = ldns_rr_new();
	ldns_rdf *owner = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME,
						question->name.len,
						question->name.bytes);

	if (rr == NULL || owner == NULL) {
		ldns_rr_free(rr);
		ldns_rdf_deep_free(owner);
		return false;
	}
	ldns_rr_set_owner(rr, owner);
	ldns_rr_set_type(rr, (ldns_rr_type)question->type);
	ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
	ldns_rr_set_question(rr, true);
	if (!ldns_pkt_push_rr(packet, LDNS_SECTION_QUESTION, rr)) {
		ldns_rr_free(rr);
		return false;
	}
	return true;
}

bool
dns_packet_write(const struct dns_question *question, uint16_t id,
		 bool with_edns, struct text *out)
{
	CLEAN(pkt_clean) ldns_pkt *packet = ldns_pkt_new();
	uint8_t *wire = NULL;
	size_t size = 0;

	if (packet == NULL || !question_push(packet, question))
		return false;
	ldns_pkt_set_id(packet, id);
	ldns_pkt_set_rd(packet, true);
	if (with_edns)
		ldns_pkt_set_edns_udp_size(packet, DNS_EDNS_SIZE);
	if (ldns_pkt2wire(&wire, packet, &size) != LDNS_STATUS_OK)
		return false;
	text_add(out, slice_of(wire, size));
	free(wire);
	return true;
}

static enum dns_packet_status
bad(struct dns_packet_answer *out, const char *reason)
{
	out->answer = (struct dns_answer){DNS_FAILED, NULL, 0, reason};
	out->ttl_ms = 0;
	return DNS_PACKET_BAD;
}

/* A server that could not even read the question may leave it out. */
static bool
packet_has_question(const ldns_pkt *packet, const struct dns_question *question)
{
	const ldns_rr_list *list = ldns_pkt_question(packet);
	const ldns_rr *rr;

	if (ldns_rr_list_rr_count(list) != 1)
		return false;
	rr = ldns_rr_list_rr(list, 0);
	return ldns_rr_get_type(rr) == (ldns_rr_type)question->type &&
	       ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN &&
	       owner_is(rr, &question->name);
}

/* Follows the aliases of `name` within the answer section. False: a circle, or
 * too long. */
static bool
aliases_follow(const ldns_rr_list *section, struct dns_name *name,
	       uint64_t *ttl_ms)
{
	size_t count = ldns_rr_list_rr_count(section);

	for (unsigned step = 0; step <= DNS_ALIASES_MAX; step++) {
		struct dns_name target;
		bool has_alias = false;

		for (size_t i = 0; i < count && !has_alias; i++) {
			const ldns_rr *rr = ldns_rr_list_rr(section, i);

			if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_CNAME ||
			    !owner_is(rr, name) ||
			    !name_from_rdf(ldns_rr_rdf(rr, 0), &target))
				continue;
			has_alias = true;
			if (ttl_ms_of(ldns_rr_ttl(rr)) < *ttl_ms)
				*ttl_ms = ttl_ms_of(ldns_rr_ttl(rr));
		}
		if (!has_alias)
			return true;
		*name = target;
	}
	return false;
}

static struct slice
strings_join(const ldns_rr *rr, struct arena *arena)
{
	CLEAN(text_done) struct text text = {0};

	for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
		const ldns_rdf *rdf = ldns_rr_rdf(rr, i);
		const uint8_t *bytes = ldns_rdf_data(rdf);
		size_t size = ldns_rdf_size(rdf);

		if (size == 0 || (size_t)bytes[0] + 1 > size)
			continue;
		text_add(&text, slice_of(bytes + 1, bytes[0]));
	}
	return arena_copy(arena, text_slice(&text));
}

static bool
record_read_address(const ldns_rdf *rdf, enum dns_type type,
		    struct address *address_out)
{
	struct address address = {.len = 0};
	bool is_v6 = type == DNS_AAAA;

	if (ldns_rdf_size(rdf) != (is_v6 ? 16u : 4u))
		return false;
	if (is_v6) {
		address.v6.sin6_family = AF_INET6;
		memcpy(&address.v6.sin6_addr, ldns_rdf_data(rdf), 16);
		address.len = sizeof(address.v6);
	} else {
		address.v4.sin_family = AF_INET;
		memcpy(&address.v4.sin_addr, ldns_rdf_data(rdf), 4);
		address.len = sizeof(address.v4);
	}
	*address_out = address;
	return true;
}

static bool
record_read(const ldns_rr *rr, enum dns_type type, struct arena *arena,
	    struct dns_record *record)
{
	size_t count = ldns_rr_rd_count(rr);
	struct dns_name name;

	if (type == DNS_TXT) {
		record->name = strings_join(rr, arena);
		return true;
	}
	if (count != (type == DNS_MX ? 2u : 1u))
		return false;
	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		return record_read_address(ldns_rr_rdf(rr, 0), type,
					   &record->address);
	case DNS_MX:
		if (ldns_rdf_size(ldns_rr_rdf(rr, 0)) != 2)
			return false;
		record->preference = ldns_rdf2native_int16(ldns_rr_rdf(rr, 0));
		break;
	case DNS_PTR:
	case DNS_TXT:
		break;
	}
	if (!name_from_rdf(ldns_rr_rdf(rr, count - 1), &name))
		return false;
	record->name = dns_name_write(&name, arena);
	return true;
}

static void
records_read(const ldns_rr_list *section, const struct dns_name *name,
	     enum dns_type type, struct arena *arena,
	     struct dns_packet_answer *out)
{
	size_t count = ldns_rr_list_rr_count(section);
	size_t max = count < DNS_RECORDS_MAX ? count : DNS_RECORDS_MAX;
	struct dns_answer *answer = &out->answer;

	answer->records = arena_array(arena, max, sizeof(*answer->records));
	answer->count = 0;
	for (size_t i = 0; i < count && answer->count < max; i++) {
		const ldns_rr *rr = ldns_rr_list_rr(section, i);

		if (ldns_rr_get_type(rr) != (ldns_rr_type)type ||
		    ldns_rr_get_class(rr) != LDNS_RR_CLASS_IN ||
		    !owner_is(rr, name) ||
		    !record_read(rr, type, arena,
				 &answer->records[answer->count]))
			continue;
		answer->count++;
		if (ttl_ms_of(ldns_rr_ttl(rr)) < out->ttl_ms)
			out->ttl_ms = ttl_ms_of(ldns_rr_ttl(rr));
	}
}

/* RFC 2308 5: the lesser of the SOA's own TTL and its MINIMUM; without a SOA
 * a negative answer is not kept. */
static bool
negative_ttl(const ldns_pkt *packet, uint64_t *ttl_ms)
{
	const ldns_rr_list *section = ldns_pkt_authority(packet);
	uint64_t own, minimum;

	for (size_t i = 0; i < ldns_rr_list_rr_count(section); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(section, i);

		if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA ||
		    ldns_rr_rd_count(rr) != 7 ||
		    ldns_rdf_size(ldns_rr_rdf(rr, 6)) != 4)
			continue;
		own = ttl_ms_of(ldns_rr_ttl(rr));
		minimum = ttl_ms_of(ldns_rdf2native_int32(ldns_rr_rdf(rr, 6)));
		if (own < *ttl_ms)
			*ttl_ms = own;
		if (minimum < *ttl_ms)
			*ttl_ms = minimum;
		if (*ttl_ms > DNS_NEGATIVE_TTL_MAX_MS)
			*ttl_ms = DNS_NEGATIVE_TTL_MAX_MS;
		return true;
	}
	*ttl_ms = 0;
	return false;
}

static bool
authority_has_ns(const ldns_pkt *packet)
{
	const ldns_rr_list *section = ldns_pkt_authority(packet);

	for (size_t i = 0; i < ldns_rr_list_rr_count(section); i++)
		if (ldns_rr_get_type(ldns_rr_list_rr(section, i)) ==
		    LDNS_RR_TYPE_NS)
			return true;
	return false;
}

static enum dns_packet_status
answer_read(const ldns_pkt *packet, const struct dns_question *question,
	    struct arena *arena, struct dns_packet_answer *out)
{
	const ldns_rr_list *section = ldns_pkt_answer(packet);
	struct dns_name name = question->name;
	bool has_soa;

	out->answer = (struct dns_answer){DNS_FOUND, NULL, 0, NULL};
	out->ttl_ms = DNS_TTL_MAX_MS;
	if (!aliases_follow(section, &name, &out->ttl_ms))
		return bad(out, "too many aliases");
	records_read(section, &name, question->type, arena, out);
	if (out->answer.count > 0)
		return DNS_PACKET_ANSWER;

	/* RFC 6604 3: the code is about the last name of the chain. */
	has_soa = negative_ttl(packet, &out->ttl_ms);
	if (ldns_pkt_get_rcode(packet) == LDNS_RCODE_NXDOMAIN) {
		out->answer.status = DNS_NO_NAME;
		return DNS_PACKET_ANSWER;
	}
	/* RFC 2308 2.2: no answer, but where to ask. Taken for "there is none",
	 * it would fail mail for good. */
	if (!has_soa && !ldns_pkt_aa(packet) && authority_has_ns(packet) &&
	    name_eq(&name, &question->name))
		return bad(out, "a referral instead of an answer");
	if (!has_soa && !name_eq(&name, &question->name)) {
		out->alias = name;
		return DNS_PACKET_ALIAS;
	}
	out->answer.status = DNS_NO_DATA;
	return DNS_PACKET_ANSWER;
}

/* RFC 6891 6.1.3: an OPT record holds the upper bits. BADVERS without them
 * would be NOERROR, and nothing there. */
static unsigned
packet_code(const ldns_pkt *packet)
{
	return (unsigned)ldns_pkt_get_rcode(packet) |
	       (unsigned)ldns_pkt_edns_extended_rcode(packet) << 4;
}

static enum dns_packet_status
packet_judge(const ldns_pkt *packet, const struct dns_question *question,
	     struct arena *arena, struct dns_packet_answer *out)
{
	unsigned code = packet_code(packet);

	if (!ldns_pkt_qr(packet) ||
	    ldns_pkt_get_opcode(packet) != LDNS_PACKET_QUERY)
		return DNS_PACKET_FOREIGN;
	if (!packet_has_question(packet, question) &&
	    (ldns_pkt_qdcount(packet) != 0 || code == LDNS_RCODE_NOERROR ||
	     code == LDNS_RCODE_NXDOMAIN))
		return DNS_PACKET_FOREIGN;
	if (ldns_pkt_tc(packet))
		return DNS_PACKET_TRUNCATED;
	if (code == LDNS_RCODE_NOERROR || code == LDNS_RCODE_NXDOMAIN)
		return answer_read(packet, question, arena, out);
	if (code == LDNS_RCODE_FORMERR || code == LDNS_RCODE_NOTIMPL ||
	    code == RCODE_BADVERS) {
		bad(out, code == LDNS_RCODE_FORMERR   ? "FORMERR"
			 : code == LDNS_RCODE_NOTIMPL ? "NOTIMP"
						      : "BADVERS");
		return DNS_PACKET_NO_EDNS;
	}
	if (code == LDNS_RCODE_SERVFAIL)
		return bad(out, "SERVFAIL");
	if (code == LDNS_RCODE_REFUSED)
		return bad(out, "REFUSED");
	return bad(out, "unknown response code");
}

enum dns_packet_status
dns_packet_read(struct slice bytes, const struct dns_question *question,
		uint16_t id, struct arena *arena, struct dns_packet_answer *out)
{
	CLEAN(pkt_clean) ldns_pkt *packet = NULL;
	const uint8_t *head = (const uint8_t *)bytes.bytes;

	if (bytes.len < LDNS_HEADER_SIZE || (head[0] << 8 | head[1]) != id)
		return DNS_PACKET_FOREIGN;
	if (ldns_wire2pkt(&packet, head, bytes.len) != LDNS_STATUS_OK) {
		packet = NULL;
		/* A server may cut a truncated answer within a record. */
		return (head[2] & HEAD_QR) != 0 && (head[2] & HEAD_TC) != 0
			       ? DNS_PACKET_TRUNCATED
			       : bad(out, "malformed answer");
	}
	return packet_judge(packet, question, arena, out);
}
