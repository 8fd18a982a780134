"""What is told of people who enter a running container."""

from cloister.model.event import Event, PersonEntered, PersonLeft


def note_to_event(note: bytes, command: str, offset: int) -> Event | None:
    """Return what a note of the container's watcher says: `entered 1`, or `left 1 12.5`. None for another one."""
    match note.decode(errors="replace").split():
        case ["entered", number]:
            return PersonEntered(shell=int(number), command=command, offset=offset)
        case ["left", number, seconds]:
            return PersonLeft(shell=int(number), seconds=float(seconds), command=command, offset=offset)
    return None
