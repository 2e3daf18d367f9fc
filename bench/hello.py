"""The least function there is: what the cold start of ours is compared with."""

import flask
import functions_framework


@functions_framework.http
def hello(_: flask.Request) -> str:
    """Answer anything."""
    return "Hello"
