"""A person's consent at the sandbox, without a browser."""


def query(app_id: str, user_id: str, redirect_uri: str) -> dict:
    """Asks for the least, and lets the sandbox press Allow at once."""
    return {
        "client_id": app_id,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "scope": "threads_basic",
        "state": "a-state",
        "auto_approve": user_id,
    }
