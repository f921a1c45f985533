"""The task: swing a hanging pole up by pushing its cart, and keep it there."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import mujoco
import numpy as np

from policy import LinearPolicy

MODEL_XML = Path(__file__).with_name("cartpole.xml")
FRAME_SKIP = 2  # physics steps per decision: 50 decisions a second
TRACK = 2.0  # metres from the middle to either end of the rail
DISTURBANCE = 0.05  # how far a start is from hanging still


@dataclass
class Recording:
    """What happened in an episode, frame by frame."""

    time: list[float] = field(default_factory=list)
    qpos: list[list[float]] = field(default_factory=list)
    qvel: list[list[float]] = field(default_factory=list)
    ctrl: list[list[float]] = field(default_factory=list)
    reward: list[float] = field(default_factory=list)


class CartPole:
    """The simulated cart-pole. An episode ends after `horizon` decisions, or when the cart leaves the rail."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.model = mujoco.MjModel.from_xml_path(str(MODEL_XML))
        self.data = mujoco.MjData(self.model)
        # Always the same four starts, so that scores of different runs can be compared.
        self._exam = [random_start(np.random.default_rng(seed)) for seed in range(4)]

    def episode(self, policy: LinearPolicy, start: np.ndarray, recording: Recording | None = None) -> tuple[float, int]:
        """Let the policy act once. Returns the sum of the rewards and the number of decisions."""
        data = self.data
        mujoco.mj_resetData(self.model, data)
        data.qpos[:], data.qvel[:] = start[:2], start[2:]
        qpos, qvel, ctrl = data.qpos, data.qvel, data.ctrl  # views: they follow the simulation
        total = 0.0
        for step in range(1, self.horizon + 1):
            ctrl[0] = policy.act(qpos[0], qvel[0], qpos[1], qvel[1])
            if recording is not None:
                recording.time.append(data.time)
                recording.qpos.append(qpos.tolist())
                recording.qvel.append(qvel.tolist())
                recording.ctrl.append(ctrl.tolist())
            mujoco.mj_step(self.model, data, nstep=FRAME_SKIP)
            reward = _reward(qpos[0], qpos[1])
            total += reward
            if recording is not None:
                recording.reward.append(reward)
            if abs(qpos[0]) > TRACK:
                break
        return total, step

    def exam(self, policy: LinearPolicy) -> tuple[float, float]:
        """Mean return and mean length of the episodes that every policy is judged by."""
        results = [self.episode(policy, start) for start in self._exam]
        returns, lengths = zip(*results, strict=True)
        return float(np.mean(returns)), float(np.mean(lengths))

    def save_rollout(self, policy: LinearPolicy, folder: Path) -> None:
        """Record the first episode of the exam in the form that Gamma replays (gamma-rollout/1)."""
        recording = Recording()
        self.episode(policy, self._exam[0], recording)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MODEL_XML, folder / "model.xml")
        np.savez_compressed(
            folder / "rollout.npz",
            time=np.array(recording.time),
            **{name: np.array(getattr(recording, name), np.float32) for name in ("qpos", "qvel", "ctrl", "reward")},
        )
        timestep = self.model.opt.timestep
        rollout = {
            "format": "gamma-rollout/1",
            "mujoco": mujoco.mj_versionString(),
            "timestep": timestep,
            "frame_skip": FRAME_SKIP,
            "fps": 1 / (timestep * FRAME_SKIP),
            "nq": self.model.nq,
            "frames": len(recording.time),
            "time": [round(moment, 6) for moment in recording.time],
            "qpos": [[round(value, 6) for value in frame] for frame in recording.qpos],
        }
        (folder / "rollout.json").write_text(json.dumps(rollout))


def random_start(rng: np.random.Generator) -> np.ndarray:
    """Position, angle and their speeds: hanging, a little disturbed."""
    return np.array([0.0, math.pi, 0.0, 0.0]) + rng.normal(0.0, DISTURBANCE, 4)


def _reward(position: float, angle: float) -> float:
    """From 0 (hanging) to 1 (upright); a metre away from the middle costs a fifth of it."""
    return 0.5 * (1 + math.cos(angle)) * (1 - 0.2 * abs(position))
