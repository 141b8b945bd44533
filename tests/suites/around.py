"""What stands around HAProxy in its own tests, and is no part of what corelane does: listeners that only compare what a check says,
the lines of a log by syslog, and the socket for commands.

Nothing here knows what a test expects. A line of a log is made of a line of corelane's, and says no more than that.
"""

import fcntl
import json
import os
import re
import socket
import threading
import time

SECTION = re.compile(r"^\s*(global|defaults|frontend|backend|listen)\b\s*(\S*)", re.MULTILINE)
FACILITIES = {"kern": 0, "user": 1, "daemon": 3, **{f"local{number}": 16 + number for number in range(8)}}
NOTICE, INFO = 5, 6

# Descriptors below are sockets for corelane.
ABOVE = 100

# Seconds for the bytes of one check.
PATIENCE = 5


class Section:
    """A section of a haproxy.cfg: its kind, its name, and its text with the head."""

    def __init__(self, kind, name, text):
        self.kind, self.name, self.text = kind, name, text

    def all(self, pattern):
        return re.findall(pattern, self.text, re.MULTILINE)


def sections(text):
    """What comes before the first section, and the sections."""
    heads = list(SECTION.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    before = text[: heads[0].start()] if heads else text
    return before, [Section(head[1], head[2], text[head.start() : end]) for head, end in zip(heads, ends)]


def unescaped(text):
    """A text in double quotes, as HAProxy reads it."""
    known = {"r": "\r", "n": "\n", "t": "\t"}
    return re.sub(r"\\(.)", lambda found: known.get(found[1], found[1]), text)


def listening_at(descriptor):
    """A listening socket of the test's, under a number that no socket for corelane takes."""
    return socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, ABOVE))


class Gate:
    """A `listen` that takes a client only if what it says first has these bytes: the tests' means to see what a check says."""

    def __init__(self, variable, length, parts, server):
        self.variable, self.length, self.parts, self.server = variable, length, parts, server

    @staticmethod
    def of(section):
        """The gate of a section, unless it decides by anything else."""
        accepts = section.all(r"^\s*tcp-request content accept if (.*)$")
        bind = section.all(r"^\s*bind \"?fd@\$\{(\w+)\}\"?\s*$")
        servers = section.all(r"^\s*server\s+\S+\s+(\S+):(\d+)\s*$")
        if section.kind != "listen" or not len(accepts) == len(bind) == len(servers) == 1:
            return None
        length, parts = None, []
        for condition in re.findall(r"\{\s*(.*?)\s*\}(?:\s|$)", accepts[0].split(" #", 1)[0]):
            if found := re.fullmatch(r"req\.len eq (\d+)", condition):
                length = int(found[1])
            elif found := re.fullmatch(r'req\.payload\((\d+),(\d+)\) -m (bin|str) "(.*)"', condition):
                wanted = bytes.fromhex(found[4]) if found[3] == "bin" else unescaped(found[4]).encode()
                parts.append((int(found[1]), int(found[2]), wanted))
            else:
                return None
        return Gate(bind[0], length, parts, servers[0]) if length and parts else None

    def open(self):
        listening = listening_at(int(os.environ[self.variable]))
        threading.Thread(target=self.accept, args=(listening,), daemon=True).start()

    def accept(self, listening):
        while True:
            client, _ = listening.accept()
            threading.Thread(target=self.take, args=(client,), daemon=True).start()

    def take(self, client):
        client.settimeout(PATIENCE)
        heard = b""
        try:
            while len(heard) < self.length and (more := client.recv(4096)):
                heard += more
        except OSError:
            pass
        is_same = len(heard) == self.length
        if not is_same or any(heard[at : at + count] != wanted for at, count, wanted in self.parts):
            client.close()
            return
        server = socket.create_connection(self.server, PATIENCE)
        server.sendall(heard)
        threading.Thread(target=pump, args=(client, server), daemon=True).start()
        pump(server, client)


def pump(source, target):
    try:
        while more := source.recv(4096):
            target.sendall(more)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        target.close()


class Syslog:
    """The lines that HAProxy's tests wait for, made of corelane's: verdicts of checks, and the log of connections."""

    def __init__(self, parts):
        logs = {}
        self.targets, self.servers, self.formats = {}, {}, {}
        for part in parts:
            own = part.all(r"^\s*log\s+(\S+):(\d+)(?:\s+len\s+\d+)?\s+(\w+)")
            logs[part.kind] = own or logs.get(part.kind, [])
            if part.all(r"^\s*log global"):
                own = logs.get("global", [])
            if part.kind in ("global", "defaults"):
                logs["defaults"] = own if part.kind == "defaults" else logs.get("defaults", [])
                continue
            own = own or logs.get("defaults", [])
            if own:
                self.targets[part.name] = own[0]
            for name, address in part.all(r"^\s*server\s+(\S+)\s+(\S+)"):
                self.servers[part.name, address] = name
            backend = part.all(r"^\s*default_backend\s+(\S+)")
            for text in part.all(r"^\s*log-format (.*)$"):
                self.formats[part.name] = (unescaped(text), backend[0] if backend else part.name)

    def say(self, section, level, text):
        if target := self.targets.get(section):
            host, port, facility = target
            priority = FACILITIES.get(facility, 3) * 8 + level
            head = time.strftime("%b %e %H:%M:%S")
            line = f"<{priority}>{head} haproxy[{os.getpid()}]: {text}\n"
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                sender.sendto(line.encode(), (host, int(port)))

    def on_log(self, line):
        """A line of corelane's log. What it says of a check comes after HAProxy's words for the server that it is about."""
        said = re.search(r"the server is (up|down)\b.*$", line)
        fields = dict(re.findall(r'(upstream|server)="([^"]*)"', line))
        if said and len(fields) == 2:
            backend = fields["upstream"]
            name = self.servers.get((backend, fields["server"]), fields["server"])
            verdict = "succeeded" if said[1] == "up" else "failed"
            self.say(backend, NOTICE, f"Health check for server {backend}/{name} {verdict}: {said[0]}")

    def on_access(self, line, binds):
        """A line of corelane's access log, in the format of the section that has taken the connection."""
        try:
            fields = json.loads(line)
        except ValueError:
            return
        if not isinstance(fields, dict) or fields.get("listener") not in self.formats:
            return
        frontend = fields["listener"]
        text, backend = self.formats[frontend]
        values = dict(zip(("ci", "cp"), fields["client"].rsplit(":", 1)))
        values.update(zip(("fi", "fp"), binds.get(frontend, "-:-").rsplit(":", 1)))
        values.update(ft=frontend, b=backend, s=self.servers.get((backend, fields["server"]), "-"))
        values.update(ts=fields["end"], B=fields["bytes_out"])
        self.say(frontend, INFO, re.sub(r"%(\w+)", lambda found: str(values.get(found[1], "-")), text))


def answer_commands(descriptor):
    """The socket for commands, at which every one of HAProxy's is unknown."""
    listening = listening_at(descriptor)

    def accept():
        while True:
            client, _ = listening.accept()
            client.settimeout(PATIENCE)
            try:
                client.recv(4096)
                client.sendall(b"Unknown command: corelane is no HAProxy\n\n")
            except OSError:
                pass
            client.close()

    threading.Thread(target=accept, daemon=True).start()
