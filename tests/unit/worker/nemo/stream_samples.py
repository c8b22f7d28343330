"""The events of each recorded stream, and every form of a heartbeat."""

from worker.nemo.streaming.events import Event, StreamError, Text, ToolActivity

WORK: list[Event] = [
    Text("I will animate the photo with a slow push-in."),
    ToolActivity("generate_video"),
    ToolActivity("generate_video"),
    Text("Adding music."),
    ToolActivity("edit_multitrack_draft"),
    ToolActivity("edit_multitrack_draft"),
]
RECORDED: dict[str, list[Event]] = {
    "plain": [*WORK, Text("Your clip is ready: a 10 second push-in with Lo-fi music.")],
    "silent": [event for event in WORK if isinstance(event, ToolActivity)],
    "gui": [
        *WORK,
        Text(
            "Your clip is ready: a 10 second push-in with Lo-fi music. Click the Export button to "
            "download it, or open the Timeline panel to preview in timeline. "
            "点击“导出”按钮即可下载。"
        ),
    ],
    "question": [WORK[0], Text("Which length do you want: 5, 10 or 15 seconds?")],
    "trailing": [
        *WORK,
        Text("Your clip is ready."),
        Text("I encountered a temporary issue. Please try again later."),
    ],
    "crash": [
        Text("Starting on your photo."),
        StreamError("RuntimeError: render backend unavailable", "RuntimeError"),
    ],
    "quota": [*WORK, StreamError("Out of quota", "RESOURCE_EXHAUSTED")],
}
HEARTBEATS = {
    "empty data line": b"data:\n\n",
    "empty data line and a space": b"data: \n\n",
    "data": b"data: heartbeat\n\n",
    "event": b"event: heartbeat\n\n",
    "event with data": b'event: heartbeat\ndata: {"at": 1}\n\n',
    "event with the word": b"event: heartbeat\ndata: heartbeat\n\n",
    "comment": b": heartbeat\n\n",
}
