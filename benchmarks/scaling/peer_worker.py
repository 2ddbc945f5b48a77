"""Repast4Py on one or several ranks: agents of a shared network, those met elsewhere kept as ghosts and synchronized.

Started by peer.py of this folder, in an environment of its own:  peer_worker.py GRAPH.npz DAYS
"""

import json
import sys
import time

import numpy as np
from mpi4py import MPI
from repast4py import context, core, network

PER_CONTACT, PER_DAY, SEEDED = 0.03, 0.1, 0.01
SUSCEPTIBLE, INFECTIOUS, RECOVERED = 0, 1, 2


class Person(core.Agent):
    """One agent; its ghosts on other ranks know its stage alone."""

    def __init__(self, number: int, rank: int, stage: int) -> None:
        super().__init__(id=number, type=0, rank=rank)
        self.stage = self.tomorrow = stage

    def save(self) -> tuple:
        """What ghosts are made from."""
        return self.uid, self.stage

    def update(self, stage: int) -> None:
        """A ghost takes on the stage of the agent."""
        self.stage = stage


ghosts: dict[tuple, Person] = {}


def restored(saved: tuple) -> Person:
    """The ghost of a saved agent."""
    uid, stage = saved
    if uid not in ghosts:
        ghosts[uid] = Person(uid[0], uid[2], stage)
    ghosts[uid].update(stage)
    return ghosts[uid]


def main() -> None:
    """Build, simulate, print what rank 0 saw."""
    path, days = sys.argv[1], int(sys.argv[2])
    comm = MPI.COMM_WORLD
    begun = time.perf_counter()
    with np.load(path) as file:
        agents, source, target = int(file["agents"]), file["source"], file["target"]
    bounds = np.linspace(0, agents, comm.size + 1).astype(int)
    low, high = bounds[comm.rank], bounds[comm.rank + 1]
    rank_of = np.searchsorted(bounds, np.arange(agents), side="right") - 1
    first = np.zeros(agents, bool)
    first[np.random.default_rng(1).choice(agents, round(SEEDED * agents), replace=False)] = True
    around = context.SharedContext(comm)
    contacts = network.UndirectedSharedNetwork("contacts", comm)
    around.add_projection(contacts)
    people = {}
    for number in range(low, high):
        people[number] = Person(number, comm.rank, INFECTIOUS if first[number] else SUSCEPTIBLE)
        around.add(people[number])
    own = ((source >= low) & (source < high)) | ((target >= low) & (target < high))
    ends = np.stack([source[own], target[own]])
    elsewhere = np.unique(ends[(ends < low) | (ends >= high)])
    wanted = [((int(number), 0, int(rank_of[number])), int(rank_of[number])) for number in elsewhere]
    met = {ghost.uid[0]: ghost for ghost in around.request_agents(wanted, restored)}
    everybody = people | met
    for one, other in ends.T.tolist():
        contacts.add_edge(everybody[one], everybody[other])
    set_up = time.perf_counter() - begun
    draw, graph, susceptible = np.random.default_rng(comm.rank + 2), contacts.graph, 0
    comm.Barrier()
    begun, spent = time.perf_counter(), 0.0
    for _ in range(days):
        for person in people.values():
            if person.stage == SUSCEPTIBLE:
                near = sum(other.stage == INFECTIOUS for other in graph.neighbors(person))
                if near and draw.random() >= (1 - PER_CONTACT) ** near:
                    person.tomorrow = INFECTIOUS
            elif person.stage == INFECTIOUS and draw.random() < PER_DAY:
                person.tomorrow = RECOVERED
        for person in people.values():
            person.stage = person.tomorrow
        at = time.perf_counter()
        around.synchronize(restored)
        susceptible = comm.allreduce(sum(person.stage == SUSCEPTIBLE for person in people.values()))
        spent += time.perf_counter() - at
    wall = (time.perf_counter() - begun) / days
    if comm.rank == 0:
        found = {"set_up_s": set_up, "wall_ms": 1e3 * wall, "communication_ms": 1e3 * spent / days}
        print(json.dumps({"agents": agents, "days": days, "ever_infected": 1 - susceptible / agents} | found))


main()
