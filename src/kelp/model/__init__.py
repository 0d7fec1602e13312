"""The neural denoiser: transformer, masks, site pointer, decoding. It knows only arrays."""
