/*
 * key_file - by what a key file is known again: the same bytes are the same
 * key, whose name or place may have changed.
 */
#ifndef KEYS_KEY_FILE_H
#define KEYS_KEY_FILE_H

#include "keys/key.h"

/* SHA-256 of all its bytes. */
struct key_file_id {
	uint8_t bytes[32];
};

void key_file_id_of(struct slice pem, struct key_file_id *id_out);

#endif
