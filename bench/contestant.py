"""Run by versus.py: `contestant.py anygpu|torchvulkan`, in a process of its own, whose virtual environment has that package. Reads
requests, one JSON object a line, and answers each with another:

{"make": NAME, "problem": {...}}   makes and warms it: {"repeats": calls a sample, "value": what was computed}
{"sample": NAME, "repeats": n}     {"seconds": a call}
"""

import functools
import json
import os
import sys

import kinds
import measure


def computed(result):
    """A number by which two contestants' results are compared, or None."""
    return None if result is None else result.detach().float().abs().mean().item()


def answers(who):
    made = {}

    def make(name, problem):
        run = kinds.KINDS[problem["kind"]](problem, who)
        if problem["kind"] in measure.THOUSANDS:
            made[name] = functools.partial(measure.THOUSANDS[problem["kind"]], run, who)
            made[name](1000)
            return {"repeats": 1000, "value": None}
        made[name] = functools.partial(measure.wall, run, who)
        repeats = measure.warm(run, who)
        return {"repeats": repeats, "value": computed(run(0))}

    def answer(request):
        if "make" in request:
            made.clear() if request.get("first") else None
            return make(request["make"], request["problem"])
        return {"seconds": made[request["sample"]](request["repeats"])}

    return answer


def main():
    who = sys.argv[1]
    to_parent = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    measure.package(who)
    answer = answers(who)
    for line in sys.stdin:
        try:
            said = answer(json.loads(line))
        except Exception as error:
            said = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), file=to_parent, flush=True)


if __name__ == "__main__":
    main()
