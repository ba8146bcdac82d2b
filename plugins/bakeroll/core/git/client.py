"""git on behalf of one task: bounded in time, stoppable, never asking anybody."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from bakeroll.core.errors import InputError, RepositoryError, ToolInterruptedError
from bakeroll.core.git import refs
from bakeroll.core.git.access import Access, credentials
from bakeroll.core.git.archives import Archives, cache_folder
from bakeroll.core.git.refs import Source
from bakeroll.core.git.refusals import lacks_commit, refusal
from bakeroll.core.private_folder import private_folder
from bakeroll.core.process import Tool

LIST_SECONDS = 60.0
FETCH_SECONDS = 900.0
_NO_SUCH_REF = 2  # git ls-remote --exit-code
_GRACE_SECONDS = 5.0
_ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class Git:
    """Asks repositories for refs and fetches commits.

    :param accesses: what opens private ones, by host.
    :param worker_env: environment to take PATH, HOME, proxies, git's and the cache's settings from.
    :param list_seconds: how long a repository may take to name its refs.
    :param fetch_seconds: how long it may take to give a commit.
    """

    def __init__(
        self,
        accesses: Sequence[Access] = (),
        *,
        worker_env: Mapping[str, str],
        list_seconds: float = LIST_SECONDS,
        fetch_seconds: float = FETCH_SECONDS,
    ) -> None:
        self._accesses = tuple(accesses)
        self._worker_env = worker_env
        self._list_seconds = list_seconds
        self._fetch_seconds = fetch_seconds
        self._archives = Archives(cache_folder(worker_env))
        self._tool: Tool | None = None
        self._interrupted = False

    def commits(self, sources: Iterable[Source]) -> dict[str, str]:
        """Return the commit of each source, by its key; each repository is asked once.

        :raises InputError: if there is no such ref, or the repository cannot be opened.
        :raises RepositoryError: if a repository does not answer; it may do so later.
        """
        found: dict[str, str] = {}
        asked: dict[str, list[Source]] = {}
        for source in sources:
            if source.commit:
                found[source.key] = source.commit
            else:
                asked.setdefault(source.repository, []).append(source)
        for of_one in asked.values():
            listed = self._list(of_one)
            found |= {source.key: refs.choose(source, listed) for source in of_one}
        return found

    def commit(self, source: Source) -> str:
        """Return the commit of one source; see :meth:`commits`."""
        return self.commits([source])[source.key]

    def archive(self, source: Source, commit: str) -> Path:
        """Return the files of a commit as a ``.tar.gz``, fetched unless it was before.

        :param commit: what the source's ref was found to stand for.
        :raises InputError: if the repository lacks it, or cannot be opened.
        :raises RepositoryError: if the repository does not answer; it may do so later.
        """
        kept = self._archives.find(source.repository, commit)
        if kept is not None:
            return kept
        with self._place() as (work, env):
            clone, made = work / "clone.git", work / "archive.tar.gz"
            self._must(source, ["init", "--quiet", "--bare", str(clone)], work, env)
            fetch = ["--git-dir", str(clone), "fetch", "--quiet", "--no-tags"]
            fetch_one = [*fetch, "--depth=1", "--", source.repository, commit]
            status, said = self._run(source, fetch_one, work, env, self._fetch_seconds)
            if status != 0 and lacks_commit("\n".join(said)):
                # Older servers give no commit by its id, unless it is the head of a branch.
                self._must(source, [*fetch, "--", source.repository, *_ALL], work, env)
                check = ["--git-dir", str(clone), "cat-file", "-e", f"{commit}^{{commit}}"]
                if self._run(source, check, work, env, self._fetch_seconds)[0] != 0:
                    raise InputError(f"{source.named} has no commit {commit}; correct {source.setting}")
            elif status != 0:
                raise refusal(source, "\n".join(said), self._accesses)
            export = ["--git-dir", str(clone), "archive", "--format=tar.gz", f"--output={made}", commit]
            self._must(source, export, work, env)
            return self._archives.keep(source.repository, commit, made)

    def interrupt(self) -> None:
        """Stop what is running, and start nothing more; safe to call from a signal handler."""
        self._interrupted = True
        if self._tool is not None:
            self._tool.interrupt()

    def _list(self, sources: Sequence[Source]) -> dict[str, str]:
        first = sources[0]
        command = ["ls-remote", "--exit-code", "--", first.repository, *refs.patterns(sources)]
        with self._place() as (work, env):
            status, said = self._run(first, command, work, env, self._list_seconds)
        if status not in (0, _NO_SUCH_REF):
            raise refusal(first, "\n".join(said), self._accesses)
        return refs.parse(said)

    @contextmanager
    def _place(self) -> Iterator[tuple[Path, dict[str, str]]]:
        with (
            private_folder("git") as work,
            credentials(work / "access", self._accesses, self._worker_env) as env,
        ):
            yield work, env

    def _must(self, source: Source, arguments: list[str], work: Path, env: Mapping[str, str]) -> None:
        status, said = self._run(source, arguments, work, env, self._fetch_seconds)
        if status != 0:
            raise refusal(source, "\n".join(said), self._accesses)

    def _run(
        self, source: Source, arguments: list[str], work: Path, env: Mapping[str, str], seconds: float
    ) -> tuple[int, list[str]]:
        """Run git in the private folder, which goes with it if we are killed meanwhile."""
        said: list[str] = []
        tool = self._tool = Tool(_GRACE_SECONDS)
        if self._interrupted:
            tool.interrupt()
        timer = threading.Timer(seconds, tool.interrupt)
        timer.daemon = True
        timer.start()
        try:
            status = tool.run(["git", *arguments], cwd=work, env=env, on_line=said.append, scratch=work)
        except FileNotFoundError as error:
            raise InputError(
                "git is not found; install it where PATH of the Airflow worker has it"
            ) from error
        except ToolInterruptedError as error:
            if self._interrupted:
                raise
            raise RepositoryError(
                f"{source.named} did not answer within {seconds:g} s; is it reachable from here?"
            ) from error
        finally:
            timer.cancel()
            self._tool = None
        return status, said
