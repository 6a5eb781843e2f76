/*
 * pages - the store's file, read without trusting it.
 *
 * The engine (LMDB) follows what its pages say, wherever that leads. This reads
 * the same file with every number checked: page and node headers, offsets,
 * order of keys, that no page is used twice or free as well. So it can say
 * whether the engine may be let at the file, and read what is left of one that
 * is damaged. It writes nothing.
 *
 * Layout, of LMDB 0.9 (data version 1; numbers as the machine has them, those of
 * pages and counts with the bits of a pointer): pages 0 and 1 describe the file,
 * each as it was after every other transaction: the free list, the tree of
 * tables. A tree has branch pages (key → page) and leaf pages (key → value); a
 * value too long for a leaf has pages of its own. A page that is written anew
 * gets another place, the old one goes to the free list.
 *
 * Nothing in the file is summed but the records in it (record.h): whoever takes
 * nodes from here has to ask those.
 *
 * Thread      Any one at a time. Nobody may write the file meanwhile.
 */
#ifndef RELAY_QUEUE_PAGES_H
#define RELAY_QUEUE_PAGES_H

#include "base/fault.h"
#include "base/slice.h"

struct pages;

/* A tree, as the file describes it. */
struct pages_tree {
	uint16_t flags, depth;
	uint64_t branches, leaves, overflows, entries;
	uint64_t root;
};

struct pages_value {
	size_t len;
	struct slice bytes; /* where it lies in the leaf */
	uint64_t page;      /* else the first of its own; 0: none */
	bool is_tree;       /* of a table; see pages_tree_read() */
};

/* `path` is the file. Reads the free list. Of a file that does not say that it
 * is one of the engine's only pages_scan() gives what is found. */
bool pages_open(const char *path, struct pages **pages_out,
		struct fault *fault) MUST_USE;
void pages_close(struct pages *pages);
CLEAN_POINTER(struct pages, pages_close)

/* The tree of tables. */
const struct pages_tree *pages_tables(const struct pages *pages);
/* What was found so far, in words; "": nothing. */
const char *pages_damage(const struct pages *pages);
/* Whether some of that is a disk's that could not be read, although it was tried
 * again for some seconds: another time it may be there. */
bool pages_is_unreadable(const struct pages *pages);
/* Reads all of it, to see whether it can be. */
bool pages_read_all(struct pages *pages) MUST_USE;
/* 64, or 32: of the machine that made it. The engine reads those of its own. */
#define PAGES_BITS_HERE (8 * (unsigned)sizeof(size_t))
unsigned pages_bits(const struct pages *pages);
/* Whether the free list can be believed: what it names holds nothing. */
bool pages_knows_free(const struct pages *pages);
/* Bytes of the pages that are there and not free; 0: nobody knows. */
uint64_t pages_bytes_in_use(const struct pages *pages);
/* False: the value is no tree. */
bool pages_tree_read(const struct pages *pages, const struct pages_value *value,
		     struct pages_tree *tree_out) MUST_USE;
/* Appends the value. False: it is not there. */
bool pages_value_read(struct pages *pages, const struct pages_value *value,
		      struct text *out) MUST_USE;

/* --- a walk through a tree, in the order of its keys --- */

struct pages_walk {
	void *owner;
	/* False ends the walk. */
	bool (*node)(void *owner, struct slice key,
		     const struct pages_value *value);
	/* A part of the tree that cannot be read: the keys from `low` up to
	 * `high` (empty: to the end), not all of them. May be NULL. */
	void (*lost)(void *owner, struct slice low, struct slice high);
	/* Nodes of damaged leaves are given too, as far as they make sense;
	 * they need not be in order. */
	bool is_sifting;
	uint64_t deadline_ms; /* clock_now_ms(); 0: none */
	/* out */
	bool is_ended;        /* by node() or the deadline */
};
/* Whether all of the tree makes sense, as far as the walk got. */
bool pages_walk(struct pages *pages, const struct pages_tree *tree,
		struct pages_walk *walk);

/* The nodes of every leaf that no walk came to; those of free pages only where
 * with_free. In the order of the file. */
void pages_scan(struct pages *pages, bool with_free, void *owner,
		bool (*node)(void *owner, struct slice key,
			     const struct pages_value *value));

#endif
