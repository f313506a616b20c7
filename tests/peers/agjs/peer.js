// What both peers on the Agents SDK for JavaScript share: settings, authentication, a server.
// The SDK's packages are used as published, from .peers/agjs (see scripts/peers).
// The hosts of tokens and keys are fixed in the SDK: run it under tests/peers/with_hosts.
'use strict';

const path = require('node:path');
const { createRequire } = require('node:module');
const { Hooks, statusOf, told } = require('../hooks.js');

const fromPeers = createRequire(path.resolve(__dirname, '../../../.peers/agjs/package.json'));
const agents = fromPeers('@microsoft/agents-hosting');
const express = fromPeers('express');

const { APP_ID, APP_PASSWORD, PORT } = process.env;
for (const [name, value] of Object.entries({ APP_ID, APP_PASSWORD, PORT })) {
  if (!value) throw new Error(`the environment has no ${name}`);
}
const BOT_FRAMEWORK_TENANT = 'd6d49420-f39b-4df7-a1dc-d59a935871db';

const configuration = agents.getAuthConfigWithDefaults({
  clientId: APP_ID,
  clientSecret: APP_PASSWORD,
  tenantId: BOT_FRAMEWORK_TENANT,
  validateIssuer: true,
});

/** The app id of the bot that a token was given to; undefined for a channel's. */
const callerOf = (claims) => (claims.ver === '2.0' ? claims.azp : claims.appid);

/** DEFECT: the SDK has no hook for claims; any app with a token for this one may call. */
const allowlist = (allowed) => (req, res, next) => {
  const caller = callerOf(req.user);
  if (!caller || allowed.includes(caller)) return next();
  return res.status(403).json({ error: 'this app may not call' });
};

/**
 * An application with the hooks, whose /api/messages admits the channel and `allowed`; `run` gets
 * the turns. A turn that fails is answered with 500, as by the other peers; `tell` speaks up.
 */
function application(adapter, { allowed, run, tell }) {
  adapter.onTurnError = (context, error) => Promise.reject(error);
  const app = new Hooks(tell).application(express);
  app.post(
    '/api/messages',
    agents.authorizeJWT(configuration),
    allowlist(allowed),
    (req, res, next) => adapter.process(req, res, run).catch(next),
  );
  return app;
}

/** Serve `app` on loopback at PORT (0: any); prints `ready PORT`; `then` gets the port. */
function serve(app, then = () => {}) {
  const server = app.listen(Number(PORT), '127.0.0.1', () => {
    const { port } = server.address();
    then(port);
    console.log(`ready ${port}`);
  });
}

module.exports = { agents, application, callerOf, configuration, serve, statusOf, told };
