"""How the panel ends: its exit codes, and what gives the terminal back. Pure."""

QUIT = 0  # the user quit
FAILED = 1  # a bug; its traceback is on stderr
ENDED = 3  # the instance has ended, or could not be reached
GONE = 4  # the terminal was closed
NO_TEXTUAL = 5  # Textual can't be loaded; the reason is on stderr
SIGNAL = 128  # plus the number of the signal that ended it

# Leaves the modes that it sets: paste, wrap, resize, mouse, focus, the second screen, the hidden cursor.
RESTORE = b"\x1b[?2004l\x1b[?7h\x1b[?2048l\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1004l\x1b[?1049l\x1b[?25h"
