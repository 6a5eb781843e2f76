/*
 * listener_files - the files that a listener's options name, as the supervisor
 * reads them and the relay process gets them: bytes, empty where none is named.
 */
#ifndef RELAY_LISTENER_FILES_H
#define RELAY_LISTENER_FILES_H

enum listener_file {
	LISTENER_CERT,  /* PEM: the certificate and its chain */
	LISTENER_KEY,   /* PEM */
	LISTENER_USERS, /* relay/users.h */
	LISTENER_CLIENTS,   /* relay/clients.h */
	LISTENER_CLIENT_CA, /* PEM: who signs clients' certificates */
	LISTENER_FILES,
};

#endif
