#include "relay/queue/pages_private.h"

#include <stdlib.h>

#include "base/clock.h"

/* The engine's own bound. */
#define DEPTH_MAX 32
/* Between looks at the clock. */
#define PAGES_PER_LOOK 64

/* What a walk has counted of its tree, and what holds for all of it. */
struct path {
	struct pages *pages;
	struct pages_walk *walk;
	struct pages_tree counted;
	bool is_by_number; /* keys are integers, as of the free list */
	bool is_whole;
	unsigned looks;
};

/* A node, cut out of its page. */
struct node {
	struct slice key;
	struct pages_value value; /* of a leaf */
	uint64_t child;           /* of a branch */
};

/* --- nodes --- */

static size_t
page_keys(const struct pages *pages, const struct page_header *header)
{
	return (header->lower - page_header_size(pages)) / 2;
}

static bool
room_is_possible(const struct pages *pages, const struct page_header *header)
{
	return header->lower >= page_header_size(pages) &&
	       header->lower % 2 == 0 && header->lower <= header->upper &&
	       header->upper <= pages->page_size;
}

/* Where the node of this index begins; 0: inside the list of these itself. */
static size_t
node_at(const struct pages *pages, const char *page, size_t index)
{
	size_t list = page_header_size(pages);
	size_t at = number16_at(page + list + 2 * index);

	return at < list + 2 * (index + 1) ? 0 : at;
}

/* A number of 4 bytes, flags, length of the key, key, value. In a branch the
 * number and, where there are pages of that many, the flags are the page; in a
 * leaf it is the value's length. */
static bool
node_cut(const struct pages *pages, const char *page, size_t index,
	 bool is_leaf, struct node *node)
{
	size_t at = node_at(pages, page, index);
	size_t word = pages->word, room, key_len;
	unsigned flags;
	uint64_t number;

	if (at == 0 || at % 2 != 0 || at + NODE_HEADER > pages->page_size)
		return false;
	number = number32_at(page + at);
	flags = number16_at(page + at + 4);
	key_len = number16_at(page + at + 6);
	room = pages->page_size - at - NODE_HEADER;
	if (key_len > room)
		return false;
	*node = (struct node){
		.key = slice_of(page + at + NODE_HEADER, key_len)};
	if (!is_leaf) {
		node->child = word > 4 ? number | (uint64_t)flags << 32
				       : number;
		return true;
	}
	room -= key_len;
	node->value.len = (size_t)number;
	node->value.is_tree = flags == NODE_TREE;
	if (flags == NODE_BIG) {
		if (room < word)
			return false;
		node->value.page =
			word_at(pages, node->key.bytes + key_len);
		return node->value.page >= 2;
	}
	node->value.bytes = slice_of(node->key.bytes + key_len, (size_t)number);
	return (flags & ~NODE_TREE) == 0 && number <= room;
}

static int
key_compare(const struct path *path, struct slice a, struct slice b)
{
	size_t word = path->pages->word;
	uint64_t left, right;

	if (!path->is_by_number || a.len != word || b.len != word)
		return slice_compare(a, b);
	left = word_at(path->pages, a.bytes);
	right = word_at(path->pages, b.bytes);
	return left < right ? -1 : left > right;
}

/* Within [low, high) and behind the one before; an empty bound is none. */
static bool
key_is_in_order(const struct path *path, struct slice key, struct slice before,
		struct slice low, struct slice high)
{
	return key.len > 0 &&
	       (before.len == 0 || key_compare(path, before, key) < 0) &&
	       (low.len == 0 || key_compare(path, low, key) <= 0) &&
	       (high.len == 0 || key_compare(path, key, high) < 0);
}

/* --- pages --- */

static void
path_lost(struct path *path, struct slice low, struct slice high)
{
	path->is_whole = false;
	if (path->walk->lost != NULL)
		path->walk->lost(path->walk->owner, low, high);
}

/* Takes the pages; false where one of them is somebody else's, or free. */
static bool
pages_take(struct pages *pages, uint64_t page, uint64_t count)
{
	for (uint64_t i = page; i < page + count; i++)
		if (bit_get(pages->used, i) || bit_get(pages->free, i)) {
			/* Then one of the two is wrong. */
			pages->is_free_doubtful |= bit_get(pages->free, i);
			return pages_note(pages,
					  "page %llu is used twice, or free",
					  (unsigned long long)i);
		}
	for (uint64_t i = page; i < page + count; i++)
		bit_set(pages->used, i);
	return true;
}

/* What stands in a damaged leaf, whatever its header says: as long as there is
 * any sense in where the nodes should be. Pages of values are not taken: whose
 * they are is not known. */
static bool
leaf_sift(struct pages *pages, const char *page, void *owner,
	  bool (*on_node)(void *owner, struct slice key,
			  const struct pages_value *value))
{
	size_t most = (pages->page_size - page_header_size(pages)) /
		      (2 + NODE_HEADER);

	for (size_t i = 0; i < most; i++) {
		struct node node;

		/* Unused, too. */
		if (node_at(pages, page, i) == 0)
			break;
		if (node_cut(pages, page, i, true, &node) &&
		    node.key.len > 0 &&
		    !on_node(owner, node.key, &node.value))
			return false;
	}
	return true;
}

static void
leaf_is_damaged(struct path *path, const char *page, struct slice low,
		struct slice high)
{
	struct pages_walk *walk = path->walk;

	path_lost(path, low, high);
	if (walk->is_sifting &&
	    !leaf_sift(path->pages, page, walk->owner, walk->node))
		walk->is_ended = true;
}

/* Whether every node of the leaf is sound: only then it is read in order. */
static bool
leaf_is_sound(struct path *path, const char *page, size_t keys,
	      struct slice low, struct slice high)
{
	struct pages *pages = path->pages;
	struct slice before = SLICE_NONE;
	struct node node;

	for (size_t i = 0; i < keys; i++) {
		if (!node_cut(pages, page, i, true, &node) ||
		    !key_is_in_order(path, node.key, before, low, high))
			return pages_note(pages, "a leaf makes no sense");
		before = node.key;
	}
	return true;
}

static void
leaf_walk(struct path *path, const char *page, size_t keys, struct slice low,
	  struct slice high)
{
	struct pages_walk *walk = path->walk;
	struct node node;

	path->counted.leaves++;
	if (keys == 0 || !leaf_is_sound(path, page, keys, low, high)) {
		leaf_is_damaged(path, page, low, high);
		return;
	}
	path->counted.entries += keys;
	for (size_t i = 0; i < keys && !walk->is_ended; i++) {
		ASSERT(node_cut(path->pages, page, i, true, &node));
		if (node.value.page != 0) {
			uint64_t pages = pages_overflow(path->pages,
							node.value.page,
							node.value.len);

			path->counted.overflows += pages;
			if (pages == 0 ||
			    !pages_take(path->pages, node.value.page, pages)) {
				pages_note(path->pages,
					   "a value is not where it should be");
				path->is_whole = false;
			}
		}
		walk->is_ended = !walk->node(walk->owner, node.key,
					     &node.value);
	}
}

static void page_walk(struct path *path, uint64_t number, unsigned depth,
		      struct slice low, struct slice high);

/* The next node whose key makes sense; what lies between is lost. */
static size_t
branch_next(struct path *path, const char *page, size_t keys, size_t index,
	    struct slice from, struct slice high, struct node *next)
{
	while (++index < keys)
		if (node_cut(path->pages, page, index, false, next) &&
		    key_is_in_order(path, next->key, from, from, high))
			break;
	return index;
}

/* The first key of a branch says nothing: its child goes down to `low`. */
static void
branch_walk(struct path *path, const char *page, size_t keys, unsigned depth,
	    struct slice low, struct slice high)
{
	struct slice from = low;
	struct node node, next = {0};
	size_t after;

	path->counted.branches++;
	if (keys == 0 || !node_cut(path->pages, page, 0, false, &node)) {
		pages_note(path->pages, "a branch makes no sense");
		path_lost(path, low, high);
		return;
	}
	for (size_t i = 0; i < keys && !path->walk->is_ended; i = after) {
		struct slice to = high;

		after = branch_next(path, page, keys, i, from, high, &next);
		if (after < keys)
			to = next.key;
		page_walk(path, node.child, depth + 1, from, to);
		if (after > i + 1) {
			pages_note(path->pages, "a branch makes no sense");
			path_lost(path, from, to);
		}
		node = next;
		from = to;
	}
}

static bool
page_is_sound(const struct pages *pages, const struct page_header *header)
{
	unsigned flags = header->flags & ~PAGE_DIRTY;

	return (flags == PAGE_LEAF || flags == PAGE_BRANCH) &&
	       room_is_possible(pages, header);
}

static void
page_visit(struct path *path, uint64_t number, char *page, unsigned depth,
	   struct slice low, struct slice high)
{
	struct pages *pages = path->pages;
	struct page_header header;

	if (depth >= DEPTH_MAX || number < 2 ||
	    !pages_read(pages, number, 0, page, pages->page_size)) {
		pages_note(pages, "a page is not in the file");
		path_lost(path, low, high);
		return;
	}
	header = page_header_of(pages, page);
	if (header.number != number && !bit_get(pages->free, number) &&
	    !bit_get(pages->used, number)) {
		/* Either it says what it is not, or it is another. */
		pages_note(pages, "page %llu says that it is another",
			   (unsigned long long)number);
		/* Once, however many lead to it. */
		bit_set(pages->used, number);
		leaf_is_damaged(path, page, low, high);
	} else if (!pages_take(pages, number, 1)) {
		path_lost(path, low, high);
	} else if (!page_is_sound(pages, &header)) {
		pages_note(pages, "page %llu makes no sense",
			   (unsigned long long)number);
		leaf_is_damaged(path, page, low, high);
	} else if ((header.flags & PAGE_BRANCH) != 0) {
		branch_walk(path, page, page_keys(pages, &header), depth, low,
			    high);
	} else {
		if (path->counted.depth == 0)
			path->counted.depth = (uint16_t)(depth + 1);
		if (path->counted.depth != depth + 1)
			path->is_whole =
				pages_note(pages, "a tree is out of balance");
		leaf_walk(path, page, page_keys(pages, &header), low, high);
	}
}

static void
page_walk(struct path *path, uint64_t number, unsigned depth, struct slice low,
	  struct slice high)
{
	struct pages_walk *walk = path->walk;
	char *page;

	if (walk->deadline_ms > 0 && ++path->looks % PAGES_PER_LOOK == 0 &&
	    clock_now_ms() > walk->deadline_ms)
		walk->is_ended = true;
	if (walk->is_ended)
		return;
	page = memory_new(path->pages->page_size);
	page_visit(path, number, page, depth, low, high);
	free(page);
}

static bool
tree_eq(const struct pages_tree *a, const struct pages_tree *b)
{
	return a->depth == b->depth && a->branches == b->branches &&
	       a->leaves == b->leaves && a->overflows == b->overflows &&
	       a->entries == b->entries;
}

bool
pages_walk(struct pages *pages, const struct pages_tree *tree,
	   struct pages_walk *walk)
{
	struct path path = {.pages = pages,
			    .walk = walk,
			    .is_by_number = tree == &pages->frees,
			    .is_whole = true};

	walk->is_ended = false;
	if (tree->root != PAGE_NONE)
		page_walk(&path, tree->root, 0, SLICE_NONE, SLICE_NONE);
	if (!walk->is_ended && path.is_whole &&
	    !tree_eq(&path.counted, tree))
		path.is_whole = pages_note(
			pages, "a tree is not as its description says");
	return path.is_whole;
}

/* --- what no tree leads to --- */

void
pages_scan(struct pages *pages, bool with_free, void *owner,
	   bool (*node)(void *owner, struct slice key,
			const struct pages_value *value))
{
	char *page = memory_new(pages->page_size);
	struct page_header header;
	uint64_t step;

	for (uint64_t number = 2; number < pages->count; number += step) {
		step = 1;
		if (bit_get(pages->used, number) ||
		    (!with_free && bit_get(pages->free, number)) ||
		    !pages_read(pages, number, 0, page, pages->page_size))
			continue;
		header = page_header_of(pages, page);
		if (header.number != number)
			continue;
		/* Its bytes are somebody's mail: no place to look for pages. */
		if ((header.flags & ~PAGE_DIRTY) == PAGE_OVERFLOW &&
		    header.pages > 0 &&
		    header.pages <= pages->count - number)
			step = header.pages;
		else if ((header.flags & ~PAGE_DIRTY) == PAGE_LEAF &&
			 !leaf_sift(pages, page, owner, node))
			break;
	}
	free(page);
}
