"""mesa-frames: agents in a polars table, contacts in another."""

import numpy as np
import polars as pl
import work
from mesa_frames import AgentSetPolars, ModelDF

SUSCEPTIBLE, INFECTIOUS, RECOVERED = 0, 1, 2


class People(AgentSetPolars):
    """All agents: their stages, and the contacts between them in both directions."""

    def __init__(self, model: ModelDF, task: work.Task, seed: int) -> None:
        super().__init__(model)
        agents, source, target = task.graph()
        stage = np.zeros(agents, np.int8)
        stage[work.first_cases(agents, seed)] = INFECTIOUS
        self += pl.DataFrame({"unique_id": np.arange(agents), "stage": stage})
        self.contacts = pl.DataFrame(
            {"source": np.concatenate([source, target]), "target": np.concatenate([target, source])}
        ).sort("target")

    def step(self) -> None:
        """One day."""
        stage = self.agents["stage"]
        around = (
            self.contacts.filter((stage == INFECTIOUS).gather(self.contacts["source"]))
            .group_by("target")
            .len("around")
            .select(unique_id=pl.col("target").cast(pl.Int64), around="around")
        )
        first, second = self.model.random.random((2, len(stage)))
        escapes = (1 - work.PER_CONTACT) ** pl.col("around").fill_null(0)
        infected = (pl.col("stage") == SUSCEPTIBLE) & (pl.lit(pl.Series(first)) >= escapes)
        recovered = (pl.col("stage") == INFECTIOUS) & (pl.lit(pl.Series(second)) < work.PER_DAY)
        tomorrow = pl.when(infected).then(INFECTIOUS).when(recovered).then(RECOVERED).otherwise(pl.col("stage"))
        joined = self.agents.join(around, on="unique_id", how="left", maintain_order="left")
        self.agents = joined.with_columns(stage=tomorrow.cast(pl.Int8)).drop("around")


class Epidemic(ModelDF):
    """The model."""

    def __init__(self, task: work.Task, seed: int) -> None:
        super().__init__(seed)
        self.people = People(self, task, seed)
        self.agents += self.people

    def step(self) -> None:
        """One day."""
        self.agents.do("step")


def start(task: work.Task, seed: int) -> work.Advance:
    """A model with all its agents."""
    model = Epidemic(task, seed)
    people = model.get_agents_of_type(People)

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        counts = []
        for _ in range(days):
            model.step()
            counts.append(np.bincount(people.agents["stage"].to_numpy(), minlength=3))
        susceptible, infectious, _ = np.array(counts).T
        return susceptible, infectious

    return advance


work.measure(start, ("mesa_frames", "polars"), "contacts filtered, grouped and joined as tables")
