"""Explanation: what the model looks at. Each method is one call for any timm model:

whichland.explanation.gradcam.gradcam(model, x_BCHW, target=None) gives maps B×H×W in [0, 1].
"""
