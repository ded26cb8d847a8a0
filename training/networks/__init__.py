"""StyleGAN2's generator, and the trunk that the discriminator and the classifier share."""
