#ifndef TESTS_FAKE_DNS_H
#define TESTS_FAKE_DNS_H

#include "relay/net/dns.h"

/* Ends with a row whose name is NULL; what is not in it has NO_DATA. */
struct fake_dns_row {
	const char *name;
	enum dns_type type;
	enum dns_status status;
	const char *records;
};
extern const struct fake_dns_row *fake_dns_rows;

/* Answers everything asked, and what is asked meanwhile. */
void fake_dns_run(void);
unsigned fake_dns_open(void);
/* Of what has been answered, how many queries were not prompt. */
extern unsigned fake_dns_patient;

#endif
