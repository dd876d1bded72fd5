// A service beside Tegata that checks access tokens by itself, with the keys that Tegata publishes.
//
//   node verifier.ts ISSUER PORT

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const [issuer, port] = process.argv.slice(2);
// Keeps the keys for five minutes; for a key that it does not know it asks again, but not for each forged token.
const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), {
  cacheMaxAge: 300_000,
  cooldownDuration: 10_000,
});

/** The claims of a good access token. Throws for anything else. */
async function check(token: string) {
  const { payload } = await jwtVerify<{ email: string }>(token, keys, {
    issuer,
    audience: "tegata",
    typ: "at+jwt",
    algorithms: ["EdDSA", "ES256"],
    requiredClaims: ["exp", "sub"],
  });
  return payload;
}

/** Whether the keys could not be had, so that nobody can tell whether the token is good. */
function isAway(error: unknown) {
  const codes: string[] = [errors.JWKSTimeout.code, errors.JOSEError.code];
  return !(error instanceof errors.JOSEError) || codes.includes(error.code);
}

function answer(response: ServerResponse, status: number, body: object, challenge?: string) {
  if (challenge) response.setHeader("WWW-Authenticate", challenge);
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

const server = createServer(async (request, response) => {
  if (request.method !== "GET" || request.url !== "/whoami") return answer(response, 404, { error: "not_found" });
  const token = /^bearer +(.*)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined) return answer(response, 401, { error: "no_token" }, "Bearer");
  try {
    const { sub, email } = await check(token);
    answer(response, 200, { sub, email });
  } catch (error) {
    // Not 401 when the keys are away: the client would throw a good token away.
    if (isAway(error)) answer(response, 503, { error: "keys_away" });
    else answer(response, 401, { error: "invalid_token" }, 'Bearer error="invalid_token"');
  }
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
