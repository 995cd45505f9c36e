"""The server's routes as an OpenAPI document, for programs that make clients or tests of it."""
