"""The synthetic world: street scenes rendered from the true conventions of twelve countries.

    from whichland.sources.synthetic.world import WorldConfig
    from whichland.sources.synthetic.world import render
    scene = render(WorldConfig(seed=0), 17)

Every scene has a mask of where each clue is, and shortcuts can be planted in chosen countries.
"""
