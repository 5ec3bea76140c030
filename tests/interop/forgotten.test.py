#!/usr/bin/python3
"""What a Sluice that runs has forgotten: secrets that were rotated, tokens that were renewed, passwords that clients have
shown and what applications sent in the same place are nowhere in its memory, once the connections they passed rest.

/proc/PID/mem is the judge: who has CAP_SYS_PTRACE may read it, as root does, or else in a user namespace of his own.
"""
import base64
import contextlib
import gzip
import http.client
import http.server
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

SLUICE = os.environ["SLUICE"]
CAP_SYS_PTRACE = 19


def eventually(condition, what, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(what)
        time.sleep(0.02)


def openssl(*arguments):
    subprocess.run(("openssl", *arguments), check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Vendor(http.server.BaseHTTPRequestHandler):
    """Tells everything on that it is told, in its head and in its body; at /token it mints."""
    protocol_version = "HTTP/1.1"
    minted = {"assertion": [], "oauth": []}

    def answer(self, kind, body, more={}):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("X-Echo", self.headers.get("Authorization", "none"))
        self.send_header("Content-Length", str(len(body)))
        for name, value in more.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        seen = f"{self.path}\n{self.headers}".encode()
        told = b"%s\n%s\n%s\n" % (seen, base64.b64encode(seen), seen.hex().encode())
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            return self.answer("text/plain", gzip.compress(told), {"Content-Encoding": "gzip"})
        self.answer("text/plain", told)

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/token":
            return self.answer("application/octet-stream", asked)
        token = f"minted-{secrets.token_hex(12)}"
        self.minted["assertion" if b"jwt-bearer" in asked else "oauth"].append(token)
        return self.answer("application/json", json.dumps(
            {"access_token": token, "token_type": "Bearer", "expires_in": 6, "asked": asked.decode()}).encode())

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Vendor)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "vendor.crt", folder / "vendor.key")
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL  # asks for one
        self.context = context
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, address):
        with contextlib.suppress(OSError):
            super().finish_request(self.context.wrap_socket(request, server_side=True), address)


VENDORS = {
    "bearer": "{type: bearer, value: {file: %s/bearer}}",
    "header": "{type: api_key, header: x-api-key, value: {file: %s/header}}",
    "query": "{type: api_key, query: key, value: {file: %s/query}}",
    "basic": "{type: basic, username: somebody, password: {file: %s/basic}}",
    "hmac": '{type: hmac, key: {file: %s/hmac}, algorithm: sha256, string_to_sign: "{method}", header: x-signature}',
    "program": "{type: exec, command: [/bin/sh, %s/print.sh, %s/program]}",
}
PRINT = """
printf '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "%s", "expirationTimestamp": "%s"}}' \\
    "$(cat "$1")" "$(date -u -d '6 seconds' +%Y-%m-%dT%H:%M:%SZ)"
"""
KEYS = ("mtls", "assertion")
NAMES = (*VENDORS, *KEYS, "oauth")
SCRUBS = ("identity", "deep", "off")


class Forgotten(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.make_certificates()
        (self.folder / "print.sh").write_text(PRINT)
        self.server = Server(self.folder)
        self.addCleanup(self.server.shutdown)
        self.values = {}
        self.keys = {}
        for name in (*VENDORS, "client"):
            self.rotate(name)
        for name in KEYS:
            self.rotate_key(name)
        self.start_sluice()

    def make_certificates(self):
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        at = str(self.folder)
        openssl("req", "-x509", *curve, "-keyout", f"{at}/ca.key", "-out", f"{at}/ca.crt", "-subj", "/CN=the vendors' authority")
        openssl("req", "-x509", *curve, "-keyout", f"{at}/vendor.key", "-out", f"{at}/vendor.crt", "-subj", "/CN=vendor",
                "-CA", f"{at}/ca.crt", "-CAkey", f"{at}/ca.key", "-addext", "subjectAltName=DNS:localhost",
                "-addext", "basicConstraints=critical,CA:false")

    def rotate(self, name):
        """A new value, where Sluice will find it; renamed into place, so that it is never half there."""
        value = f"{name}-{len(self.values.setdefault(name, []))}-{secrets.token_hex(12)}"
        self.values[name].append(value)
        file, fresh = self.folder / name, self.folder / f"{name}.fresh"
        fresh.write_text(value)
        fresh.rename(file)

    def rotate_key(self, name):
        """A private key, and what belongs to it; found in memory by its PEM, and by the number that it is as OpenSSL reckons
        with it. The other end first it stands in DER, which OpenSSL's decoder leaves where it was: that is not ours."""
        at, count = self.folder, len(self.keys.setdefault(name, []))
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}-{count}",
                "-CA", f"{at}/ca.crt", "-CAkey", f"{at}/ca.key", "-addext", "basicConstraints=critical,CA:false",
                "-keyout", f"{at}/{name}.key.fresh", "-out", f"{at}/{name}.crt.fresh")
        told = subprocess.run(("openssl", "pkey", "-noout", "-text", "-in", f"{at}/{name}.key.fresh"), check=True, timeout=60, capture_output=True, text=True).stdout
        number = bytes.fromhex(re.sub(r"[\s:]", "", re.search(r"priv:([\s0-9a-f:]+)pub:", told)[1]))[-32:]
        pem = (at / f"{name}.key.fresh").read_text().splitlines()[1]
        self.keys[name].append([number[::-1], pem.encode()])
        for kind in ("crt", "key"):
            (at / f"{name}.{kind}.fresh").rename(at / f"{name}.{kind}")

    def start_sluice(self):
        at, url = self.folder, f"https://localhost:{self.server.server_address[1]}"
        issuer = f"addresses: [127.0.0.0/8, '::1/128'], tls: {{ca: {{file: {at}/ca.crt}}}}"
        lines = ["version: 1", 'listen: {proxy: "127.0.0.1:0", admin: "127.0.0.1:0"}', f"state: {at}/state", "workers: 2", "credentials:"]
        lines += [f"  {name}: {text.replace('%s', str(at))}" for name, text in VENDORS.items()]
        lines.append(f"  oauth: {{type: oauth2_client_credentials, token_url: {url}/token, client_id: me, client_secret: {{file: {at}/client}}, {issuer}}}")
        lines += [f"  mtls: {{type: mtls, cert: {{file: {at}/mtls.crt}}, key: {{file: {at}/mtls.key}}}}",
                  f"  assertion: {{type: oauth2_jwt_bearer, token_url: {url}/token, key: {{file: {at}/assertion.key}}, issuer: me, {issuer}}}"]
        lines += ["clients:", f"  shop: {{password: {{file: {at}/client}}, vendors: all}}", "vendors:"]
        for name in NAMES:
            for scrub in SCRUBS:
                lines += [f"  {name}-{scrub}:", f"    hosts: [{name}-{scrub}.vendor.test]", f"    endpoints: [{{url: '{url}'}}]",
                          "    addresses: [127.0.0.0/8, '::1/128']", f"    tls: {{ca: {{file: {at}/ca.crt}}}}",
                          f"    credential: {name}", f"    scrub: {scrub}"]
        (at / "sluice.yaml").write_text("\n".join(lines) + "\n")
        self.log = at / "sluice.log"
        with open(self.log, "wb") as log:
            self.sluice = subprocess.Popen([SLUICE, "run", "--config", str(at / "sluice.yaml")], stdout=log, stderr=log)
        self.addCleanup(self.stop_sluice)
        eventually(lambda: b'"event":"started"' in self.log.read_bytes(), "Sluice does not start")
        started = next(json.loads(line) for line in self.log.read_text().splitlines() if '"event":"started"' in line)
        self.proxy = started["proxy"].rsplit(":", 1)
        self.trust = ssl.create_default_context(cafile=str(at / "state" / "ca.crt"))

    def stop_sluice(self):
        for _ in range(2):  # it drains, then stops
            self.sluice.send_signal(signal.SIGTERM)
        self.sluice.wait(timeout=30)

    # ---- the application

    def own(self, where):
        """What the application has of its own for the same place: as secret to it."""
        value = f"own-of-{where}-{secrets.token_hex(12)}"
        self.values.setdefault("own", []).append(value)
        return {"Authorization": f"Bearer {value}", "x-api-key": value}

    def login(self):
        pair = base64.b64encode(f"shop:{self.values['client'][-1]}".encode()).decode()
        return {"Proxy-Authorization": f"Basic {pair}"}

    def through_tunnel(self, name, times):
        connection = http.client.HTTPConnection(*self.proxy, timeout=30)
        connection.set_tunnel(f"{name}.vendor.test", 443, headers=self.login())
        connection.connect()
        connection.sock = self.trust.wrap_socket(connection.sock, server_hostname=f"{name}.vendor.test")
        return [self.ask(connection, "/inside", self.own("tunnel")) for _ in range(times)], connection

    def by_base_url(self, name, times):
        connection = http.client.HTTPConnection(*self.proxy, timeout=30)
        return [self.ask(connection, f"/{name}/plain", {**self.own("base-url"), **self.login()}) for _ in range(times)], connection

    def ask(self, connection, path, headers):
        end = time.monotonic() + 40
        while True:  # a machine under load may be late with a token that lives for seconds
            connection.request("GET", path, headers={"Accept-Encoding": "gzip", **headers})
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 503 or time.monotonic() > end:
                self.assertEqual(reply.status, 200, body)
                return f"{reply.headers}\n{body}"
            time.sleep(0.2)

    def every_vendor(self):
        """Over connections that end at once, and over some that stay open and idle: those are returned."""
        kept = []
        for name in (f"{name}-{scrub}" for name in NAMES for scrub in SCRUBS):
            for way in (self.through_tunnel, self.by_base_url):
                _, ends = way(name, 1)
                ends.close()
                answers, stays = way(name, 4)
                kept.append(stays)
                for answer in answers if not name.endswith("-off") else ():
                    kind = name.split("-")[0]
                    for value in self.values.get(kind, Vendor.minted.get(kind, ())):
                        self.assertNotIn(value, answer)
        return kept

    # ---- its memory

    def in_memory(self, needles):
        found = []
        with open(f"/proc/{self.sluice.pid}/maps") as maps, open(f"/proc/{self.sluice.pid}/mem", "rb", 0) as memory:
            for line in maps:
                begin, end, mode, name = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+\s*(.*)", line).groups()
                if not mode.startswith("rw"):
                    continue
                memory.seek(int(begin, 16))
                with contextlib.suppress(OSError):
                    content = memory.read(int(end, 16) - int(begin, 16))
                    for needle in needles:
                        at = content.find(needle)
                        while at >= 0:
                            found.append(f"{needle!r} in {name or 'an anonymous mapping'}: {content[max(0, at - 60):at + len(needle) + 20]!r}")
                            at = content.find(needle, at + 1)
        return found

    def forms(self, value):
        yield value.encode()
        yield value.encode().hex().encode()
        for before in range(3):
            encoded = base64.b64encode(b"\0" * before + value.encode())
            yield encoded[-(-before * 8 // 6):(before + len(value)) * 8 // 6]

    def holds(self, value):
        return bool(self.in_memory([value.encode()]))

    def test_what_is_over_is_forgotten(self):
        connections = self.every_vendor()
        self.assertTrue(self.holds(self.values["bearer"][0]), "memory is not searched: what is in use is not found")
        minted = [*Vendor.minted["assertion"], *Vendor.minted["oauth"]]
        # From here on nothing passes that could write over what was left behind. What was replaced is looked for in
        # answers until it is replaced itself, so all is replaced twice.
        for _ in range(2):
            for name in self.values.keys() - {"own"}:
                self.rotate(name)
            for name in self.values.keys() - {"own"}:
                eventually(lambda: self.holds(self.values[name][-1]), f"the new secret of {name} is not taken")
            reloads = self.log.read_text().count('"event":"reloaded"')
            for name in KEYS:
                self.rotate_key(name)
            renewed = {kind: len(tokens) for kind, tokens in Vendor.minted.items()}
            eventually(lambda: self.log.read_text().count('"event":"reloaded"') > reloads, "the new certificate is not taken")
            for kind, tokens in Vendor.minted.items():
                eventually(lambda: len(tokens) > renewed[kind] + 1, f"no token of {kind} is renewed")
        over = [value for name in self.values for value in (self.values[name] if name == "own" else self.values[name][:1])]
        needles = [form for value in [*over, *minted] for form in self.forms(value)]
        needles += [form for name in KEYS for form in self.keys[name][0]]
        left = []

        def gone():
            left[:] = self.in_memory(needles)
            return not left
        with contextlib.suppress(AssertionError):
            eventually(gone, "", 15)
        self.assertFalse(left, "\n".join([f"{len(left)} places hold what is over:"] + left[:100]))
        for connection in connections:
            connection.close()


if __name__ == "__main__":
    effective = int(re.search(r"CapEff:\s*(\w+)", pathlib.Path("/proc/self/status").read_text())[1], 16)
    if not effective >> CAP_SYS_PTRACE & 1 and "--inside" not in sys.argv:
        own = ["unshare", "--user", "--map-root-user"]
        if subprocess.run([*own, "true"], check=False).returncode != 0:
            print("NOT RUN: nobody may read another process's memory here: neither CAP_SYS_PTRACE nor user namespaces")
            sys.exit(77)
        os.execvp("unshare", [*own, sys.executable, *sys.argv, "--inside"])
    unittest.main(argv=sys.argv[:1], warnings="ignore")
