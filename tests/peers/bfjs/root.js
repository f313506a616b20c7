// A consumer on the published JavaScript SDK with one skill; with parents it is a skill as well.
// Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, SKILL_APP_ID, SKILL_ENDPOINT,
// HOST_URL (default: /api/skills of this process), DELIVERY (normal or expectReplies),
// ALLOWED_CALLERS (app ids of parents, by commas; default: none).
'use strict';

const { APP_ID, CHANNEL, application, authentication, botbuilder, serve } = require('./peer.js');
const {
  ChannelServiceRoutes,
  CloudAdapter,
  CloudSkillHandler,
  ConversationState,
  MemoryStorage,
  SkillConversationIdFactory,
  SkillConversationReferenceKey,
  TurnContext,
} = botbuilder;

const { ALLOWED_CALLERS = '', DELIVERY = 'normal', SKILL_APP_ID, SKILL_ENDPOINT } = process.env;
const SKILL = { id: 'skill', appId: SKILL_APP_ID, skillEndpoint: SKILL_ENDPOINT };
const END = 'endOfConversation';

/** Hands what it gets to the skill under one skill conversation id until the skill ends. */
class Root {
  constructor(state, ids, client) {
    Object.assign(this, { state, ids, client, hostUrl: process.env.HOST_URL });
    this.skillConversation = state.createProperty('skillConversation');
  }

  /** One activity of the user, of the parent, or of the skill as a callback. */
  async run(context) {
    const { type, text } = context.activity;
    if (context.turnState.get(SkillConversationReferenceKey)) {
      await this.toldBySkill(context, context.activity);
    } else if (type === END) {
      await this.stop(context);
    } else if (type === 'message' && text === 'cancel') {
      await this.stop(context);
      await context.sendActivity('cancelled');
    } else if (['message', 'event', 'invoke'].includes(type)) {
      await this.forward(context);
    }
  }

  async toldBySkill(context, told) {
    if (told.type === 'event') {
      await context.sendActivity(`Skill event: ${told.name} ${jsonOf(told.value)}`);
    } else if (told.type === END) {
      // The handler, or `relay`, has deleted the reference already.
      await this.ended(context, told.value);
    }
  }

  async forward(context) {
    const conversationId = await this.conversationId(context);
    // The end may come back while the call is open, and must find the state.
    await this.state.saveChanges(context);
    const { status, body } = await this.post(conversationId, {
      ...structuredClone(context.activity),
      deliveryMode: DELIVERY,
    });
    const succeeded = status >= 200 && status < 300;
    if (DELIVERY === 'expectReplies' && succeeded) {
      await this.relay(context, conversationId, body.activities ?? []);
    } else if (context.activity.type === 'invoke') {
      await respond(context, { status, body });
    } else if (!succeeded) {
      await context.sendActivity(`Skill failed: ${status}`);
    }
  }

  post(conversationId, activity) {
    return this.client.postActivity(
      APP_ID,
      SKILL.appId,
      SKILL.skillEndpoint,
      this.hostUrl,
      conversationId,
      activity,
    );
  }

  async conversationId(context) {
    let known = await this.skillConversation.get(context);
    if (!known) {
      known = await this.ids.createSkillConversationIdWithOptions({
        fromBotOAuthScope: context.turnState.get(context.adapter.OAuthScopeKey),
        fromBotId: APP_ID,
        activity: context.activity,
        botFrameworkSkill: SKILL,
      });
      await this.skillConversation.set(context, known);
    }
    return known;
  }

  async relay(context, conversationId, replies) {
    for (const reply of replies) {
      if (reply.type === END) await this.ids.deleteConversationReference(conversationId);
      if (reply.type === END || reply.type === 'event') {
        await this.toldBySkill(context, reply);
      } else if (reply.type === 'invokeResponse') {
        await respond(context, reply.value?.status ? reply.value : { status: 500 });
      } else {
        await context.sendActivity(reply);
      }
    }
  }

  /** End the skill's conversation from this side, as the SDK's own dialog does. */
  async stop(context) {
    const conversationId = await this.skillConversation.get(context);
    if (!conversationId) return;
    await this.skillConversation.delete(context);
    await this.state.saveChanges(context);
    const here = TurnContext.getConversationReference(context.activity);
    const end = TurnContext.applyConversationReference({ type: END }, here, true);
    await this.post(conversationId, structuredClone(end));
    await this.ids.deleteConversationReference(conversationId);
  }

  async ended(context, value) {
    await this.skillConversation.delete(context);
    await this.state.saveChanges(context);
    await context.sendActivity(`Skill ended: ${jsonOf(value)}`);
    if (hasParent(context)) {
      await context.sendActivity({ type: END, code: 'completedSuccessfully', value });
    }
  }
}

/** A value as JSON without spaces. */
const jsonOf = (value) => JSON.stringify(value ?? null);

/** Answer the invoke of this turn. */
const respond = (context, value) => context.sendActivity({ type: 'invokeResponse', value });

/** True if what is said in this turn goes to a bot, not to a channel. */
function hasParent(context) {
  const reference = context.turnState.get(SkillConversationReferenceKey);
  const scope = reference ? reference.oAuthScope : context.turnState.get(context.adapter.OAuthScopeKey);
  return scope !== CHANNEL;
}

const auth = authentication([SKILL_APP_ID, ...ALLOWED_CALLERS.split(',').filter(Boolean)]);
const adapter = new CloudAdapter(auth);
const storage = new MemoryStorage();
const ids = new SkillConversationIdFactory(storage);
const bot = new Root(new ConversationState(storage), ids, auth.createBotFrameworkClient());
const logic = (context) => bot.run(context);
const app = application();
app.post('/api/messages', (req, res) => adapter.process(req, res, logic));
const handler = new CloudSkillHandler(adapter, logic, ids, auth);
new ChannelServiceRoutes(handler).register(app, '/api/skills');
serve(app, (port) => {
  bot.hostUrl ||= `http://127.0.0.1:${port}/api/skills`;
});
