#!/usr/bin/env python3
"""Fits function_tables.h: `python fit_tables.py > function_tables.h`. Needs NumPy and SciPy.

An odd function that ends at 1 is cut into 32 intervals of width 1 / PER_UNIT around 0, 1 / PER_UNIT, 2 / PER_UNIT, ..., each with a
polynomial of its own in t = |x| - centre: a vector looks its 16 lanes' coefficients up in two registers, which takes one instruction a
coefficient. Coefficients minimise the greatest relative error (Lawson's weights); each is rounded to f32 before the next is fitted."""

import numpy as np
from scipy import special

INTERVALS = 32
FUNCTIONS = {  # name: function, intervals a unit, degree, the argument from which it is 1
    "Erf": (special.erf, 8.0, 4, 3.9),
    "Tanh": (np.tanh, 3.4, 6, 9.05),
}


def fit(function, scale_by, centre, low, high, degree, fixed):
    """Coefficients of t in rising order, t in [low, high], errors relative to scale_by; those in `fixed` are given. Each is an f32."""
    n = 400
    t = 0.5 * (low + high) + 0.5 * (high - low) * np.cos(np.pi * (np.arange(n) + 0.5) / n)
    y, unit = function(centre + t), np.abs(scale_by(centre + t))
    powers = np.stack([t**i for i in range(degree + 1)], axis=1)
    found = dict(fixed)
    while len(found) <= degree:
        free = [i for i in range(degree + 1) if i not in found]
        rest = y - sum(powers[:, i] * c for i, c in found.items())
        weight, best = np.full(n, 1 / n), None
        for _ in range(60):
            scale = np.sqrt(weight) / unit
            solution = np.linalg.lstsq(powers[:, free] * scale[:, None], rest * scale, rcond=None)[0]
            error = np.abs((powers[:, free] @ solution - rest) / unit)
            if best is None or error.max() < best[0]:
                best = error.max(), solution
            weight = weight * (error + 1e-30)
            weight /= weight.sum()
        found[free[0]] = float(np.float32(best[1][0]))
    return [found[i] for i in range(degree + 1)]


def table(function, per_unit, degree):
    """[degree + 1][INTERVALS]"""
    width = 1 / per_unit
    # Around 0 the polynomial is of f(x) - x: x is added exactly.
    columns = [fit(lambda x: function(x) - x, function, 0.0, 1e-9, width / 2, degree, {0: 0.0})]
    columns += [fit(function, function, k * float(np.float32(width)), -width / 2, width / 2, degree, {}) for k in range(1, INTERVALS - 1)]
    columns.append([1.0] + [0.0] * degree)  # and beyond: exactly 1
    return np.array(columns).T


print("// Made by fit_tables.py, which says what this is. [power][interval]")
print("// clang-format off")
print("#pragma once\n\nnamespace anygpu::cpu::tables {\n")
for name, (function, per_unit, degree, one) in FUNCTIONS.items():
    print(f"constexpr double k{name}PerUnit = {per_unit}, k{name}One = {one};")
    print(f"constexpr float k{name}[{degree + 1}][{INTERVALS}] = {{")
    for row in table(function, per_unit, degree):
        numbers = [f"{np.float32(c):.9g}" for c in row]
        numbers = [n if "." in n or "e" in n else n + "." for n in numbers]
        for i in range(0, INTERVALS, 8):
            print(("    {" if i == 0 else "     ") + ", ".join(n + "f" for n in numbers[i : i + 8]) + ("," if i < INTERVALS - 8 else "},"))
    print("};\n")
print("}  // namespace anygpu::cpu::tables")
