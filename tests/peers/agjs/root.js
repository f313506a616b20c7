// A consumer on the Agents SDK for JavaScript with one skill; with parents it is a skill as well.
// Environment: PORT, APP_ID, APP_PASSWORD, SKILL_APP_ID, SKILL_ENDPOINT,
// HOST_URL (default: /api/agentresponse of this process), DELIVERY (normal or expectReplies),
// ALLOWED_CALLERS (app ids of parents, by commas; default: none), AS_SHIPPED (see below).
// The SDK's client and host do what they do: tests/peers/cannot.json says what is missing.
'use strict';

const { agents, application, callerOf, configuration, serve } = require('./peer.js');
const {
  AGENT_RESPONSE_ROUTE_PATH,
  AgentClient,
  CloudAdapter,
  ConversationState,
  MemoryStorage,
  createAgentResponseHandler,
} = agents;

const { ALLOWED_CALLERS = '', DELIVERY = 'normal', SKILL_APP_ID, SKILL_ENDPOINT } = process.env;
const FROM_SKILL = Symbol('from skill');
const END = 'endOfConversation';

/**
 * DEFECT: a callback is continued as the channel's bot, also where the skill was called for a bot;
 * with the identity of the turn that called the skill, the parent gets a token that is for it.
 */
class Adapter extends CloudAdapter {
  callers = new Map();

  continueConversation(identity, reference, logic) {
    const caller = this.callers.get(reference.conversation.id) ?? identity;
    return super.continueConversation(caller, reference, (context) => {
      context.turnState.set(FROM_SKILL, true);
      return logic(context);
    });
  }
}

/**
 * DEFECT: the client writes `_channelId` where the protocol has `channelId`. Skills refuse that, or
 * answer without one, which this host refuses. AS_SHIPPED leaves the client as it is.
 */
function namesTheChannel(request) {
  return (url, options) => {
    if (url !== SKILL_ENDPOINT) return request(url, options);
    const { _channelId: channelId, ...members } = JSON.parse(options.body);
    return request(url, { ...options, body: JSON.stringify({ ...members, channelId }) });
  };
}
if (!process.env.AS_SHIPPED) globalThis.fetch = namesTheChannel(globalThis.fetch);

/** Hands what it gets to the skill, under another conversation id each time, as the SDK does. */
class Root {
  constructor(state) {
    this.state = state;
  }

  /** One activity of the user, of the parent, or the end of the skill as a callback. */
  async run(context) {
    const { type, text, value } = context.activity;
    if (context.turnState.get(FROM_SKILL)) {
      if (type === END) await this.ended(context, value);
    } else if (type === END) {
      await this.stop(context);
    } else if (type === 'message' && text === 'cancel') {
      await this.stop(context);
      await context.sendActivity('cancelled');
    } else if (['message', 'event', 'invoke'].includes(type)) {
      await this.forward(context);
    }
  }

  async forward(context) {
    const activity = context.activity.clone();
    activity.deliveryMode = DELIVERY;
    try {
      await this.post(context, activity);
    } catch (error) {
      // Only the reason phrase of the status is known.
      await context.sendActivity(`Skill failed: ${error.message}`);
    }
  }

  async post(context, activity) {
    context.adapter.callers.set(context.activity.conversation.id, context.identity);
    await this.client.postActivity(activity, configuration, this.state, context);
  }

  async stop(context) {
    const end = context.activity.clone();
    delete end.text;
    await this.post(context, Object.assign(end, { type: END }));
  }

  async ended(context, value) {
    await context.sendActivity(`Skill ended: ${JSON.stringify(value ?? null)}`);
    if (callerOf(context.identity)) {
      await context.sendActivity({ type: END, code: 'completedSuccessfully', value });
    }
  }
}

const adapter = new Adapter(configuration);
const state = new ConversationState(new MemoryStorage());
const bot = new Root(state);
const app = application(adapter, {
  allowed: [SKILL_APP_ID, ...ALLOWED_CALLERS.split(',').filter(Boolean)],
  run: (context) => bot.run(context),
});
const respond = createAgentResponseHandler(adapter, bot, state);
app.post(AGENT_RESPONSE_ROUTE_PATH, (req, res, next) => respond(req, res, req.params).catch(next));
serve(app, (port) => {
  process.env.Skill_endpoint = SKILL_ENDPOINT;
  process.env.Skill_clientId = SKILL_APP_ID;
  process.env.Skill_serviceUrl =
    process.env.HOST_URL || `http://127.0.0.1:${port}/api/agentresponse/`;
  bot.client = new AgentClient('Skill');
});
