// An app of your own beside `threads-auth dev`, whose people connect Threads in a popup. Say
// `npm install` beside this file, paste the lines that `dev` prints, and say `node app.mjs`.

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
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error?.message ?? said.message);
  return said;
}

const home = `<!doctype html><title>An app</title>
  <button id="connect">Connect Threads</button> <button id="token">Ask for a token</button> <output></output><script>
    const show = (text) => (document.querySelector("output").textContent = text);
    document.querySelector("#connect").onclick = () => (popup = open("/connect", "threads", "popup,width=480,height=720"));
    document.querySelector("#token").onclick = async () => show(await (await fetch("/token")).text());
    onmessage = (event) => event.origin === location.origin && show(event.data);
  </script>`;
const tell = (outcome) => `<!doctype html><title>Done</title><script>
  opener?.postMessage(${JSON.stringify(outcome).replaceAll("<", "\\u003c")}, "${HOME}"); close()</script>`;

const routes = {
  "/connect": async (user) => new URL((await call("POST", "/sessions", { reference: user, return_to: `${HOME}/done` })).url),
  "/done": async (user, query) => {
    const [session, completion] = ["session_id", "completion"].map((name) => query.get(name));
    // Without a code nothing new was connected, and `status` is a hint of why.
    if (!completion) return tell(query.get("status") === "denied" ? "You said no" : `Not connected: ${query.get("reason")}`);
    const path = `/sessions/${encodeURIComponent(session)}/complete`;
    const { user_id, username } = await call("POST", path, { completion, reference: user });
    accounts.set(user, user_id);
    return tell(`Connected as @${username}`);
  },
  // With the `access_token` beside it your backend calls Threads; no browser ever sees it.
  "/token": async (user) => `A token until ${(await call("GET", `/users/${accounts.get(user) ?? 0}/token`)).expires_at}`,
};

createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, HOME);
  const user = /user=([\w-]*)/.exec(request.headers.cookie)?.[1] ?? crypto.randomUUID();
  response.setHeader("set-cookie", `user=${user}; HttpOnly; SameSite=Lax`).setHeader("content-type", "text/html; charset=utf-8");
  const route = routes[pathname] ?? (async () => home);
  const answer = await route(user, searchParams).catch(({ message }) => (pathname === "/token" ? message : tell(message)));
  answer instanceof URL ? response.writeHead(303, { location: answer.href }).end() : response.end(answer);
}).listen(5173, "localhost", () => console.log(`Open ${HOME}`));
