// The session's login once more, on Node and the SDK for JavaScript: it reads both secrets as it
// starts, and a row for each event. An anchor, and not a whole function: it checks nothing.
import http from "node:http";
import { DynamoDBClient, GetItemCommand } from "@aws-sdk/client-dynamodb";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

const region = process.env.AWS_REGION;
const secrets = new SecretsManagerClient({ region });
const dynamodb = new DynamoDBClient({ region });
const ids = [process.env.APP_SECRET_ID, process.env.KEYRING_SECRET_ID];
await Promise.all(ids.map((SecretId) => secrets.send(new GetSecretValueCommand({ SecretId }))));

const agent = new http.Agent({ keepAlive: true });
const runtime = (method, path, body) =>
  new Promise((resolve, reject) => {
    const url = `http://${process.env.AWS_LAMBDA_RUNTIME_API}/2018-06-01/runtime/${path}`;
    const request = http.request(url, { method, agent }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.headers["lambda-runtime-aws-request-id"]));
    });
    request.on("error", reject);
    request.end(body);
  });

for (;;) {
  const id = await runtime("GET", "invocation/next");
  const Key = { pk: { S: "session#bench" } };
  await dynamodb.send(new GetItemCommand({ TableName: process.env.SHORT_LIVED_TABLE, Key, ConsistentRead: true }));
  const answer = { statusCode: 302, headers: { location: "https://example.com/" }, body: "" };
  await runtime("POST", `invocation/${id}/response`, JSON.stringify(answer));
}
