"""A private Exim that takes mail for everybody and hands it on to one port."""

import os
import pwd
import shutil

from .alone import alone, find_apart, has_user
from .process import Server, accepts

USER = "Debian-exim"
UID = 61101

# Mail for later@… is put off until there is a file `later`.
CONFIG = """
exim_path = {program}
primary_hostname = {hostname}
spool_directory = {directory}/spool
log_file_path = {directory}/%slog
pid_file_path = {directory}/exim.pid
local_interfaces = <; {interfaces}
tls_advertise_hosts = ${{if eq{{$received_port}}{{{plain_port}}}{{}}{{*}}}}
tls_certificate = {certificate}
tls_privatekey = {key}
tls_resumption_hosts = *
log_selector = +tls_resumption +smtp_connection
acl_smtp_rcpt = at_rcpt
host_lookup =
rfc1413_hosts =
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
message_size_limit = 100M
remote_max_parallel = 4
keep_environment =

begin acl
at_rcpt:
  deny local_parts = gone
    message = 5.1.1 nobody of that name
  defer local_parts = later
    condition = ${{if exists{{{directory}/later}}{{no}}{{yes}}}}
    message = 4.2.0 later
  accept

begin routers
out:
  driver = manualroute
  route_list = * 127.0.0.1::{next_port}
  self = send
  transport = out

begin transports
out:
  driver = smtp
  allow_localhost
  hosts_avoid_tls = *
  hosts_avoid_esmtp =
  max_rcpt = 1000
{signing}

begin retry
* * F,1h,1s
"""


SIGNING = """
  dkim_domain = %s
  dkim_selector = %s
  dkim_private_key = %s
  dkim_canon = relaxed
"""


class Exim:
    """listeners: (address, port); the one at plain_port offers no TLS. signs:
    (domain, selector, key file). Its queue is run every so often."""

    def __init__(self, directory, listeners, next_port, certificate=("", ""),
                 plain_port=0, hostname="mx.example.net", signs=None,
                 every="1s"):
        self.directory = os.path.join(directory, "exim")
        self.listeners = list(listeners)
        os.makedirs(self.directory)
        os.chmod(self.directory, 0o755)
        spool = os.path.join(self.directory, "spool")
        os.makedirs(spool, mode=0o750)
        uid = pwd.getpwnam(USER).pw_uid if has_user(USER) else UID
        for path in (self.directory, spool):
            os.chown(path, uid, uid)
        # It reads its key as its own user, as Debian's does.
        cert, key = (self._copy(path, uid) if path else ""
                     for path in certificate)
        signing = SIGNING % (*signs[:2], self._copy(signs[2], uid)) \
            if signs else ""
        # It starts itself again as its own user, who may perhaps not walk down
        # to where it was unpacked.
        program = os.path.join(self.directory, "exim4")
        shutil.copy(find_apart("exim4-daemon-light", "/usr/sbin/exim4"),
                    program)
        os.chmod(program, 0o755)
        config = os.path.join(self.directory, "exim.conf")
        with open(config, "w") as file:
            file.write(CONFIG.format(
                program=program, hostname=hostname, directory=self.directory,
                interfaces=" ; ".join("%s.%d" % one for one in listeners),
                plain_port=plain_port, certificate=cert, key=key,
                next_port=next_port, signing=signing))
        self.server = Server(alone(
            self.directory, [program, "-C", config, "-bdf", "-q" + every],
            {USER: UID}), self.directory, "exim")
        self.server.wait_until(
            lambda: all(accepts(*one) for one in self.listeners), 20,
            lambda: "its ports\n" + self.log())

    def _copy(self, path, uid):
        copy = os.path.join(self.directory, os.path.basename(path))
        with open(path, "rb") as source, open(copy, "wb") as target:
            target.write(source.read())
        os.chown(copy, uid, uid)
        os.chmod(copy, 0o600)
        return copy

    def stop_putting_off(self):
        open(os.path.join(self.directory, "later"), "w").close()

    def log(self):
        text = ""
        for name in ("mainlog", "paniclog", "rejectlog"):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                with open(path, errors="replace") as file:
                    text += file.read()
        return text

    def stop(self):
        self.server.stop()
