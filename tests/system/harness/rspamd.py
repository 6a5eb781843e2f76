"""A private instance of rspamd, as a milter that signs and does nothing else.

    Rspamd(directory, "example.com", "rsa", "/key.pem", "127.0.0.1:8892")

None of what Debian configures is read. It compiles its list of top-level
domains when it first starts, which takes a minute; `cache` keeps the result.
"""

import os
import socket

from .postfix import unpacked
from .process import Server

CONFIGURATION = """
options {{
    filters = "dkim";
    url_tld = "{share}/effective_tld_names.dat";
    hs_cache_dir = "{cache}";
    tempdir = "{directory}";
    disable_monitoring = true;
    control_socket = "{directory}/control mode=0600";
    dns {{ nameserver = ["127.0.0.1:1"]; }}
}}
logging {{ type = "console"; level = "error"; }}
worker "rspamd_proxy" {{
    bind_socket = "{address}";
    count = {workers};
    milter = yes;
    timeout = 60s;
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
actions {{ reject = 999; }}
modules {{ path = "{share}/plugins/"; }}
dkim {{ }}
dkim_signing {{
    sign_local = true;
    allow_hdrfrom_mismatch = true;
    use_domain = "header";
    check_pubkey = false;
    domain {{ "{domain}" {{ path = "{key}"; selector = "{selector}"; }} }}
}}
"""


class Rspamd:
    """address: in its words, "127.0.0.1:8892" or "/path mode=0666"."""

    def __init__(self, directory, domain, selector, key, address, cache=None,
                 workers=None):
        self.address = address
        directory = os.path.join(directory, "rspamd")
        cache = os.path.abspath(cache or directory)
        for each in (directory, cache):
            os.makedirs(each, exist_ok=True)
        root, env = unpacked("/usr/bin/rspamd")
        share = root + "/usr/share/rspamd"
        path = os.path.join(directory, "rspamd.conf")
        with open(path, "w") as file:
            file.write(CONFIGURATION.format(
                share=share, directory=directory, cache=cache, address=address,
                workers=workers or os.cpu_count(), domain=domain, key=key,
                selector=selector))
        env = dict(env or os.environ)
        env["LD_LIBRARY_PATH"] = root + "/usr/lib/rspamd:" + env.get(
            "LD_LIBRARY_PATH", "")
        places = {"RULESDIR": share + "/rules", "SHAREDIR": share,
                  "LUALIBDIR": share + "/lualib",
                  "PLUGINSDIR": share + "/plugins",
                  "CONFDIR": directory, "LOCAL_CONFDIR": directory,
                  "DBDIR": directory, "RUNDIR": directory,
                  "LOGDIR": directory}
        self.server = Server(
            [root + "/usr/bin/rspamd", "--insecure", "--no-fork",
             "--config", path] +
            ["--var=%s=%s" % place for place in places.items()],
            directory, "rspamd", env=env)
        self.server.wait_until(self._answers, 180, "rspamd's socket")

    def _answers(self):
        place = self.address.split()[0]
        client = socket.socket(socket.AF_UNIX if place.startswith("/")
                               else socket.AF_INET)
        try:
            client.connect(place if place.startswith("/")
                           else (place.rpartition(":")[0],
                                 int(place.rpartition(":")[2])))
        except OSError:
            return False
        finally:
            client.close()
        return True
