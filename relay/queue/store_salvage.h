/*
 * store_salvage - a new store of what a damaged one still holds.
 *
 * Every record and chunk whose checksum is right is taken over; what is due
 * follows from the deliveries' records. Where trees are broken, leaves that no
 * tree leads to are read too, but those of the free list only where that cannot
 * be believed either: they hold what was delivered before. Where it is not known
 * whether a recipient has a message, it is sent again: rather twice than lost.
 *
 * The damaged file is kept, as queue.damaged-TIME/data.mdb in the state
 * directory, with the bodies in files that no message names any more. Nothing
 * ever removes that. Lost messages are logged as `damaged`, the whole as
 * `store-damaged`.
 *
 * One that is sound, but was written on a machine of other bits, is taken over
 * the same way: it is kept as queue.foreign-TIME, and logged as
 * `store-taken-over`.
 *
 * May be interrupted at any moment: until the new store is whole and durable,
 * the old one stays in its place, and then is replaced in one step. One that
 * fails leaves nothing behind; what an interrupted one has, the next start undoes.
 */
#ifndef RELAY_QUEUE_STORE_SALVAGE_H
#define RELAY_QUEUE_STORE_SALVAGE_H

#include "base/fault.h"

/* In the state directory `path`; `reason` is for the log. Nobody may have the
 * store open. LIMIT: there is no room for a second store. What cannot be read,
 * for some seconds, is a fault (engine_is_unreadable()), or given up. */
bool store_salvage(const char *path, const char *reason, bool gives_up,
		   struct fault *fault) MUST_USE;

/* What one that was interrupted has left, back to where it was; where there is
 * nothing of the kind, nothing. Nobody may have the store open, and no body be
 * swept. */
void store_salvage_undo(const char *path);

#endif
