"""Runs a job's command in a training container, as Gamma's local trainer would run it on a laptop.

It must work with Python 3.6 and nothing but the standard library: images are the users' own.
"""

import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading

CODE_CHANNEL = "code"
FAILURE_CHARACTERS = 1000  # SageMaker shows the first 1,024
KEPT_LINES = 200
EXIT_NOT_FOUND = 127


def main(ml, command):
    """Lay everything out, run the command, keep its exit status."""
    variables = layout(ml)
    if os.path.isfile("requirements.txt"):
        install()
    if not command or shutil.which(command[0]) is None:
        name = command[0] if command else ""
        fail(ml, "gamma-command: the image has no program %s" % name, EXIT_NOT_FOUND)
    environment = dict(os.environ)
    environment.update(variables)
    return run(ml, command, environment)


def layout(ml):
    """The variables that a job finds; SageMaker itself makes only the files that they are read from."""
    for name in ("model", "output/data", "checkpoints"):
        os.makedirs(os.path.join(ml, name), exist_ok=True)
    config = os.path.join(ml, "input", "config")
    texts = read_json(os.path.join(config, "hyperparameters.json"))
    resources = read_json(os.path.join(config, "resourceconfig.json"))
    channels = sorted(set(read_json(os.path.join(config, "inputdataconfig.json"))) - {CODE_CHANNEL})
    values = {name: value_of(text) for name, text in texts.items()}
    plain = os.path.join(ml, "gamma", "hyperparameters.json")
    with open(plain, "w", encoding="utf-8") as file:
        json.dump({name: text_of(value) for name, value in values.items()}, file, indent=2)
    hosts = resources.get("hosts") or ["algo-1"]
    variables = {"SM_HP_" + variable(name): text_of(value) for name, value in values.items()}
    for channel in channels:
        variables["SM_CHANNEL_" + variable(channel)] = os.path.join(ml, "input", "data", channel)
    variables.update(
        {
            "PYTHONUNBUFFERED": "1",
            "SM_MODEL_DIR": os.path.join(ml, "model"),
            "SM_OUTPUT_DIR": os.path.join(ml, "output"),
            "SM_OUTPUT_DATA_DIR": os.path.join(ml, "output", "data"),
            "SM_INPUT_DIR": os.path.join(ml, "input"),
            "SM_INPUT_CONFIG_DIR": config,
            "SM_CHECKPOINT_DIR": os.path.join(ml, "checkpoints"),
            "SM_SOURCE_DIR": os.path.join(ml, "code"),
            "SM_HPS": json.dumps(values),
            "SM_CHANNELS": json.dumps(channels),
            "SM_CURRENT_HOST": resources.get("current_host") or hosts[0],
            "SM_CURRENT_INSTANCE_TYPE": resources.get("current_instance_type") or "",
            "SM_HOSTS": json.dumps(hosts),
            "SM_RESOURCE_CONFIG": json.dumps(resources),
            "SM_NETWORK_INTERFACE_NAME": resources.get("network_interface_name") or "eth0",
            "SM_MASTER_ADDR": hosts[0],
            "SM_MASTER_PORT": "7777",
            "SM_NUM_CPUS": str(cpus()),
            "SM_NUM_GPUS": str(gpus()),
            "GAMMA_MODEL_DIR": os.path.join(ml, "model"),
            "GAMMA_OUTPUT_DIR": os.path.join(ml, "output", "data"),
            "GAMMA_CHECKPOINT_DIR": os.path.join(ml, "checkpoints"),
            "GAMMA_HYPERPARAMETERS": plain,
        }
    )
    return variables


def install():
    """Install the repository's requirements into the image's Python."""
    command = [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    result = subprocess.run([*command, "-r", "requirements.txt"], stderr=subprocess.PIPE)
    sys.stderr.write(result.stderr.decode("utf-8", "replace"))
    if result.returncode != 0:
        said = [line for line in result.stderr.decode("utf-8", "replace").splitlines() if "ERROR" in line]
        fail(sys.argv[1], "gamma-requirements: %s" % (said[-1] if said else "pip failed"), result.returncode)


def run(ml, command, environment):
    """Run the command to its end, hand signals on, and keep what it said last."""
    last = collections.deque(maxlen=KEPT_LINES)
    started, received = [], []

    def hand_on(number, _frame):
        received.append(number)
        for process in started:
            process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):  # before the command starts: a stop may come at any moment
        signal.signal(number, hand_on)
    try:
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    except OSError as error:
        fail(ml, "gamma-command: %s: %s" % (command[0], error.strerror or error), 126)
    started.append(process)
    for number in received:
        process.send_signal(number)
    copying = threading.Thread(target=copy, args=(process.stderr, last), daemon=True)
    copying.start()
    status = process.wait()
    copying.join(5)  # a process that the command left behind may hold the pipe open
    status = 128 - status if status < 0 else status
    if status != 0 and not has_text(os.path.join(ml, "output", "failure")):
        write_failure(ml, summary(list(last)) or "exit status %d" % status)
    return status


def copy(stream, last):
    """Pass on what the command writes as errors, and remember its newest lines."""
    rest = b""
    while True:
        block = os.read(stream.fileno(), 65536)
        if not block:
            break
        view = memoryview(block)
        while view:
            view = view[os.write(2, view) :]
        lines = (rest + block).split(b"\n")
        rest = lines.pop()[-65536:]
        last.extend(lines)
    last.append(rest)


def summary(lines):
    """What broke, in few characters: the last line of a traceback first, then the frames nearest to it."""
    texts = [line.decode("utf-8", "replace").rstrip() for line in lines]
    texts = [text for text in texts if text]
    starts = [index for index, text in enumerate(texts) if text.startswith("Traceback (most recent call last)")]
    if not starts:
        return "\n".join(texts[-5:])[-FAILURE_CHARACTERS:]
    traceback = texts[starts[-1] :]
    error = next((text for text in traceback[1:] if not text.startswith(" ")), traceback[-1])
    frames = [text.strip() for text in traceback if text.startswith("  File ")]
    return "\n".join([error, *reversed(frames[-4:])])[:FAILURE_CHARACTERS]


def fail(ml, words, status):
    """End before the command could begin."""
    write_failure(ml, words)
    sys.stderr.write("gamma: %s\n" % words)
    sys.exit(status)


def write_failure(ml, words):
    """Tell SageMaker why; it becomes the job's FailureReason."""
    os.makedirs(os.path.join(ml, "output"), exist_ok=True)
    with open(os.path.join(ml, "output", "failure"), "w", encoding="utf-8", errors="replace") as file:
        file.write(words)


def has_text(path):
    """Whether the command wrote a reason itself."""
    return os.path.isfile(path) and os.path.getsize(path) > 0


def read_json(path):
    """A configuration file of SageMaker; nothing where it is missing."""
    if not os.path.isfile(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def value_of(text):
    """A hyperparameter as gamma.yml has it. SageMaker only knows text, so it travels as JSON where it is not plain."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def text_of(value):
    """A hyperparameter as a variable."""
    return value if isinstance(value, str) else json.dumps(value)


def variable(name):
    """A name as a part of a variable's name."""
    return re.sub("[^A-Z0-9]", "_", name.upper())


def cpus():
    """Processors that this container may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus():
    """Graphics processors that this container sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len([name for name in os.listdir("/dev") if re.match("nvidia[0-9]+$", name)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
