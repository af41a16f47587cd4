// An app's backend in Node: three calls, signed by AWS's signer (`npm install` beside this file).
//
//     node backend.mjs start user-7                 a session: send the person to its url
//     node backend.mjs complete SESSION COMPLETION USER
//                                                   who came back, for the user who is logged in
//     node backend.mjs token USER_ID                a token that works
//
// It reads THREADS_AUTH_URL (the stack's ApiUrl), AWS_REGION, and credentials from the environment.

import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";
import { setTimeout as sleep } from "node:timers/promises";

const { THREADS_AUTH_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, RETURN_TO } = process.env;

const signer = new SignatureV4({
  service: "execute-api",
  region: AWS_REGION,
  sha256: Sha256,
  credentials: {
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    sessionToken: AWS_SESSION_TOKEN,
  },
});

async function call(method, path, body) {
  const url = new URL(path, THREADS_AUTH_URL);
  const request = {
    method,
    protocol: url.protocol,
    hostname: url.hostname,
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: { host: url.host, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  };
  const { headers } = await signer.sign(request);
  let answer;
  for (let attempt = 0; attempt < 5; attempt++) {
    answer = await fetch(url, { method, headers, body: request.body });
    if (answer.status !== 503) break;
    await sleep(1000 * Number(answer.headers.get("retry-after")));
  }
  return [answer.status, await answer.json()];
}

async function main(command, ...given) {
  switch (command) {
    case "start":
      return call("POST", "/sessions", { reference: given[0], return_to: RETURN_TO });
    case "complete":
      // The user who is logged in now, from your own session: not from an address.
      return call("POST", `/sessions/${given[0]}/complete`, { completion: given[1], reference: given[2] });
    case "token": {
      const [status, answer] = await call("GET", `/users/${given[0]}/token?min_valid=3600`);
      if (status !== 409) return [status, answer];
      // The person has to come back: the answer has the session for that, but for your fields.
      return call("POST", "/sessions", { ...answer.reconnect.body, reference: "user-7", return_to: RETURN_TO });
    }
    default:
      return [400, { error: "start REFERENCE, complete SESSION COMPLETION USER, or token USER_ID" }];
  }
}

const [status, answer] = await main(...process.argv.slice(2));
console.log(JSON.stringify(answer));
process.exitCode = status < 400 ? 0 : 1;
