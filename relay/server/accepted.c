#include "relay/server/accepted.h"

#include "base/log.h"

/* Where it came in before, at whoever handed it on. */
static void
log_origin(struct log *line, const struct claims *origin)
{
	char address[ADDRESS_TEXT_SIZE];

	address_write_host(&origin->address, address);
	log_string(line, "origin", address);
	if (origin->name.len > 0)
		log_text(line, "origin_name", origin->name);
	if (origin->helo.len > 0)
		log_text(line, "origin_helo", origin->helo);
	if (origin->proto.len > 0)
		log_text(line, "origin_proto", origin->proto);
	if (origin->ident.len > 0)
		log_text(line, "origin_id", origin->ident);
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
	if (event->origin != NULL)
		log_origin(&line, event->origin);
	if (message->user.len > 0) {
		log_text(&line, "user", message->user);
		log_text(&line, "auth", event->user_by);
	}
	log_text(&line, "from", message->reverse_path);
	log_list_begin(&line, "recipients");
	for (size_t i = 0; i < message->recipients_count; i++)
		log_item(&line, message->recipients[i].address);
	log_list_end(&line);
	log_number(&line, "size", message_size(message));
	if (event->mail_id.len > 0)
		log_text(&line, "message_id", event->mail_id);
	if (message->declared_smtputf8)
		log_bool(&line, "smtputf8", true);
	if (message->envid.len > 0)
		log_text(&line, "envid", message->envid);
	changes_log_signatures(&line, event->changes);
	log_text(&line, "reason", event->reason);
	changes_log_changed(&line, event->changes);
	log_send(&line);
}
