#include "relay/vigil.h"

#include "base/clock.h"
#include "relay/limits.h"

static_assert((SIGNER_LOOKS_MAX + 1) * SIGNER_LOOK_MS + 5 * SECOND <
		      SIGNER_CALL_TIMEOUT_MS,
	      "its calls still wait when there is another signer");
static_assert(SIGNER_LOOK_MS + SIGNER_LOAD_TIMEOUT_MS + 5 * SECOND <
		      SIGNER_CALL_TIMEOUT_MS,
	      "so they do where a reload was under way, which nobody looks behind");

bool
vigil_finds_hung(struct vigil *vigil, struct signer_process *process)
{
	uint64_t now_ms = clock_now_ms();

	if (now_ms < vigil->due_ms)
		return false;
	vigil->due_ms = now_ms + SIGNER_LOOK_MS;
	return signer_look(process) >= SIGNER_LOOKS_MAX;
}

bool
vigil_finds_lost(struct vigil *vigil, const struct signer_process *process,
		 unsigned clients)
{
	if (process->heard == vigil->heard)
		return false;
	vigil->heard = process->heard;
	vigil->looks_lacking =
		process->clients < clients ? vigil->looks_lacking + 1 : 0;
	if (vigil->looks_lacking < 2)
		return false;
	vigil->looks_lacking = 0;
	return true;
}
