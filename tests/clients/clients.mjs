// Clients from npm, each as its own documentation says: `node clients.mjs CLIENT`, with the
// sandbox, the app and the person as one JSON object on standard input. Prints nothing; an error is
// the client's own.

import { text } from 'node:stream/consumers';
import ClientOAuth2 from 'client-oauth2';
import * as oauth4webapi from 'oauth4webapi';
import * as openid from 'openid-client';
import OAuth2Strategy from 'passport-oauth2';
import { AuthorizationCode } from 'simple-oauth2';

const setting = JSON.parse(await text(process.stdin));
const { url, app_id: id, app_secret: secret, redirect_uri: redirectUri } = setting;
const authorizeUrl = `${url}/oauth/authorize`;
const tokenUrl = `${url}/oauth/access_token`;
const state = 'a-state-of-ours';

// Presses Allow, by the sandbox's shortcut. Returns the address that then reaches the app's server,
// which gets no fragment.
async function agree(page) {
  const answer = await fetch(`${page}&auto_approve=${setting.user_id}`, { redirect: 'manual' });
  const back = new URL(answer.headers.get('location'));
  back.hash = '';
  return back;
}

// The calls that are Threads' own, which no OAuth library has.
async function token(path, query) {
  const answer = await fetch(`${url}/${path}?${new URLSearchParams(query)}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return (await answer.json()).access_token;
}

function simple(options) {
  return async () => {
    const client = new AuthorizationCode({
      client: { id, secret },
      auth: { tokenHost: url, tokenPath: '/oauth/access_token', authorizePath: '/oauth/authorize' },
      options,
    });
    const back = await agree(client.authorizeURL({ redirect_uri: redirectUri, scope: 'threads_basic', state }));
    const code = back.searchParams.get('code');
    return (await client.getToken({ code, redirect_uri: redirectUri })).token.access_token;
  };
}

async function clientOAuth2() {
  const client = new ClientOAuth2({
    clientId: id,
    accessTokenUri: tokenUrl,
    authorizationUri: authorizeUrl,
    redirectUri,
    scopes: ['threads_basic'],
    state,
    body: { client_secret: secret },
  });
  return (await client.code.getToken(String(await agree(client.code.getUri())))).accessToken;
}

// Runs the strategy with the handlers that passport would give it.
function passport() {
  return new Promise((resolve, reject) => {
    const options = {
      authorizationURL: authorizeUrl,
      tokenURL: tokenUrl,
      clientID: id,
      clientSecret: secret,
      callbackURL: redirectUri,
      scope: 'threads_basic',
    };
    const strategy = new OAuth2Strategy(options, (access, refresh, profile, done) => done(null, access));
    strategy.error = reject;
    strategy.fail = (why) => reject(new Error(JSON.stringify(why)));
    strategy.success = resolve;
    strategy.redirect = (page) =>
      agree(page).then((back) => strategy.authenticate({ query: Object.fromEntries(back.searchParams) }), reject);
    strategy.authenticate({ query: {} });
  });
}

async function webApi() {
  const server = { issuer: url, authorization_endpoint: authorizeUrl, token_endpoint: tokenUrl };
  const client = { client_id: id };
  const query = { client_id: id, redirect_uri: redirectUri, response_type: 'code', scope: 'threads_basic', state };
  const back = await agree(`${authorizeUrl}?${new URLSearchParams(query)}`);
  const answer = await oauth4webapi.authorizationCodeGrantRequest(
    server,
    client,
    oauth4webapi.ClientSecretPost(secret),
    oauth4webapi.validateAuthResponse(server, client, back, state),
    redirectUri,
    oauth4webapi.nopkce,
    { [oauth4webapi.allowInsecureRequests]: true },
  );
  return (await oauth4webapi.processAuthorizationCodeResponse(server, client, answer)).access_token;
}

async function openidClient() {
  const server = { issuer: url, authorization_endpoint: authorizeUrl, token_endpoint: tokenUrl };
  const config = new openid.Configuration(server, id, {}, openid.ClientSecretPost(secret));
  openid.allowInsecureRequests(config);
  const query = { redirect_uri: redirectUri, scope: 'threads_basic', state };
  const back = await agree(openid.buildAuthorizationUrl(config, query));
  return (await openid.authorizationCodeGrant(config, back, { expectedState: state })).access_token;
}

const clients = {
  'simple-oauth2': simple({ authorizationMethod: 'body' }),
  'simple-oauth2, basic': simple({}),
  'client-oauth2': clientOAuth2,
  'passport-oauth2': passport,
  oauth4webapi: webApi,
  'openid-client': openidClient,
};

try {
  const short = await clients[process.argv[2]]();
  const long = await token('access_token', {
    grant_type: 'th_exchange_token',
    client_secret: secret,
    access_token: short,
  });
  const body = JSON.stringify({ advance_seconds: setting.seconds });
  await fetch(`${url}/control/clock`, { method: 'POST', body });
  await token('refresh_access_token', { grant_type: 'th_refresh_token', access_token: long });
} catch (error) {
  for (let cause = error; cause instanceof Error; cause = cause.cause) console.error(cause.message);
  process.exitCode = 1;
}
