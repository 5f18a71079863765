"""Checks of a request before any number is computed."""


class BadRequest(ValueError):
    """The request cannot be answered; the message says which part is wrong."""


def instances_of(request, instances_max):
    """The instances of a request, or BadRequest."""
    instances = request.get("instances")
    if not isinstance(instances, list) or not instances:
        raise BadRequest("`instances` must be a list with at least one entry")
    if len(instances) > instances_max:
        raise BadRequest(f"at most {instances_max} instances, got {len(instances)}")
    for index, instance in enumerate(instances):
        if not isinstance(instance, dict):
            raise BadRequest(f"instance {index} must be an object")
    return instances
