"""An own task for AutoHAS: waveforms to tell apart, and a family of one-dimensional convolutional networks."""
