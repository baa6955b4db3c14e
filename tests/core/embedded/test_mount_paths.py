"""The path of a request to a mounted application, as several frameworks hand it over."""

import pytest

from fox_shard.embedded.mount_paths import with_whole_path


@pytest.mark.parametrize(
    ("scope", "root", "path"),
    [
        # Not mounted, and without what a server need not say.
        ({"path": "/api/docs"}, "", "/api/docs"),
        ({"path": "/api/docs", "raw_path": b"/api/docs", "root_path": ""}, "", "/api/docs"),
        ({"path": "/a b", "raw_path": b"/a%20b?c", "root_path": ""}, "", "/a b"),
        ({"path": "/a/", "raw_path": b"/a/", "root_path": ""}, "", "/a/"),
        # Starlette, FastAPI.
        (
            {"path": "/fox/a", "raw_path": b"/fox/a", "root_path": "/fox", "app_root_path": ""},
            "/fox",
            "/fox/a",
        ),
        # The same behind `uvicorn --root-path /shop`.
        (
            {
                "path": "/shop/fox/a",
                "raw_path": b"/shop/fox/a",
                "root_path": "/shop/fox",
                "app_root_path": "/shop",
            },
            "/shop/fox",
            "/shop/fox/a",
        ),
        # A proxy has cut off what FastAPI has as its root_path.
        (
            {
                "path": "/fox/a",
                "raw_path": b"/fox/a",
                "root_path": "/shop/fox",
                "app_root_path": "/shop",
            },
            "/shop/fox",
            "/shop/fox/a",
        ),
        # A framework that says what it has cut off.
        ({"path": "/a", "raw_path": b"/fox/a", "root_path": "/fox"}, "/fox", "/a"),
        # Litestar.
        ({"path": "/a/", "raw_path": b"/fox/a", "root_path": ""}, "/fox", "/fox/a"),
        ({"path": "/a/", "raw_path": b"/fox/a/", "root_path": ""}, "/fox", "/fox/a/"),
        ({"path": "/a/b c/", "raw_path": b"/fox/a/b%20c?x=1"}, "/fox", "/fox/a/b c"),
        ({"path": "/", "raw_path": b"/fox"}, "/fox", "/fox/"),
        ({"path": "/", "raw_path": b"/fox/"}, "/fox", "/fox/"),
    ],
)
def test_the_path_is_whole(scope, root, path):
    made = with_whole_path(scope)
    assert (made.get("root_path", ""), made["path"]) == (root, path)
