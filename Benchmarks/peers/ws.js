// The same work on ws: `node ws.js echo`, or `node ws.js push SIZE`, which sends each connection a frame of its own once a second.
const { WebSocketServer } = require('ws');
const [mode, size] = process.argv.slice(2);
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false }, () => {
  console.log(`ready ${server.address().port} ws ${require('ws/package.json').version}, Node ${process.version}`);
});
if (mode === 'echo') server.on('connection', (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })));
else setInterval(() => { for (const socket of server.clients) socket.send(String(Math.random()).padEnd(Number(size), '0')); }, 1000);
