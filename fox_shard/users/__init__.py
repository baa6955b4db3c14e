"""The users of the server: who there is, and by what each proves who they are."""
