// Asks for addresses as `METHOD address`, through the proxy that the environment names, and prints a line each.
const http = require("http");
const https = require("https");
const tls = require("tls");

function ask(method, address) {
  return new Promise((resolve) => {
    const target = new URL(address);
    const done = (answer) => {
      let text = "";
      answer.on("data", (data) => (text += data));
      answer.on("end", () => resolve(`${answer.statusCode} ${text}`));
    };
    const failed = (error) => resolve(`${error.code} ${error.message}`);
    const direct = (options) => https.request(address, { method, ...options }, done).on("error", failed).end();
    if (!process.env.HTTPS_PROXY) return direct({});
    const there = `${target.hostname}:443`;
    const proxy = new URL(process.env.HTTPS_PROXY);
    http
      .request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: there, headers: { Host: there } })
      .on("connect", (answer, socket) =>
        answer.statusCode === 200 ? direct({ defaultPort: 443, createConnection: () => tls.connect({ socket, servername: target.hostname }) }) : resolve(`${answer.statusCode} refused`),
      )
      .on("error", failed)
      .end();
  });
}

(async () => {
  for (const asked of process.argv.slice(2)) {
    const answer = await ask(...asked.split(" "));
    console.log(asked, "->", answer.replace(/\s+/g, " "));
  }
})();
