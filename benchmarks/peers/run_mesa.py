"""Mesa: agents that know their neighbours, activated in two phases so that all look at the same morning."""

import mesa
import numpy as np
import work

SUSCEPTIBLE, INFECTIOUS, RECOVERED = 0, 1, 2


class Person(mesa.Agent):
    """One agent."""

    def __init__(self, model: mesa.Model) -> None:
        super().__init__(model)
        self.stage = self.tomorrow = SUSCEPTIBLE
        self.neighbours: list[Person] = []

    def decide(self) -> None:
        """What becomes of it, from the neighbours' present stages."""
        if self.stage == SUSCEPTIBLE:
            around = sum(other.stage == INFECTIOUS for other in self.neighbours)
            if around and self.random.random() >= (1 - work.PER_CONTACT) ** around:
                self.tomorrow = INFECTIOUS
        elif self.stage == INFECTIOUS and self.random.random() < work.PER_DAY:
            self.tomorrow = RECOVERED

    def become(self) -> None:
        """Take on the new stage."""
        self.stage = self.tomorrow


class Epidemic(mesa.Model):
    """All agents."""

    def __init__(self, task: work.Task, seed: int) -> None:
        super().__init__(seed=seed)
        agents, source, target = task.graph()
        people = [Person(self) for _ in range(agents)]
        begins, neighbours = work.rows(agents, source, target)
        for person, begin, end in zip(people, begins.tolist(), begins[1:].tolist(), strict=False):
            person.neighbours = [people[other] for other in neighbours[begin:end].tolist()]
        for number in work.first_cases(agents, seed).tolist():
            people[number].stage = people[number].tomorrow = INFECTIOUS
        self.people = people

    def step(self) -> None:
        """One day."""
        self.agents.do("decide")
        self.agents.do("become")


def start(task: work.Task, seed: int) -> work.Advance:
    """A model with all its agents."""
    model = Epidemic(task, seed)

    def advance(days: int) -> tuple[np.ndarray, np.ndarray]:
        counts = []
        for _ in range(days):
            model.step()
            counts.append(np.bincount([person.stage for person in model.people], minlength=3))
        susceptible, infectious, _ = np.array(counts).T
        return susceptible, infectious

    return advance


work.measure(start, ("mesa",), "neighbours kept as lists of agents, not in one of Mesa's grids")
