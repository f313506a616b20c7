// What both JavaScript peers share: settings from the environment, authentication, a server.
// The SDK's packages are used as published, from .peers/bfjs (see scripts/peers).
'use strict';

const path = require('node:path');
const { createRequire } = require('node:module');
const { Hooks, statusOf, told } = require('../hooks.js');

const fromPeers = createRequire(path.resolve(__dirname, '../../../.peers/bfjs/package.json'));
const botbuilder = fromPeers('botbuilder');
const connector = fromPeers('botframework-connector');
const express = fromPeers('express');
const { ConfidentialClientApplication } = fromPeers('@azure/msal-node');

const { APP_ID, APP_PASSWORD, LAB, LAB_HTTP, PORT } = process.env;
for (const [name, value] of Object.entries({ APP_ID, APP_PASSWORD, LAB, LAB_HTTP, PORT })) {
  if (!value) throw new Error(`the environment has no ${name}`);
}
// A port that is the scheme's own is not written, or MSAL does not know the host for its own.
const AUTHORITY = `${new URL(LAB).origin}/botframework.com`;
const CHANNEL = 'https://api.botframework.com';

/** The SDK's authentication, pointed at the lab by settings alone and never off. */
function authentication(allowed) {
  const application = new ConfidentialClientApplication({
    auth: {
      clientId: APP_ID,
      clientSecret: APP_PASSWORD,
      authority: AUTHORITY,
      knownAuthorities: [new URL(AUTHORITY).host],
    },
  });
  const settings = {
    MicrosoftAppId: APP_ID,
    ToChannelFromBotLoginUrl: AUTHORITY,
    ToChannelFromBotOAuthScope: CHANNEL,
    ToBotFromChannelTokenIssuer: CHANNEL,
    ToBotFromChannelOpenIdMetadataUrl: `${LAB_HTTP}/v1/.well-known/openidconfiguration`,
    ToBotFromEmulatorOpenIdMetadataUrl: `${LAB_HTTP}/common/v2.0/.well-known/openid-configuration`,
    CallerId: 'urn:botframework:azure',
  };
  return new botbuilder.ConfigurationBotFrameworkAuthentication(
    settings,
    new connector.MsalServiceClientCredentialsFactory(APP_ID, application),
    {
      requiredEndorsements: [],
      validateClaims: connector.allowedCallersClaimsValidator(allowed),
    },
  );
}

/** An application that parses JSON bodies and serves the hooks; `tell` speaks up, if it is given. */
const application = (tell) => new Hooks(tell).application(express);

/** Serve `app` on loopback at PORT (0: any); prints `ready PORT`; `then` gets the port. */
function serve(app, then = () => {}) {
  const server = app.listen(Number(PORT), '127.0.0.1', () => {
    const { port } = server.address();
    then(port);
    console.log(`ready ${port}`);
  });
}

module.exports = {
  APP_ID,
  CHANNEL,
  application,
  authentication,
  botbuilder,
  serve,
  statusOf,
  told,
};
