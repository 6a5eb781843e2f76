/*
 * store_verify - whether the engine may be let at the store's file.
 *
 * The engine trusts its pages, and a damaged one can crash who reads it, or
 * have what is in use written over. So the file is read without the engine
 * first (pages.h): every tree, the free list, and that the tables agree: each
 * delivery is due or held, each has its message, each message its deliveries
 * and all of its body. Bodies themselves, and files, are not read. Private to
 * the store.
 */
#ifndef RELAY_QUEUE_STORE_VERIFY_H
#define RELAY_QUEUE_STORE_VERIFY_H

#include <stdint.h>

#include "base/fault.h"

/* Until clock_now_ms() is past the deadline; what was not read until then
 * counts as sound. No file is sound. A fault: see engine_is_damaged(),
 * engine_is_foreign() and engine_is_unreadable(). */
bool store_verify(const char *path, uint64_t deadline_ms,
		  struct fault *fault) MUST_USE;
/* Whether all bytes can be read, bodies and all. */
bool store_verify_bytes(const char *path, struct fault *fault) MUST_USE;

#endif
