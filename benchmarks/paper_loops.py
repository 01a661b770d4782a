"""Influence as the code released with arXiv 2409.19998 computes it: loops over blocks, queries and rows.

Gradients are torch tensors, one for each row and block, and every query is solved for by itself. Used by
scoring.py to time what one inner step costs, and to check that its scores are ours.
"""

import torch


def damping(train, block):
    """0.1 × the mean squared gradient, gone over anew for every query and block."""
    total = 0.0
    for gradients in train:
        total += torch.mean(gradients[block] ** 2)
    return 0.1 * total / len(train)


def products(solved, train):
    """Σ_b solved_b·g_{i,b} for every row."""
    scores = []
    for gradients in train:
        total = 0.0
        for block, value in solved.items():
            total += torch.sum(value * gradients[block])
        scores.append(float(total))
    return scores


def hessian_free(train, queries):
    return [products(query, train) for query in queries]


def datainf(train, queries):
    found = []
    for query in queries:
        solved = {}
        for block, q in query.items():
            lam = damping(train, block)
            total = 0.0
            for gradients in train:
                g = gradients[block]
                share = torch.sum(q * g) / (lam + torch.sum(g**2))
                total += (q - share * g) / (len(train) * lam)
            solved[block] = total
        found.append(products(solved, train))
    return found


def paper_lissa(train, queries, steps=3):
    """v ← q + v − (F − λI)v/1000, the released update."""
    found = []
    for query in queries:
        solved = {}
        for block, q in query.items():
            lam = damping(train, block)
            v = q
            for _ in range(steps):
                total = 0.0
                for gradients in train:
                    g = gradients[block]
                    total += (torch.sum(v * g) * g - lam * v) / len(train)
                v = q + v - total / 1000
            solved[block] = v
        found.append(products(solved, train))
    return found


def lissa(train, queries, steps, top):
    """v ← q + v − (F + λI)v/s with s above the top eigenvalue, so that it converges; scores v·g/s."""
    found = []
    for query in queries:
        solved = {}
        for block, q in query.items():
            lam = damping(train, block)
            scale = 1.1 * (top[block] + lam)
            v = q
            for _ in range(steps):
                total = 0.0
                for gradients in train:
                    g = gradients[block]
                    total += (torch.sum(v * g) * g + lam * v) / len(train)
                v = q + v - total / scale
            solved[block] = v / scale
        found.append(products(solved, train))
    return found
