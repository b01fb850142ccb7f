"""The local stack: a private Redis-compatible server and workers as child processes of one supervisor."""
