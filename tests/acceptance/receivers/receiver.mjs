// A customer's receiver in Node, without packages: `node receiver.mjs <system>`, the secret in RECEIVER_SECRET.
//
// Each entry of `systems` verifies as the documentation of that system tells its customers to. Those that read a parsed
// body get it as Express's `express.json()` would hand it over; the others get the bytes, as from `express.raw()`.
// The first line on stdout is {"port": n}, then comes one line of JSON a request: path, verified, body.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = process.env.RECEIVER_SECRET;
const LIMIT = 100 * 1024; // what Express's parsers take unless told otherwise

const hex = (content) => createHmac("sha256", secret).update(content).digest("hex");
// Throws for texts of unequal length, as the documented code does; the server then answers 500.
const same = (shown, wanted) => timingSafeEqual(Buffer.from(shown), Buffer.from(wanted));

function standard(key) {
  return (req, raw) => {
    const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": list } = req.headers;
    if (!id || !list || Math.abs(Date.now() / 1000 - Number(time)) > 300) return false;
    const wanted = createHmac("sha256", key).update(`${id}.${time}.`).update(raw).digest("base64");
    return list.split(" ").some((one) => one.length === wanted.length + 3 && same(one, `v1,${wanted}`));
  };
}

const systems = {
  msgflash: { verify: (req, raw) => same(req.headers["x-msgflash-signature"], `sha256=${hex(raw)}`) },
  msgine: { json: true, verify: (req) => same(req.headers["x-msgine-signature"], hex(JSON.stringify(req.body))) },
  "msgine-raw": { verify: (req, raw) => same(req.headers["x-msgine-signature"], hex(raw)) },
  messages_dev: { verify: (req, raw) => req.headers["x-webhook-signature"] === hex(raw.toString()) },
  "messages_dev-json": {
    json: true,
    verify: (req) => req.headers["x-webhook-signature"] === hex(JSON.stringify(req.body)),
  },
  muchaw: { verify: (req, raw) => same(req.headers["x-muchaw-signature"], `sha256=${hex(raw)}`) },
  standard: { verify: (req, raw) => standard(Buffer.from(secret.replace("whsec_", ""), "base64"))(req, raw) },
  gateway: { verify: (req, raw) => standard(Buffer.from(secret))(req, raw) },
};

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function parsed(raw) {
  const text = raw.toString();
  if (!/^[\x20\t\n\r]*[[{]/.test(text)) throw new Refused(400, "the strict parser takes objects and arrays only");
  return JSON.parse(text);
}

function answer(req, raw) {
  const system = systems[process.argv[2]];
  if ((req.headers["content-type"] || "").split(";")[0].trim() !== "application/json")
    throw new Refused(415, "a parser for application/json leaves other bodies alone");
  if (raw.length > LIMIT) throw new Refused(413, "request entity too large");
  if (system.json) req.body = parsed(raw);
  return system.verify(req, raw);
}

const server = createServer((req, res) => {
  const chunks = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    const raw = Buffer.concat(chunks);
    let status = 401;
    let verified = false;
    try {
      verified = answer(req, raw);
      status = verified ? 200 : 401;
    } catch (error) {
      status = error.status || 500;
    }
    console.log(JSON.stringify({ path: req.url, verified, status, body: raw.toString() }));
    res.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify({ received: verified }));
  });
});

process.stdin.on("end", () => process.exit(0)).resume(); // never outlive whoever started this
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
