"""Few combinations in which every allowed pair of values occurs (a covering array of strength 2, built greedily)."""
import itertools
import math
import random


def pairs_of(row):
    return {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}


class Pairwise:
    """axes: {name: [value]}; conflicts: pairs ((axis, value), (axis, value)) that no combination may hold."""

    def __init__(self, axes, conflicts):
        self.axes = axes
        self.conflicts = {frozenset(conflict) for conflict in conflicts}
        self.pairs = {pair for a, b in itertools.combinations(axes, 2) for x in axes[a] for y in axes[b]
                      if (pair := frozenset({(a, x), (b, y)})) not in self.conflicts}

    def num_combinations(self):
        """Of all that hold no conflict."""
        bound = {name for conflict in self.conflicts for name, _ in conflict}
        free = math.prod(len(values) for name, values in self.axes.items() if name not in bound)
        names = [name for name in self.axes if name in bound]
        return free * sum(not pairs_of(dict(zip(names, values))) & self.conflicts
                          for values in itertools.product(*(self.axes[name] for name in names)))

    def rows(self, tries=40):
        """The same rows in each run: whatever looks random has a fixed seed."""
        missing, rows, draw = set(self.pairs), [], random.Random(1)
        while missing:
            first = min(missing, key=lambda pair: sorted(pair))
            best = max((self._row(dict(first), missing, draw) for _ in range(tries)),
                       key=lambda row: len(pairs_of(row) & missing))
            missing -= pairs_of(best)
            rows.append(best)
        return rows

    def _row(self, row, missing, draw):
        rest = [name for name in self.axes if name not in row]
        draw.shuffle(rest)
        for name in rest:
            def gain(value):
                return sum(frozenset({(name, value), other}) in missing for other in row.items())

            allowed = [value for value in self.axes[name]
                       if not any(frozenset({(name, value), other}) in self.conflicts for other in row.items())]
            most = max(map(gain, allowed))
            row[name] = draw.choice([value for value in allowed if gain(value) == most])
        return row
