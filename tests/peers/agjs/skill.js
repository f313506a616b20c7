// A skill with many words on the Agents SDK for JavaScript.
// Environment: PORT, APP_ID, APP_PASSWORD, ALLOWED_CALLERS (app ids, by commas).
'use strict';

const { agents, application, configuration, serve, statusOf, told } = require('./peer.js');
const { ActivityHandler, CardFactory, CloudAdapter, ConversationState, MemoryStorage } = agents;

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
    const sent = await context.sendActivity('first');
    try {
      await context.updateActivity({ type: 'message', id: sent.id, text: 'second' });
    } catch (error) {
      await context.sendActivity(`update failed: ${statusOf(error)}`);
    }
  },

  async delete(context) {
    const sent = await context.sendActivity('gone');
    try {
      await context.deleteActivity(sent.id);
    } catch (error) {
      await context.sendActivity(`delete failed: ${statusOf(error)}`);
    }
  },

  async members(context) {
    let said;
    try {
      const { id } = context.activity.conversation;
      const members = await connector(context).getConversationMembers(id);
      said = `members: ${members.map((member) => member.id).sort().join(',')}`;
    } catch (error) {
      said = `members failed: ${statusOf(error)}`;
    }
    await context.sendActivity(said);
  },

  async member(context) {
    let said;
    try {
      const { conversation, from } = context.activity;
      const member = await connector(context).getConversationMember(from.id, conversation.id);
      said = `member: ${member.id}`;
    } catch (error) {
      said = `member failed: ${statusOf(error)}`;
    }
    await context.sendActivity(said);
  },

  async proactive(context, count, skill) {
    const { conversation } = context.activity;
    const reference = context.activity.getConversationReference();
    skill.proactive.set(conversation.id, [context.identity, reference]);
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
    // The consumer wants no more: forget the conversation.
    this.onEndOfConversation(async (context, next) => {
      await this.count.delete(context);
      await next();
    });
  }

  async run(context) {
    // The SDK's handler has no events with names of one's own.
    await (context.activity.type === 'event' ? this.event(context) : super.run(context));
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
    return told(this.proactive, ([identity, reference]) =>
      adapter.continueConversation(identity, reference, (context) =>
        context.sendActivity('proactive hello')));
  }
}

const echo = (context) => context.sendActivity(`Echo: ${context.activity.text}`);

/** The client of the connector that this turn came from. */
const connector = (context) => context.turnState.get(context.adapter.ConnectorClientKey);

const adapter = new CloudAdapter(configuration);
const bot = new Skill(new ConversationState(new MemoryStorage()));
serve(application(adapter, {
  allowed: process.env.ALLOWED_CALLERS.split(','),
  run: (context) => bot.run(context),
  tell: () => bot.tell(adapter),
}));
