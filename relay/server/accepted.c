#include "relay/server/accepted.h"

#include "base/log.h"

static void
log_signatures(struct log *line, const struct accepted *event)
{
	log_list_begin(line, "signatures");
	for (size_t i = 0; i < event->signatures_count; i++) {
		const struct signature *signature = &event->signatures[i];
		enum key_algorithm algorithm =
		        key_public_algorithm(signature->selector->key);

		log_object_begin(line);
		log_text(line, "domain", signature->domain);
		log_text(line, "selector", signature->selector->name);
		log_string(line, "algorithm", key_algorithm_name(algorithm));
		log_object_end(line);
	}
	log_list_end(line);
}

static void
log_changed(struct log *line, const struct prepare_changes *changes)
{
	const char *words;
	size_t next = 0;

	log_list_begin(line, "changed");
	while ((words = prepare_changed(changes, &next)) != NULL)
		log_item(line, SLICE(words));
	log_list_end(line);
}

void
accepted_log(const struct accepted *event)
{
	const struct message *message = event->message;
	char id[MESSAGE_ID_TEXT + 1], client[ADDRESS_TEXT_SIZE];
	struct log line;

	message_id_write(&message->id, id);
	address_write_host(event->client, client);
	log_begin(&line, LOG_LEVEL_INFO, "accepted");
	log_string(&line, "id", id);
	log_text(&line, "listener", event->listener);
	log_string(&line, "client", client);
	log_text(&line, "from", message->reverse_path);
	log_list_begin(&line, "recipients");
	for (size_t i = 0; i < message->recipients_count; i++)
		log_item(&line, message->recipients[i].address);
	log_list_end(&line);
	log_number(&line, "size", message_size(message));
	log_signatures(&line, event);
	log_text(&line, "reason", event->reason);
	log_changed(&line, &event->changes);
	log_send(&line);
}
