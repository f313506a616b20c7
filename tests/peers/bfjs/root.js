// A minimal consumer on the published JavaScript SDK: every message goes to one skill.
// Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, SKILL_APP_ID, SKILL_ENDPOINT,
// HOST_URL (default: /api/skills of this process), DELIVERY (normal or expectReplies).
'use strict';

const { APP_ID, application, authentication, botbuilder, serve } = require('./peer.js');
const {
  ActivityHandler,
  ChannelServiceRoutes,
  CloudAdapter,
  CloudSkillHandler,
  ConversationState,
  MemoryStorage,
  SkillConversationIdFactory,
} = botbuilder;

const { DELIVERY = 'normal', SKILL_APP_ID, SKILL_ENDPOINT } = process.env;
const SKILL = { id: 'skill', appId: SKILL_APP_ID, skillEndpoint: SKILL_ENDPOINT };

/** Hands messages to the skill under one skill conversation id until the skill ends. */
class Root extends ActivityHandler {
  constructor(state, ids, client) {
    super();
    Object.assign(this, { state, ids, client, hostUrl: process.env.HOST_URL });
    this.skillConversation = state.createProperty('skillConversation');
    this.onMessage(async (context, next) => {
      await this.forward(context);
      await next();
    });
    // The skill's end, as a callback: the handler has deleted the reference already.
    this.onEndOfConversation(async (context, next) => {
      await this.ended(context, context.activity.value);
      await next();
    });
  }

  async forward(context) {
    const conversationId = await this.conversationId(context);
    // The end may come back while the call is open, and must find the state.
    await this.state.saveChanges(context);
    const { status, body } = await this.client.postActivity(
      APP_ID,
      SKILL.appId,
      SKILL.skillEndpoint,
      this.hostUrl,
      conversationId,
      { ...structuredClone(context.activity), deliveryMode: DELIVERY },
    );
    if (status < 200 || status > 299) {
      await context.sendActivity(`Skill failed: ${status}`);
    } else if (DELIVERY === 'expectReplies') {
      await this.relay(context, conversationId, body.activities ?? []);
    }
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
    const isEnd = (reply) => reply.type === 'endOfConversation';
    for (const reply of replies.filter((reply) => !isEnd(reply))) {
      await context.sendActivity(reply);
    }
    const end = replies.find(isEnd);
    if (end) {
      await this.ids.deleteConversationReference(conversationId);
      await this.ended(context, end.value);
    }
  }

  async ended(context, value) {
    await this.skillConversation.delete(context);
    await this.state.saveChanges(context);
    await context.sendActivity(`Skill ended: ${JSON.stringify(value ?? null)}`);
  }
}

const auth = authentication([SKILL_APP_ID]);
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
