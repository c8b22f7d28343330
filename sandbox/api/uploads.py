"""Handler of uploads, sent as multipart files or as URLs."""

from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit

from aiohttp import BodyPartReader, ClientError, ClientSession, ClientTimeout, web

from sandbox.api.middleware import BACKEND, body_of, project_of
from sandbox.responses import RefusalError, enveloped
from sandbox.state.call_log import UploadEntry
from sandbox.state.projects import Upload
from sandbox.state.uploads import CHUNK

_FETCH_SECONDS = 30.0


async def upload(request: web.Request) -> web.StreamResponse:
    """Store files in a session."""
    backend = request.app[BACKEND]
    project = project_of(request, request.match_info["session"])
    multipart = request.content_type.startswith("multipart/")
    stored = await (_receive(request) if multipart else _fetch_all(request))
    for file in stored:
        project.uploads.append(file)
        backend.log.uploads.append(
            UploadEntry(
                session_id=project.session_id,
                name=file.name,
                bytes=file.size,
                sha256=file.sha256,
                kind=file.kind,
                at=backend.clock.now(),
            )
        )
    origin = f"{request.scheme}://{request.host}"
    files = [
        {"name": file.name, "size": file.size, "url": f"{origin}/uploads/{file.sha256}"}
        for file in stored
    ]
    return enveloped({"files": files})


async def _receive(request: web.Request) -> list[Upload]:
    store = request.app[BACKEND].store
    try:
        stored = [
            await store.keep(part.filename or "file", _chunks(part))
            async for part in await request.multipart()
            if isinstance(part, BodyPartReader) and part.name == "files"
        ]
    except ValueError:
        raise RefusalError(422, "not a well-formed multipart body") from None
    if not stored:
        raise RefusalError(422, "a multipart field named files is needed")
    return stored


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK):
        yield chunk


async def _fetch_all(request: web.Request) -> list[Upload]:
    body = await body_of(request)
    urls = body.get("urls")
    if body.get("source_type") != "url" or not isinstance(urls, list) or not urls:
        raise RefusalError(422, "urls and source_type are needed")
    async with ClientSession(timeout=ClientTimeout(total=_FETCH_SECONDS)) as client:
        return [await _fetch(request, client, str(url)) for url in urls]


async def _fetch(request: web.Request, client: ClientSession, url: str) -> Upload:
    name = unquote(urlsplit(url).path.rpartition("/")[2]) or "file"
    try:
        async with client.get(url, raise_for_status=True) as response:
            content = response.content.iter_chunked(CHUNK)
            return await request.app[BACKEND].store.keep(name, content)
    except (ClientError, TimeoutError, ValueError):
        raise RefusalError(422, "the address cannot be fetched") from None
