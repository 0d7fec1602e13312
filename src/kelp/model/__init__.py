"""The neural models: a transformer in the Llama layout, the denoiser around it, and their folders."""
