// What partners do with ssh2-sftp-client: a list of steps on standard input, each a method and what it is given.
"use strict";
const fs = require("fs");
const Client = require("ssh2-sftp-client");

async function main() {
  const asked = JSON.parse(fs.readFileSync(0, "utf8"));
  const client = new Client();
  await client.connect({ ...asked.connect, privateKey: fs.readFileSync(asked.key) });
  const told = [];
  for (const [method, ...given] of asked.steps) {
    const ready = given.map((one) => (one.file ? fs.readFileSync(one.file) : one));
    told.push((await client[method](...ready)) ?? null);
  }
  await client.end();
  process.stdout.write(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
