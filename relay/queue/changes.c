#include "relay/queue/changes.h"

void
changes_sign(struct changes *changes, struct arena *arena,
	     const struct signature *signatures, size_t count)
{
	struct changes_signature *rows =
		arena_array(arena, count, sizeof(*rows));

	for (size_t i = 0; i < count; i++) {
		const struct keyring_selector *selector =
			signatures[i].selector;

		rows[i] = (struct changes_signature){
			.domain = arena_copy(arena, signatures[i].domain),
			.selector = arena_copy(arena, selector->name),
			.algorithm = key_public_algorithm(selector->key),
		};
	}
	changes->signatures = rows;
	changes->signatures_count = count;
}

struct changes *
changes_copy(struct arena *arena, const struct changes *changes)
{
	struct changes *copy = arena_new(arena, sizeof(*copy));
	struct changes_signature *rows =
		arena_array(arena, changes->signatures_count, sizeof(*rows));

	*copy = *changes;
	copy->signatures = rows;
	for (size_t i = 0; i < changes->signatures_count; i++) {
		rows[i] = changes->signatures[i];
		rows[i].domain = arena_copy(arena, rows[i].domain);
		rows[i].selector = arena_copy(arena, rows[i].selector);
	}
	return copy;
}

void
changes_log_signatures(struct log *line, const struct changes *changes)
{
	log_list_begin(line, "signatures");
	for (size_t i = 0; i < changes->signatures_count; i++) {
		const struct changes_signature *row = &changes->signatures[i];

		log_object_begin(line);
		log_text(line, "domain", row->domain);
		log_text(line, "selector", row->selector);
		log_string(line, "algorithm",
			   key_algorithm_name(row->algorithm));
		log_object_end(line);
	}
	log_list_end(line);
}

void
changes_log_changed(struct log *line, const struct changes *changes)
{
	struct prepare_changes made = {
		.repaired = &changes->repair,
		.rewritten = &changes->rewritten,
		.separated = changes->separated,
		.mends_newlines = changes->mends_newlines,
		.adds_date = changes->adds_date,
		.adds_message_id = changes->adds_message_id,
	};
	const char *words;
	size_t next = 0;

	log_list_begin(line, "changed");
	while ((words = prepare_changed(&made, &next)) != NULL)
		log_item(line, SLICE(words));
	log_list_end(line);
}
