"""A pipeline's steps and its models' signatures, checked and made a plan; pure."""

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from penstock.core.errors import BadSetting
from penstock.core.schema import nearest
from penstock.core.spec import ModelSpec, Signature, Step, TensorSpec
from penstock.serving.pipeline import condition
from penstock.serving.pipeline.condition import Test
from penstock.serving.pipeline.plan import Node, Part, Plan, Write, behind
from penstock.serving.pipeline.shapes import alike, kind, narrower, said, wider


def make(spec: ModelSpec, parts: Sequence[Part]) -> Plan:
    """The plan of ``spec.steps``, of whose models ``parts`` are the facts, in the same order.

    Raises BadSetting that names the step, what does not fit, and what would.
    """
    draft = _Draft(spec)
    for step, part in zip(named(spec.steps), parts, strict=True):
        draft.add(step, part)
    return draft.plan()


def named(steps: Sequence[Step]) -> list[Step]:
    """With a name each; raises BadSetting where two have the same."""
    found: list[Step] = []
    for step in steps:
        name = step.name or step.model
        if any(name == other.name for other in found):
            raise BadSetting(f"two steps have the name {name!r}; give one another with 'name'")
        found.append(replace(step, name=name))
    return found


class _Draft:
    """A plan in the making."""

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._inputs: dict[str, int] = {}
        self._now: dict[str, int] = {}
        """The value that each tensor has at this point of the file."""
        self._specs: list[TensorSpec] = []
        self._writers: list[int] = []
        self._taken: set[int] = set()
        """Values that go into a step."""
        self._nodes: list[Node] = []
        self._parts: list[Part] = []
        for tensor in spec.inputs:
            self._inputs[tensor.name] = self._now[tensor.name] = self._value(tensor, -1)

    def _value(self, spec: TensorSpec, writer: int) -> int:
        self._specs.append(spec)
        self._writers.append(writer)
        return len(self._specs) - 1

    # -- one step --------------------------------------------------------------------------------

    def add(self, step: Step, part: Part) -> None:
        _check_names(step, "input", step.inputs, part.signature.inputs)
        _check_names(step, "output", step.outputs, part.signature.outputs)
        reads = tuple((want.name, self._read(step, want)) for want in part.signature.inputs)
        self._taken.update(value for _, value in reads)
        test, asks = self._ask(step)
        node = Node(step, part.max_priority, reads, self._write(step, part, bool(step.when)), test, asks)
        self._nodes.append(replace(node, step=_whole(step, part)))
        self._parts.append(part)

    def _read(self, step: Step, want: TensorSpec) -> int:
        name = step.inputs.get(want.name, want.name)
        value = self._now.get(name)
        if value is None:
            if self._spec.inputs:
                raise BadSetting(
                    f"step {step.name!r} reads {name!r}, which is no declared input and which no earlier "
                    f"step gives; {nearest(name, [*self._now])}"
                )
            value = self._inputs[name] = self._now[name] = self._value(replace(want, name=name), -1)
            return value
        have = self._specs[value]
        if have.datatype != want.datatype or not alike(have.shape, want.shape):
            raise BadSetting(
                f"step {step.name!r}: input {want.name!r} of model {step.model!r} is {said(want)}, "
                f"but {name!r} is {said(have)}{self._origin(value)}"
            )
        if self._writers[value] < 0:
            self._specs[value] = replace(have, shape=narrower(have.shape, want.shape))
        return value

    def _origin(self, value: int) -> str:
        writer = self._writers[value]
        return f", as step {self._nodes[writer].step.name!r} gives it" if writer >= 0 else ""

    def _ask(self, step: Step) -> tuple[Test | None, tuple[tuple[str, int, bool], ...]]:
        if not step.when:
            return None, ()
        try:
            test = condition.parse(step.when)
            names = condition.tensors(test)
            missing = [name for name in names if name not in self._now]
            if missing:
                have = nearest(missing[0], [*self._now])
                raise BadSetting(f"no step before it gives, and none takes, {missing[0]!r}; {have}")
        except BadSetting as error:
            raise BadSetting(f"step {step.name!r}, when: {error}") from None
        return test, tuple((name, self._now[name], False) for name in names)

    def _write(self, step: Step, part: Part, conditional: bool) -> tuple[Write, ...]:
        writes: list[Write] = []
        fresh: dict[str, int] = {}
        for output in part.signature.outputs:
            name = step.outputs.get(output.name, "" if step.outputs else output.name)
            if not name:
                continue
            if name in fresh:
                raise BadSetting(f"step {step.name!r} gives {name!r} twice")
            spec = replace(output, name=name)
            over = self._over(step, spec) if conditional else -1
            if over >= 0:
                spec = replace(spec, shape=wider(self._specs[over].shape, spec.shape))
            fresh[name] = self._value(spec, len(self._nodes))
            writes.append(Write(output.name, fresh[name], over))
        self._now |= fresh
        return tuple(writes)

    def _over(self, step: Step, spec: TensorSpec) -> int:
        """The value that a step with a condition replaces, where the condition holds."""
        value = self._now.get(spec.name)
        if value is None:
            raise BadSetting(
                f"step {step.name!r} has a condition and gives {spec.name!r}, which is not there when the "
                "condition does not hold; let an earlier step give it, or name the outputs that are wanted "
                "with 'outputs'"
            )
        have = self._specs[value]
        if have.datatype != spec.datatype or not alike(have.shape, spec.shape):
            raise BadSetting(
                f"step {step.name!r} gives {spec.name!r} as {said(spec)}, in place of {said(have)}"
                f"{self._origin(value)}; they must be the same"
            )
        return value

    # -- all of them -----------------------------------------------------------------------------

    def plan(self) -> Plan:
        unread = [name for name, value in self._inputs.items() if not self._read_anywhere(value)]
        if unread:
            raise BadSetting(f"input {unread[0]!r} is declared, but no step takes it")
        aligned = all(
            self._parts[at].batched
            for at, node in enumerate(self._nodes)
            if any(self._writers[value] < 0 for _, value in node.reads)
        )
        rows = self._rows(aligned)
        nodes = tuple(self._settled(at, rows) for at in range(len(self._nodes)))
        gives = self._gives()
        self._check_use(nodes, gives)
        readers = tuple(
            tuple(at for at, node in enumerate(nodes) if value in node.needs)
            for value in range(len(self._specs))
        )
        missing = tuple(sum(self._writers[value] >= 0 for value in node.needs) for node in nodes)
        inputs = tuple(self._specs[value] for value in self._inputs.values())
        outputs = tuple(replace(self._specs[value], name=name) for name, value in gives)
        _check_declared(self._spec.outputs, outputs)
        batched = aligned and bool(inputs) and all(rows[value] == 0 for _, value in gives)
        return Plan(
            Signature(inputs, outputs),
            aligned and bool(inputs),
            batched,
            nodes,
            len(self._specs),
            tuple(gives),
            readers,
            tuple(self._writers),
            tuple(at for at, count in enumerate(missing) if not count),
            missing,
        )

    def _read_anywhere(self, value: int) -> bool:
        return any(value in node.needs for node in self._nodes)

    def _rows(self, aligned: bool) -> list[int | None]:
        """By value: whose rows axis 0 counts, 0 being the request's; None where it counts none."""
        rows: list[int | None] = [0 if aligned else None] * len(self._specs)
        for at, node in enumerate(self._nodes):
            sources = {rows[value] for _, value in node.reads}
            own = sources.pop() if len(sources) == 1 else None
            mine = None if not self._parts[at].batched else at + 1 if own is None else own
            for write in node.writes:
                over = rows[write.over] if write.over >= 0 else mine
                rows[write.value] = mine if mine == over else None
        return rows

    def _settled(self, at: int, rows: Sequence[int | None]) -> Node:
        """The node at last, with what its condition chooses."""
        node = replace(self._nodes[at], rows=self._parts[at].batched)
        if node.test is None:
            return node
        asks = tuple((name, value, rows[value] is not None) for name, value, _ in node.asks)
        sets = {rows[value] for _, value, _ in asks}
        if len(sets - {None}) > 1:
            names = ", ".join(repr(name) for name, _, _ in asks)
            raise BadSetting(f"step {node.step.name!r}, when: the rows of {names} are not the same rows")
        kinds = {name: kind(self._specs[value], has_rows) for name, value, has_rows in asks}
        try:
            condition.check(node.test, kinds)
        except BadSetting as error:
            raise BadSetting(f"step {node.step.name!r}, when: {error}") from None
        alike = {rows[value] for value in node.needs}
        by_row = self._parts[at].batched and len(alike) == 1 and None not in alike
        return replace(node, asks=asks, by_row=by_row)

    def _gives(self) -> list[tuple[str, int]]:
        wanted = dict.fromkeys(self._spec.give or (tensor.name for tensor in self._spec.outputs))
        for name in wanted:
            if name not in self._now:
                raise BadSetting(f"give: no step gives {name!r}; {nearest(name, [*self._now])}")
        last = [(name, value) for name, value in self._now.items() if self._writers[value] >= 0]
        return (
            [(name, self._now[name]) for name in wanted]
            if wanted
            else [(name, value) for name, value in last if value not in self._taken]
        )

    def _check_use(self, nodes: tuple[Node, ...], gives: Sequence[tuple[str, int]]) -> None:
        if not gives:
            raise BadSetting("it gives nothing; every tensor is taken by a step, so name some with 'give'")
        used = behind([value for _, value in gives], nodes, self._writers)
        idle = [node.step.name for at, node in enumerate(nodes) if at not in used]
        if idle:
            raise BadSetting(
                f"step {idle[0]!r} is of no use: no step takes what it gives, nor does 'give' name it"
            )


def _whole(step: Step, part: Part) -> Step:
    """With every tensor named, as nothing was left out."""
    inputs = {want.name: step.inputs.get(want.name, want.name) for want in part.signature.inputs}
    outputs = step.outputs or {output.name: output.name for output in part.signature.outputs}
    return replace(step, inputs=inputs, outputs=outputs)


def _check_names(step: Step, what: str, given: Mapping[str, str], specs: Sequence[TensorSpec]) -> None:
    known = [spec.name for spec in specs]
    for name in given:
        if name not in known:
            raise BadSetting(
                f"step {step.name!r}: model {step.model!r} has no {what} {name!r}; {nearest(name, known)}"
            )


def _check_declared(declared: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Outputs that were declared must be what the models give."""
    given = {tensor.name: tensor for tensor in outputs}
    for want in declared:
        have = given.get(want.name)
        if have is None:
            raise BadSetting(f"output {want.name!r} is declared, but 'give' does not name it")
        if have.datatype != want.datatype or not alike(have.shape, want.shape):
            raise BadSetting(f"output {want.name!r} is declared {said(want)}, but it is {said(have)}")
