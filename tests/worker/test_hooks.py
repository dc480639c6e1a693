"""The owner's own code replaces steps of a job; what goes wrong in it is told to whom it concerns."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gate import wire
from tests.worker.makers import SECRET, Bench, EchoEngine, make_request
from tests.worker.tiny import make_model, open_model, run, run_together
from worker.engine import Engine
from worker.errors import InputError, ModelError, OutOfMemoryError
from worker.log import EventLog
from worker.owner.around import open_own
from worker.owner.code import OwnCodeError
from worker.settings import Limits, Settings

DOCS = Path(__file__).parents[2] / "docs" / "your-own-code.md"
FAILED = "^the model's own code failed on this input$"


class Own:
    """An engine around a file of these lines, with its log."""

    def __init__(self, folder: Path, lines: str, **limits: int) -> None:
        self.stream = io.StringIO()
        path = folder / "own.py"
        path.write_text(lines)
        self.engine: Engine = open_own(path, folder, Limits(**limits), built_in=EchoEngine, log=EventLog(self.stream))
        self.engine.load()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Own]:
    return partial(Own, tmp_path)


def example(name: str) -> str:
    """Return the code of one of the documentation's examples."""
    found = re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found
    return found[1]


def test_the_documented_code_around_a_task_does_what_it_says(tmp_path: Path) -> None:
    """With a real classifier, and a setting that names the file."""
    folder = make_model(tmp_path / "model", "BertForSequenceClassification", num_labels=3)
    path = tmp_path / "my_code.py"
    path.write_text(example("around"))
    plain, engine = open_model(folder), open_model(folder, CODE=str(path))
    labels = [one["label"] for one in run(plain, "good film")]
    inputs = {"title": "good", "body": "film"}

    assert run(engine, inputs, sure_from=0) == {"labels": labels}
    assert run(engine, inputs, sure_from=0, top_k=1) == {"labels": labels[:1]}
    assert run(engine, inputs, sure_from=1.1) == {"labels": []}
    with pytest.raises(InputError, match=r"^inputs must be an object with title and body$"):
        run(engine, "good film")


def test_the_documented_model_does_what_it_says(own: Callable[..., Own], tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text('["good", "bad"]')
    engine = own(example("model")).engine

    assert run(engine, "good and bad film") == {"found": 2}
    assert run(engine, ["good", "film"]) == [{"found": 1}, {"found": 0}]
    with pytest.raises(InputError, match=r"^inputs must be a string or a list of strings$"):
        run(engine, 3)


def test_postprocess_sees_what_the_caller_sent(own: Callable[..., Own]) -> None:
    """Even what `preprocess` takes out for itself."""
    lines = (
        "def preprocess(inputs, parameters):\n"
        "    parameters['deep'].pop()\n"
        "    return [inputs], {}\n"
        "def postprocess(outputs, parameters):\n"
        "    return {'outputs': outputs, 'parameters': parameters}\n"
    )

    assert run(own(lines).engine, "a", deep=[1]) == {"outputs": ["a"], "parameters": {"deep": [1]}}


def test_inputs_alone_keep_the_parameters(own: Callable[..., Own]) -> None:
    engine = own("def preprocess(inputs, parameters): return inputs.upper()").engine

    assert run(engine, "a") == "A"


def test_jobs_with_the_same_parameters_share_a_batch(own: Callable[..., Own]) -> None:
    lines = (
        "def load(folder): return folder.name\n"
        "def predict(model, batch, parameters): return [[len(batch), parameters, model] for one in batch]\n"
    )
    engine = own(lines).engine
    name = run(engine, "x")[2]
    jobs: list[tuple[Any, dict[str, Any]]] = [(["a", "b"], {"x": 1}), ("c", {"x": 1}), ({"an": "object"}, {})]

    assert run_together(engine, jobs) == [[[3, {"x": 1}, name]] * 2, [3, {"x": 1}, name], [1, {}, name]]


def test_a_job_that_fails_fails_alone(own: Callable[..., Own]) -> None:
    """And it shows to its own caller alone, though all were in one batch."""
    bench = own(
        "def load(folder): return None\ndef predict(model, batch, parameters): return [1 / one for one in batch]"
    )
    works = [bench.engine.prepare(body(inputs)) for inputs in ([1, 2], [4, 0], 5)]
    rows = bench.engine.compute([item for work in works for item in work.items])

    assert works[0].finish(rows[:2]) == [1, 0.5]
    assert works[2].finish(rows[4:]) == 0.2
    with pytest.raises(OwnCodeError, match=FAILED):
        works[1].finish(rows[2:4])


def body(inputs: Any, **parameters: Any) -> Any:
    return wire.WorkBody(model="", inputs=inputs, parameters=parameters)


RAISES = "def preprocess(inputs, parameters):\n    "


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("raise ValueError('the text is\\n  empty')", "^the text is empty$"),
        ("raise ValueError('long ' * 1000)", r"^.{300}$"),
        ("int('x')", "^invalid literal for int"),
    ],
    ids=["message", "long", "built in"],
)
def test_a_value_error_is_told_to_the_caller_on_one_line(own: Callable[..., Own], line: str, told: str) -> None:
    bench = own(RAISES + line)

    with pytest.raises(InputError, match=told):
        run(bench.engine, "a")
    assert bench.events == []


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(f"{RAISES}raise KeyError('secret')", id="another error"),
        pytest.param(f"{RAISES}raise ValueError", id="no message"),
        pytest.param(f"{RAISES}exit('secret')", id="an exit"),
        pytest.param(f"import fractions\n{RAISES}fractions.Fraction('secret')", id="a library's"),
        pytest.param(f"{RAISES}return (1, 2, 'secret')", id="three"),
        pytest.param(f"{RAISES}return 1, 'secret'", id="no parameters"),
        pytest.param(f"{RAISES}return 1, {{'secret': set()}}", id="strange parameters"),
    ],
)
def test_any_other_error_is_the_owners_to_see(own: Callable[..., Own], lines: str) -> None:
    bench = own(lines)

    with pytest.raises(OwnCodeError, match=FAILED):
        run(bench.engine, "a")
    assert [event["function"] for event in bench.events] == ["preprocess"]
    assert bench.events[0]["message"] == "own_code.failed"
    assert "Traceback" in bench.events[0]["traceback"] or "TypeError" in bench.events[0]["traceback"]


@pytest.mark.parametrize("made", ["{1}", "float('nan')", "{(1, 2): 3}", "__import__('numpy').float32(1)"])
@pytest.mark.parametrize("name", ["predict", "postprocess"])
def test_outputs_that_json_cannot_carry_are_named_in_the_log(own: Callable[..., Own], made: str, name: str) -> None:
    lines = {
        "postprocess": f"def postprocess(outputs, parameters): return {made}",
        "predict": f"def load(folder): pass\ndef predict(model, batch, parameters): return [{made}]",
    }
    bench = own(lines[name])

    with pytest.raises(OwnCodeError, match=FAILED):
        run(bench.engine, "a")
    assert [event["function"] for event in bench.events] == [name]
    assert f"{name} returned what JSON cannot carry" in bench.events[0]["traceback"]


def test_what_goes_from_predict_to_postprocess_may_be_anything(own: Callable[..., Own]) -> None:
    lines = (
        "def load(folder): pass\n"
        "def predict(model, batch, parameters): return [{one} for one in batch]\n"
        "def postprocess(outputs, parameters): return sorted(outputs)\n"
    )

    assert run(own(lines).engine, "a") == ["a"]


@pytest.mark.parametrize("made", ["[]", "[1, 2]", "None", "(1,)"])
def test_predict_returns_one_output_for_each_element(own: Callable[..., Own], made: str) -> None:
    """Otherwise a caller would get what is another's."""
    bench = own(f"def load(folder): pass\ndef predict(model, batch, parameters): return {made}")

    with pytest.raises(OwnCodeError, match=FAILED):
        run(bench.engine, "a")
    assert "predict must return a list of 1 outputs" in bench.events[0]["traceback"]


def test_running_out_of_memory_is_for_the_batcher_to_mend(own: Callable[..., Own]) -> None:
    lines = "import torch\ndef load(folder): pass\ndef predict(*given): raise torch.OutOfMemoryError('too much')"
    engine = own(lines).engine

    with pytest.raises(OutOfMemoryError):
        run(engine, "a")


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        pytest.param("", "has none of the functions load, preprocess", id="empty"),
        pytest.param("def preproces(inputs, parameters): ...", "has none of the functions", id="misspelt"),
        pytest.param("def load(folder): ...", "has load but no predict", id="load alone"),
        pytest.param("def predict(model, batch, parameters): ...", "has predict but no load", id="predict alone"),
        pytest.param(
            "def preprocess(inputs): ...", r"preprocess\(inputs\) must take preprocess\(inputs, par", id="few"
        ),
        pytest.param("def postprocess(a, b, c): ...", r"postprocess\(a, b, c\) must take", id="many"),
        pytest.param("async def preprocess(a, b): ...", "preprocess must be a plain function", id="async"),
        pytest.param("preprocess = 3", "preprocess must be a plain function", id="a number"),
        pytest.param("def preprocess(", "cannot be imported: SyntaxError", id="syntax"),
        pytest.param("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError", id="import"),
        pytest.param(
            "def load(folder): raise OSError('gone')\ndef predict(a, b, c): ...",
            "load failed: OSError: gone",
            id="load",
        ),
        pytest.param("exit('no licence')", "cannot be imported: SystemExit: no licence", id="exit"),
    ],
)
def test_a_file_that_cannot_work_stops_the_start(own: Callable[..., Own], lines: str, told: str) -> None:
    with pytest.raises(ModelError, match=rf"^CODE=own.py:? {told}"):
        own(lines)


def test_a_path_that_leads_nowhere_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^CODE=gone.py is no Python file"):
        open_own(tmp_path / "gone.py", tmp_path, Limits(), built_in=EchoEngine)


@pytest.mark.parametrize("inputs", [[], ["a"] * 5, "long " * 10], ids=["none", "many", "long"])
def test_a_model_of_ones_own_has_the_limits_of_any(own: Callable[..., Own], inputs: Any) -> None:
    lines = "def load(folder): pass\ndef predict(model, batch, parameters): return batch"
    engine = own(lines, items_max=4, item_chars_max=40).engine

    with pytest.raises(InputError, match=r"^inputs[^\n]+$"):
        run(engine, inputs)


def test_a_caller_gets_a_code_and_one_line(own: Callable[..., Own]) -> None:
    """Through the whole service, from a signed request on."""
    bench = Bench(loaded=False)
    engine = own(f"{RAISES}if inputs == 'bad': raise ValueError('no bad texts')\n    return inputs[5]").engine
    bench.service.load(lambda: engine, began_ms=0).result(20)
    refused, failed = bench.run(make_request("bad")), bench.run(make_request("abc"))

    message = "the model's own code failed on this input"
    assert refused.failure == wire.WorkFailure(code="invalid-argument", message="no bad texts")
    assert failed.failure == wire.WorkFailure(code="internal", message=message)


def test_the_setting_names_the_file() -> None:
    assert Settings.from_env({"WORKER_SECRET": SECRET, "CODE": "a/file.py"}).code == "a/file.py"
    assert Settings.from_env({"WORKER_SECRET": SECRET}).code == ""
