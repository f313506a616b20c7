// An echo skill on the published JavaScript SDK.
// Environment: PORT, APP_ID, APP_PASSWORD, LAB, LAB_HTTP, ALLOWED_CALLERS (app ids, by commas).
'use strict';

const { application, authentication, botbuilder, serve } = require('./peer.js');
const { ActivityHandler, CloudAdapter, ConversationState, MemoryStorage } = botbuilder;

/** Echoes; `count` says how many messages came, this one included; `end` ends. */
class Echo extends ActivityHandler {
  constructor(state) {
    super();
    this.state = state;
    this.count = state.createProperty('count');
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
    await super.run(context);
    await this.state.saveChanges(context);
  }

  async message(context) {
    const count = (await this.count.get(context, 0)) + 1;
    await this.count.set(context, count);
    const { text } = context.activity;
    if (text === 'end') {
      await this.count.delete(context);
      await context.sendActivity({
        type: 'endOfConversation',
        code: 'completedSuccessfully',
        value: { turns: count },
      });
    } else {
      await context.sendActivity(text === 'count' ? `${count} messages` : `Echo: ${text}`);
    }
  }
}

const adapter = new CloudAdapter(authentication(process.env.ALLOWED_CALLERS.split(',')));
const bot = new Echo(new ConversationState(new MemoryStorage()));
const app = application();
app.post('/api/messages', (req, res) => adapter.process(req, res, (context) => bot.run(context)));
serve(app);
