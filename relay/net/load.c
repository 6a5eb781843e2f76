#include "relay/net/load.h"

bool
load_is_due(const struct load *load, uint64_t now_ms)
{
	return now_ms >= load->looked_ms + LOAD_SPAN_MS;
}

void
load_look(struct load *load, uint64_t now_ms, uint64_t worked_ms)
{
	uint64_t passed_ms = now_ms - load->looked_ms;
	bool is_high = 2 * (worked_ms - load->worked_ms) > passed_ms;

	load->looked_ms = now_ms;
	load->worked_ms = worked_ms;
	atomic_store(&load->high_until_ms,
		     is_high ? now_ms + 2 * LOAD_SPAN_MS : 0);
}

bool
load_is_high(const struct load *load, uint64_t now_ms)
{
	return atomic_load(&load->high_until_ms) > now_ms;
}
