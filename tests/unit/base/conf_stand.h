/*
 * conf_stand - a table of options of each kind, and what one test parses by it:
 * for the tests of base/conf*.c.
 */
#ifndef TESTS_UNIT_BASE_CONF_STAND_H
#define TESTS_UNIT_BASE_CONF_STAND_H

#include "base/conf.h"

enum colour { RED, GREEN, BLUE };

struct inner {
	struct slice title, key;
};

struct outer {
	struct slice title;
	uint16_t port;
	struct inner *inners;
	size_t inners_count;
};

struct target {
	struct slice name;
	bool is_on;
	enum colour colour;
	uint64_t size, time_ms, count;
	uint64_t *times;
	size_t times_count;
	uint64_t *evens;
	size_t evens_count;
	uint64_t even;
	struct outer *outers;
	size_t outers_count;
};

extern const struct conf_table conf_stand_table;

struct fixture {
	struct arena arena;
	struct conf_sources sources;
	struct conf_errors errors;
	struct text said;
	struct target target;
	struct conf_item *root;
};

void fixture_done(struct fixture *fixture);
/* Parses the sources that the test has added; said: what is wrong with them. */
void fixture_parse(struct fixture *fixture);
/* The same of one file, "a". */
void fixture_of(struct fixture *fixture, const char *contents);

#endif
