// Verifies one delivery, given on standard input, with Standard Webhooks' library for Node, and
// prints the event, or `null` if the library refuses it.

import { readFileSync } from "node:fs";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const { secret, headers, body } = JSON.parse(readFileSync(0, "utf8"));
let event = null;
try {
  event = new Webhook(secret).verify(body, headers);
} catch (error) {
  if (!(error instanceof WebhookVerificationError)) throw error;
}
console.log(JSON.stringify(event));
