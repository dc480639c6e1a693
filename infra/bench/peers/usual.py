"""The usual stack of a Firebase function in Python: everything imported at the top, a transaction for the count."""

from __future__ import annotations

import os

import firebase_admin
import requests
from firebase_admin import _token_gen, auth, credentials
from firebase_functions import https_fn
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore


class Nobody(credentials.Base):  # type: ignore[misc]  # it ships no types
    """What the Admin SDK needs to verify tokens where there is no Google."""

    def get_credential(self) -> AnonymousCredentials:
        """Return what nobody would believe."""
        return AnonymousCredentials()  # type: ignore[no-untyped-call]  # google-auth's


# The one other thing that is not usual: the sign-in's public keys come from this machine.
_token_gen.ID_TOKEN_CERT_URI = os.environ["BENCH_CERTIFICATES_URL"]

firebase_admin.initialize_app(Nobody(), options={"projectId": os.environ["GCLOUD_PROJECT"]})
database = firestore.Client(project=os.environ["GCLOUD_PROJECT"])


@firestore.transactional
def count(transaction: firestore.Transaction, uid: str) -> None:
    """Count one call."""
    usage = database.document(f"usage/{uid}")
    used = usage.get(transaction=transaction).to_dict() or {}
    transaction.set(usage, {"requests": used.get("requests", 0) + 1})


@https_fn.on_request()  # type: ignore[untyped-decorator]  # it ships no types
def infer(request: https_fn.Request) -> https_fn.Response:
    """Verify, count, call, answer."""
    claims = auth.verify_id_token(request.headers["authorization"].removeprefix("Bearer "))
    count(database.transaction(), claims["uid"])
    answer = requests.post(os.environ["CONTAINER_URL"], json=request.get_json(), timeout=60)
    return https_fn.Response(answer.content, content_type="application/json")
