/*
 * clients - certificates of clients that are known at a listener: its
 * tls_clients, parsed.
 *
 *	# a comment
 *	FINGERPRINT NAME
 *
 * FINGERPRINT is SHA-256 in hexadecimal, with or without colons, of a
 * certificate (`openssl x509 -fingerprint -sha256`) or of its public key alone,
 * which stays with a renewal. NAME, the rest of the line, is the user that the
 * client then is. Postfix's relay_clientcerts looks the same.
 *
 * Ownership   struct clients owns its bytes; immutable, shared by all threads.
 */
#ifndef RELAY_CLIENTS_H
#define RELAY_CLIENTS_H

#include "base/fault.h"
#include "base/slice.h"

#define CLIENTS_FILE_MAX ((size_t)16 << 20)
#define CLIENT_FINGERPRINT 32 /* octets */

struct clients;

/* Copies the bytes. The fault names the line. */
bool clients_new(struct slice bytes, struct clients **clients_out,
		 struct fault *fault) MUST_USE;
/* The same of a file; faults name it. */
bool clients_read(struct slice path, struct clients **clients_out,
		  struct fault *fault) MUST_USE;
void clients_free(struct clients *clients); /* takes NULL */
/* Whose fingerprint it is; the name lives as long as the clients. */
bool clients_find(const struct clients *clients,
		  const uint8_t fingerprint[CLIENT_FINGERPRINT],
		  struct slice *name_out) MUST_USE;
/* All of them; a name may be there more than once. */
size_t clients_count(const struct clients *clients);
struct slice clients_name_at(const struct clients *clients, size_t i);

#endif
