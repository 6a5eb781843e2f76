#include "milter/charset.h"

/* No name that is known is longer. */
#define NAME_MAX_OCTETS 24

struct range {
	unsigned char first, last;
};

/* ASCII's octets are always those of ASCII, or (uhc) of letters. Names without
 * "-" and "_"; registered are those of IANA, others are in use. */
static const char single[] =
	"ascii usascii ansix3.41968 iso646us utf8 unknown8bit "
	"iso88591 iso88592 iso88593 iso88594 iso88595 iso88596 iso88596e "
	"iso88596i iso88597 iso88598 iso88598e iso88598i iso88599 iso885910 "
	"iso885911 iso885913 iso885914 iso885915 iso885916 "
	"latin1 latin2 latin3 latin4 latin5 latin6 latin7 latin8 latin9 latin10 "
	"windows1250 windows1251 windows1252 windows1253 windows1254 "
	"windows1255 windows1256 windows1257 windows1258 "
	"cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 "
	"cp437 cp850 cp852 cp855 cp858 cp862 cp866 ibm437 ibm850 ibm852 ibm855 "
	"ibm862 ibm866 macintosh koi8r koi8u koi8ru "
	"tis620 windows874 cp874 viscii "
	"eucjp eucjis2004 euctw euccn gb2312 gb231280 "
	"euckr ksc5601 ksc56011987 uhc cp949 windows949 "
	/* A Korean header is euc-kr (RFC 1557 3): what shifts is refused. */
	"iso2022kr";

static const char stateful[] = "iso2022jp iso2022jp1 iso2022jp2 iso2022jpms "
			       "cp50220 cp50221";
/* They do not have the kanji of 1978. */
static const char stateful_late[] = "iso2022jp3 iso2022jp2004";

/*
 * Two octets of which the second may be '@'. It is taken for that only behind
 * those that every decoder knows such a character of: others leave the '@'.
 * Which pairs else are characters is not known here; so where a decoder passes
 * over one that is none, it may see an '@', but behind a wide character.
 */
static const struct family {
	const char *names;
	struct range leads[2], before_at[4];
} families[] = {
	{"shiftjis sjis xsjis mskanji windows31j cp932 csshiftjis shiftjis2004",
	 {{0x81, 0x9f}, {0xe0, 0xfc}},
	 {{0x81, 0x81}, {0x83, 0x84}, {0x89, 0x9f}, {0xe0, 0xea}}},
	{"big5 cnbig5 csbig5 xbig5 xxbig5 big5eten big5hkscs cp950 windows950",
	 {{0x81, 0xfe}},
	 {{0xa1, 0xc6}, {0xc9, 0xf9}}},
	{"gbk xgbk gb18030 cp936 ms936 windows936",
	 {{0x81, 0xfe}},
	 {{0x81, 0xa0}, {0xa8, 0xfe}}},
};

static bool
is_within(const struct range *ranges, size_t count, char c)
{
	unsigned char octet = (unsigned char)c;

	for (size_t i = 0; i < count; i++)
		if (octet >= ranges[i].first && octet <= ranges[i].last)
			return true;
	return false;
}

static bool
family_mask(const struct family *family, struct text *text)
{
	for (size_t i = 0; i < text->len; i++) {
		char lead = text->bytes[i];

		if (!is_within(family->leads, COUNT(family->leads), lead))
			continue;
		if (++i == text->len)
			return false;
		if (text->bytes[i] == '@' &&
		    is_within(family->before_at, COUNT(family->before_at),
			      lead))
			text->bytes[i] = CHARSET_MASK;
	}
	return true;
}

/* How long the escape sequence at the front is, 0: there is none. Not every
 * decoder knows all the sets: wide are those that each one knows, so that of
 * the others an octet is taken for ASCII. */
static size_t
escape_len(struct slice rest, bool is_late, bool *is_wide)
{
	static const char kanji_1978[] = "\x1b$@";
	static const struct {
		const char *bytes;
		bool is_wide;
	} rows[] = {
		{"\x1b(B", false},  {"\x1b(J", false},  {kanji_1978, true},
		{"\x1b$B", true},   {"\x1b(I", false},  {"\x1b$(D", false},
		{"\x1b$A", false},  {"\x1b$(C", false}, {"\x1b$(O", false},
		{"\x1b$(P", false}, {"\x1b$(Q", false},
	};

	if (is_late && slice_starts(rest, SLICE(kanji_1978)))
		return 0;
	for (size_t i = 0; i < COUNT(rows); i++)
		if (slice_starts(rest, SLICE(rows[i].bytes))) {
			*is_wide = rows[i].is_wide;
			return strlen(rows[i].bytes);
		}
	return 0;
}

/* RFC 1468. A control that begins no escape sequence stays. */
static void
stateful_mask(struct text *text, bool is_late)
{
	bool is_wide = false;

	for (size_t i = 0; i < text->len; i++) {
		size_t len = escape_len(slice_from(text_slice(text), i),
					is_late, &is_wide);

		if (len > 0) {
			memset(text->bytes + i, CHARSET_MASK, len);
			i += len - 1;
		} else if (is_wide && text->bytes[i] > ' ' &&
			   text->bytes[i] < 0x7f) {
			text->bytes[i] = CHARSET_MASK;
		}
	}
}

/* As it stands in the tables; empty where it cannot. */
static struct slice
plain_name(struct slice charset, char name[static NAME_MAX_OCTETS])
{
	size_t len = 0;

	for (size_t i = 0; i < charset.len && charset.bytes[i] != '*'; i++) {
		char c = charset.bytes[i];

		if (c == '-' || c == '_')
			continue;
		if (len == NAME_MAX_OCTETS)
			return SLICE_NONE;
		name[len++] = ascii_lower(c);
	}
	return slice_of(name, len);
}

static bool
is_listed(const char *names, struct slice name)
{
	struct slice rest = SLICE(names), one;

	while (slice_split(&rest, ' ', &one))
		if (slice_eq(one, name))
			return name.len > 0;
	return false;
}

bool
charset_mask(struct slice charset, struct text *text)
{
	char room[NAME_MAX_OCTETS];
	struct slice name = plain_name(charset, room);

	if (is_listed(single, name))
		return true;
	if (is_listed(stateful, name) || is_listed(stateful_late, name)) {
		stateful_mask(text, is_listed(stateful_late, name));
		return true;
	}
	for (size_t i = 0; i < COUNT(families); i++)
		if (is_listed(families[i].names, name))
			return family_mask(&families[i], text);
	return false;
}
