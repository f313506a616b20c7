// A skill with many words on the published JavaScript SDK.
// Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, ALLOWED_CALLERS (app ids, by commas).
'use strict';

const { application, authentication, botbuilder, serve, statusOf, told } = require('./peer.js');
const {
  ActivityHandler,
  CardFactory,
  CloudAdapter,
  ConversationState,
  MemoryStorage,
  TurnContext,
} = botbuilder;

/** A button that says `value` for the user. */
const action = (value) => ({ type: 'imBack', title: value, value });

/** What the skill does on a word; `count` is the number of messages of the conversation. */
const WORDS = {
  count: (context, count) => context.sendActivity(`${count} messages`),

  async end(context, count, skill) {
    await skill.count.delete(context);
    await context.sendActivity({
      type: 'endOfConversation',
      code: 'completedSuccessfully',
      value: { turns: count },
    });
  },

  card: (context) => context.sendActivity({
    type: 'message',
    text: 'card',
    attachments: [
      CardFactory.heroCard('Title', [], [action('go')]),
      { contentType: 'image/png', contentUrl: 'https://example.test/a.png', name: 'a.png' },
    ],
    suggestedActions: { to: [], actions: [action('yes'), action('no')] },
  }),

  data: (context) => context.sendActivity({
    type: 'message',
    text: 'data',
    channelData: context.activity.channelData,
    entities: context.activity.entities,
  }),

  async update(context) {
    const { id } = await context.sendActivity('first');
    try {
      await context.updateActivity({ type: 'message', id, text: 'second' });
    } catch (error) {
      await context.sendActivity(`update failed: ${statusOf(error)}`);
    }
  },

  async delete(context) {
    const { id } = await context.sendActivity('gone');
    try {
      await context.deleteActivity(id);
    } catch (error) {
      await context.sendActivity(`delete failed: ${statusOf(error)}`);
    }
  },

  async members(context) {
    let said;
    try {
      const { conversations } = context.turnState.get(context.adapter.ConnectorClientKey);
      const { id } = context.activity.conversation;
      const members = await conversations.getConversationMembers(id);
      said = `members: ${members.map((member) => member.id).sort().join(',')}`;
    } catch (error) {
      said = `members failed: ${statusOf(error)}`;
    }
    await context.sendActivity(said);
  },

  async member(context) {
    let said;
    try {
      const { conversations } = context.turnState.get(context.adapter.ConnectorClientKey);
      const { conversation, from } = context.activity;
      const member = await conversations.getConversationMember(conversation.id, from.id);
      said = `member: ${member.id}`;
    } catch (error) {
      said = `member failed: ${statusOf(error)}`;
    }
    await context.sendActivity(said);
  },

  async proactive(context, count, skill) {
    skill.proactive.set(context.activity.conversation.id, [
      context.turnState.get(context.adapter.BotIdentityKey),
      TurnContext.getConversationReference(context.activity),
      context.turnState.get(context.adapter.OAuthScopeKey),
    ]);
    await context.sendActivity('later');
  },

  async typing(context) {
    await context.sendActivity({ type: 'typing' });
    await context.sendActivity('typed');
  },

  async long(context) {
    await context.sendActivity('one');
    await context.sendActivity('two');
  },
};

/** Does what a word says; echoes every other text; counts the messages of a conversation. */
class Skill extends ActivityHandler {
  constructor(state) {
    super();
    this.state = state;
    this.count = state.createProperty('count');
    this.proactive = new Map();
    this.onMessage(async (context, next) => {
      await this.message(context);
      await next();
    });
    this.onEvent(async (context, next) => {
      await this.event(context);
      await next();
    });
    // The consumer wants no more: forget the conversation.
    this.onEndOfConversation(async (context, next) => {
      await this.count.delete(context);
      await next();
    });
  }

  async run(context) {
    await super.run(context);
    await this.state.saveChanges(context);
  }

  async message(context) {
    const count = (await this.count.get(context, 0)) + 1;
    await this.count.set(context, count);
    const { text } = context.activity;
    const say = Object.hasOwn(WORDS, text) ? WORDS[text] : echo;
    await say(context, count, this);
  }

  async event(context) {
    const { name, value } = context.activity;
    if (name !== 'ping') return;
    await context.sendActivity({ type: 'event', name: 'pong', value });
    await context.sendActivity('pong');
  }

  async onInvokeActivity(context) {
    const { name, value } = context.activity;
    return name === 'lookup' ? { status: 200, body: { found: value } } : { status: 501 };
  }

  /** Speak up in every conversation that said `proactive`. */
  async tell(adapter) {
    return told(this.proactive, ([identity, reference, audience]) =>
      adapter.continueConversationAsync(identity, reference, audience, (context) =>
        context.sendActivity('proactive hello')));
  }
}

const echo = (context) => context.sendActivity(`Echo: ${context.activity.text}`);

const adapter = new CloudAdapter(authentication(process.env.ALLOWED_CALLERS.split(',')));
const bot = new Skill(new ConversationState(new MemoryStorage()));
const app = application(() => bot.tell(adapter));
app.post('/api/messages', (req, res) => adapter.process(req, res, (context) => bot.run(context)));
serve(app);
