"""The Terraform in infra/, applied to moto and destroyed again, once for all of pytest's workers.

It takes more than a minute in which the provider mostly sleeps (S3's lifecycle rules alone 55 s, the two queues 50 s),
so it runs beside the tests as a process of its own: ``python -m tests.applied_stack FOLDER``. Each command's result is
a file in FOLDER as soon as it is there.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
REGION = "eu-central-1"
BUCKET = f"gamma-prod-123456789012-{REGION}"
KEY = f"arn:aws:kms:{REGION}:123456789012:key/11112222-3333-4444-5555-666677778888"
SECRET = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:wandb-a1b2c3"

# Every choice that adds a permission is made, so that each is seen.
_CHOICES = {
    "input_locations": ["s3://my-data/mnist/", "s3://my-data/more/", "s3://other-data/"],
    "key_arns": [KEY],
    "secret_arns": [SECRET],
    "image_repository_arns": [f"arn:aws:ecr:{REGION}:123456789012:repository/train-*"],
    "subnet_ids": ["subnet-0123456789abcdef0"],
    "security_group_ids": ["sg-0123456789abcdef0"],
    "instance_types": ["ml.m5.*", "ml.g5.xlarge"],
}
# The provider asks 25 times where moto knows no answer; a test wants to know at once.
_OVERRIDE = 'provider "aws" {\n  max_retries = 1\n}\n'
_PATIENCE_SECONDS = 240


@dataclass(frozen=True)
class Result:
    """What a command said."""

    command: str
    exit_code: int
    output: str


class AppliedStack:
    """What became of the stack; each answer waits until it is known."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def result(self, name: str) -> Result:
        """What the command of this name said."""
        file = self._folder / f"{name}.json"
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not file.exists():
            assert not (crash := self._folder / "crash").exists(), crash.read_text()
            assert time.monotonic() < deadline, f"terraform is not done with {name}; see the files in {self._folder}"
            time.sleep(0.1)
        return Result(**json.loads(file.read_text()))

    def state(self) -> Any:
        """What Terraform knows of the applied stack."""
        applied = self.result("apply")
        assert applied.exit_code == 0, applied.output
        return json.loads(self.result("state").output)

    def resource(self, address: str) -> Mapping[str, Any]:
        """The attributes of an applied resource."""
        kind, name = address.split(".")
        found = [each for each in self.state()["resources"] if (each["type"], each["name"]) == (kind, name)]
        assert found, f"{address} was not applied"
        attributes: Mapping[str, Any] = found[0]["instances"][0]["attributes"]
        return attributes

    def policy(self, address: str, attribute: str = "policy") -> Any:
        """The policy document that an applied resource has."""
        return json.loads(self.resource(address)[attribute])

    def second_plan(self) -> dict[str, str]:
        """What Terraform would do if it was applied again, by address."""
        said = [json.loads(line) for line in self.result("second plan").output.splitlines()]
        assert any(each["type"] == "change_summary" for each in said), said
        changes = [each["change"] for each in said if each["type"] == "planned_change"]
        return {each["resource"]["addr"]: each["action"] for each in changes}


def why_not() -> str | None:
    """Why this machine can't apply the stack."""
    if shutil.which("terraform") is None:
        return "terraform is not on PATH"
    if plugins() is None:
        return "Terraform's AWS provider is in none of the folders for plug-ins; set GAMMA_TF_PLUGIN_DIR to its mirror"
    return None


def plugins() -> Path | None:
    """The folder that has the AWS provider as Terraform's ``-plugin-dir`` expects it, below the registry's name."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    target = f"{platform.system().lower()}_{machine}"
    for folder in _plugin_folders():
        provider = folder / "registry.terraform.io" / "hashicorp" / "aws"
        if [*provider.glob(f"5.*/{target}"), *provider.glob(f"terraform-provider-aws_5.*_{target}.zip")]:
            return folder
    return None


def start(folder: Path) -> tuple[subprocess.Popen[bytes], str, Path]:
    """Begin; what comes of it is in the folder."""
    folder.mkdir(parents=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.applied_stack", folder],
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return process, str(folder), folder


def main(folder: Path) -> None:
    """Apply, look, destroy; then stay until somebody ends this process and its group."""
    stack = folder / "stack"
    shutil.copytree(REPOSITORY / "infra", stack, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    (stack / "moto_override.tf").write_text(_OVERRIDE)
    (stack / "choices.tfvars.json").write_text(json.dumps(_CHOICES))
    (folder / "terraformrc").touch()

    port = _free_port()
    environment = _environment(f"http://127.0.0.1:{port}", folder / "terraformrc")
    moto = subprocess.Popen([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], env=environment)
    _await_port(port)

    def terraform(name: str, *arguments: str) -> None:
        command = ["terraform", *arguments]
        done = subprocess.run(command, check=False, cwd=stack, env=environment, capture_output=True, text=True)
        _note(folder, name, Result(" ".join(command), done.returncode, done.stdout + done.stderr))

    def look_at_the_code() -> None:
        terraform("fmt", "fmt", "-check", "-recursive", "-diff")
        terraform("validate", "validate", "-no-color")
        terraform("test", "test", "-no-color", "-var-file=environments/dev.tfvars")

    terraform("init", "init", "-input=false", "-no-color", f"-plugin-dir={plugins()}")
    meanwhile = threading.Thread(target=look_at_the_code)
    meanwhile.start()
    choices = ("-var-file=environments/prod.tfvars", "-var-file=choices.tfvars.json")
    # `terraform show -json` would say the same, and take two seconds of processor time to load the provider again.
    state = stack / "terraform.tfstate"
    terraform("apply", "apply", "-auto-approve", "-input=false", "-no-color", *choices)
    _note(folder, "state", Result("read the state", 0, state.read_text()))
    _note(folder, "events", Result("send and receive", 0, json.dumps(_jobs_heard_of(environment))))
    terraform("second plan", "plan", "-input=false", "-json", *choices)
    terraform("destroy", "destroy", "-auto-approve", "-input=false", "-no-color", "-refresh=false", *choices)
    _note(folder, "what is left", Result("read the state", 0, state.read_text()))
    meanwhile.join()
    moto.terminate()
    moto.wait()
    signal.pause()


def _note(folder: Path, name: str, result: Result) -> None:
    """Written beside and renamed, so that nobody reads half of it."""
    unfinished = folder / f"{name}.unfinished"
    unfinished.write_text(json.dumps(asdict(result)))
    unfinished.rename(folder / f"{name}.json")


def _jobs_heard_of(environment: Mapping[str, str]) -> list[str]:
    """Which of two jobs the queue tells about: one of ours, and one of somebody else in the account."""
    import boto3

    session = boto3.Session("testing", "testing", region_name=REGION)
    address = environment["AWS_ENDPOINT_URL"]
    entries = [
        {
            "Source": "aws.sagemaker",
            "DetailType": "SageMaker Training Job State Change",
            "Detail": json.dumps({"TrainingJobName": name, "TrainingJobStatus": "Completed"}),
        }
        for name in ("somebody-else-1", "gamma-j0123456789ab-1")
    ]
    session.client("events", endpoint_url=address).put_events(Entries=entries)
    queues = session.client("sqs", endpoint_url=address)
    url = queues.get_queue_url(QueueName="gamma-prod-events")["QueueUrl"]
    messages = queues.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
    return [json.loads(message["Body"])["detail"]["TrainingJobName"] for message in messages]


def _environment(aws: str, settings: Path) -> dict[str, str]:
    """Everything but what could lead Terraform to a real account or to somebody's settings of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
    return {
        **kept,
        "AWS_ENDPOINT_URL": aws,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "TF_CLI_CONFIG_FILE": str(settings),
        "CHECKPOINT_DISABLE": "1",
        "GOGC": "400",  # a third less processor time for a provider whose schema alone fills its memory
    }


def _plugin_folders() -> list[Path]:
    """Where people keep a provider: what they named, the folders that Terraform searches itself, and one in /opt."""
    named = [os.environ.get("GAMMA_TF_PLUGIN_DIR"), os.environ.get("TF_PLUGIN_CACHE_DIR")]
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return [
        *(Path(each) for each in named if each),
        home / ".terraform.d" / "plugins",
        home / "Library" / "Application Support" / "io.terraform" / "plugins",
        data / "terraform" / "plugins",
        Path("/usr/local/share/terraform/plugins"),
        Path("/usr/share/terraform/plugins"),
        Path("/opt/tf-plugins"),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "moto did not start"
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except Exception:
        (Path(sys.argv[1]) / "crash").write_text(traceback.format_exc())
        signal.pause()
