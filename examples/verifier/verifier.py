"""A service beside Tegata that checks access tokens by itself, with the keys that Tegata publishes.

    python3 verifier.py ISSUER PORT
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt

issuer, port = sys.argv[1], int(sys.argv[2])
# Keeps the keys for five minutes; for a key that it does not know it asks again, but not for each forged token.
keys = jwt.PyJWKClient(f"{issuer}/.well-known/jwks.json", lifespan=300, cooldown_duration=10, timeout=5)


def check(token: str) -> dict:
    """The claims of a good access token. Raises a jwt.PyJWTError for anything else."""
    checked = jwt.decode_complete(
        token,
        keys.get_signing_key_from_jwt(token),  # knows its algorithm: a token cannot ask for another one
        algorithms=["EdDSA", "ES256"],
        issuer=issuer,
        audience="tegata",
        options={"require": ["iss", "aud", "exp", "sub"]},
    )
    if checked["header"].get("typ") != "at+jwt":
        raise jwt.InvalidTokenError("not an access token")
    return checked["payload"]


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/whoami":
            return self.answer(404, {"error": "not_found"})
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return self.answer(401, {"error": "no_token"}, challenge="Bearer")
        try:
            claims = check(token.strip())
        except jwt.PyJWKClientConnectionError:
            # Not 401: the client would throw a good token away.
            self.answer(503, {"error": "keys_away"})
        except jwt.PyJWTError:
            self.answer(401, {"error": "invalid_token"}, challenge='Bearer error="invalid_token"')
        else:
            self.answer(200, {"sub": claims["sub"], "email": claims["email"]})

    def answer(self, status: int, body: dict, challenge: str | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.end_headers()
        self.wfile.write(content)


server = ThreadingHTTPServer(("127.0.0.1", port), Service)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
