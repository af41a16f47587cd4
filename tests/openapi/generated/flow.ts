// One whole flow with the types that openapi-typescript makes of the OpenAPI document, and
// openapi-fetch:
//
//     threads-auth dev --ephemeral --port 0 --json > dev.json &
//     npx openapi-typescript ../../../functions/openapi.yaml -o schema.d.ts && npx tsc
//     node built/flow.js dev.json

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { AwsClient } from "aws4fetch";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Schemas = components["schemas"];
type Query = NonNullable<paths["/users"]["get"]["parameters"]["query"]>;

const addresses: Record<string, string> = JSON.parse(readFileSync(process.argv[2]!, "utf8"));
const { service_url, threads_url, region, access_key_id, secret_access_key } = addresses;
const signer = new AwsClient({
  accessKeyId: access_key_id!,
  secretAccessKey: secret_access_key!,
  region: region!,
  service: "execute-api",
});
const client = createClient<paths>({ baseUrl: service_url! });
client.use({ onRequest: ({ request }) => signer.sign(request) });

/** Plays the person's browser: the code with which it comes back. */
async function consent(url: string, userId: string): Promise<string> {
  const visit = (to: string, cookie = "") => fetch(to, { redirect: "manual", headers: { cookie } });
  const begun = await visit(url);
  const cookies = begun.headers.getSetCookie().map((cookie) => cookie.split(";")[0]);
  const back = await visit(`${begun.headers.get("location")}&auto_approve=${userId}`);
  const landed = await visit(back.headers.get("location")!, cookies.join("; "));
  return new URL(landed.headers.get("location")!).searchParams.get("completion")!;
}

/** The step that an error's code asks for. Words of a later version end in the default. */
function advice(code: Schemas["ErrorCode"]): string {
  switch (code as Schemas["KnownErrorCode"]) {
    case "wrong_completion":
    case "wrong_reference":
      return "log in again";
    case "needs_reauthorization":
    case "revoked":
      return "connect again";
    case "unavailable":
    case "busy":
      return "ask again";
    default:
      return "tell the operator";
  }
}

const made = await fetch(`${threads_url}/control/accounts`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ username: `typescript${process.pid}` }),
});
const { user_id }: { user_id: string } = await made.json();

const body: Schemas["NewSession"] = { reference: "user-7", return_to: "http://127.0.0.1:4000/done" };
const { data: session } = await client.POST("/sessions", { body });
assert(session);
const completion = await consent(session.url, user_id);
const params = { path: { id: session.id } };
const wrong = await client.POST("/sessions/{id}/complete", { params, body: { completion, reference: "user-8" } });
assert(wrong.error && "error" in wrong.error);
assert.equal(advice(wrong.error.error.code), "log in again");
const { data: connected } = await client.POST("/sessions/{id}/complete", { params, body: { completion, reference: "user-7" } });
assert.equal(connected?.user_id, user_id);
const { data: progress } = await client.GET("/sessions/{id}", { params });
assert.deepEqual([progress?.status, progress?.reason], ["connected", null]);

const account = { params: { path: { user_id } } };
const { data: vended } = await client.GET("/users/{user_id}/token", {
  params: { ...account.params, query: { min_valid: 3600 } },
});
assert(vended);
const me = await fetch(`${threads_url}/v1.0/me?access_token=${vended.access_token}`);
assert.equal((await me.json()).id, user_id);

const found: string[] = [];
let query: Query | null = { status: "active", limit: 2 };
while (query) {
  const { data: page }: { data?: Schemas["AccountPage"] } = await client.GET("/users", { params: { query } });
  assert(page);
  found.push(...page.users.map((one) => one.user_id));
  query = page.cursor === null ? null : { ...query, cursor: page.cursor };
}
assert(found.includes(user_id));

const { data: ended } = await client.DELETE("/users/{user_id}", account);
assert.equal(ended?.status, "revoked");
const refused = await client.GET("/users/{user_id}/token", account);
assert(refused.response.status === 409 && refused.error && "reconnect" in refused.error);
assert.deepEqual([refused.error.error.cause, advice(refused.error.error.code)], ["app", "connect again"]);
const again = await client.POST("/sessions", { body: { ...body, ...refused.error.reconnect.body } });
assert.equal(again.response.status, 201);

// An answer that API Gateway gives by itself.
const throttled = createClient<paths>({
  baseUrl: service_url!,
  fetch: async () => Response.json({ message: "Too Many Requests" }, { status: 429 }),
});
const { error } = await throttled.GET("/users/{user_id}/token", account);
assert(error && "message" in error);
assert.equal(error.message, "Too Many Requests");
console.log("openapi-typescript with openapi-fetch: connected, vended, listed, disconnected");
