// An app of your own beside `threads-auth dev`, whose people connect Threads in a popup (`npm install` beside this file).
// Paste the export lines that `dev` prints, run `node app.mjs`, and open http://localhost:5173.

import { Sha256 } from "@aws-crypto/sha256-js";
import { SignatureV4 } from "@smithy/signature-v4";
import { createServer } from "node:http";

const { THREADS_AUTH_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY } = process.env;
const HOME = "http://localhost:5173";
const credentials = { accessKeyId: AWS_ACCESS_KEY_ID, secretAccessKey: AWS_SECRET_ACCESS_KEY };
const signer = new SignatureV4({ service: "execute-api", region: AWS_REGION, sha256: Sha256, credentials });
const accounts = new Map(); // a user of ours -> their Threads account

async function call(method, path, json) {
  const { host, hostname, protocol, href } = new URL(path, THREADS_AUTH_URL);
  const request = { method, headers: { host, "content-type": "application/json" }, body: json && JSON.stringify(json) };
  const { headers } = await signer.sign({ ...request, protocol, hostname, path });
  const answer = await fetch(href, { ...request, headers });
  return [answer.status, await answer.json()];
}

const home = `<!doctype html><title>An app</title>
  <button id="connect">Connect Threads</button> <button id="token">Ask for a token</button> <output></output><script>
    const show = (text) => (document.querySelector("output").textContent = text);
    document.querySelector("#connect").onclick = () => open("/connect", "threads", "popup,width=480,height=720");
    document.querySelector("#token").onclick = async () => show(await (await fetch("/token")).text());
    onmessage = (event) => event.origin === location.origin && show(event.data);
  </script>`;
const tell = (outcome) => `<!doctype html><script>opener.postMessage(${JSON.stringify(outcome).replaceAll("<", "\\u003c")}, "${HOME}"); close()</script>`;

const routes = {
  "/connect": async (user) => {
    const [, session] = await call("POST", "/sessions", { reference: user, return_to: `${HOME}/done` });
    return new URL(session.url);
  },
  "/done": async (user, query) => {
    const [completion, session] = [query.get("completion"), encodeURIComponent(query.get("session_id"))];
    // Without a code nothing was connected, and `status` is a hint of why.
    if (!completion) return tell(query.get("status") === "denied" ? "You said no" : "It did not work");
    const [status, account] = await call("POST", `/sessions/${session}/complete`, { completion, reference: user });
    if (status !== 200) return tell(account.error.code);
    accounts.set(user, account.user_id);
    return tell(`Connected as @${account.username}`);
  },
  "/token": async (user) => {
    const [status, vended] = await call("GET", `/users/${accounts.get(user) ?? 0}/token`);
    // With `vended.access_token` your backend calls Threads; no browser ever sees it.
    return status === 200 ? `A token until ${vended.expires_at}` : vended.error.message;
  },
};

createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, HOME);
  const user = /user=([^;]*)/.exec(request.headers.cookie)?.[1] ?? crypto.randomUUID();
  const answer = (await routes[pathname]?.(user, searchParams)) ?? home;
  response.setHeader("set-cookie", `user=${user}; HttpOnly; SameSite=Lax`).setHeader("content-type", "text/html; charset=utf-8");
  answer instanceof URL ? response.writeHead(303, { location: answer.href }).end() : response.end(answer);
}).listen(5173, "localhost", () => console.log(`Open ${HOME}`));
