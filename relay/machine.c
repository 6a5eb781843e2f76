#include "relay/machine.h"

#include <linux/magic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/conf.h"

#define HOSTS_MAX ((size_t)1 << 20)
#define RESOLV_CONF_MAX ((size_t)64 << 10)
#define CGROUP_FILE_MAX ((size_t)64 << 10)
#define NAME_SIZE 256

/* Takes a line without its comment, with one kind of space. */
static bool
line_take(struct slice *rest, const char *comments, struct text *line)
{
	struct slice raw;

	if (!slice_split(rest, '\n', &raw))
		return false;
	text_clear(line);
	for (size_t i = 0; i < raw.len; i++) {
		char c = raw.bytes[i];

		if (c != '\0' && strchr(comments, c) != NULL)
			break;
		text_add_byte(line, c == '\t' || c == '\r' ? ' ' : c);
	}
	return true;
}

static bool
word_take(struct slice *rest, struct slice *word)
{
	while (slice_split(rest, ' ', word))
		if (word->len > 0)
			return true;
	return false;
}

/* The first name with a dot in a line that has the name; hosts(5). */
static bool
full_name_in(struct slice line, struct slice name, struct slice *full_out)
{
	struct slice word;
	bool is_named = false;

	*full_out = SLICE_NONE;
	if (!word_take(&line, &word)) /* the address */
		return false;
	while (word_take(&line, &word)) {
		is_named = is_named || slice_eq_nocase(word, name);
		if (full_out->len == 0 && slice_find(word, '.') > 0)
			*full_out = word;
	}
	return is_named && full_out->len > 0;
}

void
machine_full_name(struct slice name, struct slice hosts, struct text *out)
{
	CLEAN(text_done) struct text line = {0};
	struct slice full;

	while (slice_find(name, '.') < 0 && line_take(&hosts, "#", &line))
		if (full_name_in(text_slice(&line), name, &full)) {
			text_add(out, full);
			return;
		}
	text_add(out, name);
}

void
machine_hostname(struct text *out)
{
	CLEAN(text_done) struct text hosts = {0};
	char name[NAME_SIZE] = "";

	if (gethostname(name, sizeof(name) - 1) != 0)
		return;
	/* Without the file the bare name is all there is. */
	if (!conf_file_read("/etc/hosts", HOSTS_MAX, &hosts, NULL))
		text_clear(&hosts);
	machine_full_name(SLICE(name), text_slice(&hosts), out);
}

void
machine_resolv_conf(struct text *out)
{
	if (!conf_file_read("/etc/resolv.conf", RESOLV_CONF_MAX, out, NULL))
		text_add_string(out, "");
}

bool
machine_next_resolver(struct slice *resolv_conf, struct slice *address_out)
{
	CLEAN(text_done) struct text line = {0};
	struct slice before = *resolv_conf, rest, word;

	while (line_take(resolv_conf, "#;", &line)) {
		rest = text_slice(&line);
		if (word_take(&rest, &word) &&
		    slice_eq(word, SLICE("nameserver")) &&
		    word_take(&rest, &word)) {
			/* The line is a copy: point into the file. */
			*address_out = slice_sub(
				before, (size_t)(word.bytes - line.bytes),
				word.len);
			return true;
		}
		before = *resolv_conf;
	}
	return false;
}

bool
machine_forgets(int directory)
{
	struct statfs status;
	uint32_t type; /* signed there, and too small with 32 bits */

	if (fstatfs(directory, &status) != 0)
		return false;
	type = (uint32_t)status.f_type;
	return type == TMPFS_MAGIC || type == RAMFS_MAGIC ||
	       type == OVERLAYFS_SUPER_MAGIC;
}

void
machine_directory(struct text *out)
{
	CLEAN(clean_memory) char *directory = getcwd(NULL, 0);

	if (directory != NULL)
		text_add_string(out, directory);
}

/* "max", or bytes. */
static uint64_t
limit_read(const char *mounted, struct slice group, const char *name,
	   uint64_t memory)
{
	CLEAN(text_done) struct text path = {0}, value = {0};
	uint64_t bytes;

	text_addf(&path, "%s%.*s/%s", mounted, SLICE_ARG(group), name);
	if (!conf_file_read(text_string(&path), CGROUP_FILE_MAX, &value, NULL) ||
	    !slice_number(slice_trim(text_slice(&value)), &bytes))
		return memory;
	return bytes < memory ? bytes : memory;
}

/* "/a/b" is below "/a" and "". */
static uint64_t
group_memory(const char *mounted, struct slice group, uint64_t memory)
{
	static const char *const names[] = {"memory.max", "memory.high",
					    "memory.limit_in_bytes"};

	while (group.len > 0 && group.bytes[group.len - 1] == '/')
		group.len--;
	for (;;) {
		for (size_t i = 0; i < COUNT(names); i++)
			memory = limit_read(mounted, group, names[i], memory);
		if (group.len == 0)
			return memory;
		while (group.bytes[--group.len] != '/')
			;
	}
}

uint64_t
machine_memory_of(const char *mounted, struct slice cgroup, uint64_t memory)
{
	CLEAN(text_done) struct text version_1 = {0};
	struct slice line, number, controllers;

	text_addf(&version_1, "%s/memory", mounted);
	while (slice_split(&cgroup, '\n', &line)) {
		if (!slice_split(&line, ':', &number) ||
		    !slice_split(&line, ':', &controllers))
			continue;
		if (controllers.len == 0)
			memory = group_memory(mounted, line, memory);
		else if (slice_eq(controllers, SLICE("memory")))
			memory = group_memory(text_string(&version_1), line,
					      memory);
	}
	return memory;
}

void
machine_memory(struct text *out)
{
	CLEAN(text_done) struct text cgroup = {0};
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	uint64_t memory = pages > 0 && size > 0
				  ? (uint64_t)pages * (uint64_t)size
				  : UINT64_MAX;

	if (conf_file_read("/proc/self/cgroup", CGROUP_FILE_MAX, &cgroup,
			   NULL))
		memory = machine_memory_of("/sys/fs/cgroup",
					   text_slice(&cgroup), memory);
	/* Beyond, one process has no addresses for it. */
	if (memory > SIZE_MAX / 2)
		memory = SIZE_MAX / 2;
	text_addf(out, "%llu", (unsigned long long)memory);
}

void
machine_files(struct text *out)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		text_addf(out, "%llu", (unsigned long long)limit.rlim_max);
}

bool
machine_has_address(const struct address *address)
{
	CLEAN(clean_descriptor) int descriptor =
		socket(address->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return descriptor >= 0 &&
	       bind(descriptor, &address->any, address->len) == 0;
}
