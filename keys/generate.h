/*
 * generate - makes a key and its file.
 */
#ifndef KEYS_GENERATE_H
#define KEYS_GENERATE_H

#include "keys/key.h"

/* Makes KEYS_DIR/DOMAIN/SELECTOR.pem, mode 0600, and the directories it needs
 * (0700; those above keys_dir 0755); what is there already is never written over,
 * and the file appears only whole. On success it is on disk. bits: of RSA.
 *
 * *public_out and the path in *path_out (appended) are the caller's. */
bool generate_file(struct slice keys_dir, struct slice domain,
		   struct slice selector, enum key_algorithm algorithm,
		   unsigned bits, struct key_public **public_out,
		   struct text *path_out, struct fault *fault) MUST_USE;

#endif
