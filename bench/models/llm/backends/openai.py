"""Backend of servers that speak the OpenAI protocol: Ollama, vLLM, llama.cpp, a gateway, OpenAI; the official client talks."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tdbench.bench.errors import LLMStopError, PrerequisiteError, redacted
from tdbench.bench.models.llm.access import ModelName, Resources
from tdbench.bench.models.llm.client import Failure, Reply, Request, Sampling, cut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tdbench.bench.models.llm.client import OnReply
    from tdbench.bench.settings import LLMSettings

_EXTRA = 'pip install -e ".[llm]"'
_UNUSABLE_TRIES = 4
_HOPELESS = 8
"""Failures without any reply, of one batch of requests, after which the rest is not asked."""
_NO_KEY = "none"
"""Local servers ask for no key, and the client insists on one."""


def problem(settings: LLMSettings) -> str | None:
    """Returns why no server can be asked from here, or None."""
    if not find_spec("openai"):
        return f"the package 'openai' is not installed; install it: {_EXTRA}"
    if settings.url or os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        return None
    return (
        "openai: models need a server: give its address, such as runtime.llm.url=http://localhost:11434/v1, or set OPENAI_API_KEY to ask "
        "OpenAI itself (docs/how-to/language-models.md)."
    )


class OpenAIName(ModelName):
    """`openai:<model>`, by the server's name of the model."""

    prefix = "openai"
    spelling = "openai:<model> (a server's, see runtime.llm.url)"
    paid = cacheable = True

    def problem(self, settings: LLMSettings) -> str | None:
        """Returns why no server can be called from here, or None."""
        return problem(settings)

    def open(self, resources: Resources) -> OpenAIBackend:
        """Returns a client of the server that has the model."""
        return OpenAIBackend(self.model, resources.settings)


class OpenAIBackend:
    """A model of a server.

    Args:
        model: The server's name of the model.
        settings: Where servers are, and how patient to be.

    Raises:
        PrerequisiteError: The client is not installed, a key is missing, or no server has the model.
    """

    supports_chat, reads_spec = True, False

    def __init__(self, model: str, settings: LLMSettings) -> None:
        missing = problem(settings)
        if missing:
            raise PrerequisiteError(missing)
        self._model, self._settings = model, settings
        self._client = self._find() if len(settings.url) > 1 else _client(next(iter(settings.url), None), settings)
        self._limit_name = "max_tokens"

    @property
    def backend_id(self) -> dict[str, Any]:
        """Model and address."""
        return {"kind": "openai", "model": self._model, "url": str(self._client.base_url).rstrip("/")}

    def answer(
        self, requests: Sequence[Request], sampling: Sampling, seeds: Sequence[int], on_reply: OnReply
    ) -> dict[int, Failure]:
        """Asks several at a time; replies under way are waited for and kept, whatever ends the asking."""
        failures: dict[int, Failure] = {}
        useless, gone, answered = threading.Event(), threading.Event(), threading.Event()

        def one(place: int) -> None:
            if useless.is_set():
                return
            if gone.is_set():
                failures[place] = Failure(reason=f"not asked any more: {next(iter(failures.values())).reason}")
                return
            try:
                outcome = self._complete(requests[place], sampling, seeds[place])
            except LLMStopError:
                useless.set()
                raise
            if isinstance(outcome, Reply):
                answered.set()
                on_reply(place, outcome)
                return
            failures[place] = outcome
            if len(failures) >= _HOPELESS and not answered.is_set():
                gone.set()

        with ThreadPoolExecutor(self._settings.parallel) as pool:
            under_way = [pool.submit(one, place) for place in range(len(requests))]
            try:
                done, _ = wait(under_way, return_when=FIRST_EXCEPTION)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        for future in done:
            future.result()
        return failures

    def _complete(self, request: Request, sampling: Sampling, seed: int) -> Reply | Failure:
        """Asks once; the client tries again by itself when there are too many calls, or none comes back."""
        import openai

        for attempt in range(_UNUSABLE_TRIES):
            started, limit_name = time.perf_counter(), self._limit_name
            try:
                answer = self._sent(request, sampling, seed, limit_name)
                return self._read(answer, request, time.perf_counter() - started)
            except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
                raise LLMStopError(f"{self._where} refuses model '{self._model}': {_message(error)}") from None
            except openai.BadRequestError as error:
                if "max_completion_tokens" in str(error) and limit_name == "max_tokens":
                    self._limit_name = "max_completion_tokens"
                    continue
                return Failure(reason=f"{self._where}: {_message(error)}")
            except (
                openai.APIResponseValidationError,
                json.JSONDecodeError,
                AttributeError,
                TypeError,
                IndexError,
            ) as error:
                if attempt + 1 == _UNUSABLE_TRIES:
                    return Failure(reason=f"{self._where} sends what is no answer ({type(error).__name__})")
                time.sleep(min(8.0, 0.25 * 2**attempt) * random.uniform(0.5, 1.0))  # noqa: S311 - spreads calls out, decides nothing
            except openai.APIError as error:
                return Failure(reason=f"{self._where}: {_message(error)}")
        return Failure(reason=f"{self._where} sends what is no answer")

    def _sent(self, request: Request, sampling: Sampling, seed: int, limit_name: str) -> Any:
        how: dict[str, Any] = {
            "model": self._model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": seed % 2**31,
        }
        if request.stop:
            how["stop"] = list(request.stop)
        if request.mode == "complete":
            return self._client.completions.create(prompt=request.prompt, max_tokens=sampling.max_tokens, **how)
        messages: Any = [message.model_dump() for message in request.messages]
        return self._client.chat.completions.create(messages=messages, **how, **{limit_name: sampling.max_tokens})

    def _read(self, answer: Any, request: Request, wall_s: float) -> Reply:
        choice, usage = answer.choices[0], answer.usage
        text = choice.text if hasattr(choice, "text") else choice.message.content
        if not isinstance(text, str) and choice.finish_reason not in ("content_filter", "stop", "length"):
            raise TypeError("no text")
        return Reply(
            text=cut(text or "", request.stop),
            finish=str(choice.finish_reason),
            tokens_in=None if usage is None else usage.prompt_tokens,
            tokens_out=None if usage is None else usage.completion_tokens,
            wall_s=wall_s,
            served_by=str(answer.model or ""),
        )

    def _find(self) -> Any:
        """Returns a client of the first server that has the model.

        Raises:
            PrerequisiteError: None has it.
        """
        import openai

        said = []
        for url in self._settings.url:
            client = _client(url, self._settings)
            try:
                names = sorted(one.id for one in client.models.list())
            except openai.OpenAIError as error:
                said.append(f"{url}: {_message(error)}")
                continue
            if self._model in names:
                return client
            said.append(f"{url} has {', '.join(names) or 'none'}")
        raise PrerequisiteError(f"no server of runtime.llm.url has a model '{self._model}': {'; '.join(said)}.")

    @property
    def _where(self) -> str:
        return f"the server {self._client.base_url.host}"


def _client(url: str | None, settings: LLMSettings) -> Any:
    """Returns the official client; what is OpenAI's is sent to OpenAI, or where OPENAI_BASE_URL says, and nowhere else."""
    import openai

    key = os.environ.get("OPENAI_API_KEY" if url is None else "TDBENCH_LLM_KEY")
    client = openai.OpenAI(
        base_url=url, api_key=key or _NO_KEY, timeout=settings.timeout_s, max_retries=settings.retries
    )
    if url is not None:  # these would follow from OpenAI's variables
        client.organization = client.project = None
    return client


def _message(error: Exception) -> str:
    """Returns the first line of what a server says, without keys."""
    return redacted((str(error).strip().splitlines() or [type(error).__name__])[0])[:300]
