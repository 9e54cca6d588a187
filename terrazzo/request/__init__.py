"""The language of requests: the table of parameters, and the one parser that every interface uses."""
