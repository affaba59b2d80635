"""The synthetic world: street scenes rendered from the true conventions of twelve countries.

    from whichland.sources.synthetic.world import WorldConfig, render
    scene = render(WorldConfig(seed=0), 17)

Every scene carries a mask of where each clue is, and shortcuts can be planted in chosen countries.
"""
