// A TCP relay between a browser and the daemon: the network, and what goes wrong with it.
import net from "node:net";

export async function startRelay(url) {
  const { hostname, port } = new URL(url);
  const open = new Set();
  const relay = {
    // Bytes from the daemon that each of the next WebSockets lives for; then they last.
    lives: [],
    cuts: 0,
    down: false, // nobody gets through
    forgetful: false, // WebSockets ask for everything, whatever the page asked for
    cut() {
      for (const both of open) both.forEach((socket) => socket.destroy());
      relay.cuts++;
    },
    // What is open stays so, and nothing comes through any more.
    freeze() {
      for (const both of open) both.forEach((socket) => socket.pause());
    },
    async stop() {
      relay.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };

  const server = net.createServer((near) => {
    if (relay.down) return near.destroy();
    const far = net.connect(Number(port), hostname);
    const both = [near, far];
    let left = Infinity;

    open.add(both);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on("error", () => to.destroy());
      from.on("close", () => {
        open.delete(both);
        to.destroy();
      });
      from.on("end", () => to.end());
    }
    near.on("data", (data) => {
      const text = data.toString("latin1");
      const upgrade = /^upgrade: websocket/im.test(text);

      if (upgrade) left = relay.lives.shift() ?? Infinity;
      far.write(upgrade && relay.forgetful ? Buffer.from(text.replace(/since=\d+/, "since=0"), "latin1") : data);
    });
    far.on("data", (data) => {
      near.write(data.subarray(0, left));
      left -= data.length;
      if (left <= 0) {
        relay.cuts++;
        far.destroy();
        near.destroySoon();
      }
    });
  });

  // A test that failed shall not keep the others from ending.
  server.unref();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  relay.url = `http://127.0.0.1:${server.address().port}`;
  return relay;
}
