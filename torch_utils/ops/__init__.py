"""Operators of the StyleGAN2 family: bias_act, upfirdn2d, conv2d_resample, modulated_conv2d."""
