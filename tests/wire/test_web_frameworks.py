"""The applications of docs/embedding.md, as they are printed there, under uvicorn.

Each is tried embedded, and attached to a running server with two workers; by autobahn-js in Node,
and in a page of a browser at the application's own port.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import browser
import node
import pytest
from programs import of_script
from web_servers import OFF, UVICORN, blocks, serving

FRAMEWORKS = {"fastapi": "FastAPI(", "starlette": "Starlette(", "litestar": "Litestar("}
MODES = ("embedded", "attached")
STATIC = {
    "index.html": "live.html",
    "live.js": "live.js",
    "autobahn.js": "node_modules/autobahn-browser/autobahn.min.js",
}
LEFT = "wamp.close.goodbye_and_out"

DJANGO = {
    "settings.py": """
SECRET_KEY = "a secret of your own"
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
""",
    "urls.py": """
from pathlib import Path
import json
import views
from django.contrib import auth
from django.http import HttpResponse
from django.urls import path

def login(request):
    user = auth.authenticate(username=json.loads(request.body)["user"], password="s3cret")
    auth.login(request, user)
    return HttpResponse()

def page(request, name="index.html"):
    kind = "text/javascript" if name.endswith(".js") else "text/html"
    return HttpResponse((Path("static") / name).read_bytes(), content_type=kind)

urlpatterns = [path("login", login), path("say", views.say), path("shout", views.shout),
               path("", page), path("<str:name>", page)]
""",
    "make_users.py": """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create_user("ann", password="s3cret")
""",
}


def write_application(folder, framework):
    """Write the page's files for that framework; return what the web server is to run."""
    found = blocks("embedding.md")
    if framework == "django":
        files = {name: text for name, text in found if "django" in text}
        assert sorted(files) == ["asgi.py", "live.py", "views.py"]
    else:
        main = [text for name, text in found if name == "main.py" and FRAMEWORKS[framework] in text]
        live = [text for name, text in found if name == "live.py" and "django" not in text]
        (files,) = [{"main.py": one, "live.py": other} for one in main for other in live]
    for name, text in {**files, **(DJANGO if framework == "django" else {})}.items():
        (folder / name).write_text(text)
    return "asgi:application" if framework == "django" else "main:app"


def write_pages(folder):
    static = folder / "static"
    static.mkdir()
    modules = node.modules()
    for name, source in STATIC.items():
        shutil.copy(modules.parent / source, static / name)


def attach(folder, run_dir):
    """Let the application be attached to the server, as the page's comment says."""
    live = folder / "live.py"
    text = live.read_text()
    assert text.count("FoxRouter(user=user)") == 1
    live.write_text(text.replace("FoxRouter(user=user)", 'FoxRouter(attach="run", user=user)'))
    (folder / "run").symlink_to(run_dir)


@contextmanager
def application(framework, mode, run_dir):
    """Run the framework's application; yields the web server."""
    # Short, because the paths of UNIX sockets are.
    with tempfile.TemporaryDirectory(prefix="fox-") as name:
        folder = Path(name)
        write_pages(folder)
        target = write_application(folder, framework)
        environment = {**os.environ, **OFF, "DJANGO_SETTINGS_MODULE": "settings"}
        if framework == "django":
            subprocess.run(
                [sys.executable, "make_users.py"],
                cwd=folder,
                env={**of_script(), "DJANGO_SETTINGS_MODULE": "settings"},
                check=True,
            )
        more = ()
        if mode == "attached":
            attach(folder, run_dir)
            more = ("--workers", "2")
        with serving(folder, (*UVICORN, *more), target, environment) as server:
            yield server


@pytest.fixture(
    scope="module", params=[(one, how) for how in MODES for one in (*FRAMEWORKS, "django")]
)
def served(request, shared_cluster):
    """(framework, web server)."""
    framework, mode = request.param
    with application(framework, mode, shared_cluster.run_dir) as server:
        yield framework, server


@pytest.fixture(scope="module")
def chromium():
    chromium = browser.Browser()
    yield chromium
    chromium.close()


def plan_of(framework, text, **more):
    paths = ["/say", "/shout"] if framework == "django" else ["/say"]
    return {"text": text, "paths": paths, "user": None, "serializer": "json", **more}


def heard(plan):
    return [plan["text"].upper() if path == "/shout" else plan["text"] for path in plan["paths"]]


@pytest.mark.parametrize("serializer", ["json", "msgpack"])
def test_a_node_client_hears_what_a_handler_publishes_and_calls(served, serializer):
    framework, server = served
    origin = f"http://127.0.0.1:{server.port}"
    at = {"origin": origin, "url": origin.replace("http", "ws") + "/wss"}
    plan = plan_of(framework, "said from Node", serializer=serializer, **at)
    assert node.run("live.cjs", json.dumps(plan)) == {
        "who": ["anonymous", "anonymous"],
        "heard": heard(plan),
        "sum": 5,
        "left": LEFT,
    }


def test_a_page_of_the_application_is_whoever_has_logged_in(served, chromium):
    framework, server = served
    plan = plan_of(framework, "said from a page", user="ann")
    seen = chromium.visit(f"http://127.0.0.1:{server.port}/", "autobahn", plan)
    assert seen == {"who": ["ann", "member"], "heard": heard(plan), "sum": 5, "left": LEFT}


def test_what_any_worker_publishes_reaches_the_websockets_of_all(served):
    framework, server = served
    pages = [server.page()]
    if server.is_spread:
        pages = server.pages_of_two_workers()
    for page in pages:
        page.subscribe("com.example.news")
    for worker in {page.worker for page in pages}:
        status, _, _ = server.request("POST", "/say", {"text": f"by {worker}"}, worker=worker)
        assert status < 300, framework
        assert [page.event() for page in pages] == [f"by {worker}"] * len(pages)
    for page in pages:
        page.close()


def test_litestar_takes_its_path_with_a_slash_too(served):
    framework, server = served
    if framework == "litestar":
        with server.page(path="/wss/") as page:
            assert page.call("com.example.add", 2, 3) == 5
