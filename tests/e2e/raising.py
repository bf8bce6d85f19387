"""What the scripts that drive the server with boto3 have in common."""


def raises(kind, call, **arguments):
    """The error of a call that must fail with this class."""
    try:
        answer = call(**arguments)
    except kind as error:
        return error
    raise AssertionError(f"it succeeded: {answer}")
