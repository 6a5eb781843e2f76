/* A key and a certificate for mail.example.com, made on the spot. */
#ifndef TESTS_UNIT_RELAY_NET_CERTIFICATE_H
#define TESTS_UNIT_RELAY_NET_CERTIFICATE_H

#include "base/slice.h"

void certificate_make(struct text *certificate, struct text *key);

#endif
