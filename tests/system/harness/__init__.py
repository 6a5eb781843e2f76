"""What the system tests are built from: real servers, judges and clients.

Nothing here knows signet's inside. Everything runs on 127.0.0.0/8 and in a
directory that the caller names.
"""
