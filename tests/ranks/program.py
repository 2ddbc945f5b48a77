"""What the tests start on several ranks: `program.py TASK OUT ...`."""

import dataclasses
import functools
import json
import os
import resource
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import lpm
from lpm import Calendar, Observable, calibration, checkpoint, devices, distributed, partition, parts, store
from lpm.calibration import Parameter, Problem, Stream, problem
from lpm.calibration.problem import Simulator
from lpm.calibration.sharing import Team
from lpm.cli import main
from lpm.errors import LpmError
from lpm.kernels import random
from lpm.runner import Progress
from lpm.worlds import sir
from tests.calibration import growth
from tests.laws.worlds import CALENDAR, STEPS, WORLDS
from tests.ranks.town import town

SNAPSHOTS = {"snapshots": ("stage",), "snapshot_every": 20}
DIFFERENTIATED = {"town": town, **WORLDS}
WITHOUT_A_GRAPH = ("city", "sir_well_mixed")
STEPS_FITTED = 12
PLAN = checkpoint.Plan(minutes=float("inf"), at=(16,))


def simulate(out: Path, halo: str, *worlds: str) -> None:
    """Worlds, each rank its part of them, to stores; and what a step of each moves."""
    ranks, moved = distributed.ranks(), {}
    for name in worlds:
        part = parts.of(WORLDS[name], ranks, halo == "halo")
        assert part.share is not None
        assert part.share.built == "each rank built its own part"
        lpm.run(part, CALENDAR, out / name, seed=5, realizations=2, checkpoints=PLAN, **SNAPSHOTS)
        moved[name] = part.share.moved
    if ranks.rank == 0:
        (out / "moved.json").write_text(json.dumps(moved))


def spread_out(out: Path, halo: str, *worlds: str) -> None:
    """Worlds that one process simulates on all of its devices, to stores; of d:WORLD the derivatives."""
    devices.spread = functools.partial(devices.spread, halo=halo == "halo")
    for name in worlds:
        world = DIFFERENTIATED[name.removeprefix("d:")]()
        spread = devices.spread(world, distributed.alone)
        assert spread is not None
        assert any(line.startswith(halo) for line in spread.told()) == (name.removeprefix("d:") not in WITHOUT_A_GRAPH)
        if name.startswith("d:"):
            with devices.connected(spread, distributed.alone, world):
                np.savez(out / f"{name[2:]}.npz", **differentiated(spread.world(world)))
        else:
            how = {"seed": 5, "realizations": 2, "checkpoints": PLAN, **SNAPSHOTS}
            lpm.run(world, CALENDAR, out / name, **how)
            if len(worlds) > 2:  # and on from its middle
                lpm.run(world, CALENDAR, out / f"{name}-on", parent=out / name, at=16, **how)


def differentiated(world: lpm.World) -> dict[str, np.ndarray]:
    """All observables' derivatives forward, and that of their sum in reverse."""

    def curves(params, state):
        _, seen = lpm.simulate(
            world.model, params, state, random.key(3), steps=12, observe=world.observables, rule="cavity"
        )  # fmt: skip
        return jnp.concatenate([seen[each.name].astype(jnp.float32).reshape(-1) for each in world.observables])

    flat, rebuilt = ravel_pytree(jax.tree.map(jnp.float32, world.params))

    def ways(vector, state, some):  # what several processes hold together goes in as an argument
        seen, forward = jax.linearize(lambda v: curves(rebuilt(v), state), vector)  # one run serves both ways
        (reverse,) = jax.linear_transpose(forward, vector)(jnp.ones_like(seen))
        return {"forward": jax.vmap(forward)(some), "reverse": reverse, "value": seen.sum()}

    return jax.tree.map(np.asarray, jax.jit(ways)(flat, world.state, np.eye(len(flat), dtype=np.float32)[[0, 1]]))


def differentiate(out: Path, halo: str, name: str) -> None:
    """The derivatives of a world."""
    ranks = distributed.ranks()
    part = partition.part(DIFFERENTIATED[name](), ranks.rank, ranks.count, ranks.add, halo == "halo")
    spread = devices.spread(part, ranks)
    with devices.connected(spread, ranks, part):
        found = differentiated(part if spread is None else spread.world(part))
    if ranks.rank == 0:
        np.savez(out / f"{name}.npz", **found)


def fitted(world: lpm.World) -> Problem:
    """What of an epidemic is free and observed; the counts themselves are of no matter."""
    free = (Parameter("transmission", ("transmission",), 0.01, 1), Parameter("days", ("infectious_days",), 1, 9))
    found = next(each for each in world.observables if each.name == "incidence")
    stream = Stream("incidence", found, np.arange(STEPS_FITTED), 1, np.full((STEPS_FITTED, 1), 9.0))
    return Problem(world, Calendar(STEPS_FITTED), free, (stream,))


Z = np.array([-1.0, 0.5])


def seeds() -> random.Key:
    return problem.keys(3, 0, 3)  # not at once: devices of several processes join before JAX computes anything


def simulations(machine: Simulator) -> dict[str, np.ndarray]:
    """All that a fit asks of a simulator, what it pulls back in turns."""
    curves, tangents = machine.tangents(Z, seeds())
    some = np.linspace(-1, 1, curves.size).reshape(curves.shape)
    here, back = machine.pullback(Z, seeds())
    there, other = machine.pullback(Z + 0.2, seeds())
    pulled = np.stack([back(some), other(some), back(2 * some)])
    plain = [machine.curves(Z, seeds()), curves, here, there, machine.at_each(np.stack([Z, Z + 0.2, Z]), seeds())]
    return {"plain": np.stack(plain), "tangents": tangents, "pulled": pulled}


def calibrate(out: Path) -> None:
    """Simulations of fits: of two populations divided among the ranks in turn, and of one that each rank has whole."""
    ranks = distributed.ranks()
    with distributed.apart():
        mixed, graph = (
            partition.part(WORLDS[name](), ranks.rank, ranks.count, ranks.add)
            for name in ("sir_well_mixed", "sir_on_a_graph")
        )
        problems = {"mixed": fitted(mixed), "graph": fitted(graph), "whole": fitted(WORLDS["sir_on_a_graph"]())}
        team = Team(ranks, problems)
        if ranks.rank:
            team.serve()
            return

        def do(problems: dict[str, Problem]) -> None:
            of = {name: problem.simulator(each) for name, each in problems.items()}
            found = {name: of[name].curves(Z, seeds()) for name in ("graph", "whole")}
            np.savez(out / "fit.npz", **found, **simulations(of["mixed"]), again=of["graph"].curves(Z, seeds()))

        team.lead(do)


def fit(out: Path, what: str = "chancy") -> None:
    """A fit whose simulations the ranks share out, of a world that compiles at once."""
    ranks = distributed.ranks()
    with distributed.apart():
        team = Team(ranks, {what: {"chancy": chancy, "hopeless": hopeless}[what]()})
        if ranks.rank:
            team.serve()
        else:
            team.lead(lambda problems: np.savez(out / "fit.npz", **fit_of(problems[what])))


def chancy() -> Problem:
    """Growth with chance in it, by differences."""
    own = growth.problem()
    return dataclasses.replace(own, world=dataclasses.replace(own.world, model=growth.CHANCY), rule="differences")


def hopeless() -> Problem:
    """Growth whose counts are finite nowhere."""
    return growth.problem(dataclasses.replace(growth.FRAGILE, low=3), growth.GROWTH)


def fit_of(problem: Problem) -> dict[str, np.ndarray]:
    """A short fit, with a number of realizations that two ranks cannot halve, and what it predicts."""
    found = calibration.fit(problem, realizations=7, starts=2, iterations=3, seed=4)
    predicted = calibration.predict(found, 11)
    return {"z": found.z, "covariance": found.covariance, "curves": found.curves, "predicted": predicted.counts}


def branch(out: Path, parent: str) -> None:
    """Go on from the middle of another run, with nothing changed."""
    lpm.run(
        WORLDS["city"](), CALENDAR, out, seed=5, realizations=2, checkpoints=PLAN, parent=parent, at=16, **SNAPSHOTS
    )


def disturbed(out: Path, what: str) -> None:
    """A run in which rank 1 is killed or stopped after some chunks."""
    pids = distributed.ranks().all(os.getpid())

    def progress(made: Progress) -> None:
        if made.done >= 16:
            os.kill(pids[1], signal.SIGKILL if what == "killed" else signal.SIGSTOP)

    lpm.run(WORLDS["sir_on_a_graph"](), Calendar(STEPS * 1000), out, checkpoints=checkpoint.Plan(8), progress=progress)


def limited(out: Path, victim: str, what: str) -> None:
    """A run in which one rank finds the disk full after some chunks, or the system lets it write small files alone."""
    ranks = distributed.ranks()
    pids = ranks.all(os.getpid())

    def progress(made: Progress) -> None:
        if what == "limit" and made.done >= 48:
            resource.prlimit(pids[int(victim)], resource.RLIMIT_FSIZE, (2500, resource.RLIM_INFINITY))

    def full(*_: object) -> None:
        if left.pop() == 0:
            raise OSError(28, "No space left on device")

    left = list(range(3))
    if what == "flush" and ranks.rank == int(victim):
        store.Store.flush = full  # type: ignore[method-assign]
    how = {"seed": 5, "realizations": 2, "checkpoints": checkpoint.Plan(8), "progress": progress}
    lpm.run(WORLDS["sir_on_a_graph"](), CALENDAR, out, **how)


def wrong(out: Path, what: str) -> None:
    """A model that counts the agents of one rank alone, or in which one rank's agents stop being finite."""

    def live(params, state, key):
        ill = (state.fixed["id"] == 0) & (state.step == 10) & (what == "nan")
        return state.replace(wealth=jnp.where(ill, jnp.nan, state.agents["wealth"] + 1)), {}

    def count(state, info):
        return (state.fixed["id"] < 30).sum() if what == "sum" else state.step

    first = lpm.initial_state({"wealth": jnp.zeros(100, jnp.float32)})
    lpm.run(lpm.World(lpm.chain(live=live), (), first, (Observable("early", count),)), Calendar(20), out)


def memory(out: Path, agents: str) -> None:
    """Bytes that building a random graph's world takes at most, on each rank in parts, then on one rank as a whole."""
    ranks = distributed.ranks()
    settings = sir.Settings(int(agents), sir.Contacts(mean_degree=10))

    def status(key: str) -> int:
        (found,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)]
        return 1024 * int(found.split()[1])

    def grown(count: int, alone: bool) -> int:
        smaller = dataclasses.replace(settings, agents=count)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = status("VmRSS")
        if alone:
            jax.block_until_ready(sir.build(smaller, CALENDAR))
        else:
            jax.block_until_ready(parts.of(lambda: sir.build(smaller, CALENDAR), ranks))
        return status("VmHWM") - before

    grown(2_000, alone=False)
    found = ranks.all(grown(settings.agents, alone=False))
    if ranks.rank == 0:
        grown(2_000, alone=True)
        whole = grown(settings.agents, alone=True)
        (out / "memory.json").write_text(json.dumps({"parts": found, "whole": whole}))
    ranks.all(None)


TASKS = {
    each.__name__: each
    for each in (simulate, spread_out, memory, differentiate, calibrate, fit, branch, disturbed, limited, wrong)
}

if __name__ == "__main__":
    if sys.argv[1] == "lpm":
        sys.argv[:2] = ["lpm"]
        main()
        sys.exit()
    task, out, *words = sys.argv[1:]
    try:
        devices.begin(distributed.ranks())
        TASKS[task](Path(out), *words)
    except LpmError as error:
        if distributed.failed(error):
            sys.exit(f"error {error}")
        sys.exit(1)
