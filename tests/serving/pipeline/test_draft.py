"""Steps and signatures become a plan, or a sentence that names the step and what would fit."""

import pytest

from penstock.core.errors import BadSetting
from penstock.core.spec import ModelSpec, Signature, Step, TensorSpec
from penstock.serving.pipeline.draft import make, named
from penstock.serving.pipeline.plan import Part


def tensor(text):
    """``x:FP32[-1,4]``."""
    name, _, rest = text.partition(":")
    datatype, _, shape = rest.rstrip("]").partition("[")
    return TensorSpec(name, datatype, tuple(int(size) for size in shape.split(",") if size))


def part(inputs, outputs, *, batched=True, max_priority=8):
    signature = Signature(
        tuple(tensor(one) for one in inputs.split()), tuple(tensor(one) for one in outputs.split())
    )
    return Part(signature, batched, max_priority)


SMALL = part("x:FP32[-1,4]", "p:FP32[-1,3]")
BIG = part("x:FP32[-1,4]", "p:FP32[-1,3]")
RICH = part("x:FP32[-1,4]", "p:FP32[-1,3] features:FP32[-1,64]")
HEAD = part("features:FP32[-1,64]", "p:FP32[-1,3]")
ALONE = part("x:FP32[1,4]", "p:FP32[1,3]", batched=False)
TEXTS = part("text:BYTES[-1]", "ids:INT64[-1,-1]")


def plan(*steps, **keys):
    """A plan of (Step, Part) pairs."""
    spec = ModelSpec(name="pipe", steps=tuple(step for step, _ in steps), **keys)
    return make(spec, [part for _, part in steps])


def cascade(when="max(p) < 0.8", big=BIG, small=SMALL, **keys):
    return plan((Step(model="small"), small), (Step(model="big", when=when, **keys), big))


def said(*steps, **keys):
    with pytest.raises(BadSetting) as error:
        plan(*steps, **keys)
    return str(error.value)


def test_a_chain_takes_what_its_first_step_takes_and_gives_what_its_last_gives():
    made = plan((Step(model="rich", outputs={"features": "f"}), RICH),
                (Step(model="head", inputs={"features": "f"}), HEAD))  # fmt: skip
    assert made.signature == Signature((tensor("x:FP32[-1,4]"),), (tensor("p:FP32[-1,3]"),))
    assert (made.batched, made.first, made.missing) == (True, (0,), (0, 1))


def test_steps_that_do_not_need_each_other_begin_together():
    made = plan((Step(model="a", outputs={"p": "l"}), SMALL),
                (Step(model="b", outputs={"p": "r"}), SMALL),
                (Step(model="both"), part("l:FP32[-1,3] r:FP32[-1,3]", "y:FP32[-1]")))  # fmt: skip
    assert made.first == (0, 1)
    assert made.missing == (0, 0, 2)
    assert [name for name, _ in made.gives] == ["y"]


def test_a_cascade_overrides_row_by_row_what_the_first_model_gave():
    made = cascade()
    assert made.signature == SMALL.signature
    big = made.nodes[1]
    assert big.by_row
    assert big.writes[0].over == made.nodes[0].writes[0].value
    assert big.asks[0][1] == big.writes[0].over
    assert dict(made.gives)["p"] == big.writes[0].value


def test_a_tensor_is_what_its_latest_writer_before_made_it():
    """The same name may go in and come out."""
    same = part("x:FP32[-1,4]", "x:FP32[-1,4]")
    made = plan((Step(model="a"), same), (Step(model="b"), same))
    assert [node.reads[0][1] for node in made.nodes] == [0, made.nodes[0].writes[0].value]
    assert [spec.name for spec in made.signature.inputs] == ["x"]
    assert made.gives == (("x", made.nodes[1].writes[0].value),)


def test_a_pipelines_inputs_are_as_narrow_as_the_narrowest_that_takes_them():
    wide = part("x:FP32[-1,-1]", "q:FP32[-1]")
    assert plan((Step(model="a"), wide), (Step(model="b"), SMALL)).signature.inputs == (
        tensor("x:FP32[-1,4]"),
    )


def test_a_step_may_override_an_input_of_the_pipeline():
    translate = part("text:BYTES[-1]", "text:BYTES[-1]")
    lang = part("text:BYTES[-1]", "language:BYTES[-1]")
    made = plan((Step(model="lang"), lang), (Step(model="translate", when="language != 'en'"), translate),
                (Step(model="texts"), TEXTS))  # fmt: skip
    assert [name for name, _ in made.gives] == ["language", "ids"]
    assert made.nodes[2].reads[0][1] == made.nodes[1].writes[0].value


def test_a_declared_input_may_be_there_for_a_condition_alone():
    inputs = (tensor("x:FP32[-1,4]"), tensor("careful:BOOL[-1]"))
    made = plan((Step(model="small"), SMALL), (Step(model="big", when="careful == True"), BIG), inputs=inputs)
    assert made.signature.inputs == inputs
    assert made.nodes[1].by_row


def test_give_names_the_outputs_and_their_order():
    made = plan((Step(model="rich"), RICH), (Step(model="head", outputs={"p": "q"}), HEAD),
                give=("q", "features", "q"))  # fmt: skip
    assert [spec.name for spec in made.signature.outputs] == ["q", "features"]
    assert said((Step(model="rich"), RICH), give=("features", "label")).startswith(
        "give: no step gives 'label'"
    )


def test_only_the_outputs_that_a_step_names_are_taken():
    made = plan((Step(model="rich", outputs={"p": "p"}), RICH))
    assert [name for name, _ in made.gives] == ["p"]


def test_what_outputs_do_not_need_is_not_wanted():
    made = plan((Step(model="a", outputs={"p": "l"}), SMALL), (Step(model="b", outputs={"p": "r"}), SMALL))
    assert (made.wanted(("l",)), made.wanted(("r",))) == ({0}, {1})
    assert cascade().wanted(("p",)) == {0, 1}


@pytest.mark.parametrize(
    ("small", "big", "by_row", "batched"),
    [
        (SMALL, BIG, True, True),
        (SMALL, ALONE, False, False),
        (ALONE, BIG, False, False),
        (ALONE, ALONE, False, False),
    ],
)
def test_without_rows_a_condition_holds_for_the_request(small, big, by_row, batched):
    made = cascade(small=small, big=big)
    assert (made.nodes[1].by_row, made.batched) == (by_row, batched)


def test_rows_that_a_model_made_anew_are_not_those_of_the_request():
    crops = part("image:UINT8[-1,-1,3]", "x:FP32[-1,4]", batched=False)
    made = plan((Step(model="detect"), crops), (Step(model="small"), SMALL),
                (Step(model="big", when="max(p) < 0.8"), BIG), give=("p",))  # fmt: skip
    assert not made.rows
    assert not made.batched
    assert not made.nodes[2].by_row


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((Step(model="big", inputs={"y": "x"}), BIG), "step 'big': model 'big' has no input 'y'; have x"),
        ((Step(model="big", outputs={"q": "x"}), BIG), "step 'big': model 'big' has no output 'q'; have p"),
        ((Step(model="big", inputs={"x": "p"}), BIG),
         "input 'x' of model 'big' is FP32 [-1, 4], but 'p' is FP32 [-1, 3], as step 'small' gives it"),
        ((Step(model="texts", inputs={"text": "x"}), TEXTS), "but 'x' is FP32 [-1, 4]"),
        ((Step(model="big", when="max(q) < 1"), BIG),
         "step 'big', when: no step before it gives, and none takes, 'q'; have p, x"),
        ((Step(model="big", when="p < 1"), BIG), "'big', when: column 1: 'p': tensor 'p' has 3 values a row"),
        ((Step(model="big", when="max(p) <"), BIG), "step 'big', when: column"),
        ((Step(model="rich", when="max(p) < 1"), RICH), "step 'rich' has a condition and gives 'features'"),
        ((Step(model="big", when="max(p) < 1"), part("x:FP32[-1,4]", "p:FP64[-1,3]")),
         "'p' as FP64 [-1, 3], in place of FP32 [-1, 3], as step 'small' gives it; they must be the same"),
        ((Step(model="big", when="max(p) < 1"), part("x:FP32[-1,4]", "p:FP32[-1,5]")), "must be the same"),
        ((Step(model="small"), SMALL), "two steps have the name 'small'; give one another with 'name'"),
        ((Step(model="big"), BIG), "step 'small' is of no use: no step takes what it gives"),
        ((Step(model="big", outputs={"p": "p"}), part("x:FP32[-1,4]", "p:FP32[-1,3]")), "is of no use"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_by_the_steps_name(second, expected):
    assert expected in said((Step(model="small"), SMALL), second)


def test_two_outputs_under_one_name_are_refused():
    assert (
        said((Step(model="rich", outputs={"p": "y", "features": "y"}), RICH)) == "step 'rich' gives 'y' twice"
    )


def test_declared_tensors_must_be_those_that_there_are():
    small = (Step(model="small"), SMALL)
    assert "which is no declared input" in said(small, inputs=(tensor("y:FP32[-1,4]"),))
    both = (tensor("x:FP32[-1,4]"), tensor("y:FP32[-1]"))
    assert said(small, inputs=both) == "input 'y' is declared, but no step takes it"
    assert "but 'x' is INT64" in said(small, inputs=(tensor("x:INT64[-1,4]"),))
    assert said(small, outputs=(tensor("q:FP32[-1]"),)) == "give: no step gives 'q'; have p, x"
    assert said(small, outputs=(tensor("p:FP16[-1,3]"),)) == (
        "output 'p' is declared FP16 [-1, 3], but it is FP32 [-1, 3]"
    )


def test_one_name_can_be_given_to_two_steps_of_one_model():
    assert [step.name for step in named([Step(model="a"), Step(model="a", name="b")])] == ["a", "b"]
