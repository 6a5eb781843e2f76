/*
 * pages_private - what the files of pages share.
 *
 *	pages.c       the file, what it says of itself, the free list, values
 *	pages_walk.c  trees and leaves
 */
#ifndef RELAY_QUEUE_PAGES_PRIVATE_H
#define RELAY_QUEUE_PAGES_PRIVATE_H

#include "relay/queue/pages.h"

#define NODE_HEADER 8
#define PAGE_NONE UINT64_MAX /* the root of an empty tree */

/* Flags of pages; DIRTY is the engine's while it writes. */
#define PAGE_BRANCH 0x01u
#define PAGE_LEAF 0x02u
#define PAGE_OVERFLOW 0x04u
#define PAGE_META 0x08u
#define PAGE_DIRTY 0x10u
/* Flags of nodes in leaves. */
#define NODE_BIG 0x01u
#define NODE_TREE 0x02u

struct page_header {
	uint64_t number;
	uint16_t flags;
	uint16_t lower, upper; /* of the room between */
	uint32_t pages;        /* in their place, of an overflow; with this one */
};

struct pages {
	int file;
	uint8_t word; /* bytes of a number of a page, a count, an address */
	unsigned again;      /* so often a read was tried once more */
	bool is_unreadable;  /* and in vain, for one of them at least */
	size_t page_size;
	uint64_t count;      /* pages that can be in use */
	uint64_t there;      /* of them, those that the file is long enough for */
	uint8_t *used, *free; /* a bit each */
	struct pages_tree frees, tables;
	bool is_free_doubtful;
	char damage[128];
};

static inline bool
bit_get(const uint8_t *bits, uint64_t number)
{
	return (bits[number / 8] >> (number % 8) & 1) != 0;
}

static inline void
bit_set(uint8_t *bits, uint64_t number)
{
	bits[number / 8] |= (uint8_t)(1u << (number % 8));
}

/* Of a page, up to its nodes, or its value. */
static inline size_t
page_header_size(const struct pages *pages)
{
	return pages->word + 8u;
}

static inline uint16_t
number16_at(const char *bytes)
{
	uint16_t number;

	memcpy(&number, bytes, sizeof(number));
	return number;
}

static inline uint32_t
number32_at(const char *bytes)
{
	uint32_t number;

	memcpy(&number, bytes, sizeof(number));
	return number;
}

/* PAGE_NONE is the largest that there is. */
static inline uint64_t
word_at(const struct pages *pages, const char *bytes)
{
	uint64_t number;

	if (pages->word == sizeof(uint32_t)) {
		number = number32_at(bytes);
		return number == UINT32_MAX ? PAGE_NONE : number;
	}
	memcpy(&number, bytes, sizeof(number));
	return number;
}

/* From as many bytes as page_header_size() says. */
struct page_header page_header_of(const struct pages *pages, const char *bytes);

/* Notes the first damage. False. */
bool pages_note(struct pages *pages, const char *format, ...)
	PRINTF_LIKE(2, 3);
/* False: the file ends before; or it cannot be read there, which is noted as
 * damage. */
bool pages_read(struct pages *pages, uint64_t page, size_t from, void *out,
		size_t len) MUST_USE;
/* The pages of a value of its own; 0: it makes no sense. */
uint64_t pages_overflow(struct pages *pages, uint64_t page, size_t len);

#endif
