#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "relay/machine.h"

static const struct {
	const char *name, *hosts, *full;
} host_rows[] = {
	{"mx.example.com", "127.0.0.1 other.example", "mx.example.com"},
	{"mx", "", "mx"},
	{"mx", "127.0.1.1\tmx.example.com\tmx\n", "mx.example.com"},
	{"mx", "127.0.1.1 mx mx.example.com # x", "mx.example.com"},
	{"mx", "127.0.1.1 a.example a\n::1 MX.example.com MX",
	 "MX.example.com"},
	{"mx", "# 127.0.1.1 mx.example.com mx\n", "mx"},
	{"mx", "mx.example.com mx\n", "mx"},
	{"mx", "127.0.1.1 mx.example.com mxx\n", "mx"},
};

Test(machine, finds_the_full_name)
{
	for (size_t i = 0; i < COUNT(host_rows); i++) {
		CLEAN(text_done) struct text out = {0};

		machine_full_name(SLICE(host_rows[i].name),
				  SLICE(host_rows[i].hosts), &out);
		cr_expect_str_eq(text_string(&out), host_rows[i].full);
	}
}

static const struct memory_row {
	const char *name, *cgroup;
	uint64_t memory;
} memory_rows[] = {
	{"its own group's", "0::/slice/service\n", 300 << 20},
	{"one above has less", "0::/slice/large\n", 400 << 20},
	{"a high mark", "0::/slice/high\n", 200 << 20},
	{"more than the machine has", "0::/huge\n", 1000 << 20},
	{"none that can be read", "0::/nowhere\n", 1000 << 20},
	{"the root", "0::/\n", 1000 << 20},
	{"behind those of version 1", "1:memory:/x\n0::/slice/service\n",
	 300 << 20},
	{"version 1 alone", "2:cpu:/\n1:memory:/old\n", 100 << 20},
	{"seen from a container in it", "1:memory:/not/mounted\n", 500 << 20},
	{"nothing", "", 1000 << 20},
};

static void
group_file(const char *mounted, const char *name, const char *value)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", mounted, name);
	if (value == NULL) {
		cr_assert_eq(mkdir(path, 0700), 0);
		return;
	}
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fputs(value, file);
	fclose(file);
}

Test(machine, knows_what_memory_its_control_group_has)
{
	char mounted[] = "/tmp/signet-cgroup-XXXXXX";
	char command[64];

	cr_assert_not_null(mkdtemp(mounted));
	group_file(mounted, "slice", NULL);
	group_file(mounted, "slice/memory.max", "419430400\n");
	group_file(mounted, "slice/service", NULL);
	group_file(mounted, "slice/service/memory.max", "314572800\n");
	group_file(mounted, "slice/large", NULL);
	group_file(mounted, "slice/large/memory.max", "max\n");
	group_file(mounted, "slice/high", NULL);
	group_file(mounted, "slice/high/memory.high", "209715200\n");
	group_file(mounted, "huge", NULL);
	group_file(mounted, "huge/memory.max", "1099511627776\n");
	group_file(mounted, "memory", NULL);
	group_file(mounted, "memory/memory.limit_in_bytes", "524288000\n");
	group_file(mounted, "memory/old", NULL);
	group_file(mounted, "memory/old/memory.limit_in_bytes", "104857600\n");
	for (size_t i = 0; i < COUNT(memory_rows); i++)
		cr_expect_eq(machine_memory_of(mounted,
					       SLICE(memory_rows[i].cgroup),
					       1000 << 20),
			     memory_rows[i].memory, "%s", memory_rows[i].name);
	snprintf(command, sizeof(command), "rm -r %s", mounted);
	cr_assert_eq(system(command), 0);
}

Test(machine, forgets_what_is_in_memory)
{
	int memory = open("/dev/shm", O_PATH | O_DIRECTORY);
	int other = open("/proc", O_PATH | O_DIRECTORY);

	if (memory < 0 || other < 0)
		cr_skip_test("no /dev/shm here");
	cr_expect(machine_forgets(memory));
	cr_expect_not(machine_forgets(other));
	close(memory);
	close(other);
}

Test(machine, reads_resolv_conf)
{
	struct slice rest = SLICE("# x\nsearch example.com\n"
				  "nameserver 192.0.2.1 # no\n"
				  "  nameserver\t2001:db8::1\r\n"
				  ";nameserver 192.0.2.9\nnameserver\n"
				  "nameservers 192.0.2.9\n"
				  "nameserver fe80::1%eth0");
	static const char *const found[] = {"192.0.2.1", "2001:db8::1",
					    "fe80::1%eth0"};
	struct slice address;

	for (size_t i = 0; i < COUNT(found); i++) {
		cr_assert(machine_next_resolver(&rest, &address));
		cr_expect(slice_eq(address, SLICE(found[i])), "%.*s",
			  SLICE_ARG(address));
	}
	cr_expect_not(machine_next_resolver(&rest, &address));
}
