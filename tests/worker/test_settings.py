"""A worker starts with settings that are complete, or says what to set."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.worker.makers import PREVIOUS_SECRET, SECRET
from tests.worker.processes import WORKER, environment
from worker.errors import SettingsError
from worker.settings import Settings, Task


@pytest.mark.parametrize("entry", ["server.py", "handler.py"])
def test_a_worker_without_a_secret_does_not_start(entry: str) -> None:
    """Without one it would run jobs for anybody who finds its address."""
    env = environment(WORKER_SECRET=" ")
    run = subprocess.run(
        [sys.executable, WORKER / entry], check=False, env=env, capture_output=True, text=True, timeout=60
    )

    assert run.returncode == 1
    assert "WORKER_SECRET is not set" in run.stderr
    assert "secrets.token_hex(32)" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("env", "named"),
    [
        pytest.param({"WORKER_SECRET": "short"}, "WORKER_SECRET", id="short secret"),
        pytest.param({"WORKER_SECRET_PREVIOUS": "short"}, "WORKER_SECRET_PREVIOUS", id="short previous secret"),
        pytest.param({"TASK": "painting"}, "TASK", id="unknown task"),
        pytest.param({"PORT": "http"}, "PORT", id="port"),
        pytest.param({"BODY_BYTES_MAX": "0"}, "BODY_BYTES_MAX", id="bytes"),
        pytest.param({"ITEMS_MAX": "²"}, "ITEMS_MAX", id="a digit that is no number"),
    ],
)
def test_a_wrong_setting_is_named(env: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=f"^{named}[ =]") as refused:
        Settings.from_env({"WORKER_SECRET": SECRET, **env})

    assert "short" not in str(refused.value)


def test_secrets_never_show_themselves() -> None:
    """A settings object ends up in a traceback sooner or later."""
    settings = Settings.from_env({"WORKER_SECRET": SECRET, "WORKER_SECRET_PREVIOUS": PREVIOUS_SECRET})

    assert settings.secrets == (SECRET.encode(), PREVIOUS_SECRET.encode())
    assert SECRET not in repr(settings)
    assert PREVIOUS_SECRET not in repr(settings)


def test_a_newline_after_a_secret_does_not_count() -> None:
    """It comes with a secret that was read from a file, and the gate strips it too."""
    assert Settings.from_env({"WORKER_SECRET": f"{SECRET}\n"}).secrets == (SECRET.encode(),)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("feature-extraction", Task.EMBEDDINGS),
        ("sentiment-analysis", Task.TEXT_CLASSIFICATION),
        ("ner", Task.TOKEN_CLASSIFICATION),
        ("text-ranking", Task.RERANKING),
        ("text-generation", Task.TEXT_GENERATION),
        ("text2text-generation", Task.TEXT2TEXT_GENERATION),
        ("summarization", Task.SUMMARIZATION),
        ("translation_en_to_fr", Task.TRANSLATION),
    ],
)
def test_a_task_may_have_the_name_that_the_pipelines_have_for_it(name: str, task: Task) -> None:
    """It is the name on the model's card."""
    settings = Settings.from_env({"WORKER_SECRET": SECRET, "TASK": name})

    assert settings.task is task
    assert settings.languages == (("en", "fr") if "_to_" in name else None)


def test_a_task_that_is_none_is_answered_with_all_that_are() -> None:
    with pytest.raises(SettingsError, match="image-classification") as refused:
        Settings.from_env({"WORKER_SECRET": SECRET, "TASK": "image-classification"})

    assert all(name in str(refused.value) for name in ("embeddings", "feature-extraction", "translation_XX_to_YY"))


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "all-minilm-l6-v2"),
        ({"MODEL": "BAAI/bge-small-en-v1.5"}, "bge-small-en-v1.5"),
        ({"MODEL": "/models/Mine/"}, "mine"),
        ({"MODEL": "/opt/model", "MODEL_NAME": "org/Theirs"}, "theirs"),
    ],
    ids=["packaged", "hub id", "folder", "told"],
)
def test_a_model_is_named_as_the_gate_names_it(env: dict[str, str], name: str) -> None:
    assert Settings.from_env({"WORKER_SECRET": SECRET, **env}).model_name == name


def test_it_listens_on_this_machine_alone_unless_told() -> None:
    settings = Settings.from_env({"WORKER_SECRET": SECRET})

    assert (settings.host, settings.port, settings.task) == ("127.0.0.1", 8000, Task.AUTO)
