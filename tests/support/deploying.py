"""Run deploy.sh in a copy of the project: with gcloud itself, or with one that only writes down what it is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
UPLOADED = ("main.py", "requirements.txt", "crawler")

# Writes its arguments to $GCLOUD_LOG, and what it reads from standard input. Finds nothing but what $GCLOUD_FINDS says,
# and refuses the first binding on $GCLOUD_REFUSES as for an account it does not know yet. It knows no more of gcloud.
_GCLOUD = r"""#!/bin/sh
{ printf '%s\037' "$@"; printf '\035'; case " $* " in *' --data-file=- '*) cat ;; esac; printf '\036'; } >>"$GCLOUD_LOG"
if [ "$2 $3" = "add-iam-policy-binding $GCLOUD_REFUSES" ] && [ ! -e "$GCLOUD_LOG.refused" ]; then
    : >"$GCLOUD_LOG.refused"
    echo "INVALID_ARGUMENT: Service account x does not exist." >&2
    exit 1
fi
case "$*" in
*projectNumber*) echo 123456789 ;;
*serviceConfig.uri*) echo https://songcrawl-abcdef-uc.a.run.app ;;
*"config get-value project") echo "$GCLOUD_PROJECT" ;;
*labels.made-by*) echo "$GCLOUD_MADE_BY" ;;
*"versions access latest"*) printf '%s' "$GCLOUD_SECRET" ;;
*" describe "*) [ -n "$GCLOUD_FINDS" ] ;;
esac
"""

# Nothing waits here for a service account to be known everywhere.
_SLEEP = '#!/bin/sh\nprintf "sleep\\037%s\\037\\035\\036" "$1" >>"$GCLOUD_LOG"\n'

SETTINGS: Mapping[str, str] = {
    "PROJECT": "fake-project",
    "SONG_URL": "https://api.example.com/songs/{song_num}",
}

# Every kind of text that a shell, a list of settings or JSON might take for something else.
HARD = {
    "SONG_INFO": "{title: title, \"Künst ler\": artist.name,\n 'x': `1`}",
    "SONG_MISSING": "error.code == `800` && message != '$HOME <;> !'",
    "SONG_RETRY": 'error.code == `4` || "a\\"b" == \'=\'',
    "USER_AGENT": "Ann's crawler, v=1 (+mailto:me@example.com)",
}


@dataclass(frozen=True)
class Outcome:
    """Hold what deploy.sh came to, and the gcloud commands it gave if gcloud was not the real one."""

    code: int
    output: str
    errors: str
    commands: Sequence[Sequence[str]] = ()
    inputs: Sequence[str] = ()

    def command(self, *words: str) -> list[str]:
        """Give the only command that begins with some words."""
        (found,) = self.all(*words)
        return found

    def all(self, *words: str) -> list[list[str]]:
        """Give all commands that begin with some words."""
        return [list(command) for command in self.commands if tuple(command[: len(words)]) == words]


@dataclass(frozen=True)
class Copy:
    """Be a copy of the project in a folder of its own, whose name has a space and a quote."""

    folder: Path
    scratch: Path

    @classmethod
    def make(cls, folder: Path) -> Copy:
        """Copy what a deployment needs."""
        tree = folder / "it's a tree"
        tree.mkdir(parents=True)
        for name in ("deploy.sh", ".gcloudignore", "main.py", "requirements.txt"):
            shutil.copy(ROOT / name, tree)
        shutil.copytree(ROOT / "crawler", tree / "crawler")
        return cls(tree, folder)

    def run(self, *options: str, answer: str = "", **settings: str) -> Outcome:
        """Run deploy.sh, from another folder, with a gcloud that only writes down its commands."""
        log = self.scratch / "gcloud.log"
        log.unlink(missing_ok=True)
        bin_folder = self.scratch / "bin"
        bin_folder.mkdir(exist_ok=True)
        for name, text in (("gcloud", _GCLOUD), ("sleep", _SLEEP)):
            (bin_folder / name).write_text(text)
            (bin_folder / name).chmod(0o755)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        done = self._run(options, {"PATH": path, "GCLOUD_LOG": str(log), **settings}, answer)
        records = log.read_text().split("\036")[:-1] if log.exists() else []
        commands = [record.partition("\035")[0].split("\037")[:-1] for record in records]
        inputs = [record.partition("\035")[2] for record in records]
        return Outcome(done.returncode, done.stdout, done.stderr, commands, inputs)

    def run_with_gcloud(self, environment: Mapping[str, str], *options: str, answer: str = "") -> Outcome:
        """Run deploy.sh with the real gcloud, led by an environment to a server of ours."""
        done = self._run(options, {"PATH": os.environ["PATH"], **environment}, answer)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def _run(
        self, options: Sequence[str], environment: Mapping[str, str], answer: str
    ) -> subprocess.CompletedProcess[str]:
        standard = {"HOME": str(self.scratch), "LANG": "C.UTF-8", "TMPDIR": str(self.scratch)}
        return subprocess.run(
            [self.folder / "deploy.sh", *options],
            cwd=self.scratch,
            env={**standard, **environment},
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )


def flags(command: Sequence[str]) -> dict[str, str]:
    """Read the options of a command; those without a value are empty."""
    options = [word[2:] for word in command if word.startswith("--")]
    return {name: value for name, _, value in (option.partition("=") for option in options)}


def settings_passed(command: Sequence[str]) -> dict[str, str]:
    """Read the settings that a deployment passes on, as gcloud splits them."""
    _, mark, text = flags(command)["set-env-vars"].split("^", 2)
    return dict(pair.split("=", 1) for pair in text.split(mark))
