"""Looks for secrets: leaks.py SECRETS FILE... Of each line of SECRETS ("name secret") every form is looked for: raw, as
JSON and HTML have it, base64 at all three alignments and in both alphabets, hexadecimal, percent-encoded. Prints what is
found."""
import base64
import html
import json
import re
import sys
import urllib.parse


def forms(secret):
    raw = secret.encode()
    yield "raw", raw
    yield "json", json.dumps(secret)[1:-1].encode()
    yield "json with \\/", json.dumps(secret)[1:-1].replace("/", "\\/").encode()
    yield "html", html.escape(secret).encode()
    yield "html", html.escape(secret).replace("&#x27;", "&#39;").encode()
    yield "html", html.escape(secret, quote=False).encode()
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        first = -(-shift * 8 // 6)  # what no neighbour has a part in
        last = (shift + len(raw)) * 8 // 6
        yield f"base64 after {shift}", encoded[first:last]
        yield f"base64url after {shift}", encoded[first:last].translate(bytes.maketrans(b"+/", b"-_"))
    yield "hex", raw.hex().encode()
    yield "HEX", raw.hex().upper().encode()
    for text in (urllib.parse.quote(secret, safe=""), urllib.parse.quote(secret), urllib.parse.quote_plus(secret)):
        yield "percent", text.encode()
        yield "percent", re.sub("%..", lambda match: match[0].lower(), text).encode()
    yield "percent", "".join(f"%{byte:02X}" for byte in raw).encode()


found = False
with open(sys.argv[1]) as lines:
    secrets = [line.rstrip("\n").split(" ", 1) for line in lines]
for path in sys.argv[2:]:
    with open(path, "rb") as file:
        content = file.read()
    for name, secret in secrets:
        for form, needle in forms(secret):
            if needle in content:
                at = content.index(needle)
                print(f"{path}: {name}, {form}: {content[max(0, at - 60):at + len(needle) + 30]!r}")
                found = True
sys.exit(found)
