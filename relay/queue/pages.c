#include "relay/queue/pages_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define META_MAGIC 0xBEEFC0DEu
#define META_VERSION 1
#define PAGE_SIZE_MIN 512
#define PAGE_SIZE_MAX 65536
/* Pages of one transaction. */
#define UNWRITTEN_MAX 131072
/* Of all reads of a file together, where they fail: some seconds. */
#define READ_AGAIN_MAX 20
#define READ_AGAIN_US 100000

/* Behind the page's header. */
struct meta {
	uint32_t magic, version;
	uint64_t address, map_size;
	struct page_tree frees, tables;
	uint64_t last_page, transaction;
};
static_assert(sizeof(struct meta) == 136, "as in the file");

bool
pages_note(struct pages *pages, const char *format, ...)
{
	va_list arguments;

	if (pages->damage[0] != '\0')
		return false;
	va_start(arguments, format);
	vsnprintf(pages->damage, sizeof(pages->damage), format, arguments);
	va_end(arguments);
	return false;
}

/* A disk that is reached by a cable may be there again in a moment; its bad
 * sectors are as they were, and are waited for once, all together. */
static bool
may_read_again(struct pages *pages)
{
	if (errno == EINTR)
		return true;
	if (pages->again == READ_AGAIN_MAX)
		return false;
	pages->again++;
	usleep(READ_AGAIN_US);
	return true;
}

static bool
read_at(struct pages *pages, void *out, size_t len, uint64_t offset)
{
	char *at = out;

	while (len > 0) {
		ssize_t got = pread(pages->file, at, len, (off_t)offset);

		if (got < 0 && may_read_again(pages))
			continue;
		if (got < 0) {
			pages->is_unreadable = true;
			return pages_note(pages,
					  "it cannot be read at %llu: %s",
					  (unsigned long long)offset,
					  strerror(errno));
		}
		if (got == 0)
			return false;
		at += got;
		offset += (uint64_t)got;
		len -= (size_t)got;
	}
	return true;
}

bool
pages_read(struct pages *pages, uint64_t page, size_t from, void *out,
	   size_t len)
{
	return page < pages->count &&
	       read_at(pages, out, len, page * pages->page_size + from);
}

bool
pages_read_all(struct pages *pages)
{
	char *page = memory_new(pages->page_size);
	uint64_t number = 0;

	while (number < pages->there &&
	       pages_read(pages, number, 0, page, pages->page_size))
		number++;
	free(page);
	return number == pages->there;
}

bool
pages_is_unreadable(const struct pages *pages)
{
	return pages->is_unreadable;
}

/* --- what the file says of itself --- */

static bool
size_is_possible(uint64_t size)
{
	return size >= PAGE_SIZE_MIN && size <= PAGE_SIZE_MAX &&
	       (size & (size - 1)) == 0;
}

/* The second one stands behind a page whose size only the first one says; where
 * that is damaged the machine's will do. */
static bool
meta_read(struct pages *pages, unsigned which, size_t page_size,
	  struct meta *meta)
{
	struct page_header header;
	uint64_t offset = which * page_size;

	return read_at(pages, &header, sizeof(header), offset) &&
	       read_at(pages, meta, sizeof(*meta), offset + PAGE_HEADER) &&
	       header.number == which && (header.flags & PAGE_META) != 0 &&
	       meta->magic == META_MAGIC && meta->version == META_VERSION &&
	       size_is_possible(meta->frees.pad) && meta->last_page >= 1 &&
	       meta->last_page < UINT64_MAX / meta->frees.pad &&
	       (meta->transaction % 2 == which || meta->transaction == 0);
}

static struct pages_tree
tree_of(const struct page_tree *tree)
{
	return (struct pages_tree){.flags = tree->flags,
				   .depth = tree->depth,
				   .branches = tree->branches,
				   .leaves = tree->leaves,
				   .overflows = tree->overflows,
				   .entries = tree->entries,
				   .root = tree->root};
}

/* The engine takes the later one. Each transaction writes the one of its
 * parity, so they are one apart. */
static bool
metas_choose(struct pages *pages, struct meta *chosen)
{
	struct meta metas[2];
	size_t machine = (size_t)sysconf(_SC_PAGESIZE);
	bool first, second, both;

	first = meta_read(pages, 0, machine, &metas[0]);
	second = meta_read(pages, 1,
			   first ? metas[0].frees.pad : machine, &metas[1]);
	if (!first && !second)
		return false;
	if (!first || !second)
		pages_note(pages, "page %d does not describe the store",
			   first ? 1 : 0);
	else if (metas[0].frees.pad != metas[1].frees.pad ||
		 (metas[0].transaction != metas[1].transaction + 1 &&
		  metas[1].transaction != metas[0].transaction + 1 &&
		  metas[0].transaction + metas[1].transaction != 0))
		pages_note(pages, "its two descriptions do not agree");
	both = first && second;
	if (both)
		first = metas[0].transaction >= metas[1].transaction;
	*chosen = metas[first ? 0 : 1];
	/* The engine never takes the end back. */
	if (both && chosen->last_page < metas[first ? 1 : 0].last_page)
		pages_note(pages, "it says that it is shorter than it was");
	return true;
}

/* As of an empty store; what is in the file may still be found by itself. */
static void
meta_make_up(struct pages *pages, struct meta *meta)
{
	pages_note(pages, "it does not say that it is a store");
	*meta = (struct meta){.last_page = 1};
	meta->frees.pad = (uint32_t)sysconf(_SC_PAGESIZE);
	meta->frees.root = meta->tables.root = PAGE_NONE;
}

/* --- values --- */

bool
pages_tree_read(const struct pages_value *value, struct pages_tree *tree_out)
{
	struct page_tree tree;

	if (!value->is_tree || value->bytes.len != sizeof(tree))
		return false;
	memcpy(&tree, value->bytes.bytes, sizeof(tree));
	*tree_out = tree_of(&tree);
	return true;
}

uint64_t
pages_overflow(struct pages *pages, uint64_t page, size_t len)
{
	struct page_header header;

	if (page < 2 ||
	    !pages_read(pages, page, 0, &header, sizeof(header)) ||
	    header.number != page ||
	    (header.flags & ~PAGE_DIRTY) != PAGE_OVERFLOW ||
	    header.pages == 0 || page >= pages->there ||
	    header.pages > pages->there - page ||
	    len > (uint64_t)header.pages * pages->page_size - PAGE_HEADER)
		return 0;
	return header.pages;
}

bool
pages_value_read(struct pages *pages, const struct pages_value *value,
		 struct text *out)
{
	if (value->page == 0) {
		text_add(out, value->bytes);
		return true;
	}
	/* Its header is the walk's business: the record has its own sum. */
	if (value->page < 2 || value->page >= pages->there ||
	    value->len > (pages->there - value->page) * pages->page_size -
				 PAGE_HEADER ||
	    !pages_read(pages, value->page, PAGE_HEADER,
			text_room(out, value->len), value->len))
		return false;
	text_added(out, value->len);
	return true;
}

/* --- the free list --- */

/* A count, then the pages, the highest first. */
static bool
frees_on_node(void *owner, struct slice key, const struct pages_value *value)
{
	struct pages *pages = owner;
	CLEAN(text_done) struct text list = {0};
	uint64_t count, page, before = UINT64_MAX;

	if (key.len != sizeof(uint64_t) || value->len < sizeof(count) ||
	    !pages_value_read(pages, value, &list))
		return pages_note(pages, "the free list cannot be read");
	memcpy(&count, list.bytes, sizeof(count));
	if (count > list.len / sizeof(count) - 1)
		return pages_note(pages, "the free list cannot be read");
	for (uint64_t i = 1; i <= count; i++, before = page) {
		memcpy(&page, list.bytes + i * sizeof(page), sizeof(page));
		if (page < 2 || page >= pages->count || page >= before ||
		    bit_get(pages->free, page))
			return pages_note(pages,
					  "the free list makes no sense");
		bit_set(pages->free, page);
	}
	return true;
}

static void
frees_load(struct pages *pages)
{
	struct pages_walk walk = {.owner = pages, .node = frees_on_node};

	if (!pages_walk(pages, &pages->frees, &walk) || walk.is_ended)
		pages->is_free_doubtful = true;
}

/* --- opening --- */

static bool
pages_measure(struct pages *pages, const struct meta *meta, const char *path,
	      struct fault *fault)
{
	struct stat status;

	if (fstat(pages->file, &status) != 0)
		return fault_errno(fault, "%s", path);
	pages->page_size = meta->frees.pad;
	pages->there = (uint64_t)status.st_size / pages->page_size;
	pages->count = meta->last_page + 1;
	/* What was free before it was ever written need not be there. */
	if (pages->count > pages->there + UNWRITTEN_MAX)
		pages_note(pages, "most of the file is missing");
	/* Which number is true is not known then. */
	if (pages->damage[0] != '\0')
		pages->count = pages->there;
	if (pages->there > pages->count)
		pages->there = pages->count;
	pages->used = memory_new(pages->count / 8 + 1);
	pages->free = memory_new(pages->count / 8 + 1);
	return true;
}

bool
pages_open(const char *path, struct pages **pages_out, struct fault *fault)
{
	CLEAN(pages_close_clean) struct pages *pages =
		memory_new(sizeof(*pages));
	struct meta meta;
	bool is_described;

	pages->file = open(path, O_RDONLY | O_CLOEXEC);
	if (pages->file < 0)
		return fault_errno(fault, "%s", path);
	is_described = metas_choose(pages, &meta);
	if (!is_described)
		meta_make_up(pages, &meta);
	if (!pages_measure(pages, &meta, path, fault))
		return false;
	/* Without a description nothing says that a page is in use. */
	if (!is_described)
		memset(pages->free, 0xff, pages->count / 8 + 1);
	pages->frees = tree_of(&meta.frees);
	pages->tables = tree_of(&meta.tables);
	/* With the older description, what it has as free may be in use. */
	pages->is_free_doubtful = pages->damage[0] != '\0';
	frees_load(pages);
	*pages_out = TAKE(pages);
	return true;
}

void
pages_close(struct pages *pages)
{
	if (pages->file >= 0)
		close(pages->file);
	free(pages->used);
	free(pages->free);
	free(pages);
}

const struct pages_tree *
pages_tables(const struct pages *pages)
{
	return &pages->tables;
}

const char *
pages_damage(const struct pages *pages)
{
	return pages->damage;
}

bool
pages_knows_free(const struct pages *pages)
{
	return !pages->is_free_doubtful;
}

uint64_t
pages_bytes_in_use(const struct pages *pages)
{
	uint64_t in_use = 0;

	if (pages->is_free_doubtful)
		return 0;
	for (uint64_t page = 0; page < pages->there; page++)
		in_use += !bit_get(pages->free, page);
	return in_use * pages->page_size;
}
