"""Renames and removals in the folders that a partner writes: what may be changed, and by whom."""

from exchange import namespace
from exchange.handles import Handles
from exchange.namespace import Folder, Place
from exchange.sftp_v3 import Code, Refusal


async def rename(handles: Handles, old_place: Place, new_place: Place, *, over: bool) -> None:
    """Give an upload another name in its folder, finished or broken off; `over` an idle one of that name.

    Raises Refusal if it is open, or is the hub's already.
    """
    (folder, old), (other, new) = old_place.file(), new_place.file()
    namespace.require_uploads(folder)
    if other is not folder:
        raise Refusal(Code.PERMISSION_DENIED, f"a file can be renamed within {folder.name}/ only")
    namespace.require_upload_name(new)
    if old == new and over:
        return
    with handles.shared.claims.held(handles.partner.id, folder.name, old, new):
        whole = await handles.standing(_rename, handles, folder, old, new, over=over)
    recent = handles.shared.recent
    if (attributes := recent.take(handles.partner.id, folder.name, old)) is not None:
        recent.add(handles.partner.id, folder.name, new, attributes)
    handles.log.info("file.renamed", folder=folder.name, file=old, to=new, whole=whole)


async def remove(handles: Handles, place: Place) -> None:
    """Take an upload away, finished or broken off. Raises Refusal if it is open, or the hub's already."""
    folder, name = place.file()
    namespace.require_uploads(folder)
    with handles.shared.claims.held(handles.partner.id, folder.name, name):
        whole = await handles.standing(_remove, handles, folder, name)
    handles.shared.recent.take(handles.partner.id, folder.name, name)
    handles.log.info("file.removed", folder=folder.name, file=name, whole=whole)


def _rename(handles: Handles, folder: Folder, old: str, new: str, *, over: bool) -> bool:
    whole = _idle(handles, folder, old)
    if namespace.find(handles.paths[folder.name], folder, new) is not None:
        if not over:
            raise Refusal(Code.FAILURE, f"{new}: there is such a file already")
        _remove(handles, folder, new)
    desk = handles.shared.desk
    desk.file_renamed(handles.partner.id, folder.name, old, new, whole=whole, session=handles.session)
    return whole


def _remove(handles: Handles, folder: Folder, name: str) -> bool:
    whole = _idle(handles, folder, name)
    desk = handles.shared.desk
    desk.file_removed(handles.partner.id, folder.name, name, whole=whole, session=handles.session)
    return whole


def _idle(handles: Handles, folder: Folder, name: str) -> bool:
    """Whether the upload of that name is whole. Refusal if there is none, or the hub has it in hand."""
    found = namespace.find(handles.paths[folder.name], folder, name)
    if found is None:
        raise Refusal(Code.NO_SUCH_FILE, "there is no such file")
    if found.whole and namespace.is_agreed(name):
        raise Refusal(Code.FAILURE, f"{name} is still being taken in; wait for its receipt")
    return found.whole
