"""A server on this machine that speaks the OpenAI protocol and has a real language model, or a script, behind it; faults can be ordered."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "stories"


class Server:
    """Serves completions and chats.

    Args:
        answer: Receives the text that is asked, and the request's body; returns the reply.
        faults: What the first requests meet, one by one: `429`, `500`, `401`, `404`, `400`, `slow`, `garbled` (no JSON), `odd` (other
            JSON), `cut` (the connection ends). None is no fault.
        key: The only key that is let in; None lets everyone in.
        model: Name of the model that it has.
    """

    def __init__(
        self, answer: Any, faults: list[str | None] | None = None, key: str | None = None, model: str = MODEL
    ) -> None:
        self.faults, self.key, self.answer, self.model = list(faults or []), key, answer, model
        self.lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.keys: set[str] = set()
        self.n_requests = self.most_at_once = self._under_way = 0
        self.delay_s = 0.0
        self.wants_completion_tokens = False
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def next_fault(self) -> str | None:
        with self.lock:
            self.n_requests += 1
            return self.faults.pop(0) if self.faults else None

    def reply(self, body: dict[str, Any]) -> dict[str, Any]:
        """Returns a whole answer, and counts it as paid."""
        chat = "messages" in body
        asked = "\n".join(message["content"] for message in body["messages"]) if chat else body["prompt"]
        text = self.answer(asked, body)
        with self.lock:
            self.answered[json.dumps(body, sort_keys=True)] += 1
        inner = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": len(asked.split()), "completion_tokens": len(text.split())}
        usage["total_tokens"] = sum(usage.values())
        return {
            "id": "1",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": self.model,
            "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None, **inner}],
            "usage": usage,
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._send(
                    200,
                    {
                        "object": "list",
                        "data": [{"id": server.model, "object": "model", "created": 0, "owned_by": "x"}],
                    },
                )

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server.lock:
                    server.keys.add(self.headers.get("Authorization", ""))
                    server._under_way += 1
                    server.most_at_once = max(server.most_at_once, server._under_way)
                try:
                    self._answer(body)
                finally:
                    with server.lock:
                        server._under_way -= 1

            def _answer(self, body: dict[str, Any]) -> None:
                fault = server.next_fault()
                if server.key is not None and self.headers.get("Authorization") != f"Bearer {server.key}":
                    fault = "401"
                if fault == "cut":
                    self.close_connection = True
                    self.connection.close()
                    return
                if fault == "slow":
                    time.sleep(2.0)
                elif fault == "garbled":
                    self._raw(200, b'{"choices": [{"text": "half of an')
                    return
                elif fault == "odd":
                    self._send(200, {"choices": []})
                    return
                elif fault is not None:
                    message = {"429": "too many requests", "401": f"wrong key {self.headers.get('Authorization')}"}.get(
                        fault, "no"
                    )
                    self._send(int(fault), {"error": {"message": message, "type": "x", "code": None}})
                    return
                if server.wants_completion_tokens and "max_tokens" in body:
                    self._send(
                        400,
                        {
                            "error": {
                                "message": "use max_completion_tokens instead of max_tokens",
                                "type": "x",
                                "code": None,
                            }
                        },
                    )
                    return
                time.sleep(server.delay_s)
                self._send(200, server.reply(body))

            def _send(self, status: int, content: Any) -> None:
                self._raw(status, json.dumps(content).encode())

            def _raw(self, status: int, content: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(content)))
                    if status == 429:
                        self.send_header("Retry-After-Ms", "10")
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

        return Handler


def continued_by(folder: str) -> Any:
    """Returns an answer function: a real causal model continues the last words of what is asked."""
    from tdbench.bench.models.llm.backends.transformers import TransformersBackend
    from tdbench.bench.models.llm.client import Request, Sampling

    backend, lock = TransformersBackend(f"hf:{folder}", "cpu"), threading.Lock()

    def answer(asked: str, body: dict[str, Any]) -> str:
        found: list[str] = []
        sampling = Sampling(
            temperature=body.get("temperature", 1.0),
            top_p=body.get("top_p", 1.0),
            max_tokens=min(body.get("max_tokens", 40), 40),
        )
        with lock:
            backend.answer(
                [Request(prompt=" ".join(asked.split()[-40:]), stop=tuple(body.get("stop", ())))],
                sampling,
                [body.get("seed", 0)],
                lambda _, reply: found.append(reply.text),
            )
        return found[0]

    return answer
