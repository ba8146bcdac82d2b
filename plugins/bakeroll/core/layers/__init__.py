"""The layers of an image: what goes into them, which image holds that already, and baking one.

:class:`~bakeroll.core.layers.bakery.Bakery` is the way in.
"""
