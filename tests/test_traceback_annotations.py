"""A log of a broken run leads to the line of the repository that broke, and nowhere else."""

from __future__ import annotations

import linecache
import traceback
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamma_bot.reporting.facts import BrokenLine
from gamma_bot.reporting.traceback import find_broken_lines

ROOT = "/opt/ml/code"
FILES = {"train.py", "policy.py", "src/data.py", "gamma.yml"}


def log_of(files: dict[str, str], start: str = "train.py") -> list[str]:
    """What this very Python prints when ``start`` breaks; files may import each other by ``use(name)``."""

    def use(name: str) -> dict[str, object]:
        path = name if name.startswith("/") else f"{ROOT}/{name}"
        source = files[name]
        linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
        scope: dict[str, object] = {"use": use, "__name__": "__main__"}
        exec(compile(source, path, "exec"), scope)
        return scope

    try:
        use(start)
    except BaseException as error:
        # The first frame is this test's own; Python's start-up has none.
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        return "".join(traceback.format_exception(error)).splitlines()
    raise AssertionError("it did not break")


def places(log: list[str], files: set[str] | None = None, roots: tuple[str, ...] = (ROOT,)) -> list[str]:
    found = find_broken_lines(log, FILES if files is None else files, roots)
    return [f"{broken.path}:{broken.line} {broken.title}: {broken.message}" for broken in found]


TRAIN = "policy = use('policy.py')\n\nfor step in range(3):\n    policy['act'](step)\n"
POLICY = "def act(step):\n    return {}['missing'] + step\n"


def test_the_innermost_line_of_the_repository_is_found() -> None:
    assert places(log_of({"train.py": TRAIN, "policy.py": POLICY})) == ["policy.py:2 KeyError: 'missing'"]


def test_libraries_are_passed_over() -> None:
    library = "/opt/ml/code/.venv/lib/python3.11/site-packages/numpy/core.py"
    log = log_of(
        {"train.py": f"lib = use('{library}')\nlib['dot']()\n", library: "def dot():\n    raise ValueError('shapes')\n"}
    )

    assert places(log) == ["train.py:2 ValueError: shapes"]


def test_an_installed_library_outside_the_root_is_passed_over() -> None:
    library = "/usr/lib/python3.11/json/decoder.py"
    log = log_of({"train.py": f"lib = use('{library}')\nlib['go']()\n", library: "def go():\n    raise ValueError\n"})

    assert places(log) == ["train.py:2 ValueError: ValueError was raised, without a message."]


@pytest.mark.parametrize("how", ["from error", ""])
def test_of_a_chain_the_last_exception_counts(how: str) -> None:
    source = f"try:\n    {{}}['a']\nexcept KeyError as error:\n    raise RuntimeError('no a') {how}\n"

    assert places(log_of({"train.py": source})) == ["train.py:4 RuntimeError: no a"]


def test_a_chain_that_ends_outside_leads_to_its_start() -> None:
    library = "/usr/lib/python3/dist-packages/torch/run.py"
    log = log_of({"policy.py": POLICY + "act(1)\n"}, "policy.py")
    log += ["", "During handling of the above exception, another exception occurred:", ""]
    log += ["Traceback (most recent call last):", f'  File "{library}", line 900, in main', "    run()"]
    log += ["torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ", "train.py FAILED"]

    assert places(log) == ["policy.py:2 KeyError: 'missing'"]


def test_the_last_of_several_tracebacks_counts() -> None:
    warned = log_of({"train.py": "raise OSError('is retried')\n"})
    log = [*warned, "INFO went on", *log_of({"policy.py": "x = 1\nraise ValueError('the end')\n"}, "policy.py")]

    assert places(log) == ["policy.py:2 ValueError: the end"]


def test_a_syntax_error_in_the_script_itself_has_no_header() -> None:
    log = [f'  File "{ROOT}/train.py", line 3', "    def f(:", "          ^", "SyntaxError: invalid syntax"]

    assert places(log) == [
        "train.py:3 SyntaxError: invalid syntax\n\nPython can't read this file, so nothing was trained."
    ]


def test_a_syntax_error_in_an_imported_file_is_put_there() -> None:
    log = log_of({"train.py": "use('policy.py')\n", "policy.py": "x = 1\ny = = 2\n"})

    assert places(log)[0].startswith("policy.py:2 SyntaxError: invalid syntax")


@pytest.mark.parametrize(
    ("module", "files", "hint"),
    [
        ("numpy", FILES, "Add `numpy` to requirements.txt."),
        ("cv2", FILES, "Add `opencv-python-headless` to requirements.txt."),
        ("yaml.nodes", None, "Add `pyyaml` to requirements.txt."),
        (
            "data",
            FILES,
            "`data` is in the repository, but not where Python looks for it (the command's folder first).",
        ),
    ],
)
def test_a_missing_module_comes_with_what_to_do(module: str, files: set[str] | None, hint: str) -> None:
    error = f"raise ModuleNotFoundError(\"No module named '{module}'\")"
    log = log_of({"train.py": error})

    assert find_broken_lines(log, files, (ROOT,)) == (
        BrokenLine("train.py", 1, "ModuleNotFoundError", f"No module named '{module}'\n\n{hint}"),
    )


def test_a_message_of_several_lines_is_kept() -> None:
    source = "raise RuntimeError('Error(s) in loading state_dict:\\n\\tsize mismatch for w\\nsee above')\n"
    log = [*log_of({"train.py": source}), "2026-11-20 10:00:00 INFO bye"]

    assert places(log) == ["train.py:1 RuntimeError: Error(s) in loading state_dict:\n\tsize mismatch for w\nsee above"]


def test_each_member_of_an_exception_group_is_told() -> None:
    source = (
        "def fail(error):\n    raise error\n\nfound = []\n"
        "for error in (ValueError('a'), TypeError('b')):\n"
        "    try:\n        fail(error)\n    except Exception as caught:\n        found.append(caught)\n"
        "raise ExceptionGroup('workers', found)\n"
    )

    assert places(log_of({"train.py": source})) == ["train.py:2 ValueError: a", "train.py:2 TypeError: b"]


def test_a_data_loaders_worker_is_seen_through() -> None:
    inner = log_of({"src/data.py": "def get():\n    raise IndexError('row 7')\nget()\n"}, "src/data.py")
    log = [
        "Traceback (most recent call last):",
        f'  File "{ROOT}/train.py", line 9, in <module>',
        "    for b in loader:",
    ]
    log += ["IndexError: Caught IndexError in DataLoader worker process 0."]
    log += ["Original Traceback (most recent call last):", *inner[1:]]

    assert places(log) == ["src/data.py:2 IndexError: row 7"]


RANKS: list[Callable[[str, int], str]] = [
    lambda line, rank: f"[rank{rank}]: {line}",
    lambda line, rank: f"[default{rank}]:{line}",
]


@pytest.mark.parametrize("prefix", RANKS)
def test_ranks_that_print_the_same_at_once_are_one_annotation(prefix: Callable[[str, int], str]) -> None:
    lines = log_of({"train.py": TRAIN, "policy.py": POLICY})
    mixed = [prefix(line, rank) for line in lines for rank in range(4)]

    assert places(mixed) == ["policy.py:2 KeyError: 'missing'"]


def test_ranks_that_break_in_different_places_are_told_apart() -> None:
    one = log_of({"train.py": TRAIN, "policy.py": POLICY})
    two = log_of({"train.py": "raise ConnectionError('rank 0 is gone')\n"})
    log = [f"[rank1]: {line}" for line in two] + [f"[rank0]: {line}" for line in one]

    assert places(log) == ["policy.py:2 KeyError: 'missing'", "train.py:1 ConnectionError: rank 0 is gone"]


def test_a_logger_before_every_line_does_not_hide_it() -> None:
    lines = log_of({"train.py": TRAIN, "policy.py": POLICY})
    log = [f"2026-11-20T10:00:{number:02}.123Z ERROR train {line}" for number, line in enumerate(lines)]

    assert places(log) == ["policy.py:2 KeyError: 'missing'"]


def test_a_logger_before_the_first_line_only_does_not_hide_it() -> None:
    lines = log_of({"train.py": TRAIN, "policy.py": POLICY})

    assert places([f"ERROR:root:failed: {lines[0]}", *lines[1:], "INFO:root:bye"]) == [
        "policy.py:2 KeyError: 'missing'"
    ]


def test_colours_do_not_hide_it() -> None:
    log = [f"\x1b[31m{line}\x1b[0m" for line in log_of({"train.py": TRAIN, "policy.py": POLICY})]

    assert places(log) == ["policy.py:2 KeyError: 'missing'"]


def test_a_traceback_whose_start_was_dropped_is_read() -> None:
    log = log_of({"train.py": TRAIN, "policy.py": POLICY})

    assert places(log[3:]) == ["policy.py:2 KeyError: 'missing'"]


def test_a_traceback_whose_end_is_missing_is_told_as_such() -> None:
    log = log_of({"train.py": TRAIN, "policy.py": POLICY})[:-1]

    assert places(log) == ["policy.py:2 Error: The log ends inside the traceback, before the exception."]


def test_deep_recursion_is_one_annotation() -> None:
    found = places(log_of({"train.py": "def f(n):\n    return f(n + 1)\n\nf(0)\n"}))

    assert len(found) == 1
    assert found[0].startswith("train.py:2 RecursionError: maximum recursion depth exceeded")


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../etc/passwd",
        f"{ROOT}/../../../etc/passwd",
        f"{ROOT}-evil/train.py",
        f"{ROOT}/..",
        ROOT,
        "",
        ".",
        "<string>",
        "<frozen importlib._bootstrap>",
        "C:\\train.py",
        f"{ROOT}/tra\x00in.py",
        f"{ROOT}/" + "a/" * 400 + "x.py",
    ],
)
@pytest.mark.parametrize("files", [FILES, None])
def test_a_forged_path_never_leads_out_of_the_repository(path: str, files: set[str] | None) -> None:
    log = ["Traceback (most recent call last):", f'  File "{path}", line 1, in <module>', "ValueError: x"]

    for broken in find_broken_lines(log, files, (ROOT,)):
        assert broken.path == "train.py"  # only the NUL byte is dropped, as a terminal would


def test_a_path_inside_the_root_is_normalised() -> None:
    log = ["Traceback (most recent call last):", f'  File "{ROOT}/src/../policy.py", line 4, in f', "ValueError: x"]

    assert places(log) == ["policy.py:4 ValueError: x"]


def test_only_files_of_the_commit_count() -> None:
    log = ["Traceback (most recent call last):", f'  File "{ROOT}/generated.py", line 4, in f', "ValueError: x"]

    assert places(log) == []
    assert find_broken_lines(log, None, (ROOT,))[0].path == "generated.py"


def test_huge_logs_are_read_in_bounds() -> None:
    frame = f'  File "{ROOT}/train.py", line {"9" * 5000}, in f'
    log = ["Traceback (most recent call last):", frame, "ValueError: " + "x" * 1_000_000] * 20_000
    log += ["Traceback (most recent call last):", f'  File "{ROOT}/train.py", line 5, in f', "E: " + "y" * 1_000_000]

    (broken,) = find_broken_lines(log, None, (ROOT,))

    assert (broken.path, broken.line) == ("train.py", 5)
    assert len(broken.message) <= 4100


PIECES = [
    "Traceback (most recent call last):",
    "  + Exception Group Traceback (most recent call last):",
    '  |   File "/opt/ml/code/train.py", line 3, in f',
    f'  File "{ROOT}/train.py", line 3, in f',
    f'  File "{ROOT}/train.py", line 0',
    '  File "../../x.py", line 3, in f',
    "    ^^^^",
    "ValueError: x",
    "  | ValueError: x",
    "  +-+---------------- 1 ----------------",
    "[rank0]: Traceback (most recent call last):",
    "During handling of the above exception, another exception occurred:",
    "",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=20), max_size=30))
def test_any_log_is_read_without_an_error(log: list[str]) -> None:
    for broken in find_broken_lines(log, None, (ROOT,)):
        assert broken.line >= 1
        assert not broken.path.startswith(("/", ".."))
        assert broken.message


def test_a_log_without_a_traceback_says_nothing() -> None:
    assert find_broken_lines(["generation 1", "done"], None, (ROOT,)) == ()
