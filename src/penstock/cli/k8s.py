"""``penstock k8s``: manifests for Kubernetes, KServe and KEDA."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.core.errors import BadSetting

if TYPE_CHECKING:
    from penstock.cluster.kubernetes.wanted import Scaled, Source
    from penstock.repository.layout import ModelFolder
    from penstock.settings import Settings

Option = typer.Option


def command(
    repository: Annotated[
        str, typer.Argument(metavar="[REPOSITORY]", help="Folder of models, to see which there are.")
    ] = "",
    name: Annotated[str, Option(metavar="NAME", help="Of what is written.")] = "penstock",
    namespace: Annotated[str, Option(metavar="NAME", help="Where it is to run.")] = "default",
    image: Annotated[
        str, Option(metavar="IMAGE", help="Made by the Containerfile. [default: penstock:VERSION]")
    ] = "",
    claim: Annotated[
        str,
        Option(
            metavar="CLAIM[/FOLDER]",
            help="PersistentVolumeClaim that holds the models. [default: NAME-models]",
        ),
    ] = "",
    uri: Annotated[str, Option(metavar="URI", help="Or what they are fetched from, e.g. s3://…")] = "",
    in_image: Annotated[str, Option(metavar="PATH", help="Or where in the image they are.")] = "",
    replicas: Annotated[
        str, Option(metavar="N|LEAST:MOST", help="A range is moved in by KEDA and `penstock scaler`.")
    ] = "2",
    cpu: Annotated[str, Option(metavar="CORES", help="Of each replica.")] = "1",
    memory: Annotated[str, Option(metavar="SIZE", help="Of each replica, e.g. 4Gi.")] = "1Gi",
    gpu: Annotated[int, Option(metavar="N", help="NVIDIA GPUs of each replica.")] = 0,
    http_port: Annotated[int, Option(help="")] = 0,
    grpc_port: Annotated[int, Option(help="-1: no gRPC.")] = 0,
    config: Annotated[
        Path | None, Option(metavar="FILE", help="The server's settings (penstock.toml), to be taken along.")
    ] = None,
    keys_secret: Annotated[str, Option(metavar="SECRET", help="Holds PENSTOCK_KEYS and api-key.")] = "",
    tls_secret: Annotated[str, Option(metavar="SECRET", help="Holds the server's tls.crt and tls.key.")] = "",
    scaler_tls_secret: Annotated[
        str, Option(metavar="SECRET", help="Holds what KEDA and the scaler show each other.")
    ] = "",
    kserve: Annotated[
        bool, Option("--kserve", help="A ServingRuntime and an InferenceService, no Deployment.")
    ] = False,
    keda: Annotated[
        bool | None, Option(help="Scale by forecast. [default: where --replicas is a range]")
    ] = None,
    monitor: Annotated[bool, Option("--monitor", help="A ServiceMonitor for Prometheus' operator.")] = False,
    model: Annotated[
        list[str] | None, Option(metavar="NAME", help="Scale by this model's traffic alone; may be repeated.")
    ] = None,
    target: Annotated[
        float, Option(metavar="MS", help="p99 of models whose settings name none, in milliseconds.")
    ] = 0.0,
    carries: Annotated[
        float, Option(metavar="RATE", help="Requests/s of one replica, where replicas do not say.")
    ] = 0.0,
    startup: Annotated[
        float, Option(metavar="SECONDS", help="A replica takes to come up, until it is measured.")
    ] = 30.0,
    prometheus: Annotated[
        str, Option(metavar="URL", help="Count requests there, not at the replicas; history survives so.")
    ] = "",
    demand: Annotated[
        str, Option(metavar="PROMQL", help="Requests/s of all callers, for replicas that may go to 0.")
    ] = "",
    start_s: Annotated[int, Option(metavar="SECONDS", help="Models may take to load.")] = 600,
    out: Annotated[
        Path | None, Option(metavar="FOLDER", help="A file each there, not standard output.")
    ] = None,
    json: Annotated[bool, Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """Write manifests for Kubernetes, KServe and KEDA.

    What they take for granted is said on standard error; `kubectl apply -f -` takes what is printed.
    """
    from penstock import __version__
    from penstock.cluster.kubernetes.wanted import Secrets, Wanted, check
    from penstock.cluster.kubernetes.write import manifests, needs

    least, most = bounds(replicas)
    settings = _settings(config)
    server = settings.server
    keyed = least != most if keda is None else keda
    wanted = Wanted(
        name=name,
        namespace=namespace,
        image=image or f"penstock:{__version__}",
        source=_source(name, claim, uri, in_image),
        least=least,
        most=most,
        cpu=cpu,
        memory=memory,
        gpu=gpu,
        http_port=http_port or server.http_port or 8000,
        grpc_port=grpc_port or server.grpc_port or 8001,
        drain_s=server.drain_s,
        lame_duck_s=server.lame_duck_s,
        start_s=start_s,
        settings=config.read_text(encoding="utf-8") if config else "",
        has_keys=bool(settings.keys),
        secrets=Secrets(keys=keys_secret, tls=tls_secret, scaler_tls=scaler_tls_secret),
        scaled=_scaled(repository, model or [], target, carries, settings) if keyed else (),
        prometheus=prometheus,
        demand=demand,
        startup_s=startup,
        kserve=kserve,
        keda=keyed,
        monitor=monitor,
    )
    made = manifests(check(wanted))
    _write(made, out, json)
    if not json:
        _tell(list(needs(wanted)))


def bounds(text: str) -> tuple[int, int]:
    """``3`` or ``2:10`` as the least and the most. Raises BadSetting."""
    first, colon, last = text.partition(":")
    try:
        return int(first), int(last if colon else first)
    except ValueError:
        raise BadSetting(f"--replicas: {text!r} is no number and no range; write e.g. 3 or 2:10") from None


def _settings(config: Path | None) -> "Settings":
    """What the file says, without the environment: that of the cluster is another."""
    from penstock.settings import load

    settings = load(config, {}, {})
    if settings.server.tls_cert:
        raise BadSetting(
            f"{config}: server.tls_cert names a file of this machine; leave it out and give --tls-secret"
        )
    return settings


def _source(name: str, claim: str, uri: str, in_image: str) -> "Source":
    from penstock.cluster.kubernetes.wanted import Source

    if len([each for each in (claim, uri, in_image) if each]) > 1:
        raise BadSetting(
            "--claim, --uri and --in-image: pods take the models from one place; give one of them"
        )
    if uri:
        return Source("uri", uri)
    if in_image:
        return Source("image", in_image)
    where, _, below = (claim or f"{name}-models").partition("/")
    return Source("claim", where, below.strip("/"))


def _scaled(
    repository: str, only: Sequence[str], target: float, carries: float, settings: "Settings"
) -> "tuple[Scaled, ...]":
    """The models whose traffic counts; pipelines are counted by the models that they ask."""
    from penstock.cluster.kubernetes.wanted import Scaled
    from penstock.core.schema import nearest
    from penstock.repository.local import LocalStore

    if not repository:
        return tuple(Scaled(each, target, carries) for each in only)
    folders = LocalStore(Path(repository), settings.model).scan()
    targets = {
        name: each.spec.target.p99_ms
        for name, each in folders.items()
        if each.spec is not None and each.versions and not _is_pipeline(each)
    }
    for each in only:
        if each not in targets:
            raise BadSetting(f"--model: {repository} has no model {each!r}; {nearest(each, list(targets))}")
    return tuple(Scaled(each, targets[each] or target, carries) for each in only or sorted(targets))


def _is_pipeline(model: "ModelFolder") -> bool:
    from penstock.repository.spec import PIPELINE

    alone = all(version.path.name == PIPELINE for version in model.versions.values())
    return alone or bool(model.spec and model.spec.steps)


def _write(made: "list[dict[str, Any]]", out: Path | None, json: bool) -> None:
    import orjson

    from penstock.cluster.kubernetes.write import file_name, said
    from penstock.cluster.kubernetes.yaml import dump

    def text(each: "list[dict[str, Any]]") -> str:
        if json:
            whole: Any = each[0] if out else {"apiVersion": "v1", "kind": "List", "items": each}
            return orjson.dumps(whole, option=orjson.OPT_INDENT_2).decode() + "\n"
        return dump(each, said)

    if out is None:
        typer.echo(text(made), nl=False)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        for each in made:
            file = out / file_name(each)
            (file.with_suffix(".json") if json else file).write_text(text([each]), encoding="utf-8")
    except OSError as error:
        raise BadSetting(f"--out: {out} cannot be written: {error.strerror}; name a folder") from None


def _tell(needs: list[str]) -> None:
    typer.echo("before `kubectl apply`, there must be", err=True)
    for need in needs:
        typer.echo(f"  - {need}", err=True)
