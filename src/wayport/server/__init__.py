"""The data worker: HTTP protocol, routes, composition root, and the processes around it."""
