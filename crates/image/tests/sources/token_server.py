"""A token service as docker's registry expects one: Basic login in, signed RS256 token out.

usage: token_server.py CERTIFICATE_FILE USER PASSWORD

Writes a fresh self-signed certificate to CERTIFICATE_FILE, which the registry trusts, then serves until it is ended.
The port is free and printed on standard error.
"""

import base64
import datetime
import http.server
import json
import sys
import time
import urllib.parse

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

certificate_file, user, password = sys.argv[1:]
LOGIN = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
now = datetime.datetime.now(datetime.timezone.utc)
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now - datetime.timedelta(minutes=5))
    .not_valid_after(now + datetime.timedelta(days=1))
    .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    .sign(key, hashes.SHA256())
)
with open(certificate_file, "wb") as file:
    file.write(certificate.public_bytes(serialization.Encoding.PEM))
CHAIN = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]


def access(scope):
    """`repository:a/b:pull,push` as the claim that the registry checks."""
    kind, rest = scope.split(":", 1)
    repository, actions = rest.rsplit(":", 1)
    return {"type": kind, "name": repository, "actions": actions.split(",")}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != LOGIN:
            return self.answer(401, {"details": "incorrect username or password"})
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        seconds = int(time.time())
        claims = {
            "iss": "test",
            "sub": user,
            "aud": "test",
            "iat": seconds,
            "nbf": seconds - 60,
            "exp": seconds + 300,
            "jti": str(seconds),
            "access": [access(scope) for scope in query.get("scope", [])],
        }
        token = jwt.encode(claims, key, algorithm="RS256", headers={"x5c": CHAIN})
        self.answer(200, {"token": token, "expires_in": 300})

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on 127.0.0.1:{server.server_address[1]}", file=sys.stderr, flush=True)
server.serve_forever()
