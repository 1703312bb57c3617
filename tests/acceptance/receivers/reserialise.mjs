// For each line of stdin, a JSON string that holds a JSON text: prints what JavaScript makes of it, again as a string.
import { createInterface } from "node:readline";

for await (const line of createInterface({ input: process.stdin })) {
  let made;
  try {
    made = JSON.stringify(JSON.parse(JSON.parse(line)));
  } catch (error) {
    made = `${error}`;
  }
  process.stdout.write(`${JSON.stringify(made)}\n`);
}
