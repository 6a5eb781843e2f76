"""A private Dovecot that does nothing but say who is who, at one Unix socket."""

import os
import signal
import subprocess

from .process import Server, accepts_at

COMMON = """
base_dir = {directory}/run
state_dir = {directory}/state
libexec_dir = {root}/usr/lib/dovecot
log_path = /dev/stderr
protocols =
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_cache_size = 0
auth_username_translation = "!@"
service auth {{
    unix_listener {socket} {{
        mode = 0666
    }}
}}
# Our own back-off is what is tested.
service anvil {{
    unix_listener anvil-auth-penalty {{
        mode = 0
    }}
}}
service stats {{
    chroot =
}}
"""

# How each series says where its users and its libraries are, and how it is
# started without the /usr/bin/doveconf that dovecot(1) itself would start.
SERIES = {
    "2.3": ("""
import_environment = TZ LD_LIBRARY_PATH
passdb {{
    driver = passwd-file
    args = username_format=%u {directory}/passwd
}}
""", ["-f", "service=master", "-m", "master"], ["-e"]),
    "2.4": ("""
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
import_environment {{
    LD_LIBRARY_PATH = %{{env:LD_LIBRARY_PATH}}
}}
passdb passwd-file {{
    auth_username_format = %{{user}}
    passwd_file_path = {directory}/passwd
}}
""", ["-F"], []),
}


class Dovecot:
    """users: a name → what stands behind the colon, "{PLAIN}secret"."""

    def __init__(self, directory, users,
                 mechanisms="plain login scram-sha-256"):
        self.directory = os.path.join(str(directory), "dovecot")
        self.root = os.environ.get("SERVERS", "")
        if not os.path.exists(self.root + "/usr/sbin/dovecot"):
            self.root = ""
        self.socket = os.path.join(self.directory, "client")
        self.server = None
        for name in ("", "run", "state"):
            os.mkdir(os.path.join(self.directory, name))
        os.chmod(self.directory, 0o755)
        self.env = dict(os.environ)
        libraries = self.root + "/usr/lib/dovecot"
        if self.root:
            self.env["LD_LIBRARY_PATH"] = ":".join(
                (libraries, libraries + "/modules/old-stats"))
        self.write(users)
        with open(self._path("dovecot.conf"), "w") as file:
            # The series' own first: what comes before its version is an error.
            file.write((self._series()[0] + COMMON).format(
                directory=self.directory, root=self.root, socket=self.socket,
                mechanisms=mechanisms))

    def _series(self):
        version = subprocess.run([self.root + "/usr/sbin/dovecot", "--version"],
                                 stdout=subprocess.PIPE, env=self.env,
                                 check=True).stdout.decode()
        return SERIES[version[:3]]

    def _path(self, name):
        return os.path.join(self.directory, name)

    def write(self, users):
        with open(self._path("passwd"), "w") as file:
            for name, password in users.items():
                file.write("%s:%s::::::\n" % (name, password))
        os.chmod(self._path("passwd"), 0o644)

    def start(self):
        _, options, command = self._series()
        config = ["-c", self._path("dovecot.conf")]
        self.server = Server(
            [self.root + "/usr/bin/doveconf"] + options + config + command +
            [self.root + "/usr/sbin/dovecot", "-F"] + config,
            self.directory, "dovecot", env=self.env)
        self.server.wait_until(lambda: accepts_at(self.socket), 20,
                               "no answer")
        return self

    def _authenticators(self):
        """The processes that serve the socket: children of the master's."""
        said = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid",
             str(self.server.process.pid)], stdout=subprocess.PIPE)
        return [int(line.split()[0])
                for line in said.stdout.decode().splitlines()
                if "dovecot/auth" in line]

    def hang(self):
        """It is there, and does not answer."""
        for pid in self._authenticators() + [self.server.process.pid]:
            os.kill(pid, signal.SIGSTOP)

    def wake(self):
        for pid in self._authenticators() + [self.server.process.pid]:
            os.kill(pid, signal.SIGCONT)

    def kill(self):
        for pid in self._authenticators() + [self.server.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.stop()

    def stop(self):
        if self.server is not None:
            self.server.stop()
            self.server = None
