/*
 * opendkim_import - `signet import opendkim FILE`: from an opendkim.conf and
 * the tables that it names to a signet.conf that signs the same mail with the
 * same selectors.
 */
#ifndef RELAY_IMPORT_OPENDKIM_IMPORT_H
#define RELAY_IMPORT_OPENDKIM_IMPORT_H

/* argv[0] is "import". The configuration goes to stdout; errors and what the
 * report says go to stderr. 0; 65 where the input is bad, or where something
 * that decides what is signed could not be carried over (the rest is written
 * all the same); 77 where a file may not be read. */
int import_command(int argc, char **argv);

#endif
