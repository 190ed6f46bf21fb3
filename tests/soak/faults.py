"""Carrying out what a plan has in store for the servers and the networks: a thread for each lane, one fault after the other."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping

from tests.redis.proxy import Proxy
from tests.soak.plans import Fault, PublisherPlan
from tests.soak.publishers import Publisher
from tests.soak.scene import Attempt, Request, Scene
from tests.soak.strangers import storm, visit

__all__ = ["Faults"]


class Faults:
    """All lanes of a scene."""

    def __init__(self, scene: Scene) -> None:
        """Say who does what."""
        self._scene = scene
        self._stage = scene.stage
        self._do: Mapping[str, Callable[[Fault], None]] = {
            "redis": self._redis,
            "network": lambda fault: self._network(self._stage.network, fault),
            "server": self._server,
            "front": lambda fault: self._network(self._stage.front, fault),
            "crowd": self._crowd,
        }
        self.bursts = 0

    def start(self) -> list[threading.Thread]:
        """Begin in each lane; a lane ends with its last fault, which is healed then."""
        return [self._scene.run(lane, lambda lane=lane: self._lane(lane)) for lane in self._do]  # type: ignore[misc]

    def _lane(self, lane: str) -> None:
        for fault in self._scene.plan.faults:
            # One whose time has passed before the last one was over is left out: there must be times when all is well.
            if fault.lane == lane and (lane == "crowd" or fault.at >= self._scene.now):
                self._scene.pause_until(fault.at)
                if self._scene.aborted.is_set():
                    return
                began = self._scene.now
                self._do[lane](fault)
                if lane != "crowd":
                    self._scene.story.append(f"{began:.1f} to {self._scene.now:.1f} s: {lane} {fault.kind}")

    def _redis(self, fault: Fault) -> None:
        database = self._stage.database
        assert database is not None
        if fault.kind == "wipe":
            self._stage.wipe()
        elif fault.kind == "foreign":
            self._foreign(fault.target)
        elif fault.kind == "kill":
            database.kill()
            self._scene.pause(fault.lasting)
            database.start()
        else:
            database.pause()
            try:
                self._scene.pause(fault.lasting)
            finally:
                database.go_on()

    def _foreign(self, number: int) -> None:
        """Another producer appends what it has; now and then it is nothing that anybody could read."""
        event = {
            "event_id": f"foreign-{number}",
            "event_type": "foreign.thing",
            "ticket": "T-1",
            "payload": {"n": number},
        }
        named = {name: value for name, value in event.items() if name != "payload"}
        envelope = {**named, "occurred_at": "2026-01-02T03:04:05Z", "actor_type": "agent"}
        now = time.monotonic()
        self._scene.requests.append(Request([event], attempts=[Attempt(now, now, 0, {})]))
        self._stage.append(
            *["{not JSON"] * (number % 3), json.dumps({"envelope": envelope, "payload": event["payload"]})
        )

    def _network(self, network: Proxy | None, fault: Fault) -> None:
        assert network is not None
        if fault.kind == "cut":
            network.cut()
        elif fault.kind == "lose":
            network.lose_answer(b"POST" if network is self._stage.front else b"EVALSHA")
        elif fault.kind == "refuse":
            network.refuse()
            self._scene.pause(fault.lasting)
            network.accept()
        elif fault.kind == "swallow":
            network.swallow()
            self._scene.pause(fault.lasting)
            network.heal()
        else:
            network.delay = 0.05 if fault.lasting > 1 else 0.2
            self._scene.pause(fault.lasting)
            network.delay = 0.0

    def _server(self, fault: Fault) -> None:
        server = self._stage.server
        if fault.kind == "stop":
            server.pause(fault.target)
            self._scene.pause(fault.lasting)
            server.resume()
        elif fault.kind == "kill" and self._scene.plan.scenario == "workers":
            server.kill_worker(fault.target)
        else:
            self._stage.restart(fault.lasting, kill=fault.kind == "kill")

    def _crowd(self, fault: Fault) -> None:
        port = self._stage.server.port
        if fault.kind == "stranger":
            visit(port, random.Random(fault.target))
        elif fault.kind == "storm":
            storm(port, 20 + fault.target % 60)
        else:
            self.bursts += 1
            plan = PublisherPlan(f"burst {self.bursts}", fault.target, 0.0, front=False, client=False)
            Publisher(self._scene, plan).burst(10 + fault.target % 90)
