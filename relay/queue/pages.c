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

#define PAGE_HEADER_MAX 16

/* How the file describes a tree: a number of 4 bytes, two of 2, five words. Of the
 * free list the first is the size of pages. */
#define TREE_WORDS 5
#define TREE_SIZE(word) (8u + TREE_WORDS * (word))
#define TREE_SIZE_MAX TREE_SIZE(8)

/* The file, behind a page's header: magic and version, of 4 bytes; two words; the
 * free list, the tree of tables; two words. */
#define META_SIZE(word) (8u + 2u * (word) + 2 * TREE_SIZE(word) + 2u * (word))
#define META_SIZE_MAX META_SIZE(8)

struct meta {
	uint64_t page_size;
	struct pages_tree frees, tables;
	uint64_t last_page, transaction;
};

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

static struct pages_tree
tree_of(const struct pages *pages, const char *bytes)
{
	size_t word = pages->word;
	const char *words = bytes + 8;

	return (struct pages_tree){
		.flags = number16_at(bytes + 4),
		.depth = number16_at(bytes + 6),
		.branches = word_at(pages, words),
		.leaves = word_at(pages, words + word),
		.overflows = word_at(pages, words + 2 * word),
		.entries = word_at(pages, words + 3 * word),
		.root = word_at(pages, words + 4 * word)};
}

struct page_header
page_header_of(const struct pages *pages, const char *bytes)
{
	const char *rest = bytes + pages->word;

	return (struct page_header){
		.number = word_at(pages, bytes),
		.flags = number16_at(rest + 2),
		.lower = number16_at(rest + 4),
		.upper = number16_at(rest + 6),
		.pages = number32_at(rest + 4)};
}

static bool
meta_cut(const struct pages *pages, const char *bytes, struct meta *meta)
{
	size_t word = pages->word;
	const char *frees = bytes + 8 + 2 * word;
	const char *tables = frees + TREE_SIZE(word);
	const char *end = tables + TREE_SIZE(word);

	*meta = (struct meta){.page_size = number32_at(frees),
			      .frees = tree_of(pages, frees),
			      .tables = tree_of(pages, tables),
			      .last_page = word_at(pages, end),
			      .transaction = word_at(pages, end + word)};
	return number32_at(bytes) == META_MAGIC &&
	       number32_at(bytes + 4) == META_VERSION;
}

/* The second one stands behind a page whose size only the first one says; where
 * that is damaged the machine's will do. */
static bool
meta_read(struct pages *pages, unsigned which, uint64_t page_size,
	  struct meta *meta)
{
	char bytes[PAGE_HEADER_MAX + META_SIZE_MAX];
	size_t head = page_header_size(pages);
	struct page_header header;

	if (!read_at(pages, bytes, head + META_SIZE(pages->word),
		     which * page_size))
		return false;
	header = page_header_of(pages, bytes);
	return meta_cut(pages, bytes + head, meta) && header.number == which &&
	       (header.flags & PAGE_META) != 0 &&
	       size_is_possible(meta->page_size) && meta->last_page >= 1 &&
	       meta->last_page < UINT64_MAX / meta->page_size &&
	       (meta->transaction % 2 == which || meta->transaction == 0);
}

/* The engine takes the later one. Each transaction writes the one of its
 * parity, so they are one apart. */
static bool
metas_choose(struct pages *pages, struct meta *chosen)
{
	struct meta metas[2];
	uint64_t machine = (uint64_t)sysconf(_SC_PAGESIZE);
	bool first, second, both;

	first = meta_read(pages, 0, machine, &metas[0]);
	second = meta_read(pages, 1, first ? metas[0].page_size : machine,
			   &metas[1]);
	if (!first && !second)
		return false;
	if (!first || !second)
		pages_note(pages, "page %d does not describe the store",
			   first ? 1 : 0);
	else if (metas[0].page_size != metas[1].page_size ||
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

/* Its words are as long as one of its descriptions makes sense with. */
static bool
word_choose(struct pages *pages, struct meta *chosen)
{
	static const uint8_t words[] = {sizeof(uint64_t), sizeof(uint32_t)};

	for (size_t i = 0; i < COUNT(words); i++) {
		pages->word = words[i];
		if (metas_choose(pages, chosen))
			return true;
	}
	pages->word = sizeof(size_t);
	return false;
}

/* As of an empty store; what is in the file may still be found by itself. */
static void
meta_make_up(struct pages *pages, struct meta *meta)
{
	pages_note(pages, "it does not say that it is a store");
	*meta = (struct meta){.page_size = (uint64_t)sysconf(_SC_PAGESIZE),
			      .last_page = 1,
			      .frees.root = PAGE_NONE,
			      .tables.root = PAGE_NONE};
}

/* --- values --- */

bool
pages_tree_read(const struct pages *pages, const struct pages_value *value,
		struct pages_tree *tree_out)
{
	if (!value->is_tree || value->bytes.len != TREE_SIZE(pages->word))
		return false;
	*tree_out = tree_of(pages, value->bytes.bytes);
	return true;
}

uint64_t
pages_overflow(struct pages *pages, uint64_t page, size_t len)
{
	char bytes[PAGE_HEADER_MAX];
	struct page_header header;

	if (page < 2 ||
	    !pages_read(pages, page, 0, bytes, page_header_size(pages)))
		return 0;
	header = page_header_of(pages, bytes);
	if (header.number != page ||
	    (header.flags & ~PAGE_DIRTY) != PAGE_OVERFLOW ||
	    header.pages == 0 || page >= pages->there ||
	    header.pages > pages->there - page ||
	    len > (uint64_t)header.pages * pages->page_size -
			    page_header_size(pages))
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
				 page_header_size(pages) ||
	    !pages_read(pages, value->page, page_header_size(pages),
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
	size_t word = pages->word;
	uint64_t count, page, before = UINT64_MAX;

	if (key.len != word || value->len < word ||
	    !pages_value_read(pages, value, &list))
		return pages_note(pages, "the free list cannot be read");
	count = word_at(pages, list.bytes);
	if (count > list.len / word - 1)
		return pages_note(pages, "the free list cannot be read");
	for (size_t i = 1; i <= count; i++, before = page) {
		page = word_at(pages, list.bytes + i * word);
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
	pages->page_size = (size_t)meta->page_size;
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
	pages->used = memory_new((size_t)(pages->count / 8) + 1);
	pages->free = memory_new((size_t)(pages->count / 8) + 1);
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
	is_described = word_choose(pages, &meta);
	if (!is_described)
		meta_make_up(pages, &meta);
	if (!pages_measure(pages, &meta, path, fault))
		return false;
	/* Without a description nothing says that a page is in use. */
	if (!is_described)
		memset(pages->free, 0xff, (size_t)(pages->count / 8) + 1);
	pages->frees = meta.frees;
	pages->tables = meta.tables;
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

unsigned
pages_bits(const struct pages *pages)
{
	return pages->word * 8u;
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
