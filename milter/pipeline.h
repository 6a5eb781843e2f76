/*
 * pipeline - the signing stage: begin, header*, body*, end; one pass, constant
 * memory.
 *
 *	pipeline_new → pipeline_header for each field, in order
 *	             → pipeline_end_of_header: who signs is fixed here
 *	             → pipeline_body with the body's bytes, cut anywhere
 *	             → pipeline_end: one struct signature per selector, with the
 *	               digest to be signed
 *	   the caller has each digest signed (keys/signer.h) and fills in
 *	   signature and signature_len
 *	             → pipeline_write: the DKIM-Signature fields
 *
 * The stage knows no socket, no file and no clock: time is handed in. It
 * hashes each distinct body canonicalization once and keeps of the header only
 * the fields that may be signed; the caller bounds the header's size.
 *
 * What it signs holds for the message as it was fed, with or without the
 * fields that pipeline_strips() names: no DKIM-Signature is ever signed.
 *
 * Bytes       CRLF line ends everywhere (RFC 5322 2.1). A field is given from
 *             its name to before its last CRLF, folding included.
 * Ownership   The pipeline copies what it keeps. What it hands out lives until
 *             pipeline_free(). It holds a reference of the policy.
 * Thread      One at a time.
 */
#ifndef MILTER_PIPELINE_H
#define MILTER_PIPELINE_H

#include "milter/policy.h"

/* A header with more fields of those that are signed is signed by nobody: h=
 * would be longer than verifiers take. Mail has a dozen. */
#define PIPELINE_FIELDS_MAX 899

struct signature {
	struct slice domain; /* d= */
	const struct keyring_selector *selector;
	const struct policy_rules *rules;
	struct slice identity; /* i=; empty: none */
	uint8_t digest[KEY_DIGEST_SIZE];
	/* filled in by the caller */
	uint8_t signature[KEY_SIGNATURE_MAX];
	size_t signature_len;
};

struct pipeline;

/* time_s: t= of the signatures, seconds since 1970. */
struct pipeline *pipeline_new(struct policy *policy, uint64_t time_s);
void pipeline_free(struct pipeline *pipeline);
CLEAN_POINTER(struct pipeline, pipeline_free)

void pipeline_header(struct pipeline *pipeline, struct slice field);
/* Fixes who signs. The decision lives as long as the pipeline. */
const struct decision *pipeline_end_of_header(struct pipeline *pipeline);
/* What the policy decided on; NULL before the end of the header. */
const struct decision *pipeline_decision(const struct pipeline *pipeline);
/* After the end of the header: this field is a signature that ours replace, and
 * the message has to go on without it. Never unless decision->strips. */
bool pipeline_strips(const struct pipeline *pipeline, struct slice field);
/* The same of any of these domains, in A-labels. */
bool pipeline_is_signature_of(struct slice field, const struct slice *domains,
			      size_t count);
/* t= of the signatures. */
uint64_t pipeline_time(const struct pipeline *pipeline);
struct policy *pipeline_policy(const struct pipeline *pipeline);
void pipeline_body(struct pipeline *pipeline, struct slice bytes);
/* The signatures to be made, in the order of the configuration; none unless
 * the verdict is VERDICT_SIGN. */
struct signature *pipeline_end(struct pipeline *pipeline, size_t *count_out);
/* The header fields that a signature of these rules names, in the order of
 * h=; after the end of the header. Lives as long as the pipeline. */
const struct slice *pipeline_names(const struct pipeline *pipeline,
				   const struct policy_rules *rules,
				   size_t *count_out);
/* What pipeline_end() gave. */
const struct signature *pipeline_signatures(const struct pipeline *pipeline,
					    size_t *count_out);
/* Appends a DKIM-Signature field for each signature, each with its CRLF, the
 * first selector's on top. Asserts that every signature is filled in. */
void pipeline_write(const struct pipeline *pipeline, struct text *out);

#endif
