"""The node's own services, with standard types."""

from __future__ import annotations

import time
import types
from collections.abc import Awaitable, Callable, Generator

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool, Trigger

Answer = tuple[bool, str]
"""Whether what was asked for is done, and what people are told."""
PAUSE_SECONDS = 0.002
"""Between two looks at whether a result has come."""
ONCE_SECONDS = 10.0
"""`~/localize_once` answers within this time."""

SERVICES: dict[str, tuple[str, str]] = {
    "~/relocalize": (
        "std_srvs/srv/Trigger",
        "forget the last pose and any prior: the next images are searched in the whole map",
    ),
    "~/localize_once": (
        "std_srvs/srv/Trigger",
        "wait for the result of the next image and say it: the pose, which is on `~/pose`, or the "
        "reason for none; lets images in while paused; answers within 10 s",
    ),
    "~/pause": (
        "std_srvs/srv/SetBool",
        "true: ignore images, to save computing time; map -> odom stays alive. false: continue",
    ),
    "~/reload_map": (
        "std_srvs/srv/Trigger",
        "load `map.path` in the background; the old map is used until the new one is ready, and "
        "further on if the new one cannot be used",
    ),
}
"""Name of a service: its type, and what it does."""


class Services:
    """Offers them while the node is configured."""

    def __init__(
        self,
        node: Node,
        relocalize: Callable[[], Answer],
        localize_once: Callable[[], Future[Answer]],
        pause: Callable[[bool], Answer],
        reload_map: Callable[[], Answer],
    ) -> None:
        """Create the services; what they call runs in the executor's thread."""
        self._node = node
        self._services = [
            node.create_service(Trigger, "~/relocalize", _trigger(relocalize)),
            # In a group of its own, for while it waits nothing else of its group goes on.
            node.create_service(
                Trigger,
                "~/localize_once",
                _trigger_later(localize_once),
                callback_group=ReentrantCallbackGroup(),
            ),
            node.create_service(SetBool, "~/pause", _set_bool(pause)),
            node.create_service(Trigger, "~/reload_map", _trigger(reload_map)),
        ]

    def close(self) -> None:
        """Offer nothing more."""
        for service in self._services:
            self._node.destroy_service(service)


def _trigger(
    act: Callable[[], Answer],
) -> Callable[[Trigger.Request, Trigger.Response], Trigger.Response]:
    def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = act()
        return response

    return callback


@types.coroutine
def _others() -> Generator[None, None, None]:
    """Let the executor do other work."""
    yield


def _trigger_later(
    act: Callable[[], Future[Answer]],
) -> Callable[[Trigger.Request, Trigger.Response], Awaitable[Trigger.Response]]:
    async def callback(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        asked = act()
        while not asked.done():
            # rclpy resumes a callback that waits as often as it can; a core is not ours to take.
            time.sleep(PAUSE_SECONDS)
            await _others()
        answer = asked.result()
        assert answer is not None
        response.success, response.message = answer
        return response

    return callback


def _set_bool(
    act: Callable[[bool], Answer],
) -> Callable[[SetBool.Request, SetBool.Response], SetBool.Response]:
    def callback(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success, response.message = act(bool(request.data))
        return response

    return callback
