/*
 * clean - locals that release themselves.
 *
 *	CLEAN(text_done) struct text line = {0};
 *	CLEAN(key_free) struct key *key = NULL;
 *	...
 *	*key_out = TAKE(key);
 *
 * The function named gets the address of the variable. For pointers declare a
 * wrapper with CLEAN_POINTER(type, free_function): it makes
 * `free_function_clean`, which accepts a variable that holds NULL.
 */
#ifndef BASE_CLEAN_H
#define BASE_CLEAN_H

#define CLEAN(function) __attribute__((cleanup(function)))

#define CLEAN_POINTER(type, free_function)                                     \
	static inline void free_function##_clean(type **pointer)               \
	{                                                                      \
		if (*pointer != NULL)                                          \
			free_function(*pointer);                               \
	}

#define TAKE(pointer)                                                          \
	__extension__({                                                        \
		__typeof__(pointer) taken_ = (pointer);                        \
		(pointer) = NULL;                                              \
		taken_;                                                        \
	})

/* For plain descriptors and malloc'd memory. A descriptor below 0 is none. */
void clean_descriptor(int *descriptor);
void clean_memory(void *address_of_pointer);

#endif
