"""The Model Context Protocol: assistants and editors hand tasks over, by the same API as everybody."""
