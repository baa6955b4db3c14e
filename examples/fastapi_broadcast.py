"""Broadcast: what is said at one page is shown at all, whichever worker serves them, without Redis.

Run `make setup` once and `make run` in one shell. Then, in another one:

    .venv/bin/uvicorn --app-dir examples --workers 4 fastapi_broadcast:app

Open http://127.0.0.1:8000 in several windows. Each worker of the web server is one more gateway of
the server that runs beside it, so it may publish from any handler, and its WebSockets get what all
workers publish. So do other clients of the server:

    .venv/bin/fox sub com.example.news
    mosquitto_sub -t com/example/news
"""

import os
from typing import Annotated

from fastapi import Body, FastAPI
from fastapi.responses import HTMLResponse
from starlette.routing import WebSocketRoute

from fox_shard import FoxRouter

TOPIC = "com.example.news"

router = FoxRouter(attach=os.environ.get("FOX_RUN_DIR", "run"))
app = FastAPI(lifespan=router.lifespan, routes=[WebSocketRoute("/wss", router.wamp)])


@app.post("/say")
async def say(text: Annotated[str, Body(embed=True)]):
    # With `retain`, new pages are shown what was said last.
    await router.realm("realm1").publish(TOPIC, [text], acknowledge=True, retain=True)


@app.get("/", response_class=HTMLResponse)
async def page():
    return PAGE


# A page of your own would have a client library, such as autobahn-js or wampy.js. These four
# messages are WAMP, too: HELLO (1), WELCOME (2), SUBSCRIBE (32), EVENT (36).
PAGE = """
<!doctype html>
<title>Broadcast</title>
<form><input name="text" placeholder="Say something" autofocus></form>
<ul></ul>
<script>
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const socket = new WebSocket(`${scheme}://${location.host}/wss`, 'wamp.2.json');
  const send = (...message) => socket.send(JSON.stringify(message));
  socket.onopen = () => send(1, 'realm1', {roles: {subscriber: {}}});
  socket.onmessage = ({data}) => {
    const [kind, , , , args] = JSON.parse(data);
    if (kind === 2) {
      send(32, 1, {get_retained: true}, 'com.example.news');
    } else if (kind === 36) {
      const item = document.createElement('li');
      item.textContent = args[0];
      document.querySelector('ul').append(item);
    }
  };
  document.forms[0].onsubmit = (event) => {
    event.preventDefault();
    const {text} = event.target.elements;
    const headers = {'content-type': 'application/json'};
    fetch('/say', {method: 'POST', headers, body: JSON.stringify({text: text.value})});
    text.value = '';
  };
</script>
"""
