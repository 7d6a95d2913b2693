"""A key changes with whatever determines an output, with nothing else; a run that cannot be is refused."""

from functools import partial

import pytest

from sae.batch.work import Item, item_keys
from sae.batch.work.items import in_order
from sae.errors import SaeSpecError
from tests.batch.work.jobs import numbers, summed


def item(name, inputs=None, job=summed, needs=(), cost=1.0):
    return Item(name, inputs or {}, job, needs, cost)


def test_a_key_depends_on_job_inputs_and_needs_only():
    def key(inputs=None, job=summed, below=1, cost=1.0, needs=("a", "b"), name="it"):
        items = [item(name, inputs, job, needs, cost), item("a", {"k": below}), item("b")]
        return item_keys(items)[name]

    first = key({"x": 1, "y": [2]})
    assert key({"y": [2], "x": 1}, partial(summed, seconds=1), cost=9.0, name="other") == first
    others = [
        key({"x": 2, "y": [2]}),
        key({"x": 1, "y": [2]}, numbers),
        key({"x": 1, "y": [2]}, below=2),
        key({"x": 1, "y": [2]}, needs=("b", "a")),
        key({"x": 1, "y": [2]}, needs=("a",)),
    ]
    assert len({first, *others}) == 6


def test_items_come_after_their_needs_and_else_as_they_are_given():
    items = [item("c", needs=("b",)), item("x"), item("b", needs=("a",)), item("a")]
    assert [one.name for one in in_order(items)] == ["a", "b", "c", "x"]
    chain = [item(str(k), needs=(str(k + 1),) if k < 4999 else ()) for k in range(5000)]
    assert [one.name for one in in_order(chain)][:2] == ["4999", "4998"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([item("a"), item("a"), item("b")], "1 items have the name of another: a"),
        ([item("a", needs=("b", "c")), item("c")], "1 needs are no items of the run: b"),
        (
            [item("a", needs=("b",)), item("b", needs=("c",)), item("c", needs=("b",))],
            "2 items .* circle: b, c",
        ),
        ([item("a", needs=("a",))], "1 items need each other in a circle: a"),
    ],
)
def test_a_run_that_cannot_be_is_refused(items, message):
    with pytest.raises(SaeSpecError, match=message):
        item_keys(items)


def test_inputs_that_are_no_json_and_jobs_without_a_module_are_refused():
    with pytest.raises(TypeError, match="inputs of the item 'a' are no JSON"):
        item_keys([item("a", {"x": {1, 2}})])
    with pytest.raises(TypeError, match="job of the item 'a' is no function of a module"):
        item_keys([item("a", job=lambda needs: None)])
