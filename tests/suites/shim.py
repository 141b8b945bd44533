#!/usr/bin/env python3
"""Poses as nginx or HAProxy: takes their command line, converts the configuration, and runs corelane with it.

The suites of the peers start what they test by these command lines, wait for its file with the process id, and send it
signals. `run.py` beside this file makes programs `nginx` and `haproxy` that call it. CORELANE is the binary, and
CORELANE_SHIM_NOTES a file to which each loss of a conversion is appended.
"""

import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import around

CORELANE = os.environ.get("CORELANE", "corelane")
NOTES = os.environ.get("CORELANE_SHIM_NOTES")

# What the proxy can do of nginx's modules; a test that asks for another one is skipped by the suite itself.
NGINX_VERSION = """nginx version: nginx/1.31.0 (corelane)
TLS SNI support enabled
configure arguments: --with-stream --with-stream_ssl_preread_module --with-stream_realip_module --without-http \
--without-mail_pop3_module --without-mail_imap_module --without-mail_smtp_module --without-stream_return_module \
--without-stream_pass_module
"""

HAPROXY_VERSION = "HAProxy version 3.2-corelane 2026/01/01 - https://haproxy.org/\n"


# prctl(2): what a process gets when who started it ends.
PR_SET_PDEATHSIG = 1


def end_with_parent():
    """A suite may kill the shim, and the proxy would go on to connect to ports that others have by then."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def note(text):
    """Keeps what a conversion said, for the table."""
    if NOTES:
        with open(NOTES, "a", encoding="utf-8") as notes:
            notes.write(text)


class Running:
    """corelane with a converted configuration, in a directory of its own."""

    def __init__(self, kind, files, log, names=(), syslog=None):
        self.kind, self.files, self.log, self.names, self.syslog = kind, files, log, dict(names), syslog
        self.binds = {}
        self.directory = tempfile.mkdtemp(prefix="corelane-shim-")
        self.child = None
        self.ready = threading.Event()

    def convert(self):
        """Writes the configuration. Returns whether there is one."""
        command = [CORELANE, "convert", "--from", self.kind, *self.files]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        note(result.stderr)
        self.log.write(result.stderr)
        self.log.flush()
        if result.returncode not in (0, 1):
            return False
        # A check that lacks a part comes to another verdict, or to the same one by chance.
        losses = result.stderr.split("not carried over:", 1)[-1].split("\n\n", 1)[0]
        if self.syslog and re.search(r"`(tcp-check|http-check|option \S*(check|chk))[ `]", losses):
            return False
        text = result.stdout
        lines = text.split("\n")
        for place, line in enumerate(lines):
            if line.startswith("bind = ") or re.search(r"#.* bind ", line):
                for address, name in self.names.items():
                    lines[place] = lines[place].replace(f'"{address}"', f'"fd:{name}"')
        text = "\n".join(lines)
        for name, table in re.findall(r"(?ms)^\[listeners\.(\S+?)\](.*?)(?=^\[|\Z)", text):
            address = re.search(r'bind = "(\S+?)"', table)
            back = {f"fd:{variable}": address for address, variable in self.names.items()}
            self.binds[name] = back.get(address[1], address[1]) if address else "-:-"
        if self.syslog and self.syslog.formats:
            text = re.sub(r"(?ms)^\[access_log\].*?(?=^\[|\Z)", "", text)
            text += '\n[access_log]\npath = "stdout"\nformat = "json"\n'
        # What listens for people is apart, so that several proxies can run at once.
        text = re.sub(r"(?ms)^\[admin\].*?(?=^\[|\Z)", "", text)
        text += '\n[admin]\nlisten = "127.0.0.1:0"\n'
        path = os.path.join(self.directory, "corelane.toml")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)
        return True

    def start(self, environment=None, descriptors=()):
        """Starts corelane, and waits until it is ready or has ended."""
        self.child = subprocess.Popen(
            [CORELANE, "run", os.path.join(self.directory, "corelane.toml")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if self.syslog else self.log,
            text=True,
            env=environment,
            pass_fds=descriptors,
            preexec_fn=end_with_parent,
        )
        threading.Thread(target=self.read, daemon=True).start()
        if self.syslog:
            threading.Thread(target=self.read_log, daemon=True).start()
        while not self.ready.wait(0.05):
            if self.child.poll() is not None:
                return False
        return True

    def read(self):
        for line in self.child.stdout:
            if line.strip() == "ready":
                self.ready.set()
            elif self.syslog:
                self.syslog.on_access(line, self.binds)

    def read_log(self):
        for line in self.child.stderr:
            self.log.write(line)
            self.log.flush()
            self.syslog.on_log(line)

    def send(self, *signals):
        for number in signals:
            if self.child.poll() is None:
                self.child.send_signal(number)

    def wait(self):
        """Waits for the end. Signals come meanwhile."""
        while True:
            try:
                return self.child.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue


def write_pid(path):
    if path:
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        os.rename(path + ".new", path)


def nginx(arguments):
    options = {"p": "", "c": "nginx.conf", "e": "error.log", "g": ""}
    rest = list(arguments)
    while rest:
        option = rest.pop(0)
        if option in ("-v", "-V"):
            sys.stderr.write(NGINX_VERSION)
            return 0
        if option in ("-t", "-T", "-q", "-s"):
            return 0
        name = option.lstrip("-")[:1]
        if name in options:
            options[name] = option[2:] or rest.pop(0)
    prefix = options["p"] or "."
    path = os.path.join(prefix, options["c"])
    with open(path, encoding="utf-8") as file:
        found = re.search(r"^\s*pid\s+([^;]+);", file.read() + options["g"], re.MULTILINE)
    # Its own log, where tests look for alerts.
    log = open(os.path.join(prefix, options["e"]), "a", encoding="utf-8")
    running = Running("nginx", [path], log)
    if not running.convert() or not running.start():
        return 1

    def reload(*_):
        if running.convert():
            running.send(signal.SIGHUP)

    signal.signal(signal.SIGHUP, reload)
    signal.signal(signal.SIGUSR1, lambda *_: running.send(signal.SIGUSR1))
    signal.signal(signal.SIGQUIT, lambda *_: running.send(signal.SIGTERM))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.send(signal.SIGTERM, signal.SIGTERM))
    pid = found.group(1).strip() if found else None
    write_pid(pid and os.path.join(prefix, pid))
    code = running.wait()
    if pid and os.path.exists(os.path.join(prefix, pid)):
        os.remove(os.path.join(prefix, pid))
    return 0 if code in (0, -signal.SIGTERM) else 1


def haproxy(arguments):
    files, pid, rest, is_check = [], None, list(arguments), False
    while rest:
        option = rest.pop(0)
        if option in ("-v", "-vv"):
            sys.stdout.write(HAPROXY_VERSION)
            return 0
        if option == "-cc":
            # A condition of the suite: what it asks for is there.
            return 0
        if option == "-c":
            is_check = True
        elif option in ("-f", "--"):
            if rest:
                files.append(rest.pop(0))
        elif option in ("-p", "-n", "-N", "-m", "-L", "-x", "-S", "-sf", "-st"):
            value = rest.pop(0) if rest else ""
            pid = value if option == "-p" else pid
    directory = tempfile.mkdtemp(prefix="corelane-shim-")
    texts, names, descriptors, parts, gates = [], {}, [], [], []
    for index, path in enumerate(files):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        before, own = around.sections(text)
        # Listeners that only look at what a check says are played here.
        for section in own:
            if gate := around.Gate.of(section):
                gates.append(gate)
                section.text = ""
        own = [section for section in own if section.text]
        if own and not any(section.kind in ("frontend", "listen") for section in own):
            # corelane has upstreams for its listeners; here are only backends that are checked.
            idle = f"frontend idle\n mode tcp\n bind unix@{directory}/idle.sock\n default_backend {own[-1].name}\n"
            own.append(around.Section("frontend", "idle", idle))
        parts += own
        text = before + "".join(section.text for section in own)
        # Sockets that the suite has opened: `fd@${fe1}` names a variable with the descriptor's number.
        for variable in sorted(set(re.findall(r"fd@\$?\{?\"?\$?\{?(\w+)\}?", text))):
            number = int(os.environ.get(variable, "-1"))
            if number < 0:
                continue
            os.set_inheritable(number, True)
            with socket.socket(fileno=os.dup(number)) as listening:
                host, port = listening.getsockname()[:2]
            names[f"{host}:{port}"] = variable
            descriptors.append((number, variable))
            text = re.sub(r"\"?fd@\$\{" + variable + r"\}\"?", f"{host}:{port}", text)
        copy = os.path.join(directory, os.path.basename(path) or f"{index}.cfg")
        with open(copy, "w", encoding="utf-8") as file:
            file.write(text)
        texts.append(copy)
    log = sys.stderr
    running = Running("haproxy", texts, log, names, around.Syslog(parts))
    if not running.convert():
        return 1
    if is_check:
        return 0
    for gate in gates:
        gate.open()
    if os.environ.get("cli", "").isdigit():
        around.answer_commands(int(os.environ["cli"]))
    environment = dict(os.environ)
    if descriptors:
        # As systemd hands sockets over: from descriptor 3 on.
        kept = [(os.dup2(number, 200 + place), name) for place, (number, name) in enumerate(descriptors)]
        for place, (number, _) in enumerate(kept):
            os.dup2(number, 3 + place, inheritable=True)
        environment["LISTEN_FDS"] = str(len(kept))
        environment["LISTEN_FDNAMES"] = ":".join(name for _, name in kept)
        # The process id is that of corelane, which the shell between the two becomes.
        wrapper = os.path.join(directory, "corelane")
        with open(wrapper, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexport LISTEN_PID=$$\nexec "{CORELANE}" "$@"\n')
        os.chmod(wrapper, 0o755)
        globals()["CORELANE"] = wrapper
    if not running.start(environment, tuple(range(3, 3 + len(descriptors)))):
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: running.send(signal.SIGTERM, signal.SIGTERM))
    for number in (signal.SIGUSR1, signal.SIGTTOU):
        signal.signal(number, lambda *_: running.send(signal.SIGTERM))
    write_pid(pid)
    code = running.wait()
    return 0 if code in (0, -signal.SIGTERM) else 1


if __name__ == "__main__":
    PEER = os.path.basename(sys.argv[1])
    sys.exit({"nginx": nginx, "haproxy": haproxy}[PEER](sys.argv[2:]))
