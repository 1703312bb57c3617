// Serve the snippets in a folder: POST /<profile>, with the secret in base64 in the header test-secret.
import { createServer } from "node:http";
import { pathToFileURL } from "node:url";

async function serve(req, res) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  req.body = Buffer.concat(chunks); // as express.raw leaves it
  process.env.WEBHOOK_SECRET = Buffer.from(req.headers["test-secret"], "base64").toString();
  try {
    const { receiveWebhook } = await import(pathToFileURL(`${process.argv[2]}${req.url}.mjs`));
    receiveWebhook(req, res);
  } catch (error) {
    console.log(String(error));
    res.writeHead(500).end();
  }
}

const server = createServer(serve).listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
