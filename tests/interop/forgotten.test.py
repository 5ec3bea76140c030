#!/usr/bin/python3
"""What a Sluice that runs has forgotten: secrets that were rotated, tokens that were renewed, passwords that clients have
shown and what applications sent in the same place are nowhere in its memory, once the connections they passed rest.

/proc/PID/mem is the judge: who has CAP_SYS_PTRACE may read it, as root does, or else in a user namespace of his own.
"""
import base64
import contextlib
import ctypes
import datetime
import gzip
import hashlib
import hmac
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


def in_brotli(text):
    room = ctypes.create_string_buffer(len(text) + 1024)
    size = ctypes.c_size_t(len(room))
    if ctypes.CDLL("libbrotlienc.so.1").BrotliEncoderCompress(5, 22, 0, ctypes.c_size_t(len(text)), text, ctypes.byref(size), room) != 1:
        raise AssertionError("brotli does not encode")
    return room.raw[:size.value]


def in_zstd(text):
    """As a stream, of which nobody knows how long it becomes: who decodes it needs a window."""
    zstd = ctypes.CDLL("libzstd.so.1")
    zstd.ZSTD_createCCtx.restype = ctypes.c_void_p
    zstd.ZSTD_compress2.restype = ctypes.c_size_t
    context = ctypes.c_void_p(zstd.ZSTD_createCCtx())
    zstd.ZSTD_CCtx_setParameter(context, 200, 0)  # ZSTD_c_contentSizeFlag
    room = ctypes.create_string_buffer(len(text) + 1024)
    size = zstd.ZSTD_compress2(context, room, ctypes.c_size_t(len(room)), text, ctypes.c_size_t(len(text)))
    zstd.ZSTD_freeCCtx(context)
    return room.raw[:size]


CODINGS = {"gzip": gzip.compress, "br": in_brotli, "zstd": in_zstd}
LARGE = 400 * 1024  # a body for which the larger buffers are taken


class Vendor(http.server.BaseHTTPRequestHandler):
    """Tells everything on that it is told, in its head and in its body; at /token it mints, and so it does as a Vault."""
    protocol_version = "HTTP/1.1"
    minted = {"assertion": [], "rsa": [], "oauth": [], "login": [], "lease": []}
    asked = []  # what was signed or asked for with

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
        if self.path.endswith("/creds/reader"):
            return self.lease()
        if self.headers.get("Upgrade"):
            return self.upgraded(told)
        if self.path.endswith("/large"):
            told = told * (LARGE // len(told))
        coding = self.headers.get("Accept-Encoding", "")
        if coding in CODINGS:
            return self.answer("text/plain", CODINGS[coding](told), {"Content-Encoding": coding})
        self.answer("text/plain", told)

    def lease(self):
        password = self.mint("lease")
        self.answer("application/json", json.dumps({"lease_id": f"lease-{secrets.token_hex(8)}", "lease_duration": 6, "renewable": False,
                                                    "data": {"username": "reader", "password": password}}).encode())

    def upgraded(self, told):
        """Says what it was told, then what it is told, until nothing comes any more."""
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + told)
        self.close_connection = True
        while piece := self.rfile.read1(65536):
            self.wfile.write(piece)

    def mint(self, kind):
        token = f"minted-{secrets.token_hex(12)}"
        self.minted[kind].append(token)
        return token

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/v1/auth/approle/login":
            return self.answer("application/json", json.dumps({"auth": {"client_token": self.mint("login"), "lease_duration": 6, "renewable": False}}).encode())
        if not self.path.startswith("/token"):
            return self.answer("application/octet-stream", asked)
        kind = self.path.removeprefix("/token/")
        token = self.mint(kind)
        if kind != "oauth":
            self.asked.append(asked.rpartition(b".")[2][:80])  # the assertion's signature
        return self.answer("application/json", json.dumps(
            {"access_token": token, "token_type": "Bearer", "expires_in": 6, "asked": asked.decode()}).encode())

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, folder, tls):
        super().__init__(("127.0.0.1", 0), Vendor)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "vendor.crt", folder / "vendor.key")
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL  # asks for one
        self.context = context if tls else None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def finish_request(self, request, address):
        with contextlib.suppress(OSError):
            super().finish_request(self.context.wrap_socket(request, server_side=True) if self.context else request, address)


VENDORS = {
    "bearer": "{type: bearer, value: {file: %s/bearer}}",
    "header": "{type: api_key, header: x-api-key, value: {file: %s/header}}",
    "query": "{type: api_key, query: key, value: {file: %s/query}}",
    "basic": "{type: basic, username: somebody, password: {file: %s/basic}}",
    "hmac": '{type: hmac, key: {file: %s/hmac}, algorithm: sha256, string_to_sign: "{method}", header: x-signature}',
    "aws": "{type: exec, command: [/bin/sh, %s/keys.sh, %s/aws], format: credential_process, region: eu-central-1, service: s3}",
    "program": "{type: exec, command: [/bin/sh, %s/print.sh, %s/program]}",
}
PRINT = """
printf '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "%s", "expirationTimestamp": "%s"}}' \\
    "$(cat "$1")" "$(date -u -d '6 seconds' +%Y-%m-%dT%H:%M:%SZ)"
"""
KEYS_OF_AWS = """
printf '{"Version": 1, "AccessKeyId": "AKIDEXAMPLE", "SecretAccessKey": "%s", "SessionToken": "session-of-%s", "Expiration": "%s"}' \\
    "$(cat "$1")" "$(cat "$1")" "$(date -u -d '6 seconds' +%Y-%m-%dT%H:%M:%SZ)"
"""
KEYS = {"mtls": ("ec", "ec_paramgen_curve:P-256"), "assertion": ("ec", "ec_paramgen_curve:P-256"), "rsa": ("rsa", "rsa_keygen_bits:2048")}
NAMES = (*VENDORS, *KEYS, "oauth", "lease")
PLAIN = ("bearer", "lease")  # over a connection that anybody can read
SCRUBS = ("identity", "deep", "off")


class Forgotten(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.make_certificates()
        (self.folder / "print.sh").write_text(PRINT)
        (self.folder / "keys.sh").write_text(KEYS_OF_AWS)
        self.server = Server(self.folder, True)
        self.addCleanup(self.server.shutdown)
        self.plain = Server(self.folder, False)
        self.addCleanup(self.plain.shutdown)
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
        """A private key, and what belongs to it; found in memory by its PEM, and by the numbers that it is: as OpenSSL reckons
        with them, and the other end first, as they stand in DER."""
        at, count = self.folder, len(self.keys.setdefault(name, []))
        algorithm, option = KEYS[name]
        openssl("req", "-x509", "-newkey", algorithm, "-pkeyopt", option, "-nodes", "-days", "2", "-subj", f"/CN={name}-{count}",
                "-CA", f"{at}/ca.crt", "-CAkey", f"{at}/ca.key", "-addext", "basicConstraints=critical,CA:false",
                "-keyout", f"{at}/{name}.key.fresh", "-out", f"{at}/{name}.crt.fresh")
        told = subprocess.run(("openssl", "pkey", "-noout", "-text", "-in", f"{at}/{name}.key.fresh"), check=True, timeout=60, capture_output=True, text=True).stdout
        numbers = [bytes.fromhex(re.sub(r"[\s:]", "", text)).lstrip(b"\0")
                   for text in re.findall(r"(?:priv|privateExponent|prime1|prime2|exponent1|exponent2|coefficient):((?:\s+[0-9a-f:]+)+)\n", told)]
        self.assertEqual(len(numbers), {"ec": 1, "rsa": 6}[algorithm], "the key is not understood")
        pem = (at / f"{name}.key.fresh").read_text().splitlines()[1]
        self.keys[name].append([pem.encode(), *numbers, *(number[::-1] for number in numbers)])
        for kind in ("crt", "key"):
            (at / f"{name}.{kind}.fresh").rename(at / f"{name}.{kind}")

    def start_sluice(self):
        at, url = self.folder, f"https://localhost:{self.server.server_address[1]}"
        issuer = f"addresses: [127.0.0.0/8, '::1/128'], tls: {{ca: {{file: {at}/ca.crt}}}}"
        lines = ["version: 1", 'listen: {proxy: "127.0.0.1:0", admin: "127.0.0.1:0"}', f"state: {at}/state", "workers: 2", "credentials:"]
        lines += [f"  {name}: {text.replace('%s', str(at))}" for name, text in VENDORS.items()]
        lines.append(f"  oauth: {{type: oauth2_client_credentials, token_url: {url}/token, client_id: me, client_secret: {{file: {at}/client}}, {issuer}}}".replace("/token", "/token/oauth"))
        lines += [f"  mtls: {{type: mtls, cert: {{file: {at}/mtls.crt}}, key: {{file: {at}/mtls.key}}}}",
                  *(f"  {name}: {{type: oauth2_jwt_bearer, token_url: {url}/token/{name}, key: {{file: {at}/{name}.key}}, issuer: me, {issuer}}}"
                    for name in ("assertion", "rsa")),
                  f"  lease: {{type: vault, address: '{url}', auth: {{approle: {{role_id: me, secret_id: {{file: {at}/client}}}}}}, path: db/creds/reader,"
                  f" username_field: username, password_field: password, {issuer}}}"]
        lines += ["clients:", f"  shop: {{password: {{file: {at}/client}}, vendors: all}}", "vendors:"]
        for name in NAMES:
            for scrub in SCRUBS:
                lines += [f"  {name}-{scrub}:", f"    hosts: [{name}-{scrub}.vendor.test]", f"    endpoints: [{{url: '{url}'}}]",
                          "    addresses: [127.0.0.0/8, '::1/128']", f"    tls: {{ca: {{file: {at}/ca.crt}}}}",
                          f"    credential: {name}", f"    scrub: {scrub}"]
        for name in PLAIN:
            lines += [f"  {name}-plain:", f"    hosts: [{name}-plain.vendor.test]", "    addresses: [127.0.0.0/8, '::1/128']",
                      f"    endpoints: [{{url: 'http://localhost:{self.plain.server_address[1]}'}}]", f"    credential: {name}"]
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
        return [self.ask(connection, "/inside", self.own("tunnel"), coding) for coding in self.codings(times)], connection

    def codings(self, times):
        return [*CODINGS, "identity"][-times:]

    def by_base_url(self, name, times):
        connection = http.client.HTTPConnection(*self.proxy, timeout=30)
        return [self.ask(connection, f"/{name}/{size}", {**self.own("base-url"), **self.login()}, coding)
                for coding in self.codings(times) for size in ("small", "large")], connection

    def uploaded(self, name):
        """As much as the larger buffers are taken for, there and back; nobody scrubs what the application sends."""
        connection = http.client.HTTPConnection(*self.proxy, timeout=30)
        own = self.own("upload")
        sent = f"{own['x-api-key']}\n".encode() * (LARGE // 40)
        self.assertEqual(self.answered(connection, "POST", f"/{name}/upload", sent, {**own, **self.login()})[1], sent)
        return connection

    def upgraded(self, name):
        """Bytes both ways, as of a websocket."""
        own = self.own("upgrade")
        head = "".join(f"{field}: {value}\r\n" for field, value in {**own, **self.login(), "Host": ":".join(self.proxy), "Connection": "Upgrade", "Upgrade": "websocket"}.items())
        sent = f"{own['x-api-key']}\n".encode() * (LARGE // 40)
        end = time.monotonic() + 40
        while True:  # as `answered`
            with socket.create_connection(self.proxy, timeout=30) as connection:
                connection.sendall(f"GET /{name}/socket HTTP/1.1\r\n{head}\r\n".encode())
                got = connection.recv(65536)
                if b" 503 " in got[:40] and time.monotonic() < end:
                    time.sleep(0.2)
                    continue
                self.assertIn(b" 101 ", got[:40])
                threading.Thread(target=connection.sendall, args=(sent,), daemon=True).start()
                while not got.endswith(sent[-4000:]):
                    piece = connection.recv(65536)
                    self.assertTrue(piece, got[-400:])
                    got += piece
                return

    def ask(self, connection, path, headers, coding):
        reply, body = self.answered(connection, "GET", path, None, {"Accept-Encoding": coding, **headers})
        return f"{reply.headers}\n{body}"

    def answered(self, connection, method, path, sent, headers):
        end = time.monotonic() + 40
        while True:  # a machine under load may be late with a token that lives for seconds
            connection.request(method, path, sent, headers)
            reply = connection.getresponse()
            body = reply.read()
            if reply.status != 503 or time.monotonic() > end:
                self.assertEqual(reply.status, 200, body)
                return reply, body
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
                self.upgraded(name)
                for answer in answers if not name.endswith("-off") else ():
                    kind = name.split("-")[0]
                    for value in self.values.get(kind, Vendor.minted.get(kind, ())):
                        self.assertNotIn(value, answer)
        for name in (f"{name}-plain" for name in PLAIN):
            kept += [self.by_base_url(name, 4)[1], self.uploaded(name)]
            self.upgraded(name)
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

    def derived(self, key):
        """What AWS signs with for a day, as bytes."""
        for part in (datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d"), "eu-central-1", "s3", "aws4_request"):
            key = hmac.new(key if isinstance(key, bytes) else b"AWS4" + key.encode(), part.encode(), hashlib.sha256).digest()
            yield key

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
        minted = [token for tokens in Vendor.minted.values() for token in tokens]
        asked = [*Vendor.asked]
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
        needles += [*asked, *self.derived(self.values["aws"][0])]
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
