// What tests ask a JavaScript peer about itself, on loopback and without a token.
// GET /seen: the bodies of the last 50 requests to /api/messages, as they came; GET /ends: how many
// of them ended a conversation; POST /tell: speak up where someone asked for it.
'use strict';

const LATEST = 50;

/** The three routes; `tell` is a bot's way to speak up, if it has one. */
class Hooks {
  constructor(tell = null) {
    this.ends = 0;
    this.tell = tell;
    this.seen = [];
  }

  /** An application that parses JSON bodies, watches its messages and serves the routes. */
  application(express) {
    const app = express();
    app.use(express.json({ limit: '4mb', verify: (req, res, body) => { req.rawBody = body; } }));
    app.use('/api/messages', (req, res, next) => this.watch(req, res, next));
    app.get('/seen', (req, res) => res.type('json').send(`[${this.seen.join(',')}]`));
    app.get('/ends', (req, res) => res.json({ ends: this.ends }));
    app.post('/tell', (req, res, next) => {
      if (!this.tell) return res.status(404).json({ error: 'this peer does not speak up' });
      return this.tell().then((answer) => res.json(answer), next);
    });
    return app;
  }

  watch(req, res, next) {
    this.seen.push(withoutTokens(req));
    if (this.seen.length > LATEST) this.seen.shift();
    res.on('finish', () => {
      if (res.statusCode < 300 && req.body.type === 'endOfConversation') this.ends += 1;
    });
    next();
  }
}

/** JSON as it came, unless a member is named `token`. */
function withoutTokens(req) {
  const text = req.rawBody ? req.rawBody.toString() : 'null';
  if (!text.includes('"token"')) return text;
  return JSON.stringify(req.body, (key, value) => (key === 'token' ? '<removed>' : value));
}

/** Call `say` for each of `conversations`: how many worked, and the statuses of the others. */
async function told(conversations, say) {
  const failed = [];
  for (const [key, conversation] of [...conversations]) {
    try {
      await say(conversation);
    } catch (error) {
      conversations.delete(key);
      failed.push(statusOf(error));
    }
  }
  return { told: conversations.size, failed };
}

/** The HTTP status in an error of an SDK's client, or the error's name. */
function statusOf(error) {
  return error.statusCode ?? error.status ?? error.response?.status ?? error.name;
}

module.exports = { Hooks, statusOf, told };
