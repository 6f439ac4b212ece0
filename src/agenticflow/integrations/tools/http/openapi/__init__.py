"""OpenAPI documents as tools: what is offered (``operations``), how a call is sent (``composing``), and with what (``credentials``)."""
